"""Operations on the life of a domain: from nothing to running, to disk and back, to its end."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .configuration import empty, from_json, to_json
from .domains import USERDATA_KEY, read_userdata
from .jobs import Kind
from .native import LibxlError
from .registry import JSON, Run, operation

_GONE_WITHIN_S = 60.0
_CLEANUP_TRIES = 3

_making: set[uuid.UUID] = set()
_making_lock = threading.Lock()


@operation(Kind.BUILD)
def domain_create(run: Run, config: dict[str, Any], userdata: str, paused: bool = True) -> JSON:
    """Build a domain and leave it paused. On failure nothing of it is left behind."""

    def build(d_config: Any, domid: Any) -> None:
        run.start("libxl_domain_create_new", d_config, domid, run.native.null)

    if not paused:
        raise run.refusal("a domain is always made paused")
    return _make(run, config, userdata, build)


@operation(Kind.BUILD)
def domain_restore(run: Run, config: dict[str, Any], userdata: str, path: str, offset: int) -> JSON:
    """Build a domain from what domain_suspend wrote at `offset` of `path`, and leave it paused."""
    with _opened(run, path, os.O_RDONLY, offset) as fd:

        def build(d_config: Any, domid: Any) -> None:
            function = "xapid_domain_create_restore"
            rc = run.lib.xapid_domain_create_restore(run.ctx, d_config, domid, fd)
            run.native.check(rc, function)

        return _make(run, config, userdata, build)


@operation(Kind.SLOW)
def domain_suspend(run: Run, domid: int, path: str, offset: int, live: bool = False) -> JSON:
    """Write the domain's state to an existing file or device, and to its medium, from `offset` on.

    The domain is left as libxl leaves it: stopped with the reason "suspend".
    """
    _check_not_control_domain(run, domid)
    flags = run.lib.LIBXL_SUSPEND_LIVE if live else 0
    with _opened(run, path, os.O_WRONLY, offset) as fd:
        run.start("libxl_domain_suspend", domid, fd, flags)
        try:
            os.fsync(fd)
            return {"end_offset": os.lseek(fd, 0, os.SEEK_CUR)}
        except OSError as error:
            raise LibxlError(run.lib.ERROR_FAIL, "fsync", str(error)) from None


@operation(Kind.QUICK)
def domain_resume(run: Run, domid: int) -> None:
    """Let a domain that stopped to be suspended go on where it was."""
    run.start("libxl_domain_resume", domid, 1)
    run.notes.rewatch(domid)


@operation(Kind.QUICK)
def domain_pause(run: Run, domid: int) -> None:
    """Stop the domain's vCPUs."""
    _check_not_control_domain(run, domid)
    run.start("libxl_domain_pause", domid)


@operation(Kind.QUICK)
def domain_unpause(run: Run, domid: int) -> None:
    """Let the domain's vCPUs run."""
    run.start("libxl_domain_unpause", domid)


@operation(Kind.SLOW)
def domain_shutdown(run: Run, domid: int) -> None:
    """Ask the guest to power off; ends when it has taken the request, not when it is off."""
    _check_not_control_domain(run, domid)
    run.start("libxl_domain_shutdown", domid)


@operation(Kind.SLOW)
def domain_reboot(run: Run, domid: int) -> None:
    """Ask the guest to reboot; ends when it has taken the request."""
    _check_not_control_domain(run, domid)
    run.start("libxl_domain_reboot", domid)


@operation(Kind.QUICK, excludes_domain=True)
def domain_destroy(run: Run, domid: int, uuid: str) -> None:
    """End the domain by force and wait until it is gone. Refused unless it has that uuid."""
    _check_not_control_domain(run, domid)
    wanted = _parse_uuid(run, uuid)
    if _uuid_of(run, domid) != wanted:
        raise LibxlError(
            run.lib.ERROR_DOMAIN_NOTFOUND, "domain_destroy", f"domain {domid} is not {uuid}"
        )
    run.start("libxl_domain_destroy", domid)
    _wait_until_gone(run, domid, wanted, run.job.pause)


@operation(Kind.QUICK, excludes_domain=True)
def domain_config(run: Run, domid: int) -> JSON:
    """Read the configuration the domain has now."""
    with empty(run, "domain_config") as d_config:
        run.start("libxl_retrieve_domain_configuration", domid, d_config)
        return to_json(run, "domain_config", d_config)


@operation(Kind.READ)
def userdata_get(run: Run, domid: int) -> JSON:
    """Read what was noted with the domain; null when it is not ours."""
    data = read_userdata(run.native, run.context, domid)
    return {"data": None if data is None else data.decode("utf-8", "replace")}


@operation(Kind.QUICK)
def userdata_set(run: Run, domid: int, data: str) -> None:
    """Note `data` with the domain; from then on it is ours."""
    _store_userdata(run, domid, data)


@operation(Kind.QUICK)
def rename(run: Run, domid: int, name: str) -> None:
    """Change the name the domain has in Xen."""
    _check_not_control_domain(run, domid)
    run.call("libxl_domain_rename", domid, run.native.null, name.encode())
    run.notes.forget(domid)


@operation(Kind.SLOW)
def core_dump(run: Run, domid: int, path: str) -> None:
    """Write the domain's memory to a new file, or to a file or block device that is there.

    A file that was there is left at least as long as it was: it is a disk of that size.
    """
    target = Path(path)
    if not target.is_absolute() or "\0" in path or target.is_symlink():
        raise run.refusal("path must be absolute and no link")
    if target.exists() and not (target.is_file() or target.is_block_device()):
        raise run.refusal("path must be a file or a block device")
    before = target.stat().st_size if target.is_file() else 0
    try:
        run.start("libxl_domain_core_dump", domid, path.encode())
    finally:
        if before and before > target.stat().st_size:
            os.truncate(target, before)


@operation(Kind.QUICK)
def send_trigger(run: Run, domid: int, trigger: str, vcpu: int = 0) -> None:
    """Send an ACPI or interrupt trigger: power, sleep, nmi, init, reset or s3resume."""
    value = run.ffi.new("libxl_trigger *")
    if run.lib.libxl_trigger_from_string(trigger.encode(), value):
        raise run.refusal(f"{trigger!r} is not a trigger")
    run.start("libxl_send_trigger", domid, value[0], vcpu)


@operation(Kind.QUICK)
def send_sysrq(run: Run, domid: int, key: str) -> None:
    """Send a magic SysRq key to a Linux guest."""
    if len(key) != 1 or not key.isascii() or not key.isalnum():
        raise run.refusal("key must be one letter or digit")
    run.call("libxl_send_sysrq", domid, key.encode())


@operation(Kind.READ)
def console_tty(run: Run, domid: int) -> JSON:
    """Find the terminal of the domain's primary console. Fails until it is known."""
    path = run.ffi.new("char **")
    run.call("libxl_primary_console_get_tty", domid, path)
    found = run.native.taken_text(path[0])
    if not found:
        raise LibxlError(run.lib.ERROR_NOT_READY, "libxl_primary_console_get_tty", "no tty yet")
    return {"path": found}


def _make(run: Run, config: JSON, userdata: str, build: Callable[[Any, Any], None]) -> JSON:
    wanted = _parse_uuid(run, config.get("c_info", {}).get("uuid"))
    with from_json(run, "domain_config", config) as d_config, _only_maker(run, wanted):
        if _find(run, wanted) is not None:
            raise run.refusal(f"a domain with uuid {wanted} exists already")
        domid = run.ffi.new("uint32_t *", run.lib.XAPID_INVALID_DOMID)
        try:
            build(d_config, domid)
            _store_userdata(run, domid[0], userdata)
            run.job.check_cancelled()
        except BaseException:
            # libxl keeps a half-made domain after an abort and after some failures.
            with run.job.unabortable():
                _destroy_leftover(run, wanted)
            raise
        return {"domid": domid[0]}


@contextlib.contextmanager
def _only_maker(run: Run, wanted: uuid.UUID) -> Iterator[None]:
    with _making_lock:
        if wanted in _making:
            raise run.refusal(f"a domain with uuid {wanted} is being made already")
        _making.add(wanted)
    try:
        yield
    finally:
        with _making_lock:
            _making.discard(wanted)


def _destroy_leftover(run: Run, wanted: uuid.UUID) -> None:
    for remaining in reversed(range(_CLEANUP_TRIES)):
        with contextlib.suppress(LibxlError):
            domid = _find(run, wanted)
            if domid is None:
                return
            run.start("libxl_domain_destroy", domid)
            _wait_until_gone(run, domid, wanted, time.sleep)
            return
        time.sleep(0.5 if remaining else 0)


def _store_userdata(run: Run, domid: int, userdata: str) -> None:
    data = userdata.encode()
    run.call("libxl_userdata_store", domid, USERDATA_KEY, data, len(data))
    run.notes.forget(domid)


def _find(run: Run, wanted: uuid.UUID) -> int | None:
    """Return the domid of the domain with that uuid, leaving out one that is being destroyed."""
    count = run.ffi.new("int *")
    infos = run.lib.libxl_list_domain(run.ctx, count)
    if infos == run.native.null:
        raise LibxlError(run.lib.ERROR_FAIL, "libxl_list_domain")
    try:
        for index in range(count[0]):
            info = infos[index]
            if not info.dying and bytes(run.ffi.buffer(info.uuid.uuid)) == wanted.bytes:
                return int(info.domid)
        return None
    finally:
        run.lib.libxl_dominfo_list_free(infos, count[0])


def _uuid_of(run: Run, domid: int) -> uuid.UUID:
    with empty(run, "dominfo") as info:
        run.call("libxl_domain_info", info, domid)
        return uuid.UUID(bytes=bytes(run.ffi.buffer(info.uuid.uuid)))


def _wait_until_gone(
    run: Run, domid: int, wanted: uuid.UUID, wait: Callable[[float], None]
) -> None:
    deadline = time.monotonic() + _GONE_WITHIN_S
    delay = 0.005
    while True:
        try:
            if _uuid_of(run, domid) != wanted:
                return
        except LibxlError as error:
            if error.rc == run.lib.ERROR_DOMAIN_NOTFOUND:
                return
            raise
        if time.monotonic() > deadline:
            raise LibxlError(
                run.lib.ERROR_TIMEDOUT, "domain_destroy", f"domain {domid} does not go away"
            )
        wait(delay)
        delay = min(delay * 2, 0.25)


def _check_not_control_domain(run: Run, domid: int) -> None:
    if domid == 0:
        raise run.refusal("not possible for domain 0, the control domain")


def _parse_uuid(run: Run, text: Any) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except (ValueError, TypeError, AttributeError):
        raise run.refusal(f"{text!r} is not a uuid") from None


@contextlib.contextmanager
def _opened(run: Run, path: str, mode: int, offset: int) -> Iterator[int]:
    """Open an existing file or block device at `offset`: blocking, closed on exec."""
    if not Path(path).is_absolute() or "\0" in path or offset < 0:
        raise run.refusal("path must be absolute, offset not negative")
    try:
        # O_NONBLOCK only so that a FIFO cannot hold us before it is seen to be one.
        fd = os.open(path, mode | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise run.refusal(f"{path}: {error.strerror}") from None
    try:
        kind = os.fstat(fd).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISBLK(kind)):
            raise run.refusal(f"{path} is neither a file nor a block device")
        os.set_blocking(fd, True)
        os.lseek(fd, offset, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)
