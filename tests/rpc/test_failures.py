"""What a handler raises, as the client is told it."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from xapid.datamodel.declare import Ref
from xapid.datamodel.errors import VMIsTemplate
from xapid.db.failures import StorageFailure
from xapid.rpc.failures import api_error
from xapid.xen.errors import LIBXL_ERRORS, XenUnavailable, error_for


def test_an_error_of_the_api_is_told_as_it_is() -> None:
    error = VMIsTemplate(Ref("OpaqueRef:1"))

    assert api_error(error) is error


@pytest.mark.parametrize("name", sorted(LIBXL_ERRORS))
def test_every_code_of_libxl_is_told_with_what_failed(name: str) -> None:
    number, _ = LIBXL_ERRORS[name]
    with capture_logs() as logs:
        told = api_error(error_for("libxl_domain_pause", number, name, ["the last\0line"])).wire()

    assert told[0] in ("DOMAIN_BUILDER_ERROR", "OPERATION_NOT_ALLOWED")
    assert all(told) and "\0" not in "".join(told)
    assert [line["log_level"] for line in logs] == ["error"]


def test_a_worker_that_is_gone_is_told_with_advice() -> None:
    told = api_error(XenUnavailable("the worker ended")).wire()

    assert told[2] == "XEN_UNAVAILABLE"
    assert "call again" in told[3]


def test_a_disk_that_refuses_is_told_with_its_reason() -> None:
    code, message = api_error(StorageFailure("no space left")).wire()

    assert code == "INTERNAL_ERROR"
    assert "no space left" in message


def test_anything_else_is_told_by_a_reference_to_the_log() -> None:
    with capture_logs() as logs:
        code, message = api_error(ZeroDivisionError("a secret")).wire()

    assert code == "INTERNAL_ERROR"
    assert "a secret" not in message
    assert str(logs[0]["reference"]) in message
