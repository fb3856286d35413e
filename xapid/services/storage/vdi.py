"""Virtual disk images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ...datamodel.declare import EMPTY, NEVER, NULL, Field, Ref
from ...datamodel.enums import StorageOperations, VdiOperations, VdiType
from ...datamodel.errors import LocationNotUnique, UUIDInvalid, ValueNotSupported, VDIInUse
from ...datamodel.pool import Pool
from ...datamodel.sr import SR
from ...datamodel.vdi import VDI
from ...db.store import Store
from ...storage.driver import Volume
from ..ports import Call, Operations, implements, implements_static, overrides
from .failures import storage_errors
from .kinds import StorageKinds
from .leases import Leases
from .repositories import Repositories, create_record
from .sr import UUID
from .volumes import Volumes

CREATED_WITH = (VDI.name_label, VDI.name_description, VDI.type, VDI.sharable, VDI.read_only,
                VDI.other_config, VDI.xenstore_data, VDI.sm_config)  # fmt: skip
"""The fields that a client decides when it has a disk made."""


@dataclass
class VDIService:
    store: Store
    operations: Operations
    kinds: StorageKinds
    repositories: Repositories
    volumes: Volumes
    leases: Leases

    @overrides("VDI.create")
    async def create(self, call: Call, values: Mapping[str, Any]) -> Ref[VDI]:
        """An empty disk. Raises SR_NOT_ATTACHED, SR_FULL, SR_OPERATION_NOT_SUPPORTED."""
        chosen: dict[Field[Any], Any] = {
            field: values.get(field.name, field.default) for field in CREATED_WITH
        }
        return await self.volumes.create(call, values["SR"], values["virtual_size"], chosen)

    @overrides("VDI.destroy")
    async def destroy(self, call: Call, vdi: Ref[VDI]) -> None:
        await self.volumes.destroy(call, vdi)

    @implements_static(VDI.introduce)
    async def introduce(
        self,
        call: Call,
        uuid: str,
        name_label: str,
        name_description: str,
        SR: Ref[SR],  # noqa: N803 (spelled as on the wire)
        type: VdiType,  # noqa: A002
        sharable: bool,
        read_only: bool,
        other_config: Mapping[str, str],
        location: str,
        xenstore_data: Mapping[str, str] = EMPTY,
        sm_config: Mapping[str, str] = EMPTY,
        managed: bool = True,
        virtual_size: int = 0,
        physical_utilisation: int = 0,
        metadata_of_pool: Ref[Pool] = NULL,
        is_a_snapshot: bool = False,
        snapshot_time: datetime = NEVER,
        snapshot_of: Ref[VDI] = NULL,
    ) -> Ref[VDI]:
        """Record a disk that the storage holds. What storage knows itself is not taken from here.

        Raises VDI_LOCATION_MISSING, LOCATION_NOT_UNIQUE, UUID_INVALID.
        """
        if not UUID.fullmatch(uuid):
            raise UUIDInvalid("VDI", uuid[:64])
        async with self.operations.claim(call, SR, StorageOperations.VDI_INTRODUCE) as sr:
            driver, repository = self.kinds.get(sr.type), self.repositories.get(SR)
            with storage_errors(SR):
                location = location or await repository.locate(uuid)
                driver.check_location(location)
                volume = await repository.look(location)
            given: dict[Field[Any], Any] = {
                VDI.name_label: name_label,
                VDI.name_description: name_description,
                VDI.type: type,
                VDI.sharable: sharable,
                VDI.read_only: read_only,
                VDI.other_config: dict(other_config),
                VDI.xenstore_data: dict(xenstore_data),
                VDI.sm_config: dict(sm_config),
                VDI.managed: managed,
            }
            vdi = await self._record(SR, uuid, volume, given)
            await self.repositories.describe(vdi)
            await self.repositories.measure(SR)
        return vdi

    async def _record(
        self, sr: Ref[SR], uuid: str, volume: Volume, given: dict[Field[Any], Any]
    ) -> Ref[VDI]:
        facts: dict[Field[Any], Any] = {
            VDI.SR: sr,
            VDI.location: volume.location,
            VDI.virtual_size: volume.virtual_size,
            VDI.physical_utilisation: volume.physical_utilisation,
        }
        async with self.store.transaction() as tx:
            if any(tx.get(vdi).location == volume.location for vdi in tx.get(sr).VDIs):
                raise LocationNotUnique(sr, volume.location)
            return create_record(tx, given | facts, uuid)

    @implements(VDI.forget)
    async def forget(self, call: Call, vdi: Ref[VDI]) -> None:
        await self.volumes.forget(call, vdi)

    @implements(VDI.clone)
    async def clone(
        self, call: Call, vdi: Ref[VDI], driver_params: Mapping[str, str] = EMPTY
    ) -> Ref[VDI]:
        return await self.volumes.clone(call, vdi, VdiOperations.CLONE, {})

    @implements(VDI.snapshot)
    async def snapshot(
        self, call: Call, vdi: Ref[VDI], driver_params: Mapping[str, str] = EMPTY
    ) -> Ref[VDI]:
        """A read-only disk with the content of this moment."""
        return await self.volumes.clone(call, vdi, VdiOperations.SNAPSHOT, {VDI.read_only: True})

    @implements(VDI.copy)
    async def copy(
        self,
        call: Call,
        vdi: Ref[VDI],
        sr: Ref[SR] = NULL,
        base_vdi: Ref[VDI] = NULL,
        into_vdi: Ref[VDI] = NULL,
    ) -> Ref[VDI]:
        """A full copy in `sr`, or beside the original when that is null."""
        for name, value in (("base_vdi", base_vdi), ("into_vdi", into_vdi)):
            if value != NULL:
                raise ValueNotSupported(name, value, "only copies into a new disk are made")
        target = self.store.get(vdi).SR if sr == NULL else sr
        return await self.volumes.copy(call, vdi, target)

    @implements(VDI.resize)
    async def resize(self, call: Call, vdi: Ref[VDI], size: int) -> None:
        await self.volumes.resize(call, vdi, size, VdiOperations.RESIZE)

    @implements(VDI.resize_online)
    async def resize_online(self, call: Call, vdi: Ref[VDI], size: int) -> None:
        await self.volumes.resize(call, vdi, size, VdiOperations.RESIZE_ONLINE)

    @overrides("VDI.set_read_only")
    async def set_read_only(self, call: Call, vdi: Ref[VDI], value: bool) -> None:
        """Raises VDI_IN_USE while a VM has the disk: its rights were given at the plug."""
        if self.leases.held(vdi):
            raise VDIInUse(vdi, "attach")
        await self.store.set(vdi, VDI.read_only, value)
        await self.repositories.describe(vdi)

    @overrides("VDI.set_name_label")
    async def set_name_label(self, call: Call, vdi: Ref[VDI], value: str) -> None:
        await self.store.set(vdi, VDI.name_label, value)
        await self.repositories.describe(vdi)

    @overrides("VDI.set_name_description")
    async def set_name_description(self, call: Call, vdi: Ref[VDI], value: str) -> None:
        await self.store.set(vdi, VDI.name_description, value)
        await self.repositories.describe(vdi)
