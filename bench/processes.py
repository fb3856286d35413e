"""The servers that are measured, each a process of its own for as long as a block runs."""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .population import populate

PATIENCE_S: Final = 60.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_VALUE: Final = re.compile(rb"<name>Value</name><value>(.*?)</value>", re.DOTALL)


def cpu_s(pid: int) -> float:
    """CPU time that a process has used so far, in seconds; that of its children not counted."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_mib(pid: int) -> float:
    """The memory a process has resident, in MiB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def request(method: str, *params: str) -> bytes:
    """The bytes of a call; `params` are the contents of <value> elements."""
    values = "".join(f"<param><value>{value}</value></param>" for value in params)
    body = f"<methodCall><methodName>{method}</methodName><params>{values}</params></methodCall>"
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n{body}".encode()


@dataclass
class Xapid:
    """A running daemon on the mock."""

    state: Path
    process: subprocess.Popen[str]
    https: str
    session: str = ""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def socket(self) -> Path:
        return self.state / "s"

    @property
    def unix(self) -> str:
        return f"unix:{self.socket}"

    @property
    def tls(self) -> str:
        return f"tls:{self.https}"

    def call(self, method: str, *params: str, session: str | None = None) -> bytes:
        """The answer to a call with a session."""
        return self.raw(method, self.session if session is None else session, *params)

    def raw(self, method: str, *params: str) -> bytes:
        connection = UnixConnection(self.socket)
        body = request(method, *params).partition(b"\r\n\r\n")[2]
        connection.request("POST", "/", body, {"Content-Type": "text/xml"})
        answer = connection.getresponse().read()
        connection.close()
        assert b"<value>Success</value>" in answer, answer[:1000]
        return answer

    def value(self, method: str, *params: str) -> str:
        found = _VALUE.search(self.call(method, *params))
        assert found is not None
        return found[1].decode()

    def login(self) -> str:
        password = (self.state / "root-password").read_text().strip()
        found = _VALUE.search(self.raw("session.login_with_password", "root", password))
        assert found is not None
        return found[1].decode()

    def refs(self, name_prefix: str, cls: str = "VM") -> list[str]:
        """References of the objects whose names begin so, in the order of their names."""
        answer = self.call(f"{cls}.get_all_records").decode()
        found = re.findall(
            r"<member><name>(OpaqueRef:[^<]+)</name>.*?<name>name_label</name><value>([^<]*)<",
            answer,
        )
        return [
            ref
            for name, ref in sorted((name, ref) for ref, name in found)
            if name.startswith(name_prefix)
        ]


@contextmanager
def xapid(state: Path, *, count: int = 0, bare: int = 0) -> Iterator[Xapid]:
    """A daemon with so many VMs; see population. A database that is there is kept."""
    if not (state / "state.db").exists():
        asyncio.run(populate(state / "state.db", count, bare=bare))
    settings = state / "xapid.toml"
    settings.write_text(SETTINGS)
    process = start_xapid(state, settings)
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert ready.startswith("xapid ready "), (state / "log").read_text()
        daemon = Xapid(state, process, ready.split()[2].removeprefix("https="))
        daemon.session = daemon.login()
        yield daemon
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        assert process.stdout is not None
        process.stdout.close()


SETTINGS: Final = """\
[listen]
unix_connections = 2000
[sessions]
per_user = 2000
total = 2000
"""


def start_xapid(state: Path, settings: Path) -> subprocess.Popen[str]:
    """Start a daemon; what it logs is added to the file `log`."""
    command = [sys.executable, "-m", "xapid", "--config", str(settings), "--xen", "mock"]
    command += ["--state-dir", str(state), "--https", "127.0.0.1:0", "--socket", str(state / "s")]
    with (state / "log").open("a") as log:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)


@dataclass
class Server:
    """A peer: its process and how clients reach it."""

    pid: int
    address: str


@contextmanager
def _running(command: Sequence[str], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


def _await_socket(path: Path, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(path))
            return
        except OSError:
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.02)


@contextmanager
def libvirtd(directory: Path, virt: Path, domains: int) -> Iterator[Server]:
    """libvirt's daemon as an ordinary user, its test driver with so many domains."""
    directory.mkdir()
    config, log = directory / "libvirtd.conf", directory / "log"
    config.write_text("max_clients = 5000\n")
    places = ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "HOME")
    environment = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    environment |= {place: str(directory) for place in places}
    command = ["libvirtd", "-f", str(config), "-p", str(directory / "pid")]
    if os.getuid() == 0:
        shutil.chown(directory, "nobody")
        command = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *command]
    path = directory / "libvirt/libvirt-sock"
    uri = f"test+unix:///default?socket={path}"
    with log.open("w") as out, _running(command, env=environment, stderr=out) as daemon:
        _await_socket(path, log)
        hold = [str(virt), uri, "hold", str(domains), "0"]
        with subprocess.Popen(hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"ready\n"
            yield Server(daemon.pid, uri)
            holder.communicate()


NGINX: Final = """\
daemon off;
worker_processes 1;
error_log {directory}/log;
pid {directory}/pid;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  tcp_nodelay on;
  keepalive_requests 1000000000;
  types {{ text/xml xml; }}
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    listen unix:{directory}/s;
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {tls}/server.crt;
    ssl_certificate_key {tls}/server.key;
    root {directory}/files;
  }}
}}
"""


@contextmanager
def nginx(directory: Path, tls: Path) -> Iterator[tuple[Server, Server]]:
    """nginx with the files in `directory`/files, on a Unix socket and over TLS."""
    (directory / "files").mkdir(parents=True)
    os.chmod(directory, 0o755)  # noqa: PTH101, S103 - its workers are another user's
    port = free_port()
    config = directory / "nginx.conf"
    config.write_text(NGINX.format(directory=directory, tls=tls, port=port))
    command = [shutil.which("nginx", path="/usr/sbin:/usr/bin") or "nginx", "-p", str(directory)]
    command += ["-c", str(config), "-g", "user root;"] if os.getuid() == 0 else ["-c", str(config)]
    with _running(command, stderr=subprocess.DEVNULL) as process:
        _await_socket(directory / "s", directory / "log")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        worker = int(children[0])
        yield Server(worker, f"unix:{directory}/s"), Server(worker, f"tls:127.0.0.1:{port}")
