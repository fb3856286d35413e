"""The API reference says what the declarations say."""

from __future__ import annotations

from pathlib import Path

from xapid.datamodel.coverage import NOT_YET, OTHER_HOSTS
from xapid.datamodel.document import reference
from xapid.datamodel.errors import BY_CODE
from xapid.datamodel.raises import OF_DERIVED
from xapid.datamodel.registry import CLASSES, METHODS, Kind

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def test_the_page_is_current() -> None:
    written = PAGE.read_text(encoding="utf-8")

    assert written == reference(), "run: python -m xapid.datamodel.document > docs/api.md"


def test_the_page_has_every_class_field_message_and_error() -> None:
    lines = set(reference().splitlines())
    text = reference()

    for cls in CLASSES.values():
        assert f"## Class {cls.wire}" in lines
        assert all(f"| `{name}` | `{f.type.name}` |" in text for name, f in cls.fields.items())
    for method in METHODS.values():
        if method.kind is Kind.MESSAGE:
            assert f"#### {method.name}" in lines
    assert all(f"| {code} |" in text for code in BY_CODE)


def test_the_counts_of_implemented_methods_add_up() -> None:
    rows = [line.strip("| ").split(" | ") for line in reference().splitlines() if "|" in line]
    counts = {
        row[0]: [int(cell) for cell in row[1:]]
        for row in rows
        if row[0] in (*CLASSES, "all") and len(row) > 2
    }

    assert counts.keys() == {*CLASSES, "all"}
    done, out, late = ([row[place] for row in counts.values()] for place in (1, 2, 3))
    assert counts["all"][0] == len(METHODS) == done[-1] + out[-1] + late[-1]
    assert (out[-1], late[-1]) == (len(OTHER_HOSTS), len(NOT_YET))
    assert all(sum(column[:-1]) == column[-1] for column in (done, out, late))


def test_what_is_left_out_or_late_is_a_message_that_says_so() -> None:
    assert OTHER_HOSTS.keys() | NOT_YET <= METHODS.keys() and not OTHER_HOSTS.keys() & NOT_YET
    for name, error in OTHER_HOSTS.items():
        assert error in METHODS[name].raises


def test_every_derived_methods_own_errors_are_shown() -> None:
    rows = {line.split(" | ")[0].strip("| `"): line for line in reference().splitlines()}

    for name, errors in OF_DERIVED.items():
        assert all(error.code in rows[name] for error in errors)


def test_an_extension_is_marked_with_its_reason() -> None:
    row = next(line for line in reference().splitlines() if line.startswith("| `domain_type`"))

    assert "*Extension: The specification cannot say PVH" in row


def test_a_message_shows_its_signature_states_role_and_errors() -> None:
    text = reference().partition("#### VM.unpause\n")[2].partition("####")[0]

    assert text.strip().split("\n\n") == [
        "`void VM.unpause(session ref session_id, VM ref vm)`",
        "Let the vCPUs of a paused VM run again.",
        "- `vm`: The VM.",
        "Allowed in the states Paused. Shown in `current_operations` as `unpause`. Needs the role"
        " vm-operator. Errors: DOMAIN_BUILDER_ERROR, OPERATION_NOT_ALLOWED,"
        " OTHER_OPERATION_IN_PROGRESS, VM_BAD_POWER_STATE, VM_IS_TEMPLATE.",
    ]
