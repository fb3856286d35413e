from pathlib import Path
from types import ModuleType

import pytest

from xapid.xen.errors import LIBXL_ERRORS, XenAborted, XenError, XenNoMemory, error_for


@pytest.fixture(params=["xapid.xenworker._libxl_mock", "xapid.xenworker._libxl"])
def native(request: pytest.FixtureRequest) -> ModuleType:
    # Where libxl's headers are not installed only the mock is built.
    return pytest.importorskip(request.param, exc_type=ImportError)


def test_the_table_holds_each_of_libxls_codes_with_its_number(native: ModuleType) -> None:
    codes = {
        name: getattr(native.lib, name) for name in dir(native.lib) if name.startswith("ERROR_")
    }

    assert codes == {name: rc for name, (rc, _) in LIBXL_ERRORS.items()}


def test_the_table_holds_each_code_of_the_installed_header() -> None:
    header = Path("/usr/include/_libxl_types.h")
    if not header.exists():
        pytest.skip("libxen-dev is not installed")
    body = header.read_text().split("} libxl_error;")[0].rsplit("{", 1)[1]

    codes = dict(line.strip().rstrip(",").split(" = ") for line in body.strip().splitlines())

    assert {name: int(rc) for name, rc in codes.items()} == {
        name: rc for name, (rc, _) in LIBXL_ERRORS.items()
    }


def test_an_error_says_what_failed_and_libxls_last_words() -> None:
    error = error_for("libxl_domain_create_new", -5, "ERROR_NOMEM", ["first", "last"])

    assert isinstance(error, XenNoMemory)
    assert str(error) == "libxl_domain_create_new: ERROR_NOMEM: last"
    assert (error.rc, error.log) == (-5, ("first", "last"))


def test_a_code_of_a_newer_libxl_is_a_plain_error() -> None:
    error = error_for("libxl_something", -99, "ERROR_-99")

    assert type(error) is XenError


def test_an_abort_has_its_own_class() -> None:
    assert isinstance(error_for("x", -22, "ERROR_ABORTED"), XenAborted)
