"""Values as people type them, and what becomes of those that make no sense."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xapid.xe.catalogue import BOOL, FLOAT, INT, STRINGS, Type
from xapid.xe.failures import UsageError
from xapid.xe.values import human_size, plain, read_int, read_value


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("0", 0),
        ("-1", -1),
        ("512MiB", 512 << 20),
        ("1 KiB", 1024),
        ("4gib", 4 << 30),
        ("1.5TiB", 3 << 39),
        ("0.1KiB", 102),
    ],
)
def test_a_size_is_read_with_its_unit(text: str, bytes_: int) -> None:
    assert read_int(text, "memory") == bytes_


@pytest.mark.parametrize("text", ["", "4GB", "4G", "x", "1.5", "١٢", "1e3", "9" * 30, "--1"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="512MiB"):
        read_int(text, "memory")


@given(st.integers(min_value=0, max_value=1 << 62))
def test_a_number_of_bytes_is_read_as_it_is_written(count: int) -> None:
    assert read_int(str(count), "size") == count


@given(st.integers(min_value=0, max_value=1 << 20), st.sampled_from(["KiB", "MiB", "GiB", "TiB"]))
def test_what_is_shown_exactly_is_read_back_the_same(count: int, unit: str) -> None:
    size = read_int(f"{count}{unit}", "size")

    shown = human_size(size)

    assert "." in shown or read_int(shown, "size") == size


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        (BOOL, "TRUE", True),
        (BOOL, "no", False),
        (INT, "4KiB", "4096"),
        (FLOAT, "1.5", 1.5),
        (STRINGS, "a, b;c", ["a", "b", "c"]),
        (Type("enum", "vbd_mode"), "ro", "RO"),
        (Type("enum", "on_crash_behaviour"), "coredump-and-destroy", "coredump_and_destroy"),
    ],
)
def test_each_type_is_read_as_the_wire_has_it(type_: Type, text: str, value: Any) -> None:
    assert read_value(type_, text, "x") == value


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        (BOOL, "maybe"),
        (FLOAT, "much"),
        (Type("enum", "vbd_mode"), "WO"),
        (Type("datetime"), "yesterday"),
        (Type("map", item=Type("string")), "a=b"),
    ],
)
def test_what_is_not_of_the_type_is_refused(type_: Type, text: str) -> None:
    with pytest.raises(UsageError, match="x"):
        read_value(type_, text, "x")


def test_a_time_is_sent_as_the_wire_has_it_and_shown_as_people_read_it() -> None:
    sent = read_value(Type("datetime"), "2026-11-24 08:30", "when")

    assert str(sent) == "20261124T08:30:00Z"
    assert plain(Type("datetime"), sent) == "2026-11-24T08:30:00Z"


def test_null_references_are_none_and_power_states_have_the_form_of_old() -> None:
    assert plain(Type("ref", "VM"), "OpaqueRef:NULL") is None
    assert plain(Type("enum", "vm_power_state"), "Running") == "running"
