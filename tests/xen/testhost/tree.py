"""Commands here and inside a Debian tree, and files written into it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def inside(root: Path, *command: str | Path) -> None:
    """Run command in the tree root, which has a /proc of its own for as long as that takes."""
    apart: list[str | Path] = [
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        f"--mount-proc={root / 'proc'}",
        "chroot",
        root,
    ]
    settings = {
        "LC_ALL": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    }
    run(*apart, *command, env=os.environ | settings)


def run(*command: str | Path, env: dict[str, str] | None = None) -> None:
    """Run command; on failure show what it wrote and end."""
    words = [str(part) for part in command]
    done = subprocess.run(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        sys.stderr.buffer.write(done.stdout[-8000:])
        raise SystemExit(f"failed with {done.returncode}: {' '.join(words)}")


def write(path: Path, text: str) -> None:
    """Make the file path and the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def say(text: str) -> None:
    """Tell the person who waits what is being done."""
    sys.stderr.write(f"testhost: {text}\n")
    sys.stderr.flush()
