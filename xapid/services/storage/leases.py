"""Who holds which disk of this host right now, and for what.

Leases live in memory only: they die with the instance that gave them and are built again from what
the domains hold.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...datamodel.declare import Ref
from ...datamodel.errors import VDIInUse
from ...datamodel.vdi import VDI


@dataclass(frozen=True)
class Lease:
    """One holder's right to a disk. holder: a VBD, or the VDI itself for work of the daemon."""

    vdi: Ref[VDI]
    holder: str
    writer: bool
    purpose: str


class Leases:
    """At most one writer a disk, and no reader beside it, unless the disk is sharable."""

    def __init__(self) -> None:
        self._by_vdi: dict[str, dict[str, Lease]] = {}

    def take(
        self, vdi: Ref[VDI], holder: str, purpose: str, *, writer: bool, sharable: bool = False
    ) -> Lease:
        """Hold a disk; taking again what one holds gives the same lease. Raises VDI_IN_USE."""
        held = self._by_vdi.get(vdi, {})
        lease = Lease(vdi, holder, writer, purpose)
        for other in held.values():
            if other.holder != holder and (writer or other.writer) and not sharable:
                raise VDIInUse(vdi, other.purpose)
        self._by_vdi.setdefault(vdi, {})[holder] = lease
        return lease

    def release(self, lease: Lease) -> None:
        """Give a lease back; nothing happens when it is not held."""
        held = self._by_vdi.get(lease.vdi, {})
        held.pop(lease.holder, None)
        if not held:
            self._by_vdi.pop(lease.vdi, None)

    def held(self, vdi: Ref[VDI]) -> bool:
        return vdi in self._by_vdi

    def written(self, vdi: Ref[VDI]) -> bool:
        """Whether somebody may write to the disk."""
        return any(lease.writer for lease in self._by_vdi.get(vdi, {}).values())

    def writes(self, vdi: Ref[VDI], holder: str) -> bool:
        """Whether this holder may write to the disk."""
        lease = self._by_vdi.get(vdi, {}).get(holder)
        return lease is not None and lease.writer
