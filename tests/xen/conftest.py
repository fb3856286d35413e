"""The fixtures on a real Xen host: one boot, one installed xapid, one table of times.

With pytest-xdist each worker has a host of its own; what shares guests stays on one host.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

sys.path.insert(0, str(Path(__file__).parent))

from testhost.api import Api, PackageApi, PlainApi
from testhost.daemon import Daemon
from testhost.evidence import MACHINE, collect
from testhost.extent import QUICK
from testhost.guest_console import install_helper
from testhost.image import ensure_image
from testhost.machine import Machine, boot, running
from testhost.package import install
from testhost.storage_kinds import KINDS
from testhost.suite import chosen_suite
from testhost.table import Table
from testhost.workbench import Workbench

collect_ignore = ["test_networking_storm.py", "test_storage_faults.py"] if QUICK else []
TABLE = Table()
ROUND = re.compile(rf"::Test\w+::.*\[(pv|pvh|hvm|{'|'.join(kind.name for kind in KINDS)})\b")
SETUP_FAILED = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def xenhost(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A booted Xen host; the running one that XAPID_XENHOST_RUNNING names is left running."""
    suite = chosen_suite()
    image = ensure_image(suite)
    kept = os.environ.get("XAPID_XENHOST_RUNNING")
    machine = running(suite, kept) if kept else None
    if machine is None:
        with TABLE.step("host", "boot"):
            machine = boot(image, kept or f"test-{os.getpid()}")
    install_helper(machine)
    request.config.stash[MACHINE] = machine
    yield machine
    if not kept:
        machine.down()


@pytest.fixture(scope="session")
def daemon(xenhost: Machine) -> Daemon:
    """xapid of this checkout, installed (or XAPID_XENHOST_INSTALLED) and started with no state."""
    if not os.environ.get("XAPID_XENHOST_INSTALLED"):
        with TABLE.step("host", "install xapid"):
            install(xenhost, ensure_image(chosen_suite()))
    installed = Daemon(xenhost)
    installed.forget_everything()
    with TABLE.step("host", "first start"):
        installed.start()
    return installed


@pytest.fixture(scope="session")
def workbench(xenhost: Machine, daemon: Daemon) -> Iterator[Workbench]:
    """A storage repository and a network, made through the API."""
    bench = Workbench(xenhost, daemon, PackageApi(xenhost.https_port, daemon.root_password()))
    try:
        bench.prepare()
        yield bench
    finally:
        bench.api.close()


@pytest.fixture
def api(xenhost: Machine, daemon: Daemon) -> Iterator[Api]:
    """A session of Python's own client, as fresh as the test."""
    client = PlainApi(xenhost.https_port, daemon.root_password())
    try:
        yield client
    finally:
        client.close()


@pytest.fixture(scope="session")
def table() -> Table:
    """Where each test writes how long its steps took."""
    return TABLE


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """After a failure, gather what explains it before the next test changes it."""
    report = yield
    machine = item.config.stash.get(MACHINE, None)
    # What a fixture for many tests cannot do is explained once.
    known = report.when == "setup" and item.config.stash.get(SETUP_FAILED, False)
    if report.failed and machine is not None and not known:
        item.config.stash[SETUP_FAILED] = report.when == "setup"
        name = re.sub(r"[^\w.-]+", "_", item.name) + f"-{report.when}"
        place = Path(os.environ.get("XAPID_XENHOST_LOGS", "build/test-xen")) / name
        collect(machine, place)
        report.sections.append(("xen host", f"logs and state of the host: {place}"))
    return report


class ByHost(LoadScopeScheduling):
    """Keeps on one host what shares guests or disks: a module, or one kind's round of a class."""

    def _split_scope(self, nodeid: str) -> str:
        kind = ROUND.search(nodeid)
        return nodeid.partition("::")[0] + (kind[1] if kind else "")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByHost:
    return ByHost(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker hands its times to the one who prints them."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["seconds"] = TABLE.seconds


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker has ended."""
    TABLE.take_over(getattr(node, "workeroutput", {}).get("seconds", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print guest type x step x seconds."""
    for line in TABLE.lines():
        terminalreporter.write_line(line)
