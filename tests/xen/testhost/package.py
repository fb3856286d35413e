"""Builds this checkout for the host's release: as an environment in dom0, and as Debian's package.

dom0 has no way to a package index, and emulation is slow: the release's own compiler and Python
build in trees of that release, with the pinned wheels of the dependencies. Most tests kill and
start xapid as they like and so use the environment, which is copied into dom0 as it is; those of
the service install the package.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
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
    tools = fetched(image.suite, "tools", CHECKOUT / "requirements-build.lock")
    wheels = fetched(image.suite, "wheels", CHECKOUT / "requirements.lock")
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


def debian_package(suite: Suite) -> Path:
    """The Debian package of this checkout for the release, built if its content has changed."""
    with locked(suite.directory / "package.lock"):
        place = suite.directory / f"debian-package-{content_key()}"
        if not place.exists():
            say(f"building the Debian package for {suite.name}")
            for older in suite.directory.glob("debian-package-*"):
                shutil.rmtree(older)
            with tempfile.TemporaryDirectory(dir=suite.directory) as scratch:
                made = Path(scratch) / "made"
                environment = os.environ | {"XAPID_BUILD_DIR": str(suite.directory / "build")}
                command = [CHECKOUT / "tools/build-deb", "--suite", suite.name, "--output", made]
                run(*command, env=environment)
                made.rename(place)
    (package,) = place.glob("*.deb")
    return package


def content_key() -> str:
    """Changes with every file that goes into the package."""
    digest = hashlib.sha256()
    for name in source_names():
        path = CHECKOUT / name
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        digest.update(name.encode() + b"\0" + content + b"\0")
    return digest.hexdigest()[:16]


def copy_sources(target: Path) -> None:
    """Copy what the package is made of, without what was built from it."""
    for name in source_names():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CHECKOUT / name, target / name, follow_symlinks=False)


def source_names() -> list[str]:
    """What git would track, changed or not, but for the tests."""
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
    names = sorted(name for name in listed.stdout.decode().split("\0") if name)
    kept = [name for name in names if not name.startswith("tests/")]
    return [n for n in kept if (CHECKOUT / n).is_file() or (CHECKOUT / n).is_symlink()]


def fetched(suite: Suite, name: str, lock: Path) -> Path:
    """A directory with a lock file's wheels for the release's Python, fetched once for each."""
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
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
                "--require-hashes",
                "-d",
                f"{scratch}/wheels",
                "-r",
                str(lock),
            ]
            run(index_python(suite), "-m", "pip", *download)
            (Path(scratch) / "wheels").rename(place)
    return place


def index_python(suite: Suite) -> Path:
    """A Python with pip on this machine, whose configuration knows a package index."""
    place = suite.directory.parent / "pip"
    if not (place / "bin/pip").exists():
        run("python3", "-m", "venv", "--clear", place)
    return place / "bin/python"
