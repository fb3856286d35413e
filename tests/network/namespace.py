"""A network of the kernel's own for one test: a thread that has left the host's."""

from __future__ import annotations

import asyncio
import ctypes
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000


class Unsupported(Exception):  # noqa: N818
    """This kernel, or this user, cannot do it; the message says what."""


def in_namespace(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run in a thread with a network and a /sys of its own, which end with it.

    Skips the test when that cannot be had, or when the scenario raises Unsupported.
    """
    outcome: list[BaseException] = []

    def run() -> None:
        try:
            _leave()
            asyncio.run(_whole(scenario))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    for error in outcome:
        if isinstance(error, Unsupported):
            pytest.skip(str(error))
        raise error


async def _whole(scenario: Callable[[], Awaitable[None]]) -> None:
    await scenario()


def _leave() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET | CLONE_NEWNS) != 0:
        raise Unsupported(f"no network namespace: errno {ctypes.get_errno()}")
    mounts = [(b"none", b"/", None, MS_REC | MS_PRIVATE), (b"sysfs", b"/sys", b"sysfs", 0)]
    for source, target, kind, flags in mounts:
        if libc.mount(source, target, kind, flags, None) != 0:
            raise Unsupported(f"no /sys of the namespace: errno {ctypes.get_errno()}")


async def need(netlink: Any, kind: str, **values: Any) -> None:
    """Skip the test where the kernel makes no interfaces of this kind."""
    try:
        await netlink.link("add", ifname="probe", kind=kind, **values)
        index = (await netlink.link("get", ifname="probe"))[0]["index"]
    except Exception as error:
        raise Unsupported(f"this kernel makes no {kind}: {error}") from error
    await netlink.link("del", index=index)


def is_card(at: Path) -> bool:
    """In a namespace, the interfaces called eth… stand for hardware."""
    return at.name.startswith("eth") and "." not in at.name


async def add_card(netlink: Any, name: str) -> str:
    """An interface that stands for hardware; the other end of its cable, which is up."""
    far = name.replace("eth", "far")
    await netlink.link("add", ifname=name, kind="veth", peer=far)
    index = (await netlink.link("get", ifname=far))[0]["index"]
    await netlink.link("set", index=index, state="up")
    return far


async def set_state(netlink: Any, name: str, state: str) -> None:
    index = (await netlink.link("get", ifname=name))[0]["index"]
    await netlink.link("set", index=index, state=state)
