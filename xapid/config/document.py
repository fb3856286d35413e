"""What the settings are, for people: the manual page, the commented example, the values in effect.

`python -m xapid.config.document` writes docs/configuration.md; with `--example`, xapid.toml.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from dataclasses import Field, fields
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from . import Address, Config
from .reading import Network

MASKED: Final = "(hidden)"
_WIDTH: Final = 96
_INTRODUCTION: Final = """\
# Configuration

xapid reads `/usr/share/xapid/defaults.toml` (what the package decides), then
`/etc/xapid/xapid.toml`, then `/etc/xapid/conf.d/*.toml` in the order of their names; the last file
that gives a setting wins. `--config PLACE` reads that file, or that directory, instead of all of
them. Above the files stand variables of the environment: `XAPID_` and the table and the name of a
setting in capitals, as in `XAPID_LISTEN_HTTPS=[::]:443` or `XAPID_STATE_DIR=/srv/xapid`; the items
of a list have commas between them. The arguments of the command line stand above everything.

`xapid --check-config` tells every mistake with its file and line, `xapid --print-config` the
settings in effect. Settings marked *at once* take effect when xapid gets SIGHUP (`systemctl reload
xapid`), the others when it starts again.

This page is made from the declarations in `xapid/config/` by `make docs`.
"""
_EXAMPLE: Final = """\
# Settings of xapid: every one, with its default. Remove the # in front of what you change, or write
# it into a file of your own in /etc/xapid/conf.d. Then: xapid --check-config && systemctl reload xapid
"""  # noqa: E501 - a command in one line


def manual() -> str:
    """The page about all settings, in Markdown."""
    parts = [_INTRODUCTION]
    for name, cls, settings in _sections():
        title = f"`[{name}]`" if name else "Outside of any table"
        about = f"\n{cls.__doc__.strip()}\n" if name and cls.__doc__ else ""
        parts.append(f"## {title}\n{about}")
        for setting, hint in settings:
            live = "; at once" if setting.metadata.get("live") else ""
            kind = f"{_kind(hint)}, {_limit(setting)}default `{toml(setting.default)}`{live}"
            text = textwrap.fill(setting.metadata["doc"], _WIDTH)
            parts.append(f"### {setting.name}\n\n*{kind}*\n\n{text}\n")
    return "\n".join(parts)


def example(*, values: Config | None = None) -> str:
    """A file with every setting commented out; with `values`, one that sets them all."""
    lines = [_EXAMPLE] if values is None else []
    for name, _, settings in _sections():
        if name:
            lines.append(f"[{name}]")
        for setting, _ in settings:
            if values is None:
                lines += [f"# {line}" for line in textwrap.wrap(setting.metadata["doc"], _WIDTH)]
                lines.append(f"#{setting.name} = {toml(setting.default)}")
            else:
                holder = getattr(values, name) if name else values
                lines.append(f"{setting.name} = {_shown(setting, getattr(holder, setting.name))}")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def toml(value: Any) -> str:
    """A value as a TOML file holds it."""
    match value:
        case None:
            return '""'
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case Address() | IPv4Network() | IPv6Network():
            return toml(str(value))
        case tuple():
            return "[" + ", ".join(toml(item) for item in value) + "]"
        case str() | Path():
            escaped = "".join(_escaped(char) for char in str(value))
            return f'"{escaped}"'
    raise TypeError(value)


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    return char if char.isprintable() else f"\\U{ord(char):08X}"


def _shown(setting: Field[Any], value: Any) -> str:
    return toml(MASKED if setting.metadata.get("secret") and value else value)


def _sections() -> Iterator[tuple[str, Any, list[tuple[Field[Any], Any]]]]:
    """Each table's name and class, with its settings and their types; those of no table first."""
    hints = get_type_hints(Config)
    tables = [field for field in fields(Config) if hasattr(hints[field.name], "__mro__")]
    tables = [field for field in tables if hasattr(hints[field.name], "__dataclass_fields__")]
    outside = [(field, hints[field.name]) for field in fields(Config) if field not in tables]
    yield "", Config, outside
    for table in tables:
        cls = hints[table.name]
        inner = get_type_hints(cls)
        yield table.name, cls, [(field, inner[field.name]) for field in fields(cls)]


def _kind(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(f"`{choice}`" for choice in get_args(hint))
    if get_origin(hint) is tuple:
        items = {Path: "paths", Network: "networks"}
        return f"list of {items.get(get_args(hint)[0], 'strings')}"
    kinds = {int: "whole number", Path: "path", Path | None: "path", Address | None: "HOST:PORT"}
    return kinds.get(hint, "string")


def _limit(setting: Field[Any]) -> str:
    low = setting.metadata.get("low")
    return f"at least {low}, " if low else ""


if __name__ == "__main__":
    sys.stdout.write(example() if "--example" in sys.argv[1:] else manual())
