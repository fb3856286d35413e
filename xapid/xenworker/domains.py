"""The list of domains: read whenever something may have changed, sent when it differs."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .context import Context
from .log import Log
from .native import LibxlError, Native
from .registry import JSON

USERDATA_KEY = b"xapid"

# What may change from one moment to the next without anything having happened.
_NOT_COMPARED = frozenset({"cpu_time_ns", "running", "blocked"})
_NAMES_PER_SCAN = 32
_SHORTEST_S = 0.02
_DYING_S = 0.1
_REST = 4
_NO_VCPU = 0xFFFFFFFF


@dataclass
class _Note:
    uuid: bytes
    name: str | None
    ours: bool
    stale: bool = False


class DomainNotes:
    """Remembers each domain's name and owner, which cost a read of xenstore and of a file each."""

    def __init__(self, native: Native) -> None:
        self._native = native
        self._notes: dict[int, _Note] = {}
        self._lock = threading.Lock()
        self._next = 0
        self.to_rewatch: set[int] = set()
        """Domids whose watch has to be made anew; the watcher empties it."""
        names = ("poweroff", "reboot", "suspend", "crash", "watchdog", "soft_reset")
        self._reasons = {
            getattr(native.lib, f"LIBXL_SHUTDOWN_REASON_{name.upper()}"): name for name in names
        }
        self._types = {
            getattr(native.lib, f"LIBXL_DOMAIN_TYPE_{name.upper()}"): name
            for name in ("pv", "pvh", "hvm")
        }

    def forget(self, domid: int) -> None:
        """Ask libxl again for the name and owner of `domid`."""
        with self._lock:
            if domid in self._notes:
                self._notes[domid].stale = True

    def rewatch(self, domid: int) -> None:
        """Watch `domid` anew: libxl reports only the first shutdown of each watch."""
        self.to_rewatch.add(domid)

    def describe_all(self, context: Context) -> list[JSON]:
        """List all domains, in the order of their domids. Raises LibxlError."""
        lib, ffi = self._native.lib, self._native.ffi
        count = ffi.new("int *")
        infos = lib.libxl_list_domain(context.handle, count)
        if infos == self._native.null:
            raise LibxlError(lib.ERROR_FAIL, "libxl_list_domain")
        try:
            with self._lock:
                domains = [self._describe(context, infos[i]) for i in range(count[0])]
                self._tidy({domain["domid"] for domain in domains})
        finally:
            lib.libxl_dominfo_list_free(infos, count[0])
        domains.sort(key=lambda domain: domain["domid"])
        return domains

    def _describe(self, context: Context, info: Any) -> JSON:
        domid = info.domid
        raw_uuid = bytes(self._native.ffi.buffer(info.uuid.uuid))
        note = self._notes.get(domid)
        if note is None or note.uuid != raw_uuid:
            note = self._notes[domid] = _Note(raw_uuid, None, False, stale=True)
        if note.stale:
            # While a domain is being destroyed both go away; what it was called stays true.
            note.name = self._read_name(context, domid) or note.name
            note.ours = note.ours or self._read_ours(context, domid)
            note.stale = note.name is None
        shutdown = info.shutdown
        return {
            "domid": domid,
            "uuid": str(uuid.UUID(bytes=raw_uuid)),
            "name": note.name,
            "ours": note.ours,
            "running": info.running,
            "blocked": info.blocked,
            "paused": info.paused,
            "shutdown": shutdown,
            "shutdown_reason": self._reasons.get(info.shutdown_reason, "none")
            if shutdown
            else "none",
            "dying": info.dying,
            "domain_type": self._types.get(info.domain_type),
            "current_memkb": info.current_memkb,
            "max_memkb": info.max_memkb,
            "cpu_time_ns": info.cpu_time,
            "vcpu_online": info.vcpu_online,
            "vcpu_max_id": -1 if info.vcpu_max_id == _NO_VCPU else info.vcpu_max_id,
        }

    def _read_name(self, context: Context, domid: int) -> str | None:
        return (
            self._native.taken_text(self._native.lib.libxl_domid_to_name(context.handle, domid))
            or None
        )

    def _read_ours(self, context: Context, domid: int) -> bool:
        try:
            return read_userdata(self._native, context, domid) is not None
        except LibxlError:
            return False

    def _tidy(self, present: set[int]) -> None:
        for domid in self._notes.keys() - present:
            del self._notes[domid]
        # Others may rename a domain and nothing tells: so read some names again each time, in turn.
        later = sorted(domid for domid in self._notes if domid >= self._next)[:_NAMES_PER_SCAN]
        for domid in later:
            self._notes[domid].stale = True
        self._next = later[-1] + 1 if later else 0


def read_userdata(native: Native, context: Context, domid: int) -> bytes | None:
    """Return what this daemon noted with the domain, None when it is not one of ours."""
    data, length = native.ffi.new("uint8_t **"), native.ffi.new("int *")
    rc = native.lib.libxl_userdata_retrieve(context.handle, domid, USERDATA_KEY, data, length)
    native.check(rc, "libxl_userdata_retrieve")
    if data[0] == native.null:
        return None
    try:
        return bytes(native.ffi.buffer(data[0], length[0]))
    finally:
        native.lib.free(data[0])


class Watcher:
    """Two threads: one waits for events, one reads the list after each and at intervals."""

    def __init__(
        self,
        native: Native,
        notes: DomainNotes,
        events: Context,
        reads: Context,
        poll_s: float,
        log: Log,
        send: Callable[[JSON], None],
    ) -> None:
        """events, reads: a context for each of the threads. send: takes the `domains` message."""
        self._native = native
        self._notes = notes
        self._events = events
        self._reads = reads
        self._poll_s = poll_s
        self._log = log
        self._send = send
        self._wake = threading.Event()
        self._watches: dict[int, Any] = {}
        self._was_shutdown: set[int] = set()
        self._last: list[JSON] | None = None
        self._generation = 0
        self._resend = threading.Event()

    def start(self) -> None:
        """Begin; both threads run until the process ends."""
        threading.Thread(target=self._wait_for_events, name="events", daemon=True).start()
        threading.Thread(target=self._look, name="domains", daemon=True).start()

    def wake(self) -> None:
        """Look at the list soon."""
        self._wake.set()

    def resend(self) -> None:
        """Send the list soon, even when it has not changed."""
        self._resend.set()
        self._wake.set()

    def _wait_for_events(self) -> None:
        lib, ffi = self._native.lib, self._native.ffi
        event = ffi.new("libxl_event **")
        while True:
            rc = lib.libxl_event_wait(
                self._events.handle, event, lib.LIBXL_EVENTMASK_ALL, ffi.NULL, ffi.NULL
            )
            if rc:
                self._log.error(f"waiting for events: {self._native.error_name(rc)}")
                time.sleep(1.0)
                continue
            lib.libxl_event_free(self._events.handle, event[0])
            self.wake()

    def _look(self) -> None:
        dying_s = _DYING_S
        while True:
            self._wake.clear()
            began = time.monotonic()
            dying, changed = False, False
            try:
                dying, changed = self._scan()
            except LibxlError as error:
                self._log.warning(f"the domains cannot be listed: {error}")
            except Exception as error:
                self._log.error(f"looking at the domains: {error!r}")
            # Nothing tells when a dying domain is gone, so look again, less and less often.
            dying_s = _DYING_S if changed else min(dying_s * 2, self._poll_s)
            took = time.monotonic() - began
            rest = max(_SHORTEST_S, _REST * took)
            time.sleep(rest)
            self._wake.wait(min(dying_s, self._poll_s) if dying else self._poll_s)

    def _scan(self) -> tuple[bool, bool]:
        """Look once. Returns whether any domain is dying, and whether the list had changed."""
        self._reads.begin()
        resend = self._resend.is_set()
        self._resend.clear()
        domains = self._notes.describe_all(self._reads)
        if self._follow(domains):
            # A domain that ended before it was watched has no event to come: look once more.
            domains = self._notes.describe_all(self._reads)
        compared = [
            {key: value for key, value in domain.items() if key not in _NOT_COMPARED}
            for domain in domains
        ]
        changed = compared != self._last
        if changed:
            self._last = compared
            self._generation += 1
        if changed or resend:
            self._send({"event": "domains", "domains": domains, "generation": self._generation})
        return any(domain["dying"] for domain in domains), changed

    def _follow(self, domains: list[JSON]) -> bool:
        """Watch each domain that lives, and no other. Returns whether any watch is new."""
        lib = self._native.lib
        living = {d["domid"] for d in domains if d["domid"] and not d["dying"]}
        shutdown = {d["domid"] for d in domains if d["shutdown"]}
        resumed = self._was_shutdown - shutdown
        self._was_shutdown = shutdown
        while self._notes.to_rewatch:
            resumed.add(self._notes.to_rewatch.pop())
        for domid in self._watches.keys() - living:
            lib.libxl_evdisable_domain_death(self._events.handle, self._watches.pop(domid))
        new = [domid for domid in living if domid not in self._watches or domid in resumed]
        for domid in new:
            # The new watch first: with none left libxl would give up its own watch of xenstore.
            before = self._watches.get(domid)
            if self._watch(domid) and before is not None:
                lib.libxl_evdisable_domain_death(self._events.handle, before)
        return bool(new)

    def _watch(self, domid: int) -> bool:
        out = self._native.ffi.new("libxl_evgen_domain_death **")
        rc = self._native.lib.libxl_evenable_domain_death(self._events.handle, domid, 0, out)
        if rc:
            self._log.warning(f"domain {domid} is not watched: {self._native.error_name(rc)}")
            return False
        self._watches[domid] = out[0]
        return True
