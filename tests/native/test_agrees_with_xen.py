"""The mock agrees with the installed libxl: constants, signatures, and JSON, field by field."""

from __future__ import annotations

import itertools
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from xapid.xenworker import _libxl_mock as mock

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
build = runpy.run_path(str(ROOT / "native" / "build.py"))

pytestmark = pytest.mark.skipif(
    not build["has_libxl"](), reason="libxl's headers are not installed"
)

# Left out of the mock's tables on purpose (COLO, Arm, what came after 4.17 and xapid does not use),
# or rewritten by libxl into another form (cpuid).
NOT_COMPARED = re.compile(
    r"colo|active_disk|hidden_disk|^num_|^(cpuid|features|llc_colors|smbios|virtios|tee)$"
)
NUMBERS = [1, 0, -1, 5, 300, 70000, 2**31, 2**40, 2**70, 1.5]
TEXTS = ["True", "False", "<default>", "x", "", "00:16:3E:00:00:01"]
TEXTS += ["11111111-2222-3333-4444-AAAAAAAAAAAA"]
LISTS = [[1], [3, 1, 1], [], ["a", "b"], [7] * 16, [[0, 1], [2]], [{}]]
VALUES = [*NUMBERS, *TEXTS, *LISTS, None, True, False, {"a": "b"}, {}]


@pytest.fixture(scope="module")
def header() -> str:
    found = subprocess.run(
        ["cc", "-E", "-x", "c", "-"],
        input="#define LIBXL_API_VERSION 0x041400\n#include <libxl.h>\n",
        text=True,
        capture_output=True,
        check=True,
    )
    return found.stdout


@pytest.fixture(scope="module")
def no_xen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("preload") / "no_xen.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", library, HERE / "no_xen.c"],
        check=True,
    )
    return library


def real_minor() -> int:
    return int(str(build["libxl_version"]()).split(".")[1])


def convert(
    module: str, documents: list[tuple[str, str]], preload: Path | None = None
) -> list[Any]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("XAPID_MOCK_STATE", None)
    if preload:
        environment["LD_PRELOAD"] = str(preload)
    request = {"module": f"xapid.xenworker.{module}", "minor": real_minor(), "documents": documents}
    done = subprocess.run(
        [sys.executable, str(HERE / "bridge.py")],
        input=json.dumps(request),
        text=True,
        capture_output=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    return [(rc, None if text is None else json.loads(text)) for rc, text in answers]


def differences(documents: list[tuple[str, str]], preload: Path) -> list[object]:
    ours, theirs = convert("_libxl_mock", documents), convert("_libxl", documents, preload)
    return [
        (document, mine, real)
        for document, mine, real in zip(documents, ours, theirs, strict=True)
        if mine != real
    ]


def fields_of(header: str, struct: str) -> list[tuple[str, str]]:
    """The (type, name) of each member of libxl's struct, unions and nested structs left out."""
    body = re.search(rf"typedef struct {struct} \{{(.*?)\n\}} {struct};", header, re.DOTALL)
    assert body, struct
    flat = body[1]
    while (shorter := re.sub(r"(struct|union) \{[^{}]*\} \w+;", "", flat)) != flat:
        flat = shorter
    return [(m[1], m[2]) for m in re.finditer(r"(\w+) ?\*? ?(\w+);", flat)]


def names_of_enum(header: str, enum: str) -> list[str]:
    body = re.search(rf"typedef enum {enum} \{{(.*?)\}}", header, re.DOTALL)
    prefix = enum.upper() + "_"
    return (
        [n.removeprefix(prefix).lower() for n in re.findall(r"LIBXL_\w+", body[1])] if body else []
    )


def test_every_constant_has_the_same_value() -> None:
    from xapid.xenworker import _libxl as real

    constants = [n for n in dir(mock.lib) if isinstance(getattr(mock.lib, n), int)]

    assert len([n for n in constants if n.startswith("ERROR_")]) == 32
    assert {n: getattr(mock.lib, n) for n in constants} == {
        n: getattr(real.lib, n) for n in constants
    }


def test_no_error_code_of_libxl_is_missing(header: str) -> None:
    theirs = set(re.findall(r"\b(ERROR_\w+) = -", header))

    assert theirs <= {n for n in dir(mock.lib) if n.startswith("ERROR_")}


def test_every_name_of_an_enumeration_is_spelt_the_same() -> None:
    from xapid.xenworker import _libxl as real

    enums = {"error": "ERROR_", "domain_type": "LIBXL_DOMAIN_TYPE_"}
    enums |= {"shutdown_reason": "LIBXL_SHUTDOWN_REASON_", "scheduler": "LIBXL_SCHEDULER_"}
    for enum, prefix in enums.items():
        for name in (n for n in dir(mock.lib) if n.startswith(prefix)):
            value = getattr(mock.lib, name)
            ours, theirs = (
                m.ffi.string(getattr(m.lib, f"libxl_{enum}_to_string")(value)) for m in (mock, real)
            )
            assert ours == theirs, name


@pytest.mark.parametrize("kind", ["mock", "real"])
def test_every_declaration_fits_the_headers(kind: str, tmp_path: Path) -> None:
    ffi = build[kind]()
    source = tmp_path / "module.c"
    ffi.emit_c_code(str(source))
    keywords = ffi._assigned_source[3]
    defines = [f"-D{name}={value}" for name, value in keywords["define_macros"]]

    done = subprocess.run(
        [
            *(
                "cc",
                "-fsyntax-only",
                "-std=gnu11",
                "-Werror=incompatible-pointer-types",
                "-Werror=int-conversion",
            ),
            *("-Werror=discarded-qualifiers", "-Werror=implicit-function-declaration", *defines),
            *(f"-I{ROOT / 'native'}", f"-I{sysconfig_include()}", str(source)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def sysconfig_include() -> str:
    import sysconfig

    return sysconfig.get_paths()["include"]


PLACES = {
    "libxl_domain_create_info": ("domain_config", ["c_info"]),
    "libxl_domain_build_info": ("domain_config", ["b_info"]),
    "libxl_domain_sched_params": ("domain_config", ["b_info", "sched_params"]),
    "libxl_vnc_info": ("domain_config", ["b_info", "type.hvm", "vnc"]),
    "libxl_domain_config": ("domain_config", []),
    "libxl_device_disk": ("device_disk", []),
    "libxl_device_nic": ("device_nic", []),
    "libxl_device_vfb": ("domain_config", ["vfbs", 0]),
    "libxl_device_vkb": ("domain_config", ["vkbs", 0]),
    "libxl_device_pci": ("domain_config", ["pcidevs", 0]),
    "libxl_device_vtpm": ("domain_config", ["vtpms", 0]),
    "libxl_device_usbctrl": ("domain_config", ["usbctrls", 0]),
}


def placed(path: list[Any], value: object) -> str:
    for step in reversed(path):
        value = [value] if step == 0 else {step: value}
    return json.dumps(value)


@pytest.mark.parametrize("struct", sorted(PLACES))
def test_every_field_is_read_and_written_the_same(struct: str, header: str, no_xen: Path) -> None:
    kind, path = PLACES[struct]
    documents = [
        (kind, placed([*path, name], value))
        for ctype, name in fields_of(header, struct)
        if not NOT_COMPARED.search(name)
        for value in [*VALUES, *names_of_enum(header, ctype)]
    ]

    assert len(documents) > 100
    assert differences(documents, no_xen) == []


def test_each_kind_of_guest_is_read_and_written_the_same(header: str, no_xen: Path) -> None:
    branches = re.search(
        r"libxl_domain_type type;\s*union \{(.*?)\} u;\s*struct \{\s*libxl_gic", header, re.DOTALL
    )
    assert branches
    documents = []
    for body, branch in re.findall(r"struct \{(.*?)\} (hvm|pv|pvh);", branches[1], re.DOTALL):
        for ctype, name in re.findall(r"(\w+) ?\*? ?(\w+);", body):
            if NOT_COMPARED.search(name):
                continue
            path = ["b_info", f"type.{branch}", name]
            values = [*VALUES, *names_of_enum(header, ctype)]
            documents += [("domain_config", placed(path, value)) for value in values]

    assert len(documents) > 1000
    assert differences(documents, no_xen) == []


def test_what_is_not_json_is_refused_the_same(no_xen: Path) -> None:
    texts = [
        "",
        " ",
        "{",
        '{"a":}',
        '{"a":1,}',
        "{'a':1}",
        '{"a":01}',
        "nul",
        '"',
        '{"a" 1}',
        "[1,]",
        '{"a":"\\x"}',
    ]
    good = [
        "{}",
        "[]",
        "null",
        '{"a":[1,{"b":null}]}',
        ' {"c_info" : {"name":"\\u00e9\\ud83d\\ude00\\n"}} ',
    ]

    documents = [("domain_config", text) for text in itertools.chain(texts, good)]

    assert differences(documents, no_xen) == []
