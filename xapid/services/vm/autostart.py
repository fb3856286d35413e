"""Guests that start with the host: once in each of its boots, those whose other_config says so."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from ...datamodel.declare import Ref
from ...datamodel.enums import VmPowerState
from ...datamodel.errors import ApiError, InvalidValue
from ...datamodel.host import Host
from ...datamodel.vm import VM
from ...db.failures import StorageFailure
from ...db.store import Store
from ...durable import replace_file
from ...xen.errors import XenError
from ..ports import Calls
from .lifecycle import LifecycleService

log = structlog.get_logger(__name__)

AUTO_POWERON = "auto_poweron"
"""The key of other_config, as other toolstacks have it."""
BOOLEANS = {"true": True, "1": True, "false": False, "0": False, "": False}
STARTED_IN = "guests-started"
"""File in the state directory: the boot of the host whose guests were started."""
AGAIN_AFTER_S = (20.0, 40.0, 60.0, 120.0, 240.0)
"""A host that comes up after a power cut may be earlier than its storage."""


def wants_start(record: VM) -> bool:
    """Whether a VM is to start with its host."""
    marked = BOOLEANS.get(record.other_config.get(AUTO_POWERON, "").lower(), False)
    return marked and not record.is_a_template


def check_auto_poweron(value: str) -> None:
    """Raise INVALID_VALUE for what is neither true nor false."""
    if value.lower() not in BOOLEANS:
        raise InvalidValue(f"other_config:{AUTO_POWERON}", value)


@dataclass
class AutoStart:
    """state: the daemon's state directory. boot: what tells this boot of the host from others."""

    store: Store
    calls: Calls
    lifecycle: LifecycleService
    host: Ref[Host]
    state: Path
    boot: str
    again_after_s: tuple[float, ...] = AGAIN_AFTER_S
    _starting: set[asyncio.Task[None]] = field(default_factory=set)

    async def begin(self) -> None:
        """Start the guests in the background, unless that was done in this boot."""
        if await asyncio.to_thread(self._started_in) == self.boot:
            return
        waiting = [vm.ref for vm in self.store.all(VM) if self._is_due(vm)]
        if not self.store.get(self.host).enabled:
            log.warning("the host is disabled: no guest is started with it", guests=len(waiting))
            waiting = []
        task = asyncio.create_task(self._start_all(waiting), name="start guests with the host")
        self._starting.add(task)

    async def close(self) -> None:
        """Stop starting; what was not started yet is at the daemon's next start."""
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)

    @staticmethod
    def _is_due(record: VM) -> bool:
        return wants_start(record) and record.power_state is VmPowerState.HALTED

    async def _start_all(self, waiting: list[Ref[VM]]) -> None:
        for pause_s in (0.0, *self.again_after_s):
            await asyncio.sleep(pause_s)
            done = await asyncio.gather(*map(self._start, waiting))
            waiting = [vm for vm, started in zip(waiting, done, strict=True) if not started]
            if not waiting:
                break
        for vm in waiting:
            log.error("guest not started with the host", vm=self.store.get(vm).name_label)
        await asyncio.to_thread(replace_file, self.state / STARTED_IN, self.boot.encode())

    async def _start(self, vm: Ref[VM]) -> bool:
        """Start one guest; whether nothing is left to do for it."""
        record = self.store.find(VM, vm)
        if record is None or not self._is_due(record):
            return True
        name = record.name_label
        try:
            async with self.calls.background(f"Start {name} with the host") as call:
                await self.lifecycle.start(call, vm, False, False)
        except (ApiError, XenError, StorageFailure) as error:
            log.warning("guest does not start with the host", vm=name, error=str(error))
            return False
        log.info("guest started with the host", vm=name)
        return True

    def _started_in(self) -> str:
        try:
            return (self.state / STARTED_IN).read_text().strip()
        except FileNotFoundError:
            return ""
