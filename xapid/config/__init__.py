"""The daemon's settings: one typed tree, read from TOML, every mistake in it told at once.

A setting is declared once, here; docs/configuration.md and the example file are made from that.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from .reading import Address as Address
from .reading import Network, Reader, files_of, read_address

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
MAX_SOCKET_PATH: Final = 107  # bytes, of sun_path
CONFIG_DIRECTORY: Final = Path("/etc/xapid")
PACKAGE_DEFAULTS: Final = Path("/usr/share/xapid/defaults.toml")

XenChoice = Literal["auto", "libxl", "mock"]
LogLevel = Literal["debug", "info", "warning", "error"]
AccountSource = Literal["embedded", "system"]


class ConfigError(Exception):
    """The configuration cannot be used: one line for each mistake."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


def setting(
    default: Any,
    doc: str,
    *,
    low: int | None = None,
    live: bool = False,
    secret: bool = False,
) -> Any:
    """A setting. low: the least number it may be. live: SIGHUP suffices. secret: never shown."""
    marks = {"doc": doc, "low": low, "live": live, "secret": secret}
    return field(default=default, metadata={k: v for k, v in marks.items() if v is not None})


@dataclass(frozen=True)
class Listen:
    """Where clients reach the daemon, and how much they may take."""

    https: Address | None = setting(
        Address("127.0.0.1", 8443), 'Where to serve HTTPS; "" for nowhere.'
    )
    http: Address | None = setting(
        None,
        'Where to serve plain HTTP as well, in which passwords are read by whoever listens; "" for '
        "nowhere. For old clients on a network of their own; nothing is redirected.",
    )
    socket: Path | None = setting(
        None,
        'The Unix socket; "" for xapid.sock in state_dir.',
    )
    socket_links: tuple[Path, ...] = setting(
        (),
        "Further paths where clients look for the Unix socket: each becomes a symbolic link to "
        "it, unless something else stands there.",
    )
    body_limit: int = setting(
        2 * 1024 * 1024, "The largest request that is read, in bytes.", low=64 * 1024
    )
    tcp_connections: int = setting(
        1024,
        "Connections over TCP open at the same time, of which one address may have half.",
        low=1,
    )
    unix_connections: int = setting(
        256, "Connections over the Unix socket open at the same time.", low=1
    )
    call_rate: int = setting(
        2000,
        "Calls a second that a busy caller may go on with while others call too. A caller is a "
        "user at one address; beyond this its calls wait their turn.",
        low=1,
        live=True,
    )
    call_burst: int = setting(
        4000, "Calls that a caller may make at once before that.", low=1, live=True
    )


@dataclass(frozen=True)
class Tls:
    """The key and certificate of HTTPS, read again at SIGHUP; made where there are none."""

    directory: Path | None = setting(
        None, 'Where server.key and server.crt are; "" for tls in state_dir.'
    )
    names: tuple[str, ...] = setting(
        (), "Further host names and addresses for a certificate that xapid makes itself."
    )


@dataclass(frozen=True)
class Xen:
    """How xapid reaches Xen."""

    driver: XenChoice = setting(
        "auto", "The real libxl, the mock, or whichever the machine has (auto)."
    )
    socket: Path | None = setting(
        None,
        "The socket of an xapid-xen that runs by itself (xapid-xen.service); "
        '"" starts one as a child.',
    )
    contexts: int = setting(16, "Operations of libxl at the same time.", low=2)
    builds: int = setting(
        4, "Domains built at the same time; at most two less than contexts.", low=1
    )


@dataclass(frozen=True)
class Guests:
    """What guests may use of the control domain."""

    kernel_directories: tuple[str, ...] = setting(
        ("/boot", "/var/lib/xapid/boot"),
        "Where kernels and ramdisks of PV and PVH guests may lie.",
    )
    clean_shutdown_s: int = setting(
        1200, "How long a guest may take to shut down when asked, in seconds.", low=1
    )


@dataclass(frozen=True)
class HostSettings:
    """The host itself."""

    crash_directory: Path = setting(
        Path("/var/crash"), "Where the host's own crash dumps are found."
    )


@dataclass(frozen=True)
class AccountSettings:
    """Whose password opens the door."""

    source: AccountSource = setting(
        "embedded",
        "embedded: accounts of xapid's own, beginning with root, whose first password is in "
        "root-password in state_dir. system: root and the members of `group`, with their "
        "passwords on this host, checked by PAM (/etc/pam.d/xapid).",
    )
    group: str = setting(
        "xapid",
        "The group whose members may do what root may: log in with a system account, and use the "
        "Unix socket, where neither they nor root need a password.",
    )


@dataclass(frozen=True)
class Logins:
    """Sessions; beyond a number the one that was idle longest ends."""

    idle_s: int = setting(86_400, "Seconds until an unused session ends.", low=1, live=True)
    per_user: int = setting(500, "Sessions kept of one user.", low=1, live=True)
    total: int = setting(1000, "Sessions kept of all users.", low=1, live=True)


@dataclass(frozen=True)
class Metrics:
    """Who may read /metrics, beside the peers on the Unix socket; nobody else knows of it."""

    addresses: tuple[Network, ...] = setting(
        (), "Addresses and networks that may, like 192.0.2.7 or 2001:db8::/64.", live=True
    )
    token_file: Path | None = setting(
        None,
        "A file with a token of 16 to 512 characters that others cannot read: who sends it over "
        "HTTPS (Authorization: Bearer) may, too.",
        live=True,
    )


@dataclass(frozen=True)
class Log:
    """The log: the journal, or the terminal."""

    level: LogLevel = setting(
        "info",
        "The least important lines that are written; by xapid-xen where it runs by itself from its "
        "next start on.",
        live=True,
    )


@dataclass(frozen=True)
class Backup:
    """What `xapid backup` makes, by itself once a day where xapid-backup.timer is on."""

    directory: Path | None = setting(
        None, 'Where backups are kept; "" for backup in state_dir. Best on another disk.'
    )
    kept: int = setting(14, "Backups kept; beyond that the oldest is deleted.", low=1)


@dataclass(frozen=True)
class Config:
    """All settings."""

    state_dir: Path = setting(
        Path(".xapid"), "Where the database and all that xapid keeps for itself is."
    )
    listen: Listen = field(default_factory=Listen)
    tls: Tls = field(default_factory=Tls)
    xen: Xen = field(default_factory=Xen)
    guests: Guests = field(default_factory=Guests)
    host: HostSettings = field(default_factory=HostSettings)
    accounts: AccountSettings = field(default_factory=AccountSettings)
    sessions: Logins = field(default_factory=Logins)
    metrics: Metrics = field(default_factory=Metrics)
    log: Log = field(default_factory=Log)
    backup: Backup = field(default_factory=Backup)

    @property
    def socket(self) -> Path:
        """The path of the Unix socket."""
        return self.listen.socket or self.state_dir / "xapid.sock"

    @property
    def backup_dir(self) -> Path:
        """Where backups are kept."""
        return self.backup.directory or self.state_dir / "backup"

    @property
    def tls_dir(self) -> Path:
        """Where the key and certificate are."""
        return self.tls.directory or self.state_dir / "tls"


def load(place: Path | None, environment: Mapping[str, str] = NOTHING) -> Config:
    """The settings in a file or directory; None gives the defaults. Raises ConfigError."""
    return load_all([] if place is None else [place], environment)


def load_installed(environment: Mapping[str, str] = NOTHING) -> Config:
    """The settings of this host: the package's, then the administrator's. Raises ConfigError."""
    places = [place for place in (PACKAGE_DEFAULTS, CONFIG_DIRECTORY) if place.exists()]
    return load_all(places, environment)


def load_all(places: Iterable[Path], environment: Mapping[str, str] = NOTHING) -> Config:
    """The settings in files and directories, later ones over earlier, then of the environment.

    environment: XAPID_STATE_DIR, XAPID_LISTEN_HTTPS and so on. Raises ConfigError.
    """
    reader = Reader(Config)
    for place in places:
        for path in files_of(place):
            reader.read(path)
    reader.read_environment(environment)
    config: Config = reader.tree()
    if config.xen.contexts < config.xen.builds + 2:
        reader.complain(("xen", "contexts"), f"{config.xen.contexts} is below xen.builds + 2")
    if reader.mistakes:
        raise ConfigError(reader.mistakes)
    return config


def override(
    config: Config,
    *,
    state_dir: Path | None = None,
    https: str | None = None,
    socket: Path | None = None,
    xen: XenChoice | None = None,
    log_level: LogLevel | None = None,
) -> Config:
    """The settings with those of the command line in their place, all paths made absolute.

    Raises ConfigError.
    """
    mistakes = []
    if state_dir is not None:
        config = replace(config, state_dir=state_dir)
    if https is not None:
        try:
            config = replace(config, listen=replace(config.listen, https=read_address(https)))
        except ValueError as error:
            mistakes.append(f"--https: {error}")
    if socket is not None:
        config = replace(config, listen=replace(config.listen, socket=socket))
    if xen is not None:
        config = replace(config, xen=replace(config.xen, driver=xen))
    if log_level is not None:
        config = replace(config, log=replace(config.log, level=log_level))
    config = replace(config, state_dir=config.state_dir.absolute())
    config = replace(config, listen=replace(config.listen, socket=config.socket.absolute()))
    if len(os.fsencode(config.socket)) > MAX_SOCKET_PATH:
        mistakes.append(
            f"the path of the Unix socket is longer than {MAX_SOCKET_PATH} bytes: {config.socket}"
        )
    if mistakes:
        raise ConfigError(mistakes)
    return config


def changes(old: Any, new: Any, at: str = "") -> dict[str, bool]:
    """The settings that differ, each with whether SIGHUP suffices for it."""
    found: dict[str, bool] = {}
    for each in fields(old):
        before, after = getattr(old, each.name), getattr(new, each.name)
        if is_dataclass(before):
            found |= changes(before, after, f"{at}{each.name}.")
        elif before != after:
            found[at + each.name] = bool(each.metadata.get("live"))
    return found
