"""What xapid-xen answers, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

DomainType = Literal["pv", "pvh", "hvm"]
ShutdownReason = Literal["none", "poweroff", "reboot", "suspend", "crash", "watchdog", "soft_reset"]
JSON = dict[str, Any]
"""One of libxl's structures as libxl spells it."""


@dataclass(frozen=True, slots=True)
class Domain:
    """One domain as Xen sees it at one moment; domain 0 is among them."""

    domid: int
    uuid: str
    name: str | None
    """None for a domain whose making ended before Xen's store knew of it: tell it by its uuid."""
    ours: bool
    """Whether its making by this daemon was completed; a domain under way is not ours yet."""
    running: bool
    blocked: bool
    paused: bool
    shutdown: bool
    """The guest has ended, for the reason given; the domain is still there."""
    shutdown_reason: ShutdownReason
    dying: bool
    domain_type: DomainType | None
    """Xen's own view, which calls a PVH domain "hvm"."""
    current_memkb: int
    max_memkb: int
    cpu_time_ns: int
    vcpu_online: int
    vcpu_max_id: int
    """-1 while it has no vCPUs yet."""


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """Which Xen runs and how it was built."""

    major: int
    minor: int
    extra: str
    pagesize: int
    changeset: str
    commandline: str
    build_id: str
    compiler: str
    compile_by: str
    compile_domain: str
    compile_date: str
    capabilities: str


@dataclass(frozen=True, slots=True)
class Hello:
    """Who answers on the other side."""

    xen: Literal["libxl", "mock"]
    libxl_version: str
    version_info: VersionInfo
    max_contexts: int


@dataclass(frozen=True, slots=True)
class PhysInfo:
    """The host's CPUs, memory (in pages of VersionInfo.pagesize bytes) and abilities."""

    threads_per_core: int
    cores_per_socket: int
    max_cpu_id: int
    nr_cpus: int
    cpu_khz: int
    total_pages: int
    free_pages: int
    scrub_pages: int
    outstanding_pages: int
    nr_nodes: int
    cap_hvm: bool
    cap_pv: bool
    cap_hvm_directio: bool
    cap_hap: bool
    cap_shadow: bool
    hw_cap: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CpuPlace:
    """Where one of the host's CPUs sits."""

    cpu: int
    core: int
    socket: int
    node: int


@dataclass(frozen=True, slots=True)
class NumaNode:
    """One memory node of the host; sizes in bytes."""

    node: int
    size: int
    free: int
    distances: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Vcpu:
    """One vCPU of a domain; `cpu` is where it last ran, None while it is offline."""

    vcpu: int
    cpu: int | None
    online: bool
    blocked: bool
    running: bool
    time_ns: int
    hard: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SchedParams:
    """A domain's share of the CPUs; cap in percent of one CPU, 0 for none."""

    scheduler: str
    weight: int
    cap: int


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk of a domain; state is its backend's xenbus state (4: connected), None if unknown."""

    disk: JSON
    state: int | None
    devid: int | None


@dataclass(frozen=True, slots=True)
class Nic:
    """A network interface of a domain; state as for a disk."""

    nic: JSON
    state: int | None
    devid: int | None


@dataclass(frozen=True, slots=True)
class VcpuSample:
    """One vCPU at one moment; `cpu` is where it last ran, None while it is offline."""

    vcpu: int
    cpu: int | None
    running: bool
    blocked: bool
    time_ns: int


@dataclass(frozen=True, slots=True)
class DomainSample:
    """One domain at one moment, which `at_ns` gives on the monotonic clock."""

    domid: int
    uuid: str
    at_ns: int
    state: tuple[str, ...]
    memory_kib: int
    vcpus: tuple[VcpuSample, ...]
    scheduling: SchedParams | None


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters of the host and of every domain; memory in KiB.

    idle_ns: how long each of the host's CPUs has had nothing to do, by number.
    """

    at_ns: int
    total_kib: int
    free_kib: int
    idle_ns: tuple[int, ...]
    domains: tuple[DomainSample, ...]


def sample_from(value: JSON) -> Sample:
    """Read the answer to `sample`."""
    domains = tuple(_domain_sample(each) for each in value["domains"])
    return Sample(**(value | {"idle_ns": tuple(value["idle_ns"]), "domains": domains}))


def _domain_sample(value: JSON) -> DomainSample:
    params = value["scheduling"]
    return DomainSample(
        **(
            value
            | {
                "state": tuple(value["state"]),
                "vcpus": tuple(VcpuSample(*each) for each in value["vcpus"]),
                "scheduling": None if params is None else SchedParams(**params),
            }
        )
    )


def physinfo_from(value: JSON) -> PhysInfo:
    """Read the answer to `physinfo`."""
    return PhysInfo(**(value | {"hw_cap": tuple(value["hw_cap"])}))


def hello_from(value: JSON) -> Hello:
    """Read the answer to `hello`."""
    return Hello(**(value | {"version_info": VersionInfo(**value["version_info"])}))


def numa_node_from(value: JSON) -> NumaNode:
    """Read one item of the answer to `numa_info`."""
    return NumaNode(**(value | {"distances": tuple(value["distances"])}))


def vcpu_from(value: JSON) -> Vcpu:
    """Read one item of the answer to `vcpu_list`."""
    return Vcpu(**(value | {"hard": tuple(value["hard"])}))
