"""Operations that read the host, and the few that change something of it."""

from __future__ import annotations

import re
from typing import Any

from .configuration import empty, from_json
from .jobs import Kind
from .native import LibxlError
from .registry import JSON, Run, operation

_DEBUG_KEYS = re.compile(r"[0-9A-Za-z*+]{1,32}")


@operation(Kind.READ)
def hello(run: Run) -> JSON:
    """Say who answers: which libxl, which Xen, how many operations at once."""
    return {
        "xen": run.native.kind,
        "libxl_version": run.native.text(run.lib.xapid_libxl_version()),
        "version_info": version_info(run),
        "max_contexts": run.max_contexts,
    }


@operation(Kind.READ)
def version_info(run: Run) -> JSON:
    """Read which Xen runs and how it was built."""
    info = run.lib.libxl_get_version_info(run.ctx)
    if info == run.native.null:
        raise LibxlError(run.lib.ERROR_FAIL, "libxl_get_version_info")
    texts = ("compiler", "compile_by", "compile_domain", "compile_date", "capabilities")
    return {
        "major": info.xen_version_major,
        "minor": info.xen_version_minor,
        "extra": run.native.text(info.xen_version_extra),
        "pagesize": info.pagesize,
        "changeset": run.native.text(info.changeset),
        "commandline": run.native.text(info.commandline),
        "build_id": run.native.text(info.build_id),
        **{name: run.native.text(getattr(info, name)) for name in texts},
    }


@operation(Kind.READ)
def physinfo(run: Run) -> JSON:
    """Read the host's CPUs, memory and abilities."""
    numbers = (
        "threads_per_core",
        "cores_per_socket",
        "max_cpu_id",
        "nr_cpus",
        "cpu_khz",
        "total_pages",
        "free_pages",
        "scrub_pages",
        "outstanding_pages",
        "nr_nodes",
        "cap_hvm",
        "cap_pv",
        "cap_hvm_directio",
        "cap_hap",
        "cap_shadow",
    )
    with empty(run, "physinfo") as info:
        run.call("libxl_get_physinfo", info)
        read: JSON = {name: getattr(info, name) for name in numbers}
        return read | {"hw_cap": list(info.hw_cap)}


@operation(Kind.READ)
def cpu_topology(run: Run) -> list[JSON]:
    """List the CPUs that are online: core, socket and node of each."""

    def read(cpu: int, place: Any) -> JSON | None:
        if place.core == run.lib.LIBXL_CPUTOPOLOGY_INVALID_ENTRY:
            return None
        return {"cpu": cpu, "core": place.core, "socket": place.socket, "node": place.node}

    return _read_list(run, "libxl_get_cpu_topology", "libxl_cputopology_list_free", read)


@operation(Kind.READ)
def numa_info(run: Run) -> list[JSON]:
    """List the memory nodes: bytes in all and free, and the distance to each node."""

    def read(node: int, info: Any) -> JSON | None:
        if info.size == run.lib.LIBXL_NUMAINFO_INVALID_ENTRY:
            return None
        distances = [info.dists[index] for index in range(info.num_dists)]
        return {"node": node, "size": info.size, "free": info.free, "distances": distances}

    return _read_list(run, "libxl_get_numainfo", "libxl_numainfo_list_free", read)


@operation(Kind.READ)
def free_memory(run: Run) -> JSON:
    """Read how much memory a new domain could have."""
    kib = run.ffi.new("uint64_t *")
    run.call("libxl_get_free_memory", kib)
    return {"free_kib": kib[0]}


@operation(Kind.READ)
def scheduler(run: Run) -> JSON:
    """Name the scheduler Xen runs."""
    value = run.call("libxl_get_scheduler")
    return {"name": run.native.text(run.lib.libxl_scheduler_to_string(value))}


@operation(Kind.READ)
def need_memory(run: Run, config: dict[str, Any]) -> JSON:
    """Reckon how much memory a domain of that configuration takes, with what Xen adds."""
    kib = run.ffi.new("uint64_t *")
    with from_json(run, "domain_config", config) as d_config:
        run.call("libxl_domain_need_memory", d_config, run.lib.XAPID_INVALID_DOMID, kib)
    return {"kib": kib[0]}


@operation(Kind.READ)
def domain_list(run: Run) -> list[JSON]:
    """List all domains."""
    return run.notes.describe_all(run.context)


@operation(Kind.QUICK)
def debug_keys(run: Run, keys: str) -> None:
    """Send debug keys to Xen, which answers on its console."""
    if not _DEBUG_KEYS.fullmatch(keys):
        raise run.refusal("keys must be 1 to 32 letters, digits, * or +")
    run.call("libxl_send_debug_keys", run.ffi.new("char[]", keys.encode()))


@operation(Kind.READ)
def console_read(run: Run, clear: bool) -> JSON:
    """Read what Xen's console ring holds; clear: and empty it."""
    reader = run.lib.libxl_xen_console_read_start(run.ctx, int(clear))
    if reader == run.native.null:
        raise LibxlError(run.lib.ERROR_FAIL, "libxl_xen_console_read_start")
    line = run.ffi.new("char **")
    parts = []
    try:
        while run.call("libxl_xen_console_read_line", reader, line):
            parts.append(run.native.text(line[0]))
    finally:
        run.lib.libxl_xen_console_read_finish(run.ctx, reader)
    return {"text": "".join(parts)}


def _read_list(run: Run, function: str, free: str, read: Any) -> list[JSON]:
    count = run.ffi.new("int *")
    items = getattr(run.lib, function)(run.ctx, count)
    if items == run.native.null:
        raise LibxlError(run.lib.ERROR_FAIL, function)
    try:
        described = [read(index, items[index]) for index in range(count[0])]
        return [item for item in described if item is not None]
    finally:
        getattr(run.lib, free)(items, count[0])
