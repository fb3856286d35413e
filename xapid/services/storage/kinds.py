"""The kinds of storage there are, and the SM records that tell clients of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...datamodel.declare import Field, Ref
from ...datamodel.errors import SRUnknownDriver
from ...datamodel.sm import SM
from ...db.store import Store
from ...storage.driver import Capability, Driver

API_VERSION = "1.1"


class StorageKinds:
    """Drivers by the type that SR.type names."""

    def __init__(self, store: Store, drivers: Iterable[Driver]) -> None:
        self._store = store
        self._drivers = {driver.info.type: driver for driver in drivers}

    def types(self) -> tuple[str, ...]:
        return tuple(sorted(self._drivers))

    def get(self, kind: str) -> Driver:
        """The driver of an SR.type. Raises SR_UNKNOWN_DRIVER."""
        try:
            return self._drivers[kind]
        except KeyError:
            raise SRUnknownDriver(kind) from None

    def can(self, kind: str, capability: Capability, location: str = "") -> bool:
        """Whether SRs of this type, or their disk at `location`, can do that.

        False for an unknown type.
        """
        driver = self._drivers.get(kind)
        if driver is None or capability not in driver.info.capabilities:
            return False
        lacking = driver.info.lacking.items()
        return not any(location.endswith(end) and capability in those for end, those in lacking)

    async def publish(self) -> None:
        """Keep one SM record for each driver that exists, and no other."""
        async with self._store.transaction() as tx:
            records: dict[str, Ref[SM]] = {}
            for record in self._store.all(SM):
                if record.type in self._drivers and record.type not in records:
                    records[record.type] = record.ref
                else:
                    tx.destroy(record.ref)
            for kind, driver in self._drivers.items():
                info = driver.info
                values: dict[Field[Any], Any] = {
                    SM.name_label: info.name,
                    SM.name_description: info.description,
                    SM.type: kind,
                    SM.vendor: info.vendor,
                    SM.copyright: info.copyright,
                    SM.version: info.version,
                    SM.required_api_version: API_VERSION,
                    SM.configuration: dict(info.configuration),
                    SM.capabilities: tuple(sorted(map(str, info.capabilities))),
                }
                if kind in records:
                    tx.update(records[kind], values)
                else:
                    tx.create(SM, values)

    async def close(self) -> None:
        for driver in self._drivers.values():
            await driver.close()
