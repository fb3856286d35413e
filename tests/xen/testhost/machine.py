"""One running test host: boots it in QEMU, reaches its control domain over ssh, ends it.

What it writes to its disk goes to a throw-away overlay, so that every boot starts from the same
host. All ports are on 127.0.0.1 and chosen free at the start; the host has no way out.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testhost.image import Image, is_running
from testhost.suite import Suite
from testhost.tree import say

BOOT_TIMEOUT_S = 400
MEMORY_MIB = 4096
DOM0_MEMORY_MIB = 1536
FORWARDED = {"ssh": 22, "https": 443}
NICS = 5
"""eth0 is the way in from here; the others are on one switch of their own."""

# What QEMU emulates wrongly under Xen. smap, smep, la57, pku: dom0's first instructions fault.
# rdtscp: so does a PVH guest's clock source. xsave and AVX: programs in dom0, PVH and HVM guests
# lose register contents when a hardware-virtualised guest runs, and crash or read wrong bytes.
CPU = "max,-smap,-smep,-la57,-pku,-rdtscp,-xsave,-avx,-avx2"
# One processor is as fast on a busy machine as two, and leaves room for others.
XEN_ARGUMENTS = (
    "com1=115200,8n1 console=com1 loglvl=info guest_loglvl=all "
    f"dom0_mem={DOM0_MEMORY_MIB}M,max:{DOM0_MEMORY_MIB}M dom0_max_vcpus=1"
)
DOM0_ARGUMENTS = (
    "root=/dev/vda rw console=hvc0 net.ifnames=0 mitigations=off "
    "selinux=0 apparmor=0 audit=0 quiet loglevel=4"
)


class HostError(Exception):
    """The host ended, did not come up, or a command in it failed; the text says which."""


@dataclass(frozen=True)
class Machine:
    """A running host, found by its run directory."""

    directory: Path
    key: Path
    pid: int
    ports: dict[str, int]

    @property
    def https_port(self) -> int:
        """The local port that leads to port 443 of the control domain."""
        return self.ports["https"]

    @property
    def serial_log(self) -> Path:
        """Everything that Xen, dom0 and the guests wrote to their consoles."""
        return self.directory / "serial.log"

    def command(self, program: str) -> list[str]:
        """ssh or scp with the options that lead to this host; one connection is shared by all."""
        options = {
            "IdentityFile": self.key,
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
            "ConnectTimeout": 10,
            "ControlMaster": "auto",
            "ControlPath": f"/tmp/xapid-testhost-{self.pid}",
            "ControlPersist": 600,
            "Port": self.ports["ssh"],
        }
        return [
            program,
            "-F",
            "/dev/null",
            *(f"-o{name}={value}" for name, value in options.items()),
        ]

    def run(
        self, command: str, *, timeout_s: float = 120, check: bool = True, stdin: bytes = b""
    ) -> str:
        """What the command writes in dom0 as root; with check, HostError unless its status is 0."""
        try:
            done = subprocess.run(
                [*self.command("ssh"), "root@127.0.0.1", command],
                input=stdin,
                capture_output=True,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired as error:
            raise HostError(f"no end within {timeout_s} s: {command}") from error
        if check and done.returncode != 0:
            output = (done.stdout + done.stderr).decode(errors="replace")
            raise HostError(f"status {done.returncode}: {command}\n{output}")
        return done.stdout.decode(errors="replace")

    def push(self, *sources: Path, target: str) -> None:
        """Copy files and directories into dom0."""
        names = [str(source) for source in sources]
        done = subprocess.run(
            [*self.command("scp"), "-q", "-r", *names, f"root@127.0.0.1:{target}"],
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise HostError(f"cannot copy to {target}: {done.stderr}")

    def write(self, path: str, text: str) -> None:
        """Make the file path in dom0."""
        quoted = shlex.quote(path)
        self.run(f'mkdir -p "$(dirname {quoted})" && cat >{quoted}', stdin=text.encode())

    def answers(self) -> bool:
        """Whether dom0 is up and its tool stack works."""
        try:
            self.run("xl list", timeout_s=30)
        except HostError:
            return False
        return True

    def set_carrier(self, interface: str, *, present: bool) -> None:
        """Pull the cable of eth1, eth2 … out of the switch, or put it in again."""
        number = interface.removeprefix("eth")
        self._monitor("set_link", {"name": f"nic{number}", "up": present})

    def reboot(self) -> None:
        """Reboot dom0, as an administrator does, and wait until it answers; its disk is kept."""
        booted = self.boot_id()
        self._monitor("set-action", {"reboot": "reset"})
        self.run("systemctl reboot", check=False)
        self._hang_up()
        deadline = time.monotonic() + BOOT_TIMEOUT_S
        while not self._came_up_since(booted):
            if time.monotonic() > deadline or not is_running(self.directory / "pid"):
                raise HostError(f"dom0 does not come back; see {self.serial_log}")
            time.sleep(1)
        self._monitor("set-action", {"reboot": "shutdown"})

    def _came_up_since(self, booted: str) -> bool:
        try:
            return self.boot_id() != booted and self.answers()
        except HostError:  # it goes down just now, or is not there yet
            return False

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """No processor of the host runs in the block; its own clocks stand still meanwhile."""
        self._monitor("stop", {})
        try:
            yield
        finally:
            self._monitor("cont", {})

    def boot_id(self) -> str:
        """Names one boot of dom0."""
        return self.run("cat /proc/sys/kernel/random/boot_id").strip()

    def _monitor(self, command: str, arguments: dict[str, Any]) -> None:
        """Tell the emulator something, in its own protocol."""
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(30)
            channel.connect(str(self.directory / "monitor"))
            with channel.makefile("rw") as lines:
                for each in ({}, {"arguments": arguments}):
                    name = command if each else "qmp_capabilities"
                    lines.write(json.dumps({"execute": name, **each}) + "\n")
                    lines.flush()
                    while "return" not in (answer := json.loads(lines.readline())):
                        if "error" in answer:
                            raise HostError(f"{name}: {answer['error']}")

    def _hang_up(self) -> None:
        """End the connection that all commands share."""
        subprocess.run([*self.command("ssh"), "-O", "exit", "root@127.0.0.1"], capture_output=True)

    def down(self) -> None:
        """End the host at once; nothing on its disk is kept."""
        self._hang_up()
        if is_running(self.directory / "pid"):
            os.kill(self.pid, signal.SIGTERM)
            for _ in range(100):
                if not is_running(self.directory / "pid"):
                    break
                time.sleep(0.1)
            else:
                os.kill(self.pid, signal.SIGKILL)
        (self.directory / "host.json").unlink(missing_ok=True)


def run_directory(suite: Suite, name: str) -> Path:
    return suite.directory / "run" / name


def running(suite: Suite, name: str) -> Machine | None:
    """The host of that name, if it runs."""
    directory = run_directory(suite, name)
    try:
        state: dict[str, Any] = json.loads((directory / "host.json").read_text())
    except (OSError, ValueError):
        return None
    if not is_running(directory / "pid"):
        return None
    return Machine(directory, Path(state["key"]), state["pid"], state["ports"])


def boot(image: Image, name: str, nics: int = NICS) -> Machine:
    """Start a host and wait until its dom0 answers; one of that name that runs is returned."""
    found = running(image.suite, name)
    if found:
        return found
    directory = run_directory(image.suite, name)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    started = time.monotonic()
    machine = start(image, directory, nics)
    while not machine.answers():
        if not is_running(directory / "pid"):
            raise HostError(f"QEMU ended: {(directory / 'qemu.log').read_text()}")
        if time.monotonic() - started > BOOT_TIMEOUT_S:
            machine.down()
            raise HostError(
                f"dom0 does not answer after {BOOT_TIMEOUT_S} s; see {machine.serial_log}"
            )
        time.sleep(1)
    say(f"up after {time.monotonic() - started:.0f} s: {directory}")
    return machine


EMULATORS: list[subprocess.Popen[bytes]] = []
"""Those this process started; they outlive it on purpose, and so are never forgotten by it."""


def start(image: Image, directory: Path, nics: int) -> Machine:
    """Start QEMU in the background. A port that another process took meanwhile is chosen again."""
    for _ in range(5):
        ports = free_ports()
        with (directory / "qemu.log").open("wb") as log:
            process = subprocess.Popen(
                qemu_command(image, directory, ports, nics),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {"TMPDIR": str(directory)},
            )
        try:
            process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            EMULATORS.append(process)
            (directory / "pid").write_text(str(process.pid))
            state = {
                "key": str(image.key),
                "pid": process.pid,
                "ports": ports,
                "image": str(image.directory),
            }
            (directory / "host.json").write_text(json.dumps(state))
            return Machine(directory, image.key, process.pid, ports)
        message = (directory / "qemu.log").read_text()
        if "host forwarding" not in message:
            break
    raise HostError(f"QEMU does not start: {message}")


def free_ports() -> dict[str, int]:
    """A local port that is free now for each forwarded one."""
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in FORWARDED}
    ports = {name: server.getsockname()[1] for name, server in sockets.items()}
    for server in sockets.values():
        server.close()
    return ports


def qemu_command(image: Image, directory: Path, ports: dict[str, int], nics: int) -> list[str]:
    forwards = "".join(
        f",hostfwd=tcp:127.0.0.1:{ports[name]}-:{inside}" for name, inside in FORWARDED.items()
    )
    command = [
        "qemu-system-x86_64",
        "-machine",
        "q35",
        "-accel",
        "tcg,thread=single",
        "-cpu",
        CPU,
        "-smp",
        "1",
    ]
    command += ["-m", str(MEMORY_MIB), "-display", "none", "-nodefaults", "-no-reboot"]
    command += ["-serial", f"file:{directory / 'serial.log'}"]
    command += ["-qmp", f"unix:{directory / 'monitor'},server=on,wait=off"]
    # Xen is an uncompressed ELF file; dom0's kernel and initrd are its two multiboot modules.
    command += ["-kernel", str(image.hypervisor), "-append", XEN_ARGUMENTS]
    command += ["-initrd", f"{image.kernel} {DOM0_ARGUMENTS},{image.initrd}"]
    command += ["-drive", f"file={image.disk},if=virtio,format=raw,snapshot=on,cache=unsafe"]
    command += [
        "-netdev",
        f"user,id=nic0,restrict=on{forwards}",
        "-device",
        "virtio-net-pci,netdev=nic0",
    ]
    for number in range(1, nics):
        command += [
            "-netdev",
            f"hubport,id=nic{number},hubid=1",
            "-device",
            f"virtio-net-pci,netdev=nic{number}",
        ]
    command += ["-device", "virtio-rng-pci"]
    return command
