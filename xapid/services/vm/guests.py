"""Running guests, as the services of their devices need them."""

from __future__ import annotations

from dataclasses import dataclass

from ...datamodel.declare import Ref
from ...datamodel.enums import VmPowerState
from ...datamodel.errors import VMBadPowerState
from ...datamodel.vm import VM
from ...db.store import Store

WITH_DOMAIN = (VmPowerState.RUNNING, VmPowerState.PAUSED)


@dataclass
class GuestDomains:
    """Implements `ports.Guests`."""

    store: Store

    def domid(self, vm: Ref[VM]) -> int:
        """The guest's domain. Raises VM_BAD_POWER_STATE when it has none."""
        record = self.store.get(vm)
        if record.power_state not in WITH_DOMAIN:
            raise VMBadPowerState(vm, "/".join(sorted(WITH_DOMAIN)), record.power_state)
        return record.domid
