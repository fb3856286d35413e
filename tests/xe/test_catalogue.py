"""What `xe` knows of the API is what the datamodel declares, and all of it can be reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from xapid.datamodel.declare import Class
from xapid.datamodel.registry import CLASSES, METHODS, Kind, Method
from xapid.xe import catalogue, registry
from xapid.xe.document import page
from xapid.xe.generate import text
from xapid.xe.parameters import CALLED, IN_TABLE, JOINED, NAMES, SHOWN, find, parameters

PAGE = Path(__file__).parents[2] / "docs" / "xe.md"


def test_the_file_is_current() -> None:
    written = catalogue.DESCRIPTION.read_text(encoding="utf-8")

    assert written == text(), "run: make docs"


def test_the_page_is_current() -> None:
    written = PAGE.read_text(encoding="utf-8")

    assert written == page(written), "run: make docs"


def test_types_are_read_as_they_are_written() -> None:
    found = catalogue.parse_type("(VM ref -> string set) map")

    assert found.kind == "map" and found.key == catalogue.ref_to("VM")
    assert found.item == catalogue.STRINGS


@pytest.mark.parametrize("cls", CLASSES.values(), ids=lambda c: c.wire)
def test_every_type_of_the_datamodel_is_known(cls: type[Class]) -> None:
    for field in cls.fields.values():
        kind = catalogue.parse_type(field.type.name)
        while kind.item is not None:
            kind = kind.item
        assert kind.kind in ("string", "int", "float", "bool", "datetime", "enum", "ref", "record")
        assert kind.kind != "ref" or kind.target in CLASSES


def reached(method: Method) -> bool:
    """Whether some command carries the method out."""
    cls, kind = method.owner, method.kind
    word = catalogue.word_of(cls.wire)
    verb = method.name.partition(".")[2]
    if kind is Kind.MESSAGE:
        return registry.find(f"{word}-{verb}") is not None or verb in RENAMED
    if kind in (Kind.CREATE, Kind.DESTROY):
        return registry.find(f"{word}-{kind.value}") is not None
    if kind in (Kind.SET, Kind.ADD, Kind.REMOVE):
        assert method.field is not None
        parameter = find(cls.wire, method.field.name)
        command = registry.find(f"{word}-param-{kind.value}")
        return command is not None and parameter is not None
    if kind is Kind.GET:
        assert method.field is not None
        return find(cls.wire, method.field.name) is not None
    return registry.find(f"{word}-param-get") is not None


RENAMED = {"snapshot"}
IN_EVERY_RUN = registry.HIDDEN_MESSAGES | {
    "session.login_with_password",
    "session.slave_local_login_with_password",
}


def test_every_method_of_the_api_is_reached_by_some_command() -> None:
    assert {name for name, method in METHODS.items() if not reached(method)} == IN_EVERY_RUN


def test_every_command_is_found_by_its_name_and_says_what_it_is_for() -> None:
    for name, command in registry.every().items():
        found = registry.find(name.upper())
        assert found is not None and found.name == name
        assert command.summary.endswith(".") and "\n" not in command.summary


def test_no_two_arguments_of_a_command_can_be_mistaken_for_one_another() -> None:
    for command in registry.every().values():
        spellings = [s for argument in command.arguments for s in argument.spellings()]
        assert len(spellings) == len(set(spellings)), command.name


@pytest.mark.parametrize("name", CLASSES)
def test_no_two_parameters_of_a_class_have_one_name(name: str) -> None:
    names = [catalogue.folded(parameter.name) for parameter in parameters(name)]

    assert len(names) == len(set(names))


def test_the_names_of_old_belong_to_fields_that_exist() -> None:
    for name in NAMES:
        cls, _, field = name.partition(".")
        assert field in CLASSES[cls].fields
    for table in (SHOWN, IN_TABLE):
        for cls, shown in table.items():
            assert {p.name for p in parameters(cls)} >= set(shown)
    for cls in (*JOINED, *CALLED):
        assert parameters(cls)


def test_a_reference_is_found_with_and_without_its_ending() -> None:
    for asked in ("SR", "sr-uuid", "sr_uuid", "sr"):
        found = find("VDI", asked)
        assert found is not None and found.field == "SR"
