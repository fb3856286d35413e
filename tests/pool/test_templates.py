"""The default templates: made once, and fit to become guests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from xapid.datamodel.host import Host
from xapid.datamodel.registry import CLASSES
from xapid.datamodel.vm import VM
from xapid.db.store import Store
from xapid.services.templates import TEMPLATES, make_default_templates
from xapid.services.vm.provision import read_wanted_disks
from xapid.services.vm.records import check_memory_order, check_vcpus
from xapid.xen.plan import BootPaths, plan_boot, plan_domain

GIB = 1 << 30


@pytest.fixture
async def fresh(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "state.db", CLASSES)
    yield store
    await store.close()


async def test_a_new_database_gets_the_templates(fresh: Store) -> None:
    await make_default_templates(fresh)

    records = fresh.all(VM)
    assert {record.name_label for record in records} == {t.name for t in TEMPLATES}
    assert all(record.is_a_template for record in records)
    assert all(record.other_config["default_template"] == "true" for record in records)


async def test_a_template_that_was_deleted_does_not_come_back(fresh: Store) -> None:
    await make_default_templates(fresh)
    await fresh.transact(lambda tx: tx.create(Host, {}))
    await fresh.transact(lambda tx: [tx.destroy(vm) for vm in fresh.refs(VM)])

    await make_default_templates(fresh)

    assert fresh.count(VM) == 0


async def test_a_start_that_ended_before_the_host_was_recorded_makes_nothing_twice(
    fresh: Store,
) -> None:
    await make_default_templates(fresh)

    await make_default_templates(fresh)

    assert fresh.count(VM) == len(TEMPLATES)


@pytest.mark.parametrize("name", [template.name for template in TEMPLATES])
async def test_each_template_can_become_a_guest(fresh: Store, name: str) -> None:
    await make_default_templates(fresh)
    record = fresh.get(fresh.by_name_label(VM, name)[0])

    check_memory_order(record.row)
    check_vcpus(record.row)
    boot = plan_boot(record)
    config = plan_domain(record, boot, BootPaths(), (), ())
    (disk,) = read_wanted_disks(record.other_config["disks"])

    assert config["c_info"]["type"] == record.domain_type
    assert (disk.device, disk.bootable, disk.size) == ("0", True, 16 * GIB)
    limits = ElementTree.fromstring(record.recommendations)  # noqa: S314 - our own
    assert limits.tag == "restrictions" and len(limits) == 5
