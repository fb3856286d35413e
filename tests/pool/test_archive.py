"""What is a patch, and what is none."""

from __future__ import annotations

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from xapid.datamodel.enums import AfterApplyGuidance
from xapid.services.pool.archive import (
    LENGTH,
    MAGIC,
    MAX_MANIFEST,
    Manifest,
    NotAPatch,
    head_length,
    make,
    read_head,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key()
UUID = "0dc2a4b2-7b6f-4f2f-8bb3-6c70a1f2f9a5"
MANIFEST = Manifest(
    UUID, "name", "words", "1.2", 0, "", (UUID,), (AfterApplyGuidance.RESTART_XAPI,), 60, "1.0"
)
PATCH = make(MANIFEST, b"payload", KEY)


def signed(manifest: object) -> bytes:
    """A head around any manifest, with a good signature."""
    text = manifest if isinstance(manifest, bytes) else orjson.dumps(manifest)
    said = MAGIC + LENGTH.pack(len(text)) + text
    return said + KEY.sign(said)


def said_by(manifest: Manifest) -> dict[str, object]:
    text: dict[str, object] = orjson.loads(manifest.encode())
    return text


def test_a_patch_says_what_it_was_made_with() -> None:
    head = read_head(PATCH[: head_length(PATCH)], [PUBLIC])

    assert head.manifest.guidance == MANIFEST.guidance
    assert head.manifest.requires == (UUID,)
    assert (head.manifest.size, head.whole) == (7, len(PATCH))
    assert PATCH[head.length :] == b"payload"


def test_any_of_the_trusted_keys_will_do() -> None:
    other = Ed25519PrivateKey.generate().public_key()

    read_head(PATCH[: head_length(PATCH)], [other, PUBLIC])


@pytest.mark.parametrize("keys", [[], [Ed25519PrivateKey.generate().public_key()]])
def test_without_a_key_that_signed_it_nothing_is_a_patch(keys: list[object]) -> None:
    with pytest.raises(NotAPatch, match="not signed"):
        read_head(PATCH[: head_length(PATCH)], keys)  # type: ignore[arg-type]


@given(st.integers(0, len(PATCH) - len(b"payload") - 1), st.integers(1, 255))
def test_no_byte_of_the_head_can_be_another(place: int, difference: int) -> None:
    length = head_length(PATCH)
    assert length is not None
    head = bytearray(PATCH[:length])
    head[place] ^= difference

    with pytest.raises(NotAPatch):
        read_head(bytes(head), [PUBLIC])


@given(st.binary(max_size=200))
def test_any_bytes_are_either_a_patch_or_refused(data: bytes) -> None:
    with pytest.raises(NotAPatch):
        read_head(data, [PUBLIC])


def test_the_length_of_the_head_is_told_as_soon_as_it_can_be() -> None:
    start = len(MAGIC) + LENGTH.size

    assert head_length(b"") is None
    assert head_length(PATCH[: start - 1]) is None
    assert head_length(PATCH[:start]) == len(PATCH) - len(b"payload")


@pytest.mark.parametrize("size", [0, MAX_MANIFEST + 1, 2**32 - 1])
def test_a_manifest_of_an_absurd_length_is_refused_at_once(size: int) -> None:
    with pytest.raises(NotAPatch, match="too long"):
        head_length(MAGIC + LENGTH.pack(size))


GOOD = {**said_by(MANIFEST), "size": 7, "sha256": "0" * 64}


@pytest.mark.parametrize(
    "changed",
    [
        *({"uuid": "../../etc"}, {"uuid": UUID.upper()}, {"uuid": 5}, {"requires": ["x"]}),
        *({"requires": "abc"}, {"requires": 5}, {"requires": [[]]}, {"requires": [None]}),
        *({"name": ""}, {"name": "a\x07"}, {"name": ["a"]}, {"name": "x" * 257}),
        *({"description": None}, {"version": "a b"}, {"version": ""}, {"version": "../1"}),
        *({"size": 0}, {"size": -1}, {"size": 2**31}, {"size": "7"}, {"size": True}),
        *({"sha256": "0" * 63}, {"sha256": None}, {"guidance": ["reboot"]}, {"guidance": [[]]}),
        *({"time_limit_s": 0}, {"time_limit_s": 3601}, {"server_version": 1}, {"more": 1}),
    ],
)
def test_a_signed_manifest_must_still_be_of_the_form(changed: dict[str, object]) -> None:
    read_head(signed(GOOD), [PUBLIC])

    with pytest.raises(NotAPatch):
        read_head(signed({**GOOD, **changed}), [PUBLIC])


@pytest.mark.parametrize("manifest", [b"{", b"[]", b"null", b"\xff", orjson.dumps({"uuid": UUID})])
def test_a_signed_manifest_that_is_no_manifest_is_refused(manifest: bytes) -> None:
    with pytest.raises(NotAPatch):
        read_head(signed(manifest), [PUBLIC])
