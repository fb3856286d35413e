"""On which machines the real libxl is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from xapid.xen.unit import find_xen


@pytest.mark.parametrize(
    ("capabilities", "found"),
    [("control_d\n", "libxl"), ("control_d,other\n", "libxl"), ("\n", "mock"), (None, "mock")],
)
def test_the_control_domain_is_known_by_what_the_kernel_says(
    tmp_path: Path, capabilities: str | None, found: str
) -> None:
    path = tmp_path / "capabilities"
    if capabilities is not None:
        path.write_text(capabilities)

    assert find_xen("auto", path) == found
    assert find_xen("mock", path) == "mock"
    assert find_xen("libxl", path) == "libxl"
