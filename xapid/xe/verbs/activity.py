"""What happens now: waiting for a change, and a VM's terminal."""

from __future__ import annotations

import os
import select
import stat
import sys
import termios
import tty
from typing import Final

from ..catalogue import STRING, classes, folded, word_of
from ..command import Call, Command, required
from ..failures import Failure, Refused, UsageError
from ..objects import Record
from ..output import shown

NOT_EQUAL: Final = "/="
LEAVE: Final = b"\x1d"  # ctrl-]
FILE: Final = "file://"
TERMINALS: Final = "/dev/pts/"


def _wait_for(call: Call, _: str) -> None:
    """Return once an object of the class is as the selectors say."""
    class_name = _class_called(call.get("class"))
    filters = {n: v for n, v in call.words.values.items() if n != "class"}
    for name, parts in call.words.maps.items():
        filters |= {f"{name}:{key}": value for key, value in parts.items()}
    for name in call.words.names:
        filters[word_of(class_name)] = name
    if not filters:
        raise UsageError("say what to wait for, such as uuid=UUID power-state=running")
    call.server("event.register", [class_name])
    while True:
        call.objects.forget()
        for ref, record in call.objects.records(class_name).items():
            if _fits(call, class_name, ref, record, filters):
                return
        _next_events(call)


def _next_events(call: Call) -> None:
    try:
        while not call.server("event.next"):
            pass
    except Failure as failure:
        if failure.code != "EVENTS_LOST":
            raise


def _class_called(word: str) -> str:
    for name in classes():
        if folded(word) in (word_of(name), folded(name)):
            return name
    raise UsageError(f"there is no class {word!r}: {', '.join(map(word_of, classes()))}")


def _fits(call: Call, class_name: str, ref: str, record: Record, filters: dict[str, str]) -> bool:
    for name, wanted in filters.items():
        differs = wanted.startswith(NOT_EQUAL)
        value = wanted[len(NOT_EQUAL) :] if differs else wanted
        if call.objects.matches(class_name, ref, record, name, value) == differs:
            return False
    return True


def _console(call: Call, vm: str) -> None:
    """Join this terminal with the VM's, on the host; elsewhere say where it is."""
    consoles = [call.server("console.get_record", c) for c in call.server("VM.get_consoles", vm)]
    label = call.label("VM", vm)
    if not consoles:
        raise Refused(f"{label} has no console: it has one a moment after its start")
    text = next((c["location"] for c in consoles if c["protocol"] == "vt100"), "")
    path = text.removeprefix(FILE)
    here = not call.options.server and path.startswith(TERMINALS) and ".." not in path
    if not here or not (sys.stdin.isatty() and sys.stdout.isatty()):
        for console in consoles:
            call.out.line(f"{console['protocol']}: {shown(console['location'])}")
        return
    _join(path, label)


def _join(path: str, label: str) -> None:
    try:
        guest = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(f"{path} of {label}: {error.strerror}; only root may use it") from error
    if not stat.S_ISCHR(os.fstat(guest).st_mode):
        os.close(guest)
        raise Refused(f"{path} of {label} is no terminal")
    sys.stderr.write(f"The terminal of {label}; ctrl-] leaves it.\r\n")
    saved = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        _relay(guest)
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, saved)
        os.close(guest)
        sys.stderr.write("\n")


def _relay(guest: int) -> None:
    """Carry what is typed to the guest and what it writes to the terminal, until ctrl-]."""
    while True:
        ready, _, _ = select.select([0, guest], [], [])
        if guest in ready:
            try:
                written = os.read(guest, 4096)
            except OSError:  # the guest is gone
                return
            if not written:
                return
            os.write(1, written)
        if 0 in ready:
            typed = os.read(0, 1024)
            if not typed or LEAVE in typed:
                return
            os.write(guest, typed)


COMMANDS = (
    Command(
        "event-wait", "event", "Wait until an object is as the selectors say.", _wait_for,
        (required("class", STRING, "the class: vm, task, sr and so on"),), open=True,
        details="FIELD=VALUE waits for a value, FIELD=/=VALUE for any other one. For instance: "
        "xe event-wait class=vm vm=web1 power-state=halted",
    ),
    Command(
        "console", "console", "Use the terminal of a VM, on the host that runs it.", _console, (),
        "VM", only=(("is_a_template", False),), alone=True,
        details="ctrl-] leaves it. Elsewhere, or in a pipe, it says where the VM's screen and "
        "terminal are.",
    ),
)  # fmt: skip
