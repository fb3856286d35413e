"""The daemon's settings: one typed tree, read from TOML, every mistake in it told at once."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args, get_origin, get_type_hints

MAX_SOCKET_PATH: Final = 107  # bytes, of sun_path
CONFIG_FILE: Final = Path("/etc/xapid/xapid.toml")

XenChoice = Literal["auto", "libxl", "mock"]
LogLevel = Literal["debug", "info", "warning", "error"]


class ConfigError(Exception):
    """The configuration cannot be used: one line for each mistake."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class Address(NamedTuple):
    """Where to listen on TCP; port 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def at_least(low: int, default: int) -> Any:
    """A whole number that is not below `low`."""
    return field(default=default, metadata={"low": low})


@dataclass(frozen=True)
class Listen:
    """Where clients reach the daemon, and how much they may take.

    https: HOST:PORT; "" for none. socket: path of the Unix socket; "" for STATE/xapid.sock.
    body_limit: bytes of a request. *_connections: open at once, for each of the two.
    """

    https: Address | None = field(default=Address("127.0.0.1", 8443))
    socket: Path | None = None
    body_limit: int = at_least(64 * 1024, 2 * 1024 * 1024)
    tcp_connections: int = at_least(1, 512)
    unix_connections: int = at_least(1, 256)


@dataclass(frozen=True)
class Tls:
    """The key and certificate: server.key and server.crt in `directory`, "" for STATE/tls.

    names: further host names and addresses for a certificate that xapid makes itself.
    """

    directory: Path | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Xen:
    """How xapid reaches Xen.

    driver: libxl, the mock, or whichever the machine has. socket: of a xapid-xen that runs by
    itself; "" starts one as a child. contexts, builds: operations and domain builds at once.
    """

    driver: XenChoice = "auto"
    socket: Path | None = None
    contexts: int = at_least(2, 16)
    builds: int = at_least(1, 4)


@dataclass(frozen=True)
class Guests:
    """What guests may use of the control domain.

    kernel_directories: where kernels and ramdisks of PV and PVH guests may lie.
    clean_shutdown_s: how long a guest may take to shut down when asked.
    """

    kernel_directories: tuple[str, ...] = ("/boot", "/var/lib/xapid/boot")
    clean_shutdown_s: int = at_least(1, 1200)


@dataclass(frozen=True)
class HostSettings:
    """crash_directory: where the host's own crash dumps are found."""

    crash_directory: Path = Path("/var/crash")


@dataclass(frozen=True)
class Logins:
    """idle_s: seconds until an unused session ends. per_user, total: sessions kept."""

    idle_s: int = at_least(1, 86_400)
    per_user: int = at_least(1, 500)
    total: int = at_least(1, 1000)


@dataclass(frozen=True)
class Log:
    """level: the least important lines that are written."""

    level: LogLevel = "info"


@dataclass(frozen=True)
class Config:
    """All settings; state_dir holds the database, the certificate and the first password."""

    state_dir: Path = Path(".xapid")
    listen: Listen = field(default_factory=Listen)
    tls: Tls = field(default_factory=Tls)
    xen: Xen = field(default_factory=Xen)
    guests: Guests = field(default_factory=Guests)
    host: HostSettings = field(default_factory=HostSettings)
    sessions: Logins = field(default_factory=Logins)
    log: Log = field(default_factory=Log)

    @property
    def socket(self) -> Path:
        """The path of the Unix socket."""
        return self.listen.socket or self.state_dir / "xapid.sock"

    @property
    def tls_dir(self) -> Path:
        """Where the key and certificate are."""
        return self.tls.directory or self.state_dir / "tls"


def load(path: Path | None) -> Config:
    """Read a configuration file; None gives the defaults. Raises ConfigError."""
    if path is None:
        return Config()
    try:
        text = path.read_bytes().decode()
        values = tomllib.loads(text)
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8: {error.reason}"]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_mistake(path, str(error))]) from error
    reader = _Reader(path, _lines(text))
    config: Config = reader.section(Config, values, ())
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
) -> Config:
    """The settings with those of the command line in their place, all paths made absolute.

    Raises ConfigError.
    """
    mistakes = []
    if state_dir is not None:
        config = replace(config, state_dir=state_dir)
    if https is not None:
        try:
            config = replace(config, listen=replace(config.listen, https=_address(https)))
        except ValueError as error:
            mistakes.append(f"--https: {error}")
    if socket is not None:
        config = replace(config, listen=replace(config.listen, socket=socket))
    if xen is not None:
        config = replace(config, xen=replace(config.xen, driver=xen))
    config = replace(config, state_dir=config.state_dir.absolute())
    config = replace(config, listen=replace(config.listen, socket=config.socket.absolute()))
    if len(os.fsencode(config.socket)) > MAX_SOCKET_PATH:
        mistakes.append(
            f"the path of the Unix socket is longer than {MAX_SOCKET_PATH} bytes: {config.socket}"
        )
    if mistakes:
        raise ConfigError(mistakes)
    return config


def _address(text: str) -> Address | None:
    """HOST:PORT, with an IPv6 address in brackets. Raises ValueError."""
    if not text:
        return None
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address stands in brackets")
    if not colon or not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return Address(host, int(port))


def _path(text: str) -> Path | None:
    if "\0" in text:
        raise ValueError("a path has no NUL")
    return Path(text) if text else None


_TEXTS: dict[Any, Callable[[str], Any]] = {
    Path: lambda text: _path(text) or Path(),
    Path | None: _path,
    Address | None: _address,
}


class _Reader:
    """Turns tables into sections and notes each mistake with its place."""

    def __init__(self, path: Path, lines: Mapping[tuple[str, ...], int]) -> None:
        self.mistakes: list[str] = []
        self._path = path
        self._lines = lines

    def section(self, cls: Any, values: Mapping[str, Any], at: tuple[str, ...]) -> Any:
        hints = get_type_hints(cls)
        known = {setting.name: setting for setting in fields(cls)}
        given = {}
        for name, value in values.items():
            place = (*at, name)
            if name not in known:
                self._mistake(place, "no such setting")
            elif hasattr(hints[name], "__dataclass_fields__"):
                if isinstance(value, dict):
                    given[name] = self.section(hints[name], value, place)
                else:
                    self._mistake(place, "this is a table: write [" + ".".join(place) + "]")
            else:
                try:
                    given[name] = _setting(hints[name], value, known[name].metadata)
                except ValueError as error:
                    self._mistake(place, str(error))
        return cls(**given)

    def _mistake(self, place: tuple[str, ...], what: str) -> None:
        line = self._lines.get(place)
        where = f"{self._path}:{line}" if line else str(self._path)
        self.mistakes.append(f"{where}: {'.'.join(place)}: {what}")


def _setting(hint: Any, value: Any, metadata: Mapping[str, Any]) -> Any:
    """A value as its setting wants it. Raises ValueError."""
    if hint in _TEXTS:
        return _TEXTS[hint](_typed(str, "a string", value))
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        if value not in choices:
            raise ValueError(f"{value!r} is none of {', '.join(choices)}")
        return value
    if get_origin(hint) is tuple:
        items = _typed(list, "a list of strings", value)
        return tuple(_typed(str, "a list of strings", item) for item in items)
    number: int = _typed(int, "a whole number", value)
    low = metadata.get("low", 0)
    if number < low:
        raise ValueError(f"{number} is below {low}")
    return number


def _typed(kind: type, called: str, value: Any) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{value!r} is not {called}")
    return value


def _syntax_mistake(path: Path, message: str) -> str:
    found = re.search(r" \(at line (\d+), column \d+\)$", message)
    if found is None:
        return f"{path}: {message}"
    return f"{path}:{found[1]}: {message[: found.start()]}"


_TABLE: Final = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?$")
_KEY: Final = re.compile(r"""\s*((?:[A-Za-z0-9_.\- ]|"[^"]*"|'[^']*')+?)\s*=""")


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """The line on which each setting or table stands first."""
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if found := _TABLE.match(line):
            table = _names(found[1])
            lines.setdefault(table, number)
        elif found := _KEY.match(line):
            lines.setdefault((*table, *_names(found[1])), number)
    return lines


def _names(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
