"""The records of the host say what Xen says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from xapid.datamodel.host import Host
from xapid.datamodel.host_cpu import HostCpu
from xapid.datamodel.pool import Pool
from xapid.datamodel.vm import VM
from xapid.db.store import Store
from xapid.services.host import introduce_host, read_facts
from xapid.services.host.processor import UNKNOWN, Processor, flag_names, read_processor
from xapid.xen.client import XenClient

from .world import DOM0, NOW, PHYSICAL, PLACES, PlayedXen, World


async def facts_of(xen: Any) -> Any:
    return replace(await read_facts(xen), processor=Processor("GenuineIntel", 6, 63, "Xeon", "2"))


async def test_the_host_shows_what_xl_info_shows(world: World) -> None:
    record = world.record

    shown = {name: record.cpu_configuration[name] for name in ("nr_cpus", "cpu_mhz", "virt_caps")}
    assert shown == {"nr_cpus": "4", "cpu_mhz": "2400", "virt_caps": "pv hvm hap shadow"}
    assert record.cpu_configuration["hw_caps"].startswith("00000003:00000001:")
    assert record.cpu_configuration["socket_count"] == "1"
    assert record.software_version["xen"] == "4.17.5"
    assert record.capabilities == ("xen-3.0-x86_64", "hvm-3.0-x86_64")
    assert record.sched_policy == "credit2"
    assert record.supported_bootloaders == ("pygrub",)
    assert (record.API_version_major, record.API_version_minor) == (1, 1)


async def test_the_overhead_is_what_is_neither_free_nor_given_to_a_domain(world: World) -> None:
    used = (PHYSICAL.total_pages - PHYSICAL.free_pages) * 4096

    assert world.record.memory_overhead == used - DOM0.current_memkb * 1024


async def test_each_processor_that_is_online_has_a_record(store: Store) -> None:
    xen = PlayedXen()
    await introduce_host(store, await facts_of(xen), NOW)

    cpus = {cpu.number: cpu for cpu in store.all(HostCpu)}

    assert sorted(cpus) == [0, 1, 2, 3]
    assert (cpus[0].vendor, cpus[0].family, cpus[0].model) == ("GenuineIntel", 6, 63)
    assert (cpus[3].modelname, cpus[3].stepping) == ("Xeon", "2")
    assert cpus[0].flags == "fpu vme sse3 svm"
    assert cpus[0].speed == 2400


async def test_the_records_follow_a_processor_that_went_offline(store: Store) -> None:
    xen = PlayedXen()
    await introduce_host(store, await facts_of(xen), NOW)
    kept = {cpu.number: cpu.uuid for cpu in store.all(HostCpu)}

    xen.places = [PLACES[0], PLACES[2]]
    await introduce_host(store, await facts_of(xen), NOW)

    assert {c.number: c.uuid for c in store.all(HostCpu)} == {0: kept[0], 2: kept[2]}


async def test_a_second_start_makes_nothing_again(store: Store) -> None:
    xen = PlayedXen()
    await introduce_host(store, await facts_of(xen), NOW)
    before = {cls: store.refs(cls) for cls in (Host, Pool, VM, HostCpu)}

    await introduce_host(store, await facts_of(xen), NOW)

    assert {cls: store.refs(cls) for cls in (Host, Pool, VM, HostCpu)} == before


async def test_the_facts_can_be_read_from_a_worker(store: Store, mock_xen: XenClient) -> None:
    physical = await mock_xen.physinfo()
    host = await introduce_host(store, await read_facts(mock_xen), NOW)

    record = store.get(host)

    assert record.cpu_configuration["nr_cpus"] == str(physical.nr_cpus)
    assert store.count(HostCpu) == physical.nr_cpus
    assert 0 <= record.memory_overhead < physical.total_pages * 4096


def test_the_maker_is_read_from_the_kernels_alias(tmp_path: Path) -> None:
    alias = tmp_path / "modalias"
    alias.write_text("cpu:type:x86,ven0002fam0019mod0021:feature:,0000,0001\n")

    found = read_processor(alias, tmp_path / "none")

    assert found == Processor("AuthenticAMD", 25, 33)
    assert found.model_name == "AuthenticAMD family 25 model 33"


def test_the_makers_words_and_the_revision_are_those_of_the_first_processor(tmp_path: Path) -> None:
    alias, cpuinfo = tmp_path / "modalias", tmp_path / "cpuinfo"
    alias.write_text("cpu:type:x86,ven0000fam0006mod003F:feature:,0000,0001\n")
    cpuinfo.write_text(
        "processor\t: 0\nmodel\t\t: 63\nmodel name\t: Intel(R)  Xeon(R) CPU  @ 2.40GHz\n"
        "stepping\t: 2\n\nprocessor\t: 1\nmodel name\t: other\nstepping\t: 9\n"
    )

    found = read_processor(alias, cpuinfo)

    assert (found.model_name, found.stepping) == ("Intel(R) Xeon(R) CPU @ 2.40GHz", "2")


def test_what_the_kernel_does_not_know_of_the_processor_stays_unknown(tmp_path: Path) -> None:
    alias, cpuinfo = tmp_path / "modalias", tmp_path / "cpuinfo"
    alias.write_text("cpu:type:x86,ven0000fam0006mod003F:feature:,0000,0001\n")
    cpuinfo.write_text("processor\t: 0\nmodel name\t: \x1b[2J\nstepping\t: unknown\n")

    found = read_processor(alias, cpuinfo)

    assert (found.brand, found.stepping) == ("", "")


def test_an_alias_that_is_not_there_or_says_nothing_leaves_the_maker_unknown(
    tmp_path: Path,
) -> None:
    alias = tmp_path / "modalias"
    alias.write_text("cpu:type:aarch64:feature:,0000\n")

    assert read_processor(alias) == UNKNOWN
    assert read_processor(tmp_path / "none") == UNKNOWN
    assert UNKNOWN.model_name == ""


def test_bits_have_the_names_of_the_processor_manuals() -> None:
    hw_cap = [1 << 25 | 1 << 26, 1 << 5, 1 << 29, 1 << 2, 0, 1 << 5]

    assert flag_names(hw_cap) == ["sse", "sse2", "vmx", "lm", "svm", "avx2"]
