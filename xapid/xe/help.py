"""What `xe help` says: topics, the commands of one, and each command with its arguments."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from . import registry
from .catalogue import Type, classes, enum_values, word_of
from .command import Argument, Command
from .options import ALONE, WITH_VALUE

WIDTH: Final = 96

SYNOPSIS: Final = "xe [OPTIONS] COMMAND [NAME] [KEY=VALUE …] [--FLAG …]"

FIRST: Final = f"""\
{SYNOPSIS}

  xe vm-list                              what there is
  xe vm-start web1                        by name, or uuid=UUID, or vm=NAME
  xe vm-shutdown power-state=running --multiple
  xe vm-param-set web1 name-description="The web server" other-config:owner=alice
  xe vm-list params=name-label,networks --json
  xe -s host.example.org -u alice vm-list
"""

TOPICS: Final = {
    "vm": "virtual machines: making, starting, stopping, disks, drives, interfaces",
    "template": "what virtual machines are made from",
    "sr": "storage repositories",
    "vdi": "virtual disks",
    "vbd": "disks and drives of a VM",
    "pbd": "how a host reaches a storage repository",
    "cd": "discs that drives can take",
    "network": "virtual networks",
    "vif": "network interfaces of a VM",
    "pif": "network interfaces of the host",
    "host": "the host itself",
    "pool": "what holds for all hosts",
    "task": "calls that run",
    "event": "changes, as they happen",
    "console": "screens and terminals of a VM",
    "options": "what can be said to xe itself",
    "selectors": "how objects are named and chosen",
    "values": "how values, sizes, sets and maps are written",
    "passwords": "how to log in",
    "output": "tables, the form of old, JSON",
}
"""Topics of their own, and the classes that are used most, with what they are about."""

SELECTORS: Final = """\
A command that acts on an object takes it by name or uuid:

  xe vm-start web1            xe vm-start vm=web1            xe vm-start uuid=UUID

Every argument that stands for an object takes a name as well: sr=disks, network=lan, vdi=UUID;
sr-uuid=… and sr-name-label=… are the same. A name that several objects have is refused, with
their uuids.

Instead of a name, any field selects: power-state=running, other-config:owner=alice,
tags:contains=web. Lists show all that match; other commands want one, or --multiple:

  xe vm-shutdown power-state=running other-config:owner=alice --multiple
"""
VALUES: Final = """\
  numbers    whole; sizes in bytes, or with KiB, MiB, GiB, TiB: 512MiB, 1.5TiB
  bool       true or false; --force is force=true
  times      2026-11-24T08:30:00Z
  sets       a,b,c
  maps       one KEY=VALUE each: device-config:location=/srv/disks other-config:owner=alice
  secrets    never on the command line: device-config:chappassword-file=FILE reads one from a
             file that only you can read; passwords are asked for
"""
PASSWORDS: Final = """\
On the host, root and the members of the group xapid need no password. From elsewhere, in this
order: -pwf FILE, the file that XE_PASSWORD_FILE names, the desktop's keyring (`secret-tool store
--label=xapid xapid-server HOST xapid-user USER`), and else xe asks.

A password file has one line, the password, or two, the user and the password, and must be
readable by you alone. -pw is refused: other users can read a command line.

A server's certificate must be vouched for by the system or by --ca FILE. Otherwise xe shows its
fingerprint once, asks, and keeps it in ~/.config/xapid/known_hosts; a changed one is refused.
Scripts say --fingerprint SHA256.
"""
OUTPUT: Final = """\
On a terminal lists are tables; in a pipe they have the form of old, which scripts parse. Say
--table, --classic, --minimal or --json to choose. params=a,b,c chooses the fields, params=all
shows all. --minimal prints the first field of each object, with commas between them.

Exit codes: 0 done, 1 failed, 2 the command line is wrong, 130 ended by ^C.
"""
PAGES: Final = {
    "selectors": SELECTORS,
    "values": VALUES,
    "passwords": PASSWORDS,
    "output": OUTPUT,
}


def show(topics: Sequence[str], *, everything: bool = False) -> bool:
    """Print help about topics and commands; False when one of them is unknown."""
    if everything:
        _print("\n".join(registry.every()))
        return True
    if not topics:
        _print(first_page())
    known = True
    for topic in topics:
        page = page_of(topic)
        known = known and page is not None
        if page is None:
            sys.stderr.write(f"xe: there is no command or topic {topic!r}: see `xe help`\n")
        else:
            _print(page)
    return known


def _print(text: str) -> None:
    sys.stdout.write(text.rstrip("\n") + "\n")


def page_of(topic: str) -> str | None:
    """The help about a command or a topic; None when there is neither."""
    if topic == "options":
        return options_page()
    if topic in PAGES:
        return PAGES[topic]
    command = registry.find(topic)
    if command is not None:
        return command_page(command)
    commands = [c for c in registry.every().values() if c.topic == topic]
    if not commands:
        return None
    about = next((cls.doc for cls in classes().values() if word_of(cls.name) == topic), "")
    lines = [f"{topic}: {about or TOPICS.get(topic, '')}", ""]
    width = max(len(c.name) for c in commands)
    lines += [f"  {c.name:{width}}  {c.summary}" for c in commands]
    lines += ["", "`xe help COMMAND` says what a command takes."]
    return "\n".join(lines)


def first_page() -> str:
    """The page that `xe help` shows."""
    counts: dict[str, int] = {}
    for command in registry.every().values():
        counts[command.topic] = counts.get(command.topic, 0) + 1
    lines = [FIRST, "Topics, each with `xe help TOPIC`:", ""]
    lines += [f"  {topic:10} {about}" for topic, about in TOPICS.items()]
    others = sorted(counts.keys() - TOPICS.keys())
    lines += ["", *textwrap.wrap(f"Further: {', '.join(others)}.", WIDTH, break_on_hyphens=False)]
    number = sum(counts.values())
    lines += [
        "",
        f"`xe help COMMAND` explains one of {number} commands; `xe help --all` lists them.",
    ]
    return "\n".join(lines)


def options_page() -> str:
    """What can be said to `xe` itself."""
    lines = [SYNOPSIS, ""]
    for name, (_, value, doc) in WITH_VALUE.items():
        lines.append(f"  {f'{name} {value}':22} {doc}")
    for name, (_, doc) in ALONE.items():
        lines.append(f"  {name:22} {doc}")
    lines += ["", "Defaults: ~/.xe (server=, port=, username=, password_file=) and XE_EXTRA_ARGS."]
    return "\n".join(lines)


def command_page(command: Command) -> str:
    """All about one command."""
    lines = [synopsis(command), "", *textwrap.wrap(command.summary, WIDTH, break_on_hyphens=False)]
    if command.details:
        lines += ["", *(w for p in command.details.split("\n") for w in textwrap.wrap(p, WIDTH))]
    lines += ["", *argument_lines(command)] if command.arguments else []
    if command.selects:
        word = word_of(command.selects)
        lines += ["", f"The {word} is given by name or uuid, or by selectors: `xe help selectors`."]
    return "\n".join(lines)


def synopsis(command: Command) -> str:
    """A command with its arguments, in one line."""
    parts = [f"xe {command.name}"]
    if command.selects:
        parts.append(f"{word_of(command.selects)}=NAME|uuid=UUID")
    for argument in command.arguments:
        text = _form(argument)
        parts.append(text if argument.is_needed else f"[{text}]")
    if command.open:
        parts.append("[FIELD=VALUE …]")
    return " ".join(parts)


def _form(argument: Argument) -> str:
    if argument.secret:
        return f"{argument.name}-file=FILE"
    if argument.type.kind == "bool":
        return f"{argument.name}=true|false"
    if argument.type.kind == "map":
        return f"{argument.name}:KEY=VALUE …"
    return f"{argument.name}={value_word(argument.type)}"


def value_word(type_: Type) -> str:
    """What stands for a value of a type in a synopsis."""
    inner = type_.item if type_.kind == "set" and type_.item else type_
    word = {"int": "NUMBER", "float": "NUMBER", "datetime": "TIME", "string": "TEXT"}.get(
        inner.kind, "VALUE"
    )
    if inner.kind == "ref":
        word = word_of(inner.target).upper().replace("-", "_")
    if inner.kind == "enum":
        word = "|".join(enum_values(inner.target))
    return f"{word},…" if type_.kind == "set" else word


def argument_lines(command: Command) -> Iterator[str]:
    """What each argument means, one or more lines for each."""
    width = min(max(len(a.name) for a in command.arguments), 24)
    for argument in command.arguments:
        text = argument.doc[:1].upper() + argument.doc[1:]
        if argument.secret:
            text = f"{text.rstrip('.')}: from a file, or asked for."
        head = f"  {argument.name:{width}}  "
        yield from textwrap.wrap(
            text, WIDTH, initial_indent=head, subsequent_indent=" " * (width + 4)
        )
