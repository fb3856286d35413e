"""Calls that take long: the bar on a terminal, and what ^C does to them."""

from __future__ import annotations

import io
import signal

import pytest

from xapid.xe.tasks import SHOW_AFTER_S, Bar

from ..daemon.conftest import eventually
from .conftest import Xe


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_shows_the_share_that_is_done_and_goes_away() -> None:
    terminal = Terminal()
    bar = Bar("vm-start web1", terminal)
    bar._began -= SHOW_AFTER_S + 65

    bar.show(0.5)
    bar.clear()

    line, cleared = terminal.getvalue().split("\x1b[K")[:2]
    assert line == f"\rvm-start web1 [{'#' * 15}{'.' * 15}]  50% 1:05" and cleared == "\r"


def test_a_bar_is_silent_at_first_and_where_nobody_looks() -> None:
    quick, piped, unwanted = Terminal(), io.StringIO(), Terminal()

    Bar("x", quick).show(0.5)
    for stream, wanted in ((piped, True), (unwanted, False)):
        bar = Bar("x", stream, wanted=wanted)
        bar._began -= 60
        bar.show(0.5)
        bar.clear()

    assert not quick.getvalue() + piped.getvalue() + unwanted.getvalue()


def test_a_name_in_the_bar_is_short_and_harmless() -> None:
    terminal = Terminal()
    bar = Bar("vm-start " + "\x1b[31m" * 20, terminal)
    bar._began -= 60

    bar.show(2.0)

    assert "\x1b[31m" not in terminal.getvalue() and "100%" in terminal.getvalue()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_cancels_the_task_and_says_so(xe: Xe, number: int) -> None:
    vm = xe.ok("vm-create", "name-label=slow", "memory=64MiB", "PV-bootloader=pygrub")
    xe.ok("vm-disk-add", f"uuid={vm}", "disk-size=8MiB", f"sr={storage(xe)}")
    xe.daemon.knob("build_ms", 20_000)
    ref = xe.client("VM.get_by_uuid", vm)
    running = xe.program("--socket", str(xe.daemon.socket), "vm-start", f"uuid={vm}")
    eventually(lambda: any(float(t["progress"]) for t in tasks_of(xe)))

    running.send_signal(number)

    out, err = running.communicate(timeout=20)
    xe.daemon.knob("build_ms", 0)
    assert (running.returncode, out) == (130, "")
    assert "cancelling vm-start slow" in err and "was cancelled" in err
    assert xe.client("VM.get_power_state", ref) == "Halted"
    assert not tasks_of(xe)
    xe.ok("vm-uninstall", f"uuid={vm}", "--force")


def storage(xe: Xe) -> str:
    """The repository of this module, made when it is first asked for."""
    place = xe.daemon.state / "slow"
    if not place.exists():
        place.mkdir()
        words = ("name-label=slow", "type=file", f"device-config:location={place}")
        return xe.ok("sr-create", *words)
    return xe.ok("sr-list", "name-label=slow", "--minimal")


def tasks_of(xe: Xe) -> list[dict[str, str]]:
    records = xe.client("task.get_all_records").values()
    return [r for r in records if r["name_label"] in ("Async.VM.start", "VM.start")]


def test_a_task_that_fails_is_told_like_a_call_and_leaves_no_record(xe: Xe) -> None:
    vm = xe.ok("vm-create", "name-label=unbootable", "memory=64MiB", "PV-kernel=/etc/passwd")

    complaint = xe.refused("vm-start", "unbootable")

    assert complaint.startswith("xe: vm-start unbootable: ") and "[" in complaint
    assert not tasks_of(xe)
    xe.ok("vm-destroy", f"uuid={vm}")
