"""IPv4 addresses of the Linux kernel: looked at one by one, changed over netlink."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import ipaddress
import os
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import structlog

from ..programs import ProgramMissing, ProgramTookTooLong, run
from .addresses import LEASE_WITHIN_S, Address, NoLease
from .dhcp import Command, DhcpClient
from .driver import NetworkFailure
from .links import NoSuchLink
from .netlink import Gone, Netlink, refusals

log = structlog.get_logger(__name__)

SIOCGIFADDR, SIOCGIFNETMASK = 0x8915, 0x891B
ROUTES: Final = Path("/proc/thread-self/net/route")
RTF_GATEWAY = 0x2
ADDRESSES_AT_MOST: Final = 64
LOOK_EVERY_S: Final = 0.2


class KernelAddresses:
    """Implements `Addresses` in the network namespace of the thread that first uses it.

    state: a directory for the DHCP clients' files. resolver: the file with the name servers.
    """

    def __init__(
        self,
        state: Path,
        resolver: Path = Path("/etc/resolv.conf"),
        client: Command | None = None,
    ) -> None:
        self._state = state
        self._resolver = resolver
        self._command = client
        self._netlink = Netlink()
        self._clients: dict[str, DhcpClient] = {}

    async def look(self, name: str) -> Address | None:
        found = _first_address(name)
        return None if found is None else Address(*found, _gateway(name))

    async def set_static(self, name: str, address: Address, metric: int) -> None:
        await self._end_client(name)
        if await self.look(name) != address:  # with the last address go its routes
            await self._take_all(name)
            await self._add(name, address)
        if address.gateway:
            await self._route(name, address.gateway, metric)

    async def start_dhcp(self, name: str, metric: int) -> None:
        client = self._clients.get(name)
        if client is None:
            await asyncio.to_thread(self._state.mkdir, mode=0o700, parents=True, exist_ok=True)
            client = self._clients[name] = DhcpClient(name, self._state, self._command)
        if not client.runs:
            await self._take_all(name)
        client.start(metric)

    async def leased(self, name: str, within_s: float = LEASE_WITHIN_S) -> Address:
        try:
            async with asyncio.timeout(within_s):
                return await self._appears(name)
        except TimeoutError as error:
            raise NoLease(f"no DHCP server answered on {name} in {within_s:.0f} s") from error

    async def _appears(self, name: str) -> Address:
        """Wait for an address that another program gives."""
        while True:
            if (address := await self.look(name)) is not None:
                return address
            await asyncio.sleep(LOOK_EVERY_S)

    async def clear(self, name: str) -> None:
        await self._end_client(name)
        await self._take_all(name)

    async def set_dns(self, name: str, servers: Sequence[str]) -> None:
        if not servers:
            return
        if self._resolver.is_symlink():  # systemd-resolved or resolvconf looks after it
            await self._tell_resolved(name, servers)
        else:
            await asyncio.to_thread(self._write_servers, servers)

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()
        self._netlink.close()

    async def _end_client(self, name: str) -> None:
        client = self._clients.pop(name, None) or DhcpClient(name, self._state, self._command)
        await client.end()

    async def _take_all(self, name: str) -> None:
        """One after the other: the kernel shows the next first one."""
        for _ in range(ADDRESSES_AT_MOST):
            found = _first_address(name)
            if found is None:
                return
            with suppress(NoSuchLink, Gone):
                await self._addr("del", name, Address(*found))

    async def _add(self, name: str, address: Address) -> None:
        broadcast = ipaddress.IPv4Interface((address.ip, address.prefix)).network.broadcast_address
        await self._addr("add", name, address, broadcast=str(broadcast))

    async def _addr(self, command: str, name: str, address: Address, **more: Any) -> None:
        with refusals(f"{name} and the address {address.ip}"):
            await self._netlink.addr(
                command, index=_index(name), address=address.ip, prefixlen=address.prefix, **more
            )

    async def _route(self, name: str, gateway: str, metric: int) -> None:
        with refusals(f"{name} and the gateway {gateway}"):
            await self._netlink.route(
                "replace", dst="0.0.0.0/0", gateway=gateway, oif=_index(name), priority=metric
            )

    async def _tell_resolved(self, name: str, servers: Sequence[str]) -> None:
        try:
            done = await run(("resolvectl", "dns", name, *servers), deadline_s=10)
        except (ProgramMissing, ProgramTookTooLong) as error:
            log.warning("the name servers are not set", interface=name, reason=str(error))
        else:
            if not done.succeeded:
                log.warning("the name servers are not set", interface=name, reason=done.output)

    def _write_servers(self, servers: Sequence[str]) -> None:
        """Replace the name servers in the file and nothing else of it."""
        try:
            lines = self._resolver.read_text().splitlines()
        except FileNotFoundError:
            lines = []
        kept = [line for line in lines if line.split()[:1] != ["nameserver"]]
        text = "".join(f"{line}\n" for line in [*kept, *(f"nameserver {ip}" for ip in servers)])
        fresh = self._resolver.with_name(f".{self._resolver.name}.xapid")
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
            fresh.chmod(0o644)
            fresh.replace(self._resolver)
        except OSError as error:
            raise NetworkFailure(f"{self._resolver} cannot be written: {error.strerror}") from error


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError as error:
        raise NoSuchLink(f"there is no interface {name[:64]!r}") from error


def _first_address(name: str) -> tuple[str, str] | None:
    """The first IPv4 address and its netmask: two questions to the kernel, whatever there is."""
    request = struct.pack("256s", name.encode()[:15])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        try:
            answers = [fcntl.ioctl(asker, what, request) for what in (SIOCGIFADDR, SIOCGIFNETMASK)]
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.ENODEV):
                return None
            raise NetworkFailure(f"{name} cannot be looked at: {error.strerror}") from error
    ip, netmask = (socket.inet_ntoa(answer[20:24]) for answer in answers)
    return ip, netmask


def _gateway(name: str) -> str:
    """The gateway of the default route that leaves through the interface, the one used first."""
    found: list[tuple[int, str]] = []
    for line in ROUTES.read_text().splitlines()[1:]:
        interface, target, gateway, flags, _, _, metric, mask = line.split()[:8]
        if interface == name and target == mask == "00000000" and int(flags, 16) & RTF_GATEWAY:
            address = socket.inet_ntoa(struct.pack("=I", int(gateway, 16)))
            found.append((int(metric), address))
    return min(found)[1] if found else ""
