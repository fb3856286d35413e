"""Processes share one mock host, and none of them can break it by dying."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable

Start = Callable[[str], "subprocess.Popen[str]"]


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=15)
    assert process.returncode == 0, err
    return out.strip()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_a_guest_outlives_its_maker_and_another_process_destroys_it(start: Start) -> None:
    assert (
        finish(
            start(
                "say(c.create(run=True)); lib.libxl_userdata_store(c.ctx, 1, b'xapid', b'mine', 4)"
            )
        )
        == "1"
    )

    assert finish(start("say(c.info(1).running, c.userdata(1))")) == "True b'mine'"

    assert finish(start("say(lib.libxl_domain_destroy(c.ctx, 1, NULL), c.domids())")) == "0 [0]"


def test_a_death_is_told_to_another_process(start: Start) -> None:
    watcher = start("say(c.create(run=True)); c.watch(1, 9); say(c.next_event())")
    assert line(watcher) == "1"

    finish(start("lib.libxl_domain_destroy(c.ctx, 1, NULL)"))

    assert finish(watcher) == "(2, 1, 9, -1)"


def test_a_kill_in_the_middle_of_a_build_leaves_a_half_made_domain(start: Start) -> None:
    builder = start("h.turn(build_ms=60000); say('ready'); c.create()")
    assert line(builder) == "ready"
    finder = "import time\nwhile len(c.domids()) < 2: time.sleep(0.002)\n"
    assert finish(start(finder + "say(h.fact(1, 'half_made'))")) == "1"

    builder.send_signal(signal.SIGKILL)
    builder.wait(10)

    code = "before = h.knob('free_kib'); rc = lib.libxl_domain_destroy(c.ctx, 1, NULL)\n"
    assert (
        finish(start(code + "h.turn(build_ms=1); say(rc, h.knob('free_kib') > before, c.create())"))
        == "0 True 2"
    )


def test_kills_at_any_instruction_leave_neither_a_lock_nor_a_torn_domain(start: Start) -> None:
    busy = (
        "say('ready')\n"
        "h.turn(build_ms=0)\n"
        "while True:\n"
        "    d = c.create(run=True)\n"
        "    lib.libxl_userdata_store(c.ctx, d, b'xapid', b'x' * 500, 500)\n"
        "    lib.libxl_domain_destroy(c.ctx, d, NULL)\n"
    )
    check = (
        "held = sum(h.fact(d, 'held_kib') for d in c.domids())\n"
        "assert h.knob('domains') == len(c.domids())\n"
        "assert h.knob('memory_kib') - h.knob('free_kib') == held, (held, h.knob('free_kib'))\n"
        "[lib.libxl_domain_destroy(c.ctx, d, NULL) for d in c.domids() if d]\n"
        "say('sound')\n"
    )
    for _ in range(6):
        workers = [start(busy) for _ in range(2)]
        for worker in workers:
            assert line(worker) == "ready"
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
            worker.wait(10)

        assert finish(start(check)) == "sound"


def test_a_process_told_to_abort_does(start: Start) -> None:
    process = start(
        "h.fail('libxl_domain_pause', 3); lib.libxl_domain_pause(c.ctx, c.create(run=True), NULL)"
    )
    _, err = process.communicate(timeout=15)

    assert process.returncode == -signal.SIGABRT
    assert "told to abort in libxl_domain_pause" in err
    assert finish(start("say(c.info(1).running)")) == "True"


def test_an_abort_half_way_leaves_the_work_half_done(start: Start) -> None:
    process = start("h.fail('libxl_domain_create_new', 4); c.create()")
    process.communicate(timeout=15)

    assert process.returncode == -signal.SIGABRT
    assert finish(start("say(h.fact(1, 'half_made'), c.info(1).paused)")) == "1 True"


def test_hangs_of_dead_processes_do_not_count(start: Start) -> None:
    process = start(
        "d = c.create(); h.fail('libxl_domain_pause', 2); say('ready')\n"
        "lib.libxl_domain_pause(c.ctx, d, NULL)"
    )
    assert line(process) == "ready"
    waiting = "import time\nwhile lib.xapid_mock_hanging() != {}: time.sleep(0.002)\nsay('seen')"
    assert finish(start(waiting.format(1))) == "seen"

    process.kill()
    process.wait(10)

    assert finish(start(waiting.format(0))) == "seen"
