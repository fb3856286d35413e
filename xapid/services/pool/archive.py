"""The format of a patch: a signed head that says everything, and the payload it vouches for.

docs/patches.md describes it. Reading is strict: what is not exactly of the form is not a patch.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import structlog
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from ...datamodel.enums import AfterApplyGuidance
from ...db.text import is_valid_text

log = structlog.get_logger(__name__)

MAGIC: Final = b"xapid-patch 1\n"
LENGTH: Final = struct.Struct(">I")
SIGNATURE: Final = 64  # bytes of an Ed25519 signature
MAX_MANIFEST: Final = 64 << 10
MAX_PAYLOAD: Final = 1 << 30
MAX_HEAD: Final = len(MAGIC) + LENGTH.size + MAX_MANIFEST + SIGNATURE
MAX_TIME_S: Final = 3600
MAX_KEYS: Final = 64

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~_-]{0,63}")


class NotAPatch(Exception):  # noqa: N818
    """The bytes are no patch, or nobody who is trusted signed them; the text says which."""


@dataclass(frozen=True)
class Manifest:
    """What a patch says of itself.

    size, sha256: of the payload. requires: uuids of patches that must be applied before.
    time_limit_s: how long each of its scripts may run. server_version: of xapid; "" for any.
    """

    uuid: str
    name: str
    description: str
    version: str
    size: int
    sha256: str
    requires: tuple[str, ...] = ()
    guidance: tuple[AfterApplyGuidance, ...] = ()
    time_limit_s: int = 600
    server_version: str = ""

    def encode(self) -> bytes:
        return orjson.dumps(self, option=orjson.OPT_SORT_KEYS)


@dataclass(frozen=True)
class Head:
    """The verified beginning of a patch. length: bytes before the payload."""

    manifest: Manifest
    length: int

    @property
    def whole(self) -> int:
        """Bytes of the whole file."""
        return self.length + self.manifest.size


def head_length(beginning: bytes) -> int | None:
    """Bytes of the head, once enough has come to tell; None before. Raises NotAPatch."""
    if not beginning.startswith(MAGIC[: len(beginning)]):
        raise NotAPatch("it does not begin as a patch does")
    start = len(MAGIC)
    if len(beginning) < start + LENGTH.size:
        return None
    (size,) = LENGTH.unpack_from(beginning, start)
    if not 0 < size <= MAX_MANIFEST:
        raise NotAPatch("its manifest is too long")
    return int(start + LENGTH.size + size + SIGNATURE)


def read_head(head: bytes, keys: Iterable[Ed25519PublicKey]) -> Head:
    """Check the signature, and only then read what was signed. Raises NotAPatch."""
    length = head_length(head)
    if length is None or len(head) != length:
        raise NotAPatch("it ends too early")
    signed, signature = head[:-SIGNATURE], head[-SIGNATURE:]
    if not any(_signed_by(key, signature, signed) for key in keys):
        raise NotAPatch("it is not signed with a key that this host trusts")
    return Head(_manifest(signed[len(MAGIC) + LENGTH.size :]), length)


def _signed_by(key: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def _manifest(text: bytes) -> Manifest:
    try:
        said: Any = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise NotAPatch("its manifest is not JSON") from error
    if not isinstance(said, dict) or not said.keys() <= Manifest.__dataclass_fields__.keys():
        raise NotAPatch("its manifest has unknown parts")
    try:
        given = {
            **said,
            "requires": tuple(said.get("requires", ())),
            "guidance": tuple(AfterApplyGuidance(each) for each in said.get("guidance", ())),
        }
        manifest = Manifest(**given)
    except (TypeError, ValueError) as error:
        raise NotAPatch("its manifest lacks a part, or has one that does not exist") from error
    check_manifest(manifest)
    return manifest


def check_manifest(manifest: Manifest) -> None:
    """Every part is of its form. Raises NotAPatch."""
    for uuid in (manifest.uuid, *manifest.requires):
        _require(isinstance(uuid, str) and _UUID.fullmatch(uuid) is not None, "uuid")
    for part, limit in (("name", 256), ("description", 4096)):
        text = getattr(manifest, part)
        _require(isinstance(text, str) and len(text) <= limit and is_valid_text(text), part)
    _require(bool(manifest.name), "name")
    _require(_is_version(manifest.version), "version")
    _require(
        manifest.server_version == "" or _is_version(manifest.server_version), "server_version"
    )
    _require(_is_int(manifest.size, 1, MAX_PAYLOAD), "size")
    _require(_is_int(manifest.time_limit_s, 1, MAX_TIME_S), "time_limit_s")
    digest = manifest.sha256
    _require(isinstance(digest, str) and _DIGEST.fullmatch(digest) is not None, "sha256")
    _require(len(manifest.requires) <= 256 and len(manifest.guidance) <= 4, "requires")


def _require(right: bool, part: str) -> None:
    if not right:
        raise NotAPatch(f"the {part} in its manifest is not of its form")


def _is_version(text: object) -> bool:
    return isinstance(text, str) and _VERSION.fullmatch(text) is not None


def _is_int(number: object, low: int, high: int) -> bool:
    return type(number) is int and low <= number <= high


def make(manifest: Manifest, payload: bytes, key: Ed25519PrivateKey) -> bytes:
    """A whole patch; size and sha256 are taken from the payload. Raises NotAPatch."""
    digest = hashlib.sha256(payload).hexdigest()
    said = {name: getattr(manifest, name) for name in Manifest.__dataclass_fields__}
    complete = Manifest(**{**said, "size": len(payload), "sha256": digest})
    check_manifest(complete)
    text = complete.encode()
    signed = MAGIC + LENGTH.pack(len(text)) + text
    return signed + key.sign(signed) + payload


def read_keys(directory: Path) -> list[Ed25519PublicKey]:
    """The trusted keys: each `NAME.pub` holds one Ed25519 public key as PEM. [] without any.

    A file that is not of the form is named in the log and trusts nobody.
    """
    found = (_read_key(path) for path in sorted(directory.glob("*.pub"))[:MAX_KEYS])
    return [key for key in found if key is not None]


def _read_key(path: Path) -> Ed25519PublicKey | None:
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        log.warning("this file holds no public key of a patch's maker", path=path, why=str(error))
        return None
    if isinstance(key, Ed25519PublicKey):
        return key
    log.warning("this key is of another kind than Ed25519", path=path)
    return None
