"""What a shell offers: commands, arguments, and names of objects that are there now."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import Xe

SCRIPT = Path(__file__).parents[2] / "packaging" / "completion" / "xe.bash"
BASH = shutil.which("bash")


def offered(xe: Xe, *words: str) -> list[str]:
    ran = xe.finished("--complete", "--socket", str(xe.daemon.socket), *words)
    assert (ran.code, ran.err) == (0, "")
    return ran.lines


def test_commands_are_offered_by_their_beginning(xe: Xe) -> None:
    assert "vm-start " in offered(xe, "vm-st") and "vm-list " not in offered(xe, "vm-st")


def test_arguments_and_their_values_are_offered(xe: Xe) -> None:
    assert "force=" in offered(xe, "vm-start", "")
    assert offered(xe, "vm-start", "force=true", "fo") == []
    assert offered(xe, "vm-start", "paused=t") == ["paused=true "]
    assert "mode=RO " in offered(xe, "vbd-create", "mode=")
    assert "params=name-label " in offered(xe, "vm-list", "params=name")


def test_the_names_of_objects_that_are_there_now_are_offered(xe: Xe) -> None:
    for name in ("web one", "web2", "db"):
        xe.ok("vm-create", f"name-label={name}", "memory=64MiB")

    assert offered(xe, "vm-start", "vm=web") == ["vm=web2 ", "vm=web\\ one "]
    assert offered(xe, "vm-start", "web") == ["web2 ", "web\\ one "]
    assert offered(xe, "vif-create", "vm=d") == ["vm=db "]
    assert any(
        line.startswith("template=Debian") for line in offered(xe, "vm-install", "template=")
    )


def test_what_cannot_be_completed_offers_nothing_and_says_nothing(xe: Xe, tmp_path: Path) -> None:
    for words in (["nonsense", ""], ["-pw", ""], ["vm-start", "a=1", "a=2", ""], ["-s", ""]):
        assert offered(xe, *words) == []
    gone = xe.finished("--complete", "--socket", str(tmp_path / "gone"), "vm-start", "vm=")
    assert (gone.code, gone.out, gone.err) == (0, "", "")


def test_a_server_that_does_not_answer_holds_nobody_up(xe: Xe, tmp_path: Path) -> None:
    path = tmp_path / "silent"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        began = time.monotonic()
        ran = xe.finished("--complete", "--socket", str(path), "vm-start", "vm=")
        passed = time.monotonic() - began

    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert passed < 10, "the deadline is half a second, on a machine with time to spare"


@pytest.mark.skipif(BASH is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("xe vm-shutd", ["vm-shutdown "]),
        ("xe vm-start vm=ba", ["bash\\ guest "]),
        ("xe vm-start paused=", ["false ", "true "]),
        ("xe sr-create device-conf", ["device-config:"]),
    ],
)
def test_bash_completes_the_word_under_the_cursor(
    xe: Xe, line: str, completions: list[str]
) -> None:
    if not xe.ok("vm-list", "name-label=bash guest", "--minimal"):
        xe.ok("vm-create", "name-label=bash guest", "memory=64MiB")
    program = (
        f"xe() {{ {sys.executable} -m xapid.xe --complete --socket {xe.daemon.socket}"
        ' "${@:2}"; }\n'
        f"source {SCRIPT}\n"
        # As bash splits a line: at blanks, and at equals signs and colons.
        "read -ra COMP_WORDS < <(sed 's/[=:]/ & /g' <<< \"$COMP_LINE\")\n"
        '[[ $COMP_LINE == *[=\\ ] ]] && COMP_WORDS+=("")\n'
        "COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 )) COMP_POINT=${#COMP_LINE}\n"
        "_xe_complete xe\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    assert BASH is not None
    done = subprocess.run(
        [BASH, "--norc", "-c", program], capture_output=True, text=True, timeout=20, check=True,
        env={**xe.environment(), "COMP_LINE": line},
    )  # fmt: skip

    assert (done.stdout.splitlines(), done.stderr) == (completions, "")
