"""From TOML files to a typed tree: the last file wins, and each mistake has its file and line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args, get_origin, get_type_hints

Place = tuple[str, ...]
Network = IPv4Network | IPv6Network


class Address(NamedTuple):
    """Where to listen on TCP; port 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_address(text: str) -> Address | None:
    """HOST:PORT, with an IPv6 address in brackets; "" is None. Raises ValueError."""
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


def read_network(text: str) -> Network:
    """An address or a network, which has no bits set beside its own. Raises ValueError."""
    return ip_network(text)


def _path(text: str) -> Path | None:
    if "\0" in text:
        raise ValueError("a path has no NUL")
    return Path(text) if text else None


_TEXTS: Final[dict[Any, Callable[[str], Any]]] = {
    str: lambda text: text,
    Path: lambda text: _path(text) or Path(),
    Path | None: _path,
    Address | None: read_address,
    Network: read_network,
}


class Reader:
    """Takes in one file after another and notes each mistake with its place.

    root: the dataclass at the top of the tree; a field whose type is a dataclass is a table.
    """

    def __init__(self, root: Any) -> None:
        self.mistakes: list[str] = []
        self._root = root
        self._given: dict[Place, Any] = {}
        self._where: dict[Place, str] = {}

    def read(self, path: Path) -> None:
        """Take a file's settings in, over those of the files before it."""
        try:
            text = path.read_bytes().decode()
            values = tomllib.loads(text)
        except OSError as error:
            self.mistakes.append(f"{path}: {error.strerror}")
        except UnicodeDecodeError as error:
            self.mistakes.append(f"{path}: not UTF-8: {error.reason}")
        except tomllib.TOMLDecodeError as error:
            self.mistakes.append(_syntax_mistake(path, str(error)))
        except RecursionError:
            self.mistakes.append(f"{path}: values are nested too deep")
        else:
            self._table(_File(path, _lines(text)), self._root, values, ())

    def read_environment(self, environment: Mapping[str, str]) -> None:
        """Take in what XAPID_TABLE_SETTING variables say, over all files.

        Others that begin with XAPID_ are not for us unless they name a table of ours.
        """
        hints = get_type_hints(self._root)
        tables = {name: cls for name, cls in hints.items() if hasattr(cls, "__dataclass_fields__")}
        known: dict[str, Place] = {_variable(name): (name,) for name in hints.keys() - tables}
        for table, cls in tables.items():
            known |= {_variable(table, each.name): (table, each.name) for each in fields(cls)}
        for variable, text in sorted(environment.items()):
            if place := known.get(variable):
                self._take_text(variable, place, text)
            elif variable.startswith(tuple(_variable(table, "") for table in tables)):
                self.mistakes.append(f"{variable} in the environment: no such setting")

    def _take_text(self, variable: str, place: Place, text: str) -> None:
        cls = get_type_hints(self._root)[place[0]] if len(place) == 2 else self._root
        hint = get_type_hints(cls)[place[-1]]
        metadata = {each.name: each.metadata for each in fields(cls)}[place[-1]]
        where = f"{variable} in the environment"
        try:
            self._given[place] = _setting(hint, _parsed(hint, text), metadata)
            self._where[place] = where
        except ValueError as error:
            self._mistake(where, place, str(error))

    def tree(self) -> Any:
        """All that was read, as one value; what no file gave has its default."""
        return self._build(self._root, ())

    def complain(self, place: Place, what: str) -> None:
        """Note a mistake about a setting, at the place where it was given."""
        where = self._where.get(place)
        self.mistakes.append((f"{where}: " if where else "") + f"{'.'.join(place)}: {what}")

    def _table(self, file: _File, cls: Any, values: Mapping[str, Any], at: Place) -> None:
        hints = get_type_hints(cls)
        known = {setting.name: setting for setting in fields(cls)}
        for name, value in values.items():
            place = (*at, name)
            where = file.where(place)
            if name not in known:
                self._mistake(where, place, "no such setting")
            elif hasattr(hints[name], "__dataclass_fields__"):
                if isinstance(value, dict):
                    self._table(file, hints[name], value, place)
                else:
                    told = "this is a table: write [" + ".".join(place) + "]"
                    self._mistake(where, place, told)
            else:
                try:
                    self._given[place] = _setting(hints[name], value, known[name].metadata)
                    self._where[place] = where
                except ValueError as error:
                    self._mistake(where, place, str(error))

    def _build(self, cls: Any, at: Place) -> Any:
        hints = get_type_hints(cls)
        given = {}
        for setting in fields(cls):
            place = (*at, setting.name)
            if hasattr(hints[setting.name], "__dataclass_fields__"):
                given[setting.name] = self._build(hints[setting.name], place)
            elif place in self._given:
                given[setting.name] = self._given[place]
        return cls(**given)

    def _mistake(self, where: str, place: Place, what: str) -> None:
        self.mistakes.append(f"{where}: {'.'.join(place)}: {what}")


class _File(NamedTuple):
    path: Path
    lines: Mapping[Place, int]

    def where(self, place: Place) -> str:
        line = self.lines.get(place)
        return f"{self.path}:{line}" if line else str(self.path)


def files_of(place: Path) -> Iterable[Path]:
    """The files to read: `place` itself, or xapid.toml and conf.d/*.toml in a directory."""
    if not place.is_dir():
        return [place]
    main, drop_ins = place / "xapid.toml", place / "conf.d"
    first = [main] if main.exists() else []
    return [*first, *sorted(path for path in drop_ins.glob("*.toml") if path.is_file())]


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
        convert = _TEXTS[get_args(hint)[0]]
        return tuple(convert(_typed(str, "a list of strings", item)) for item in items)
    number: int = _typed(int, "a whole number", value)
    low = metadata.get("low", 0)
    if number < low:
        raise ValueError(f"{number} is below {low}")
    return number


def _typed(kind: type, called: str, value: Any) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{value!r} is not {called}")
    return value


def _variable(*place: str) -> str:
    return "_".join(("XAPID", *place)).upper()


def _parsed(hint: Any, text: str) -> Any:
    """A variable's text as a file would hold it: lists have a comma between their items."""
    if get_origin(hint) is tuple:
        return [item.strip() for item in text.split(",") if item.strip()]
    if hint is int and re.fullmatch(r"[0-9]{1,18}", text):
        return int(text)
    return text


def _syntax_mistake(path: Path, message: str) -> str:
    found = re.search(r" \(at line (\d+), column \d+\)$", message)
    if found is None:
        return f"{path}: {message}"
    return f"{path}:{found[1]}: {message[: found.start()]}"


_TABLE: Final = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?$")
_KEY: Final = re.compile(r"""\s*((?:[A-Za-z0-9_.\- ]|"[^"]*"|'[^']*')+?)\s*=""")


def _lines(text: str) -> dict[Place, int]:
    """The line on which each setting or table stands first."""
    lines: dict[Place, int] = {}
    table: Place = ()
    for number, line in enumerate(text.splitlines(), 1):
        if found := _TABLE.match(line):
            table = _names(found[1])
            lines.setdefault(table, number)
        elif found := _KEY.match(line):
            lines.setdefault((*table, *_names(found[1])), number)
    return lines


def _names(dotted: str) -> Place:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
