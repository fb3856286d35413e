"""The import arrows of docs/architecture.md, held by the source itself."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "xapid"
LAYERS = [
    {"__main__"},
    {"admin"},
    {"daemon"},
    {"http"},
    {"rpc"},
    {"services"},
    {"storage", "network", "xen"},
    {"db"},
    {"datamodel"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
ANYWHERE = {
    "config",
    "durable",
    "garbage",
    "journal",
    "log",
    "programs",
    "prometheus",
    "stalls",
    "systemd",
    "undo",
    "version",
}
"""Leaves: they import nothing of the layers, and every layer may import them."""

SHARED_LEAVES = {"journal", "version"}
"""Leaves of the standard library alone, which xapid-xen may use too."""

SHARED_SERVICES = {"ports", "operations"}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "common", "manager", "base", "misc"}

MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path, *, runtime_only: bool) -> Iterator[tuple[str, ...]]:
    """The modules of xapid that one file imports, each as its parts below the package."""
    here = path.relative_to(PACKAGE.parent).with_suffix("").parts
    tree = ast.parse(path.read_text())
    skipped = set()
    for node in ast.walk(tree):
        if runtime_only and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped.update(id(inner) for inner in ast.walk(node))
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            prefix = here[: -node.level] if node.level else ()
            module = (*prefix, *(node.module.split(".") if node.module else ()))
            yield from ((*module, alias.name) for alias in node.names)


def inner(path: Path, *, runtime_only: bool = False) -> Iterator[tuple[str, ...]]:
    return (m[1:] for m in imports(path, runtime_only=runtime_only) if m[0] == "xapid" and m[1:])


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down_only(path: Path) -> None:
    source = layer_of(path)

    targets = {module[0] for module in inner(path)} - ANYWHERE - {source}

    if source in ANYWHERE or source == "__init__":
        assert not targets
    elif source == "xenworker":
        modules = {module[:2] for module in inner(path) if module[0] not in SHARED_LEAVES}
        assert {m for m in modules if m[0] != "xenworker"} <= {("xen", "protocol")}
    elif source == "xe":
        assert targets <= {"datamodel"}
    else:
        assert all(LEVEL[source] < LEVEL[target] for target in targets)


@pytest.mark.parametrize(
    "path", [p for p in MODULES if layer_of(p) == "services"], ids=lambda p: p.stem
)
def test_services_never_import_one_another(path: Path) -> None:
    here = path.relative_to(PACKAGE).with_suffix("").parts[1]

    services = {m[1] for m in inner(path) if m[0] == "services" and len(m) > 1}

    assert services <= SHARED_SERVICES | {here}


@pytest.mark.parametrize(
    "path", [p for p in MODULES if layer_of(p) == "datamodel"], ids=lambda p: p.stem
)
def test_the_datamodel_imports_only_the_standard_library(path: Path) -> None:
    outside = {m[0] for m in imports(path, runtime_only=False)} - {"xapid"}

    assert outside <= sys.stdlib_module_names


@pytest.mark.parametrize("path", [p for p in MODULES if layer_of(p) == "xe"], ids=lambda p: p.stem)
def test_the_command_line_client_imports_only_the_standard_library(path: Path) -> None:
    outside = {m[0] for m in imports(path, runtime_only=False)} - {"xapid"}

    assert outside <= sys.stdlib_module_names


def test_only_the_worker_imports_the_native_module() -> None:
    importers = {
        layer_of(path)
        for path in MODULES
        if any("_libxl" in part for module in imports(path, runtime_only=False) for part in module)
    }

    assert importers <= {"xenworker"}


def test_only_the_store_imports_aiosqlite() -> None:
    importers = {
        layer_of(path)
        for path in MODULES
        if any(
            module[0] in ("aiosqlite", "sqlite3") for module in imports(path, runtime_only=False)
        )
    }

    assert importers == {"db"}


def test_no_module_is_a_drawer_for_everything() -> None:
    assert not {path.stem for path in MODULES} & FORBIDDEN_NAMES
