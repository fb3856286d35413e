"""Builds this checkout's package for the host's release and installs it into dom0.

dom0 has no way to a package index, and emulation is slow: the release's own compiler and Python
build the package in the build root, and the pinned wheels of its dependencies are unpacked there
too, into the environment that is then copied into dom0 as it is.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
import tomllib
from pathlib import Path

from testhost.image import Image, locked
from testhost.machine import HostError, Machine
from testhost.suite import Suite
from testhost.tree import inside, run, say

CHECKOUT = Path(__file__).resolve().parents[3]
ENVIRONMENT = "/opt/xapid"


def install(machine: Machine, image: Image) -> None:
    """Put xapid with all that it needs into dom0's /opt/xapid, in place of what was there."""
    with locked(image.suite.directory / "package.lock"):
        build_environment(image)
        say("copying the package into dom0")
        unpack = f"rm -rf {ENVIRONMENT} && tar -C / -xz"
        with subprocess.Popen(
            ["tar", "-C", str(image.build_root), "-cz", ENVIRONMENT.lstrip("/")],
            stdout=subprocess.PIPE,
        ) as packed:
            done = subprocess.run(
                [*machine.command("ssh"), "root@127.0.0.1", unpack],
                stdin=packed.stdout,
                capture_output=True,
                text=True,
            )
        if packed.returncode != 0 or done.returncode != 0:
            raise HostError(f"cannot copy the package into dom0: {done.stderr}")


def build_environment(image: Image) -> None:
    """Make /opt/xapid in the build root: an environment with the package and its dependencies."""
    tools = fetched(image.suite, "tools", [*build_requirements(), "pip", "wheel"])
    lock = CHECKOUT / "requirements.lock"
    wheels = fetched(
        image.suite, "wheels", ["--require-hashes", "-r", str(lock)], lock.read_bytes()
    )
    root = image.build_root
    for name in ("tools", "wheels", "source"):
        shutil.rmtree(root / name, ignore_errors=True)
    shutil.rmtree(root / ENVIRONMENT.lstrip("/"), ignore_errors=True)
    shutil.copytree(tools, root / "tools")
    shutil.copytree(wheels, root / "wheels")
    copy_sources(root / "source")
    say(f"building the package for {image.suite.name}")
    inside(root, "sh", "-euc", BUILD.format(environment=ENVIRONMENT))


BUILD = """
    export PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INDEX=1 PIP_NO_CACHE_DIR=1
    export PIP_ROOT_USER_ACTION=ignore
    rm -rf /opt/build /built
    python3 -m venv --without-pip /opt/build
    python3 -m venv --without-pip {environment}
    /opt/build/bin/python "$(echo /tools/pip-*.whl)/pip" install -q --no-compile /tools/*.whl
    /opt/build/bin/python -m pip wheel -q --no-deps --no-build-isolation -w /built /source
    /opt/build/bin/python -m pip --python {environment}/bin/python \\
        install -q --no-deps /wheels/*.whl /built/*.whl
"""


def build_requirements() -> list[str]:
    """What pyproject.toml says that building the package takes."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    requirements: list[str] = project["build-system"]["requires"]
    return requirements


def copy_sources(target: Path) -> None:
    """Copy what git would track, changed or not, without what was built from it."""
    listed = subprocess.run(
        [
            "git",
            "-C",
            str(CHECKOUT),
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ],
        check=True,
        capture_output=True,
    )
    for name in listed.stdout.decode().split("\0"):
        source = CHECKOUT / name
        if name and not name.startswith("tests/") and (source.is_file() or source.is_symlink()):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name, follow_symlinks=False)


def fetched(suite: Suite, name: str, what: list[str], key: bytes = b"") -> Path:
    """A directory with wheels for the release's Python, fetched once for the same wishes."""
    digest = hashlib.sha256(repr(what).encode() + key).hexdigest()[:16]
    place = suite.directory / f"{name}-{digest}"
    if not place.exists():
        for older in suite.directory.glob(f"{name}-*"):
            shutil.rmtree(older)
        with tempfile.TemporaryDirectory(dir=suite.directory) as scratch:
            download = [
                "download",
                "-q",
                "--python-version",
                suite.python,
                "--only-binary=:all:",
                "-d",
                f"{scratch}/wheels",
            ]
            run(index_python(suite), "-m", "pip", *download, *what)
            (Path(scratch) / "wheels").rename(place)
    return place


def index_python(suite: Suite) -> Path:
    """A Python with pip on this machine, whose configuration knows a package index."""
    place = suite.directory.parent / "pip"
    if not (place / "bin/pip").exists():
        run("python3", "-m", "venv", "--clear", place)
    return place / "bin/python"
