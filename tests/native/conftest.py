"""A mock host as its raw symbols show it, and processes that share one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid as uuids
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from xapid.xenworker._libxl_mock import ffi, lib

NULL = ffi.NULL
ANY_DOMID = lib.XAPID_INVALID_DOMID
ROOT = Path(__file__).parents[2]


class Context:
    """One libxl context with the calls that the tests make, errors as plain codes."""

    def __init__(self, logger: Any = NULL) -> None:
        holder = ffi.new("libxl_ctx **")
        assert lib.xapid_ctx_alloc(holder, logger) == 0
        self.ctx = holder[0]
        self.domid = ffi.new("uint32_t *")

    def config(self, **changes: Any) -> dict[str, Any]:
        """A guest of 256 MiB: kind, name, uuid, memory_kib, disks, nics may be given."""
        kind = changes.get("kind", "pv")
        uuid = changes.get("uuid", str(uuids.uuid4()))
        memory = changes.get("memory_kib", 262144)
        b_info: dict[str, Any] = {
            "max_vcpus": 4,
            "avail_vcpus": [0],
            f"type.{kind}": changes.get("branch", {}),
        }
        b_info |= {"max_memkb": changes.get("max_kib", memory), "target_memkb": memory}
        if kind != "hvm":
            b_info["kernel"] = "/boot/guest"
        c_info = {"type": kind, "name": changes.get("name", f"xapid-{uuid}"), "uuid": uuid}
        return {
            "c_info": c_info,
            "b_info": b_info,
            "disks": changes.get("disks", []),
            "nics": changes.get("nics", []),
        }

    def parsed(self, kind: str, value: Any) -> Any:
        struct = ffi.gc(ffi.new(f"libxl_{kind} *"), getattr(lib, f"libxl_{kind}_dispose"))
        getattr(lib, f"libxl_{kind}_init")(struct)
        assert (
            getattr(lib, f"libxl_{kind}_from_json")(self.ctx, struct, json.dumps(value).encode())
            == 0
        )
        return struct

    def written(self, kind: str, struct: Any) -> Any:
        text = getattr(lib, f"libxl_{kind}_to_json")(self.ctx, struct)
        try:
            return json.loads(ffi.string(text))
        finally:
            lib.free(text)

    def try_create(self, **changes: Any) -> int:
        config = self.parsed("domain_config", self.config(**changes))
        return int(lib.libxl_domain_create_new(self.ctx, config, self.domid, NULL, NULL))

    def create(self, *, run: bool = False, **changes: Any) -> int:
        assert self.try_create(**changes) == 0
        domid = int(self.domid[0])
        if run:
            assert lib.libxl_domain_unpause(self.ctx, domid, NULL) == 0
        return domid

    def info(self, domid: int) -> Any | None:
        info = ffi.new("libxl_dominfo *")
        rc = lib.libxl_domain_info(self.ctx, info, domid)
        assert rc in (0, lib.ERROR_DOMAIN_NOTFOUND)
        return None if rc else info

    def domids(self) -> list[int]:
        count = ffi.new("int *")
        found = lib.libxl_list_domain(self.ctx, count)
        try:
            return [found[i].domid for i in range(count[0])]
        finally:
            lib.libxl_dominfo_list_free(found, count[0])

    def listed(self, kind: str, domid: int) -> list[dict[str, Any]]:
        count = ffi.new("int *")
        found = getattr(lib, f"libxl_device_{kind}_list")(self.ctx, domid, count)
        try:
            return [self.written(f"device_{kind}", found + i) for i in range(count[0])]
        finally:
            getattr(lib, f"libxl_device_{kind}_list_free")(found, count[0])

    def watch(self, domid: int, user: int = 0) -> Any:
        evgen = ffi.new("libxl_evgen_domain_death **")
        assert lib.libxl_evenable_domain_death(self.ctx, domid, user, evgen) == 0
        return evgen[0]

    def next_event(self, *, wait: bool = True) -> tuple[int, int, int, int] | None:
        """The (type, domid, for_user, reason) of the next event, or None when there is none."""
        holder = ffi.new("libxl_event **")
        function = lib.libxl_event_wait if wait else lib.libxl_event_check
        rc = function(self.ctx, holder, lib.LIBXL_EVENTMASK_ALL, NULL, NULL)
        assert rc in (0, lib.ERROR_NOT_READY)
        if rc:
            return None
        event = holder[0]
        facts = (event.type, event.domid, event.for_user, lib.xapid_event_shutdown_reason(event))
        lib.libxl_event_free(self.ctx, event)
        return facts

    def userdata(self, domid: int, key: str = "xapid") -> bytes | None:
        data, length = ffi.new("uint8_t **"), ffi.new("int *")
        assert lib.libxl_userdata_retrieve(self.ctx, domid, key.encode(), data, length) == 0
        if data[0] == NULL:
            return None
        try:
            return bytes(ffi.buffer(data[0], length[0]))
        finally:
            lib.free(data[0])

    def close(self) -> None:
        lib.libxl_ctx_free(self.ctx)


def turn(**knobs: int) -> None:
    for name, value in knobs.items():
        assert lib.xapid_mock_set(name.encode(), value) == 0, name


def knob(name: str) -> int:
    value = ffi.new("int64_t *")
    assert lib.xapid_mock_get(name.encode(), value) == 0, name
    return int(value[0])


def fact(domid: int, name: str) -> int:
    value = ffi.new("int64_t *")
    assert lib.xapid_mock_ask(domid, name.encode(), value) == 0, name
    return int(value[0])


def fail(
    function: str,
    action: int,
    *,
    rc: int = 0,
    count: int = 1,
    domid: int = ANY_DOMID,
    uuid: str = "",
) -> None:
    assert lib.xapid_mock_fail(function.encode(), action, rc, count, domid, uuid.encode()) == 0


@pytest.fixture
def host() -> Iterator[Any]:
    """One context on a fresh host; `.turn`, `.knob`, `.fact`, `.fail`, `.another` besides."""
    assert lib.xapid_mock_reset() == 0
    turn(build_ms=1, shutdown_ms=1, domid_reuse_ms=60000)
    contexts = [Context()]
    first: Any = contexts[0]
    first.turn, first.knob, first.fact, first.fail, first.lib, first.ffi = (
        turn,
        knob,
        fact,
        fail,
        lib,
        ffi,
    )

    def another(logger: Any = NULL) -> Context:
        contexts.append(Context(logger))
        return contexts[-1]

    first.another = another
    yield first
    lib.xapid_mock_release()
    for context in contexts:
        context.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts processes that share a mock host; each runs lines of Python with `c` a Context."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "XAPID_MOCK_STATE": str(tmp_path / "host"),
    }
    prelude = f"import importlib.util as u; s = u.spec_from_file_location('shared', {__file__!r})\n"
    prelude += "h = u.module_from_spec(s); s.loader.exec_module(h)\n"
    prelude += "lib, ffi, NULL = h.lib, h.ffi, h.NULL\n"
    prelude += "c = h.Context(); say = lambda *a: print(*a, flush=True)\n"
    running: list[subprocess.Popen[str]] = []

    def run(code: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", prelude + code],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.communicate()
