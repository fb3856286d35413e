"""The pool of one host on a real store, with a key that it trusts and patches made with it."""

from __future__ import annotations

import asyncio
import io
import itertools
import tarfile
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from xapid.datamodel.declare import Ref
from xapid.datamodel.host import Host
from xapid.datamodel.pool_patch import PoolPatch
from xapid.db.store import Store
from xapid.services.pool.archive import Manifest, make
from xapid.services.pool.files import KEYS, PatchFiles
from xapid.services.pool.patches import PatchService
from xapid.services.pool.service import PoolService

NOW = datetime(2030, 1, 1, tzinfo=UTC)
numbers = itertools.count()


@dataclass
class Caller:
    task: Ref[Any] = field(default_factory=lambda: Ref(f"OpaqueRef:task-{next(numbers)}"))
    user: str = "root"
    session: Ref[Any] = field(default_factory=lambda: Ref("OpaqueRef:session"))
    fractions: list[float] = field(default_factory=list)

    def progress(self, fraction: float) -> None:
        self.fractions.append(fraction)


def archive(files: dict[str, str | bytes], **odd: Any) -> bytes:
    """A payload; names in `odd` are members of that kind: `link="/etc/shadow"`."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755
            tar.addfile(info, io.BytesIO(data))
        for name, target in odd.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return packed.getvalue()


def script(body: str) -> str:
    return f"#!/bin/sh\n{body}\n"


class World:
    def __init__(self, state: Path, store: Store, host: Ref[Host]) -> None:
        self.state = state
        self.store = store
        self.host = host
        self.moment = NOW
        self.key = Ed25519PrivateKey.generate()
        self.files = PatchFiles(state)
        self.patches = PatchService(store, self.files, host, lambda: self.moment)
        self.pool = PoolService(store, host, state, lambda: self.moment)

    def trust(self, key: Ed25519PrivateKey, name: str = "maker") -> None:
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (self.state / KEYS / f"{name}.pub").write_bytes(public)

    def made(
        self, payload: bytes | None = None, key: Ed25519PrivateKey | None = None, **changed: Any
    ) -> bytes:
        """A whole patch, signed with the trusted key unless told otherwise."""
        values: dict[str, Any] = {
            "uuid": str(uuid.uuid4()),
            "name": "a patch",
            "description": "",
            "version": "1.0",
            "size": 0,
            "sha256": "",
            **changed,
        }
        payload = archive({"apply": script("echo applied")}) if payload is None else payload
        return make(Manifest(**values), payload, key or self.key)

    async def upload(self, patch: bytes, step: int = 1000) -> Ref[PoolPatch]:
        return await self.patches.receive(Caller(), pieces(patch, step))

    async def patch(self, files: dict[str, str | bytes], **changed: Any) -> Ref[PoolPatch]:
        """Upload a patch of these files."""
        return await self.upload(self.made(archive(files), **changed))

    def leftovers(self) -> list[str]:
        """What lies in the scratch directory, and the files of patches."""
        scratch = [p.name for p in (self.state / "patch-scratch").iterdir()]
        kept = [str(p.relative_to(self.state)) for p in (self.state / "patches").rglob("patch")]
        return sorted([*scratch, *kept])


async def pieces(data: bytes, step: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), step):
        await asyncio.sleep(0)
        yield data[start : start + step]
