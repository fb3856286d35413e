"""A whole daemon on the mock, driven from outside by `xmlrpc.client`; and a second toolstack."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PATIENCE_S = 20.0
MIB = 1 << 20
BUGS = (
    "an error that the method does not declare",
    "a call failed",
    "bug while looking at a VM",
    "Task exception was never retrieved",
)
"""What the log of a daemon never says unless it has a mistake in it."""


class Failure(Exception):  # noqa: N818
    """The daemon answered with Status Failure."""

    def __init__(self, description: list[str]) -> None:
        super().__init__(*description)
        self.code = description[0]
        self.parameters = description[1:]


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self) -> None:
        # Another thread may close this connection at any moment: it is ours only once it is whole.
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(self.timeout)
        try:
            connection.connect(self.path)
        except OSError:
            connection.close()
            raise
        self.sock = connection


class UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        if self._connection[1] is None:
            self._connection = host, UnixConnection(str(self.path))
        return self._connection[1]


class Client:
    """One connection and one session."""

    def __init__(self, socket_path: Path, password: str) -> None:
        self.transport = UnixTransport(socket_path)
        self.proxy = xmlrpc.client.ServerProxy("http://x", transport=self.transport)
        self.session = self.raw("session.login_with_password", "root", password)

    def raw(self, method: str, *params: Any) -> Any:
        answer: Any = getattr(self.proxy, method)(*params)
        if answer["Status"] != "Success":
            raise Failure(answer["ErrorDescription"])
        return answer["Value"]

    def __call__(self, method: str, *params: Any) -> Any:
        return self.raw(method, self.session, *params)

    def wait_for_task(self, task: str) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            record: dict[str, Any] = self("task.get_record", task)
            return None if record["status"] in ("pending", "cancelling") else record

        return eventually(ended)


def eventually(look: Callable[[], Any], within_s: float = PATIENCE_S) -> Any:
    """The first true value of `look`; fails when none comes."""
    deadline = time.monotonic() + within_s
    while not (value := look()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)
    return value


@dataclass
class Daemon:
    """`xapid` as a process, with state in a directory that outlives it."""

    state: Path
    arguments: tuple[str, ...] = ()
    process: subprocess.Popen[str] | None = None
    ready: str = ""
    errors: list[str] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)

    @property
    def socket(self) -> Path:
        return self.state / "s"

    @property
    def mock_state(self) -> Path:
        return self.state / "mock-xen"

    def start(self) -> None:
        # Nothing that the administrator of this machine has decided.
        command = [sys.executable, "-m", "xapid", "--config", os.devnull]
        command += ["--state-dir", str(self.state)]
        command += ["--https", "127.0.0.1:0", "--socket", str(self.socket), "--xen", "mock"]
        self.process = subprocess.Popen(
            [*command, *self.arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        threading.Thread(target=self._collect, args=(self.process.stderr,), daemon=True).start()
        self.ready = self.process.stdout.readline().strip()
        assert self.ready.startswith("xapid ready "), "\n".join(self.errors)

    def _collect(self, stream: Any) -> None:
        self.errors.extend(stream)

    def client(self) -> Client:
        client = Client(self.socket, (self.state / "root-password").read_text().strip())
        self.clients.append(client)
        return client

    def stop(self) -> int:
        return self.end(signal.SIGTERM)

    def kill(self) -> int:
        return self.end(signal.SIGKILL)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: int) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(number)
        code = process.wait(PATIENCE_S)
        while self.clients:
            self.clients.pop().transport.close()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        self.check_log()
        return code

    def check_log(self) -> None:
        """Fail when the daemon met what is a bug wherever it appears."""
        bugs = [line for line in self.errors if any(bug in line for bug in BUGS)]
        assert not bugs, "".join(bugs)

    def worker_pid(self) -> int:
        """The process id of the running xapid-xen."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for pid in children.read_text().split():
            if b"xapid.xenworker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
        raise LookupError("no xapid-xen")

    def xen(self, code: str) -> str:
        """Play another toolstack: run Python with `lib` and `ffi` of the mock on the same host."""
        program = f"from xapid.xenworker._libxl_mock import ffi, lib\n{code}"
        environment = {**os.environ, "XAPID_MOCK_STATE": str(self.mock_state)}
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def knob(self, name: str, value: int) -> None:
        self.xen(f"assert lib.xapid_mock_set(b{name!r}, {value}) == 0")

    def order(self, domid: str, order: str, value: int = 1) -> None:
        self.xen(f"assert lib.xapid_mock_order({domid}, b{order!r}, {value}) == 0")


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with tempfile.TemporaryDirectory(prefix="xapid-test-") as directory:
        running = Daemon(Path(directory))
        running.start()
        try:
            yield running
        finally:
            running.stop()


@pytest.fixture
def client(daemon: Daemon) -> Client:
    return daemon.client()


def vm_values(**changed: Any) -> dict[str, Any]:
    """A constructor's record for a small PV guest, as any client would send it."""
    size = str(256 * MIB)
    return {
        "name_label": "guest",
        "name_description": "",
        "user_version": "1",
        "is_a_template": False,
        "affinity": "",
        "memory_static_max": size,
        "memory_dynamic_max": size,
        "memory_dynamic_min": str(64 * MIB),
        "memory_static_min": str(64 * MIB),
        "memory_target": size,
        "VCPUs_params": {},
        "VCPUs_max": "2",
        "VCPUs_at_startup": "1",
        "actions_after_shutdown": "destroy",
        "actions_after_reboot": "restart",
        "actions_after_crash": "destroy",
        "PV_bootloader": "pygrub",
        "PV_kernel": "",
        "PV_ramdisk": "",
        "PV_args": "",
        "PV_bootloader_args": "",
        "PV_legacy_args": "",
        "HVM_boot_policy": "",
        "HVM_boot_params": {},
        "HVM_shadow_multiplier": 1.0,
        "platform": {},
        "PCI_bus": "",
        "other_config": {},
        "recommendations": "",
        "xenstore_data": {},
        **changed,
    }


def storage(client: Client, daemon: Daemon, name: str = "disks") -> str:
    """A `file` SR in a directory of its own."""
    directory = daemon.state / name
    directory.mkdir()
    host = client("host.get_all")[0]
    location = {"location": str(directory)}
    ref: str = client("SR.create", host, location, "0", name, "", "file", "", False)
    return ref


def disk(client: Client, sr: str, size: int = 64 * MIB, label: str = "disk") -> str:
    values = {
        "name_label": label,
        "name_description": "",
        "SR": sr,
        "virtual_size": str(size),
        "type": "user",
        "sharable": False,
        "read_only": False,
        "other_config": {},
    }
    ref: str = client("VDI.create", values)
    return ref


def drive(client: Client, vm: str, vdi: str, device: str = "0", **changed: Any) -> str:
    values = {
        "VM": vm,
        "VDI": vdi,
        "userdevice": device,
        "bootable": True,
        "mode": "RW",
        "type": "Disk",
        "unpluggable": True,
        "empty": False,
        "other_config": {},
        "qos_algorithm_type": "",
        "qos_algorithm_params": {},
        **changed,
    }
    ref: str = client("VBD.create", values)
    return ref


def patch(client: Client, daemon: Daemon) -> str:
    """Make, sign and upload a patch whose script says "patched"; its key is trusted then."""
    source = daemon.state / "patch-source"
    source.mkdir()
    (source / "apply").write_text("#!/bin/sh\necho patched\n")
    (source / "apply").chmod(0o755)
    tool = [sys.executable, "-m", "xapid.services.pool.maker"]
    key, made = daemon.state / "patch-keys" / "maker", daemon.state / "made.patch"
    subprocess.run([*tool, "keygen", str(key)], check=True, timeout=PATIENCE_S)
    build = ["build", str(source), "--key", f"{key}.key", "--output", str(made)]
    build += ["--name", "fix", "--version", "1"]
    subprocess.run([*tool, *build], check=True, timeout=PATIENCE_S)
    url = f"http://local/pool_patch_upload?session_id={client.session}"
    curl = ["curl", "-sS", "--unix-socket", str(daemon.socket), "-T", str(made), url]
    return subprocess.run(curl, check=True, capture_output=True, text=True).stdout.strip()
