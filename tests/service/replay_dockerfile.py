"""Replays the Dockerfile without an engine, and tries what comes out: `make try-image` (as root).

Each stage is a tree made by mmdebstrap; RUN is a chroot into it. The entry point is then started
as its user, in a network of its own, and must let its root log in within seconds.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
RELEASES = {"debian:12-slim": "bookworm", "debian:13-slim": "trixie"}
ANSWERS_WITHIN_S = 10.0
# What a build takes from the machine that it runs on; an engine has it in its base image.
CERTIFICATES = ("PIP_CERT", "SSL_CERT_FILE")
LOG_IN = """
import ssl, sys, xmlrpc.client
context = ssl._create_unverified_context()
server = xmlrpc.client.ServerProxy("https://127.0.0.1:8443", context=context)
answer = server.session.login_with_password("root", sys.argv[1])
assert answer["Status"] == "Success", answer
print(len(server.VM.get_all_records(answer["Value"])["Value"]), "VMs and templates")
"""


@dataclass
class Stage:
    """A tree, and what the instructions so far have set for those that follow."""

    tree: Path
    directory: str = "/"
    user: str = "0"
    environment: dict[str, str] = field(
        default_factory=lambda: {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        }
    )
    entry_point: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    def command(self, *words: str) -> list[str]:
        """A command line that runs words in the tree, as the stage's user."""
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        enter = f'cd {shlex.quote(self.directory)} && exec "$@"'
        chroot = ["chroot", f"--userspec={self.user}:{self.user}", str(self.tree)]
        inside = ["env", "-i", *variables, "sh", "-c", enter, "sh", *words]
        mount = 'mount -t proc proc "$0/proc" && exec "$@"'
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", mount]
        return [*apart, str(self.tree), *chroot, *inside]


def instructions(text: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, with their continued lines joined."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(name, rest) for name, rest in found]


class Replay:
    """Carries the instructions out, in a directory that is deleted afterwards."""

    def __init__(self, place: Path, bases: Path) -> None:
        self.place = place
        self.bases = bases
        self.stages: dict[str, Stage] = {}
        self.stage = Stage(place)

    def all(self, text: str) -> Stage:
        """The last stage."""
        for name, rest in instructions(text):
            started = time.monotonic()
            getattr(self, name.lower())(rest)
            say(f"{time.monotonic() - started:6.1f} s  {name} {rest[:80]}")
        return self.stage

    def from_(self, rest: str) -> None:
        image, _, name = rest.partition(" AS ")
        tree = self.place / (name or "final")
        subprocess.run(["cp", "-a", "--reflink=auto", self._base(image), tree], check=True)
        shutil.copy("/etc/resolv.conf", tree / "etc/resolv.conf")
        self.stage = self.stages[name] = Stage(tree)

    locals()["from"] = from_

    def _base(self, image: str) -> Path:
        tree = self.bases / RELEASES[image]
        if not tree.exists():
            fresh = tree.with_suffix(".new")
            shutil.rmtree(fresh, ignore_errors=True)
            command = ["mmdebstrap", "--quiet", "--variant=minbase", RELEASES[image], fresh]
            subprocess.run(command, check=True)
            fresh.rename(tree)
        return tree

    def run(self, rest: str) -> None:
        command = self.stage.command("sh", "-c", self._with_certificates(rest))
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def _with_certificates(self, command: str) -> str:
        given = {name: os.environ[name] for name in CERTIFICATES if name in os.environ}
        for name, path in given.items():
            (self.stage.tree / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, self.stage.tree / path[1:])
            command = f"export {name}={shlex.quote(path)}; {command}"
        return command

    def copy(self, rest: str) -> None:
        *sources, target = rest.split()
        origin = ROOT
        if sources[0].startswith("--from="):
            origin = self.stages[sources.pop(0).removeprefix("--from=")].tree
        to = self.stage.tree / self.stage.directory.lstrip("/") / target
        to = self.stage.tree / target.lstrip("/") if target.startswith("/") else to
        to.mkdir(parents=True, exist_ok=True)
        for source in sources:
            if source == ".":
                copy_checkout(to)
            elif origin == ROOT:
                shutil.copy(origin / source, to)
            else:
                shutil.copytree(origin / source.lstrip("/"), to, symlinks=True, dirs_exist_ok=True)

    def workdir(self, rest: str) -> None:
        self.stage.directory = rest
        (self.stage.tree / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def env(self, rest: str) -> None:
        name, _, value = rest.partition("=")
        self.stage.environment[name] = value.replace("$PATH", self.stage.environment["PATH"])

    def user(self, rest: str) -> None:
        self.stage.user = rest

    def entrypoint(self, rest: str) -> None:
        self.stage.entry_point = json.loads(rest)

    def healthcheck(self, rest: str) -> None:
        self.stage.health = json.loads(rest.partition("CMD ")[2])

    def volume(self, rest: str) -> None:
        """Nothing: the tree itself keeps it."""

    def expose(self, rest: str) -> None:
        """Nothing: the network is the tree's own."""


def copy_checkout(to: Path) -> None:
    """What git would track: the rest is what .dockerignore leaves out."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() or (ROOT / name).is_symlink():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name, follow_symlinks=False)


def try_out(stage: Stage) -> None:
    """Start the entry point, log in from its own network, and ask for its health."""
    started = time.monotonic()
    network = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    with subprocess.Popen(
        [*network, *stage.command(*stage.entry_point)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("xapid ready ")
            answered_s = time.monotonic() - started
            password = (stage.tree / "var/lib/xapid/root-password").read_text().strip()
            beside = ["nsenter", "-t", str(process.pid), "-n"]
            subprocess.run([*beside, sys.executable, "-c", LOG_IN, password], check=True)
            subprocess.run([*beside, *stage.command(*stage.health)], check=True)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
    say(f"it answered {answered_s:.1f} s after its start, and is healthy")
    assert answered_s < ANSWERS_WITHIN_S


def say(text: str) -> None:
    sys.stderr.write(text + "\n")


def main() -> None:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    bases = Path(os.environ.get("XAPID_BUILD_DIR") or Path(cache) / "xapid-build") / "base"
    bases.mkdir(parents=True, exist_ok=True)
    os.umask(0o022)
    with tempfile.TemporaryDirectory(dir=bases) as place:
        Path(place).chmod(0o755)
        try_out(Replay(Path(place), bases).all((ROOT / "Dockerfile").read_text()))


if __name__ == "__main__":
    main()
