"""Checks of xapid itself: its services, database, backups, certificate and accounts."""

from __future__ import annotations

import grp
import http.client
import stat
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ..config import CONFIG_DIRECTORY, Config
from ..datamodel import registry
from ..db.examine import examine_file
from ..db.failures import CannotOpen
from ..http.tls import CERTIFICATE, KEY, RENEW_BEFORE, fingerprint
from . import backup
from .backup import Places
from .finding import Check, Findings, fail, ok, skip, warn
from .surroundings import Surroundings

BACKUP_EVERY: Final = timedelta(days=2)
_LOOK: Final = "journalctl -u xapid -u xapid-xen -e"
_PROBE: Final = (
    "<methodCall><methodName>session.get_uuid</methodName><params>"
    "<param><value></value></param><param><value></value></param></params></methodCall>"
)


def services(host: Surroundings, config: Config) -> Findings:
    for unit in ("xapid.service", "xapid-xen.service"):
        name = unit.removesuffix(".service")
        if unit == "xapid-xen.service" and config.xen.socket is None:
            continue
        told = host.run(("systemctl", "show", "--property=ActiveState,SubState", "--value", unit))
        state = " ".join((told or "").split())
        if not state:
            yield skip(name, "systemd does not say")
        elif state == "active running":
            yield ok(name, "runs")
        else:
            yield fail(name, f"is {state}", f"systemctl restart {name}; if it ends again: {_LOOK}")


def answers(host: Surroundings, config: Config) -> Findings:
    began = monotonic()
    try:
        answer = host.answer(config.socket, _PROBE)
    except (OSError, http.client.HTTPException) as error:
        told = getattr(error, "strerror", None) or str(error) or "no answer"
        yield fail("api", f"{config.socket}: {told}", f"systemctl start xapid; else: {_LOOK}")
        return
    elapsed_ms = round((monotonic() - began) * 1000)
    if b"SESSION_INVALID" in answer:
        yield ok("api", f"{config.socket} answers within {elapsed_ms} ms")
    else:
        yield fail("api", f"{config.socket} answers nonsense", "see who listens there (ss -xlp)")


def certificate(host: Surroundings, config: Config) -> Findings:
    path, key_path = config.tls_dir / CERTIFICATE, config.tls_dir / KEY
    try:
        content = host.path(path).read_bytes()
        key_mode = host.path(key_path).stat().st_mode
        key = serialization.load_pem_private_key(host.path(key_path).read_bytes(), None)
        found = x509.load_pem_x509_certificate(content)
    except FileNotFoundError as error:
        yield skip("certificate", f"no {error.filename}: xapid makes one when it starts")
        return
    except (OSError, ValueError, TypeError) as error:
        advice = f"put a certificate and its key, in PEM, at {path} and {key_path}"
        yield fail("certificate", f"cannot be used: {error}", advice)
        return
    left = found.not_valid_after_utc - datetime.now(UTC)
    told = f"valid until {found.not_valid_after_utc:%Y-%m-%d}, SHA-256 {fingerprint(found)}"
    renew = f"put a new one at {path}, or delete it and {key_path}; then systemctl reload xapid"
    if key.public_key() != found.public_key():
        yield fail("certificate", f"{key_path} is not the key of {path}", renew)
    elif left < timedelta(0):
        yield fail("certificate", f"ended on {found.not_valid_after_utc:%Y-%m-%d}", renew)
    elif stat.S_IMODE(key_mode) & 0o007:
        yield fail("certificate", f"anybody can read {key_path}", f"chmod 0640 {key_path}")
    elif left < RENEW_BEFORE:
        yield warn("certificate", told, renew)
    else:
        yield ok("certificate", told)


def database(host: Surroundings, config: Config) -> Findings:
    path = host.path(Places(config, CONFIG_DIRECTORY).database)
    if not path.exists():
        yield skip("database", f"no {path}: xapid makes one when it starts")
        return
    try:
        found = examine_file(path, registry.CLASSES)
    except CannotOpen as error:
        yield fail("database", str(error), "xapid db check says more")
        return
    told = f"{path}: schema {found.schema}, {sum(found.objects.values())} objects"
    if found.faults:
        advice = "xapid backup list, xapid backup restore NAME; guests go on meanwhile"
        yield fail("database", f"{path} is damaged: {found.faults[0]}", advice)
    elif found.notes:
        advice = "xapid db check names them"
        yield warn("database", f"{told}, {len(found.notes)} with notes", advice)
    else:
        yield ok("database", told)


def backups(host: Surroundings, config: Config) -> Findings:
    timer = "systemctl enable --now xapid-backup.timer"
    whole = [
        entry
        for entry in backup.entries(Places(config, CONFIG_DIRECTORY))
        if entry.holds == "everything"
    ]
    good = [entry for entry in whole if not entry.fault]
    if bad := [entry for entry in whole if entry.fault]:
        yield warn("backups", f"{bad[-1].path.name}: {bad[-1].fault}", "xapid backup create")
    elif not good:
        yield warn("backups", "there is none", f"xapid backup create, and {timer}")
    elif (age := datetime.now(UTC) - good[-1].made) > BACKUP_EVERY:
        yield warn(
            "backups", f"the newest is {age.days} days old", f"xapid backup create, and {timer}"
        )
    else:
        yield ok("backups", f"{len(good)}, the newest is {good[-1].path.name}")


def accounts(host: Surroundings, config: Config) -> Findings:
    if config.accounts.source != "system":
        yield ok("accounts", "xapid keeps its own")
        return
    if not host.exists("/etc/pam.d/xapid"):
        advice = "write one: @include common-auth and @include common-account"
        yield fail("accounts", "no /etc/pam.d/xapid: no password is accepted", advice)
        return
    group = config.accounts.group
    try:
        members = grp.getgrnam(group).gr_mem
    except KeyError:
        yield warn(
            "accounts", f"there is no group {group}: only root can log in", f"addgroup {group}"
        )
    else:
        yield ok("accounts", f"root, and the group {group} ({', '.join(members) or 'empty'})")


def kernels(host: Surroundings, config: Config) -> Findings:
    found = [place for place in config.guests.kernel_directories if host.path(place).is_dir()]
    if found:
        yield ok("kernels", f"of PV and PVH guests: {', '.join(map(str, found))}")
    else:
        places = ", ".join(map(str, config.guests.kernel_directories))
        advice = "make one, or set guests.kernel_directories; guests with pygrub need none"
        yield warn("kernels", f"no directory among {places}", advice)


CHECKS: Final[tuple[Check, ...]] = (
    services,
    answers,
    database,
    backups,
    certificate,
    accounts,
    kernels,
)
