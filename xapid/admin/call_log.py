"""The journal's lines about one call, from the request through its task to libxl."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Final

from ..journal import field_name
from ..programs import PATH

# A task's reference or uuid begins with the id of the call that it stands for.
_NAMED: Final = re.compile(
    r"(?:OpaqueRef:)?([0-9a-f]{8})(?:-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})?"
)
_OUTPUTS: Final = {"text": "short-iso-precise", "json": "json"}


def call_of(task: str) -> str:
    """The id of the call that a task's reference or uuid, or itself, stands for.

    Raises ValueError.
    """
    found = _NAMED.fullmatch(task.strip())
    if found is None:
        raise ValueError(f"{task!r} is neither the reference nor the uuid of a task, nor a call")
    return found[1]


def command(call: str, *, output: str = "text", follow: bool = False) -> list[str]:
    """The journalctl that finds the lines of a call."""
    more = ["--follow", "--no-tail"] if follow else []
    wanted = f"{field_name('call')}={call}"
    return ["journalctl", "--no-pager", "--quiet", f"--output={_OUTPUTS[output]}", *more, wanted]


def show(call: str, *, output: str = "text", follow: bool = False) -> int:
    """Write the lines of a call to stdout; the exit code of journalctl, 1 when there are none.

    Raises FileNotFoundError where there is no journalctl.
    """
    environment = {"PATH": PATH, "LC_ALL": "C.UTF-8"}
    wanted = command(call, output=output, follow=follow)
    if follow:
        return subprocess.run(wanted, check=False, env=environment).returncode
    done = subprocess.run(wanted, check=False, env=environment, stdout=subprocess.PIPE)
    if done.returncode == 0 and not done.stdout:
        return 1
    sys.stdout.write(done.stdout.decode(errors="replace"))
    return done.returncode
