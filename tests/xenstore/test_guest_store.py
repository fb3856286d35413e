"""What a guest finds in xenstore when it starts."""

from __future__ import annotations

import pytest

from xapid.datamodel.errors import InvalidValue
from xapid.xen.guest_store import (
    GuestMemory,
    GuestStore,
    plan_vm_data,
    prepare_guest,
    replace_vm_data,
)
from xapid.xen.xenstore import Xenstore
from xapid.xen.xenstore_wire import Permissions, XenstoreNotFound

DOMID = 32000
TOP = f"/local/domain/{DOMID}"
MEMORY = GuestMemory(100, 300, 200)


@pytest.fixture
async def domain(store: Xenstore) -> str:
    """The directory as libxl makes it: for reading only."""
    await store.remove(TOP)
    await store.mkdir(TOP)
    await store.set_permissions(TOP, Permissions(0, grants=((DOMID, "r"),)))
    return TOP


async def test_agents_may_write_where_they_expect_to(store: Xenstore, domain: str) -> None:
    await prepare_guest(store, DOMID, GuestStore(MEMORY))

    for name in ("control", "attr", "data", "xenserver/attr", "vm-data", "memory/uncooperative"):
        assert await store.permissions(f"{domain}/{name}") == Permissions(DOMID)
    for name in ("", "/xenserver", "/memory/dynamic-max"):
        assert (await store.permissions(domain + name)).owner == 0
    assert await store.read(f"{domain}/memory/dynamic-min") == b"100"
    assert await store.read(f"{domain}/memory/dynamic-max") == b"300"
    assert await store.read(f"{domain}/memory/initial-target") == b"200"
    await store.remove(domain)


async def test_the_client_s_data_is_there(store: Xenstore, domain: str) -> None:
    plan = GuestStore(MEMORY, {"role": "web", "net/0": "x"})

    await prepare_guest(store, DOMID, plan)
    assert await store.read(f"{domain}/vm-data/role") == b"web"
    assert await store.read(f"{domain}/vm-data/net/0") == b"x"

    await replace_vm_data(store, DOMID, {"role": "db"})
    assert await store.directory(f"{domain}/vm-data") == ["role"]
    assert (await store.permissions(f"{domain}/vm-data/role")).owner == DOMID
    await store.remove(domain)


async def test_a_domain_that_has_gone_gets_no_directory(store: Xenstore) -> None:
    with pytest.raises(XenstoreNotFound):
        await prepare_guest(store, DOMID + 1, GuestStore(MEMORY))

    with pytest.raises(XenstoreNotFound):
        await store.read(f"/local/domain/{DOMID + 1}")


def test_the_prefix_of_the_data_may_be_left_out() -> None:
    assert plan_vm_data({"vm-data/a": "1", "b/c": "2"}) == {"a": "1", "b/c": "2"}


@pytest.mark.parametrize(
    "data",
    [
        {"": ""},
        {"../control/shutdown": "poweroff"},
        {"/local/domain/0/name": "x"},
        {"vm-data/": "x"},
        {"a//b": "x"},
        {"a b": "x"},
        {"a\nb": "x"},
        {"ä": "x"},
        {"a/b/c/d/e/f/g/h/i": "x"},
        {"a": "x" * 2049},
        {"a": "ä" * 1025},
        {"a": "1", "vm-data/a": "2"},
        {f"k{n}": "" for n in range(257)},
    ],
)
def test_nothing_else_can_be_named(data: dict[str, str]) -> None:
    with pytest.raises(InvalidValue):
        plan_vm_data(data)
