"""Storage repositories: create, introduce, probe, scan, forget and destroy."""

from __future__ import annotations

import re
import uuid as uuids
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from ...datamodel.declare import EMPTY, Field, Ref
from ...datamodel.errors import (
    DBUniquenessConstraintViolation,
    HostNotLive,
    SRHasNoPBDs,
    SRNotEmpty,
    SRNotSharable,
    SRUUIDExists,
    UUIDInvalid,
    VDIInUse,
)
from ...datamodel.host import Host
from ...datamodel.pbd import PBD
from ...datamodel.pool import Pool
from ...datamodel.sr import SR
from ...db.store import Store
from ...db.transaction import Transaction
from ...storage.driver import Driver, Found, RepositoryMissing
from ...undo import Undo
from ..ports import Call, Operations, implements, implements_static, overrides
from .failures import storage_errors
from .kinds import StorageKinds
from .repositories import Repositories

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass
class SRService:
    store: Store
    operations: Operations
    kinds: StorageKinds
    repositories: Repositories
    host: Ref[Host]

    @implements_static(SR.get_supported_types)
    async def get_supported_types(self, call: Call) -> tuple[str, ...]:
        return self.kinds.types()

    @implements_static(SR.create)
    async def create(
        self,
        call: Call,
        host: Ref[Host],
        device_config: Mapping[str, str],
        physical_size: int,
        name_label: str,
        name_description: str,
        type: str,  # noqa: A002 (spelled as on the wire)
        content_type: str,
        shared: bool,
        sm_config: Mapping[str, str] = EMPTY,
    ) -> Ref[SR]:
        """Prepare storage, record its SR and plug it here; all of it or nothing.

        physical_size is not used: an SR is as large as what it is made on.
        """
        driver = self.kinds.get(type)
        if host != self.host:
            raise HostNotLive()
        if shared and not driver.info.shareable:
            raise SRNotSharable("", host)
        uuid = str(uuids.uuid4())
        values: dict[Field[Any], Any] = {
            SR.name_label: name_label,
            SR.name_description: name_description,
            SR.type: type,
            SR.content_type: content_type or driver.info.content_type,
            SR.shared: shared,
            SR.sm_config: dict(sm_config),
        }
        async with Undo() as undo:
            with storage_errors():
                driver.check(device_config)
                await driver.create(uuid, device_config, name_label)
                undo.add(self._unmake, driver, uuid, device_config)
            async with self.store.transaction() as tx:
                sr = tx.create(SR, values, uuid=uuid)
                pbd = tx.create(PBD, {"host": host, "SR": sr, "device_config": dict(device_config)})
            undo.add(self._drop_records, sr)
            await self.repositories.attach(self.store.get(pbd))
            undo.add(self.repositories.detach, sr)
            await self.repositories.scan(sr)
            await self.repositories.record_attached(pbd, attached=True)
            undo.commit()
        return sr

    async def _unmake(self, driver: Driver, uuid: str, device_config: Mapping[str, str]) -> None:
        await (await driver.attach(uuid, device_config)).destroy()

    async def _drop_records(self, sr: Ref[SR]) -> None:
        async with self.store.transaction() as tx:
            self._destroy_records(tx, sr)

    @implements_static(SR.make)
    async def make(
        self,
        call: Call,
        host: Ref[Host],
        device_config: Mapping[str, str],
        physical_size: int,
        name_label: str,
        name_description: str,
        type: str,  # noqa: A002
        content_type: str,
        sm_config: Mapping[str, str] = EMPTY,
    ) -> str:
        """Prepare storage for an SR that is introduced later: its uuid."""
        driver = self.kinds.get(type)
        uuid = str(uuids.uuid4())
        with storage_errors():
            driver.check(device_config)
            await driver.create(uuid, device_config, name_label)
        return uuid

    @implements_static(SR.introduce)
    async def introduce(
        self,
        call: Call,
        uuid: str,
        name_label: str,
        name_description: str,
        type: str,  # noqa: A002
        content_type: str,
        shared: bool,
        sm_config: Mapping[str, str] = EMPTY,
    ) -> Ref[SR]:
        """Record an SR that exists; its PBD is created and plugged by the caller."""
        driver = self.kinds.get(type)
        if not UUID.fullmatch(uuid):
            raise UUIDInvalid("SR", uuid[:64])
        if shared and not driver.info.shareable:
            raise SRNotSharable("", self.host)
        values: dict[Field[Any], Any] = {
            SR.name_label: name_label,
            SR.name_description: name_description,
            SR.type: type,
            SR.content_type: content_type or driver.info.content_type,
            SR.shared: shared,
            SR.sm_config: dict(sm_config),
        }
        async with self.store.transaction() as tx:
            try:
                return tx.create(SR, values, uuid=uuid)
            except DBUniquenessConstraintViolation as error:
                raise SRUUIDExists(uuid) from error

    @implements_static(SR.probe)
    async def probe(
        self,
        call: Call,
        host: Ref[Host],
        device_config: Mapping[str, str],
        type: str,  # noqa: A002
        sm_config: Mapping[str, str] = EMPTY,
    ) -> str:
        """XML that lists the SRs to be found there."""
        driver = self.kinds.get(type)
        with storage_errors():
            found = await driver.probe(device_config)
        return "".join(("<SRlist>", *map(_as_xml, found), "</SRlist>"))

    @implements(SR.scan)
    async def scan(self, call: Call, sr: Ref[SR]) -> None:
        async with self.operations.claim(call, sr, SR.scan):
            await self.repositories.scan(sr)

    @implements(SR.forget)
    async def forget(self, call: Call, sr: Ref[SR]) -> None:
        """Remove the records of an SR, its PBDs and its disks; the data stays."""
        async with self.operations.claim(call, sr, SR.forget) as record:
            self._check_unused(record, "forget")
            async with self.store.transaction() as tx:
                self._destroy_records(tx, sr)

    @implements(SR.destroy)
    async def destroy(self, call: Call, sr: Ref[SR]) -> None:
        """Wipe an SR from its storage, as its PBD on this host says where, and forget it."""
        async with self.operations.claim(call, sr, SR.destroy) as record:
            self._check_unused(record, "destroy")
            if any(not self.store.get(vdi).missing for vdi in record.VDIs):
                raise SRNotEmpty()
            pbds = [self.store.get(pbd) for pbd in record.PBDs]
            here = next((pbd for pbd in pbds if pbd.host == self.host), None)
            if here is None:
                raise SRHasNoPBDs(sr)
            await self._wipe(record, here)
            async with self.store.transaction() as tx:
                self._destroy_records(tx, sr)

    async def _wipe(self, sr: SR, pbd: PBD) -> None:
        driver = self.kinds.get(sr.type)
        with storage_errors(sr.ref):
            driver.check(pbd.device_config)
            try:
                repository = await driver.attach(sr.uuid, pbd.device_config)
            except RepositoryMissing:
                return  # an earlier try got this far
            async with Undo() as undo:
                undo.add(repository.detach)
                await repository.destroy()
                undo.commit()

    def _check_unused(self, sr: SR, operation: str) -> None:
        for ref in sr.VDIs:
            if self.store.get(ref).VBDs:
                raise VDIInUse(ref, operation)

    def _destroy_records(self, tx: Transaction, sr: Ref[SR]) -> None:
        """Remove an SR with its PBDs and disks, also from where it is the default of something."""
        record = tx.get(sr)
        for cls in (Pool, Host):
            for field in cls.fields.values():
                if field.type.name != "SR ref":
                    continue
                for holder in self.store.all(cls):
                    if holder.row[field.name] == sr:
                        tx.set(holder.ref, field, field.default)
        for ref in (*record.VDIs, *record.PBDs):
            tx.destroy(ref)
        tx.destroy(sr)

    @overrides("SR.set_shared")
    async def set_shared(self, call: Call, sr: Ref[SR], value: bool) -> None:
        if value and not self.kinds.get(self.store.get(sr).type).info.shareable:
            raise SRNotSharable(sr, self.host)
        await self.store.set(sr, SR.shared, value)


def _as_xml(found: Found) -> str:
    """One SR of a probe's answer; as everywhere on this wire, no white space between tags."""
    config = "".join(
        f"<{key}>{escape(value)}</{key}>" for key, value in found.device_config.items()
    )
    return (
        f"<SR><UUID>{escape(found.uuid)}</UUID><name-label>{escape(found.name)}</name-label>"
        f"<size>{found.size}</size><device-config>{config}</device-config></SR>"
    )
