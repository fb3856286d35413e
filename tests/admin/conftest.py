"""A host's directories as xapid leaves them, in a directory of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from xapid.admin.backup import Places
from xapid.config import Backup, Config, Tls
from xapid.datamodel import registry
from xapid.datamodel.vm import VM
from xapid.db.store import Store


class Clock:
    """A clock that goes on by an hour at each look."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(hours=1)
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@dataclass
class Host:
    """Where a test's xapid keeps everything."""

    root: Path

    @property
    def places(self) -> Places:
        config = Config(
            state_dir=self.root / "state",
            tls=Tls(directory=self.root / "tls"),
            backup=Backup(directory=self.root / "backup", kept=3),
        )
        return Places(config, self.root / "etc")

    def places_keeping(self, directory: Path) -> Places:
        places = self.places
        return replace(
            places, config=replace(places.config, backup=Backup(directory=directory, kept=3))
        )

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        path = self.root / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    async def open(self) -> Store:
        return await Store.open(self.places.database, registry.CLASSES)

    async def name_of(self, uuid: str) -> str | None:
        """The name of a VM in the database as it is on disk; None when it has none such."""
        store = await self.open()
        ref = store.by_uuid(VM, uuid)
        found = None if ref is None else store.get(ref).name_label
        await store.close()
        return found


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path)
    made.write("state/root-password", "first-password\n")
    made.write("state/patch-keys/maker", "ed25519 key")
    made.write("tls/server.crt", "certificate", 0o644)
    made.write("tls/server.key", "private key", 0o640)
    made.write("etc/xapid.toml", "[log]\nlevel = 'info'\n", 0o644)
    made.write("etc/conf.d/50-site.toml", "[sessions]\nidle_s = 9\n", 0o644)
    made.write("etc/chap/target", "secret of a target")
    return made


@pytest.fixture
async def store(host: Host) -> AsyncIterator[Store]:
    """The database of the host while a daemon has it open."""
    opened = await host.open()
    yield opened
    await opened.close()


@pytest.fixture
async def vm(store: Store) -> str:
    """The uuid of a VM called "before"."""
    ref = await store.transact(lambda tx: tx.create(VM, {VM.name_label: "before"}))
    return store.get(ref).uuid
