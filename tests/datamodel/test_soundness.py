"""Declarations that contradict themselves are refused when the daemon starts."""

from __future__ import annotations

import enum
from datetime import datetime

import pytest

from xapid.datamodel.declare import (
    RW,
    Bool,
    Class,
    DateTime,
    EnumOf,
    Float,
    Int,
    MapOf,
    Ref,
    RefTo,
    ROins,
    ROrun,
    SetOf,
    String,
    Type,
    message,
)
from xapid.datamodel.enums import OnNormalExit, VbdOperations, VmOperations, VmPowerState
from xapid.datamodel.registry import CLASSES, DatamodelError, check
from xapid.datamodel.soundness import conforms


def refusal(*classes: type[Class]) -> tuple[str, ...]:
    with pytest.raises(DatamodelError) as caught:
        check(classes)
    return caught.value.faults


def test_the_datamodel_is_sound() -> None:
    check()
    check(CLASSES.values())


def test_a_sound_class_is_accepted() -> None:
    class Box(Class):
        """A box."""

        uuid = ROrun(String, "Identity.")
        lids = ROrun(SetOf(RefTo("Lid")), "Its lids.", inverse="box")

        @message()
        def open(self, lid: Ref[Lid], wide: bool = False) -> None:
            """Open a box.

            lid: the lid to lift.
            wide: lift it all the way.
            """

    class Lid(Class):
        """A lid."""

        box = ROins(RefTo("Box"), "Its box.", inverse="lids", required=True)

    check([Box, Lid])


def test_an_unknown_reference_is_refused() -> None:
    class Box(Class):
        """A box."""

        lid = ROins(MapOf(String, SetOf(RefTo("Lid"))), "Its lid.")

    assert refusal(Box) == ("Box.lid refers to the unknown class Lid",)


def test_an_unknown_name_in_an_annotation_is_refused() -> None:
    class Box(Class):
        """A box."""

        @message()
        def open(self, lid: Ref[Lid]) -> None:  # type: ignore[name-defined]  # noqa: F821
            """Open a box.

            lid: the lid to lift.
            """

    assert refusal(Box) == ("class Box: name 'Lid' is not defined",)


def test_an_annotation_that_is_no_type_of_the_api_is_refused() -> None:
    class Box(Class):
        """A box."""

        @message()
        def open(self, lid: bytes) -> None:
            """Open a box.

            lid: the lid to lift.
            """

    assert refusal(Box) == ("class Box: no type of the API is written <class 'bytes'>",)


def test_an_inverse_that_does_not_exist_is_refused() -> None:
    class Box(Class):
        """A box."""

        lids = ROrun(SetOf(RefTo("Lid")), "Its lids.", inverse="box")

    class Lid(Class):
        """A lid."""

        colour = RW(String, "Its colour.")

    assert refusal(Box, Lid) == ("Box.lids: its inverse Lid.box does not exist",)


def test_an_inverse_that_does_not_point_back_is_refused() -> None:
    class Box(Class):
        """A box."""

        lids = ROrun(SetOf(RefTo("Lid")), "Its lids.", inverse="box")

    class Lid(Class):
        """A lid."""

        box = ROins(RefTo("Box"), "Its box.")

    assert refusal(Box, Lid) == ("Box.lids: its inverse Lid.box does not point back",)


def test_an_inverse_that_points_to_another_class_is_refused() -> None:
    class Box(Class):
        """A box."""

        lids = ROrun(SetOf(RefTo("Lid")), "Its lids.", inverse="box")

    class Lid(Class):
        """A lid."""

        box = ROins(RefTo("Lid"), "Its box.", inverse="lids")
        lids = ROrun(SetOf(RefTo("Lid")), "Its lids.", inverse="box")

    assert refusal(Box, Lid) == ("Box.lids: its inverse Lid.box does not point back",)


def test_two_single_ends_are_refused() -> None:
    class Box(Class):
        """A box."""

        lid = ROins(RefTo("Lid"), "Its lid.", inverse="box")

    class Lid(Class):
        """A lid."""

        box = ROins(RefTo("Box"), "Its box.", inverse="lid")

    assert "Box.lid and its inverse Lid.box are both single references" in refusal(Box, Lid)


def test_two_ends_that_are_sets_are_refused() -> None:
    class Box(Class):
        """A box."""

        lids = ROrun(SetOf(RefTo("Lid")), "Its lids.", inverse="boxes")

    class Lid(Class):
        """A lid."""

        boxes = ROrun(SetOf(RefTo("Box")), "Its boxes.", inverse="lids")

    assert "Box.lids and its inverse Lid.boxes are both sets" in refusal(Box, Lid)


def test_an_inverse_of_what_is_no_reference_is_refused() -> None:
    class Box(Class):
        """A box."""

        lids = ROrun(SetOf(String), "Its lids.", inverse="box")

    faults = refusal(Box)

    assert faults == ("Box.lids has an inverse but is no reference, or set of references",)


@pytest.mark.parametrize(
    ("kind", "default"),
    [
        (String, 5),
        (Int, "5"),
        (Int, True),
        (Float, 5),
        (Bool, 0),
        (DateTime, datetime(2007, 8, 16)),
        (EnumOf(OnNormalExit), "destroy"),
        (EnumOf(OnNormalExit), VmPowerState.HALTED),
        (RefTo("Box"), "OpaqueRef:1"),
        (SetOf(String), ["a"]),
        (SetOf(Int), ("a",)),
        (MapOf(String, Int), {"a": "b"}),
        (MapOf(Int, String), {"a": "b"}),
    ],
)
def test_a_default_of_the_wrong_type_is_refused(kind: Type[object], default: object) -> None:
    class Box(Class):
        """A box."""

        lid = RW(kind, "Its lid.", default=default)

    assert refusal(Box) == (f"Box.lid: its default {default!r} is not a {kind.name}",)


def test_the_default_of_a_parameter_of_the_wrong_type_is_refused() -> None:
    class Box(Class):
        """A box."""

        @message()
        def open(self, wide: bool = 0) -> None:  # type: ignore[assignment]
            """Open a box.

            wide: lift the lid all the way.
            """

    assert refusal(Box) == ("Box.open(wide): its default 0 is not a bool",)


def test_a_parameter_without_a_doc_line_is_refused() -> None:
    class Box(Class):
        """A box."""

        @message()
        def open(self, wide: bool, far: bool) -> None:
            """Open a box.

            wide: lift the lid all the way.
            """

    assert refusal(Box) == ("Box.open(far) has no doc",)


def test_docs_without_a_full_stop_are_refused() -> None:
    class Box(Class):
        """A box"""

        lid = RW(String, "Its lid")

        @message()
        def open(self, wide: bool) -> None:
            """Open a box

            wide: lift the lid all the way
            """

    assert refusal(Box) == (
        "class Box: its doc does not end with a full stop",
        "Box.lid: its doc does not end with a full stop",
        "Box.open: its doc does not end with a full stop",
        "Box.open(wide): its doc does not end with a full stop",
    )


def test_missing_docs_are_refused() -> None:
    class Box(Class):
        lid = RW(String, "")

        @message()
        def open(self) -> None:
            pass

    assert refusal(Box) == ("class Box has no doc", "Box.lid has no doc", "Box.open has no doc")


def test_a_message_that_clashes_with_a_derived_method_is_refused() -> None:
    class Box(Class):
        """A box."""

        lid = RW(String, "Its lid.")

        @message()
        def set_lid(self) -> None:
            """Put the lid on."""

        @message()
        def get_record(self) -> None:
            """Read the box."""

    assert refusal(Box) == ("Box.get_record is declared twice", "Box.set_lid is declared twice")


def test_two_classes_of_one_name_are_refused() -> None:
    class Box(Class):
        """A box."""

    class Crate(Class, wire="Box"):
        """A crate."""

    assert refusal(Box, Crate) == ("two classes are called Box",)


def test_an_operation_that_the_class_does_not_have_is_refused() -> None:
    class Box(Class):
        """A box."""

        allowed_operations = ROrun(SetOf(EnumOf(VmOperations)), "What may be done.")

        @message(operation=VbdOperations.EJECT)
        def eject(self) -> None:
            """Throw the box out."""

    assert refusal(Box) == ("Box.eject: <VbdOperations.EJECT: 'eject'> is no operation of a Box",)


def test_a_field_that_no_constructor_takes_cannot_be_required() -> None:
    class Box(Class):
        """A box."""

        lid = ROrun(String, "Its lid.", required=True)

    assert refusal(Box) == ("Box.lid is required, but no constructor takes it",)


def test_all_faults_are_told_at_once() -> None:
    class Box(Class):
        """A box."""

        lid = RW(RefTo("Lid"), "Its lid")

    assert len(refusal(Box)) == 2


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (String, "a"),
        (Int, -(2**63)),
        (Float, 0.5),
        (Bool, False),
        (DateTime, datetime.fromisoformat("2007-08-16T00:00:00+00:00")),
        (EnumOf(Colour), Colour.RED),
        (RefTo("Box"), Ref("OpaqueRef:1")),
        (SetOf(SetOf(String)), (("a",), ())),
        (MapOf(Int, SetOf(String)), {1: ("a",)}),
    ],
)
def test_values_of_a_type_conform_to_it(kind: Type[object], value: object) -> None:
    assert conforms(kind, value)
