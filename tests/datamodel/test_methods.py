"""What is derived from a declaration: the methods, their parameters, and what they say."""

from __future__ import annotations

from xapid.datamodel.declare import (
    NULL,
    RW,
    Class,
    Int,
    MapOf,
    Message,
    Ref,
    ROins,
    ROrun,
    SetOf,
    String,
    static_message,
)
from xapid.datamodel.errors import VMBadPowerState
from xapid.datamodel.methods import Kind, Method, methods_of, namespace
from xapid.datamodel.registry import METHODS
from xapid.datamodel.vm import VM


class Shelf(
    Class,
    wire="shelf",
    derived=("get_all", "create", "destroy"),
    min_role="vm-admin",
    extension="Somewhere to put things.",
):
    """A shelf."""

    label = RW(String, "What is written on it.", min_role="pool-admin")
    books = RW(SetOf(String), "The books.")
    places = RW(MapOf(String, Int), "Where each book is.")
    height = ROrun(Int, "How high it hangs.")
    hooks = ROins(MapOf(String, String), "What hangs below.", accessors=("add",), this="shelf")

    @static_message(session=False)
    @staticmethod
    def build(wood: str, near: Ref[Shelf] = NULL) -> Ref[Shelf]:
        """Build a shelf.

        Measure first.

        wood: what it is made of,
            as a word.
        near: another shelf.
        """
        raise NotImplementedError


def derived() -> dict[str, Method]:
    return {m.name.removeprefix("shelf."): m for m in methods_of(Shelf, namespace([Shelf]))}


def shape(method: Method) -> tuple[list[tuple[str, str]], str]:
    return [(p.name, p.type.name) for p in method.params], method.result.name


def test_an_rw_field_has_a_getter_and_a_setter() -> None:
    methods = derived()

    assert shape(methods["get_label"]) == ([("self", "shelf ref")], "string")
    assert shape(methods["set_label"]) == ([("self", "shelf ref"), ("value", "string")], "void")
    assert methods["set_label"].kind is Kind.SET
    assert methods["set_label"].field is Shelf.fields["label"]


def test_an_rw_set_and_an_rw_map_can_be_added_to_and_removed_from() -> None:
    methods = derived()
    this = ("self", "shelf ref")

    assert shape(methods["add_to_books"]) == ([this, ("value", "string")], "void")
    assert shape(methods["remove_from_books"]) == ([this, ("value", "string")], "void")
    assert shape(methods["add_to_places"]) == ([this, ("key", "string"), ("value", "int")], "void")
    assert shape(methods["remove_from_places"]) == ([this, ("key", "string")], "void")


def test_other_fields_have_only_the_accessors_that_they_name() -> None:
    assert {name for name in derived() if name.endswith(("height", "hooks"))} == {
        "get_height",
        "get_hooks",
        "add_to_hooks",
    }
    assert derived()["add_to_hooks"].params[0].name == "shelf"
    assert derived()["get_hooks"].params[0].name == "self"


def test_reading_needs_the_least_role_and_writing_that_of_the_field_or_class() -> None:
    roles = {name: method.min_role for name, method in derived().items()}

    assert roles["get_label"] == roles["get_all"] == "read-only"
    assert roles["set_label"] == "pool-admin"
    assert roles["add_to_books"] == roles["create"] == roles["destroy"] == "vm-admin"


def test_a_message_takes_its_parameters_from_its_stub() -> None:
    build = derived()["build"]

    assert shape(build) == ([("wood", "string"), ("near", "shelf ref")], "shelf ref")
    assert [p.required for p in build.params] == [True, False]
    assert build.params[1].default is NULL
    assert build.doc == "Build a shelf.\n\nMeasure first."
    assert [p.doc for p in build.params] == ["what it is made of, as a word.", "another shelf."]
    assert not build.session


def test_what_is_derived_from_an_extension_is_one() -> None:
    assert {m.extension for m in derived().values()} == {"Somewhere to put things."}


def test_a_message_on_an_object_takes_the_object_first() -> None:
    start = METHODS["VM.start"]

    assert shape(start) == (
        [("vm", "VM ref"), ("start_paused", "bool"), ("force", "bool")],
        "void",
    )
    assert isinstance(VM.start, Message)
    assert start.message is VM.start
    assert VMBadPowerState in start.raises


def test_records_are_a_type_of_the_api() -> None:
    assert METHODS["VM.get_boot_record"].result.name == "VM record"
    assert METHODS["event.next"].result.name == "event record set"
    assert METHODS["VM.get_all_records"].result.name == "(VM ref -> VM record) map"


def test_a_class_without_accessors_has_none() -> None:
    assert {m.kind for m in METHODS.values() if m.owner.wire == "event"} == {Kind.MESSAGE}
