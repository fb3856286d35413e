"""What the Debian package decides, starts, and leaves alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from xapid.config import load, override

PACKAGING = Path(__file__).parents[2] / "packaging"
SCRIPTS = sorted(PACKAGING.glob("debian/xapid.*"))
# Every program that a maintainer script may run is replaced by one that tells of it.
PRETENDED = ("systemctl", "deb-systemd-invoke", "addgroup", "getent", "grep", "readlink")


def run(script: Path, argument: str, directory: Path, control_domain: bool = True) -> list[str]:
    """Run a maintainer script on a pretended host; gives the commands that it ran."""
    told, programs = directory / "told", directory / "bin"
    programs.mkdir()
    for name in PRETENDED:
        code = int(name == "getent" or (name == "grep" and not control_domain))
        program = programs / name
        program.write_text(f'#!/bin/sh\necho {name} "$@" >> {told}\nexit {code}\n')
        program.chmod(0o755)
    booted, state = directory / "booted", directory / "state"
    booted.mkdir()
    text = script.read_text().replace("#DEBHELPER#", "")
    text = text.replace("/run/systemd/system", str(booted)).replace("/var/lib/xapid", str(state))
    text = text.replace("/etc/xapid/tls", str(directory / "tls"))
    text = text.replace("/var/lib/xcp", str(directory / "xcp"))
    subprocess.run(
        ["/bin/sh", "-s", argument],
        input=text,
        text=True,
        check=True,
        env={"PATH": f"{programs}:/usr/bin:/bin"},
    )
    return told.read_text().splitlines() if told.exists() else []


def test_the_packages_defaults_are_valid() -> None:
    config = override(load(PACKAGING / "defaults.toml"))

    assert config.accounts.source == "system"
    assert config.xen.socket == Path("/run/xapid/xen.sock")
    assert config.socket == Path("/run/xapid/xapid.sock")


def test_it_starts_on_a_control_domain(tmp_path: Path) -> None:
    done = run(PACKAGING / "debian/xapid.postinst", "configure", tmp_path)

    assert "addgroup --quiet --system xapid" in done
    assert [line for line in done if "systemd-invoke" in line] == [
        "deb-systemd-invoke start xapid.socket",
        "deb-systemd-invoke restart xapid.service xapid-xen.service",
        "deb-systemd-invoke start xapid-guests.service xapid-backup.timer",
    ]


def test_it_starts_nowhere_else(tmp_path: Path) -> None:
    done = run(PACKAGING / "debian/xapid.postinst", "configure", tmp_path, control_domain=False)

    assert not [line for line in done if "systemd-invoke" in line]


@pytest.mark.parametrize(
    ("argument", "commands"),
    [
        (
            "remove",
            [
                "deb-systemd-invoke stop xapid-backup.timer xapid.socket xapid-guests.service "
                "xapid.service xapid-xen.service"
            ],
        ),
        ("upgrade", []),
    ],
)
def test_it_stops_when_removed_and_serves_while_upgraded(
    tmp_path: Path, argument: str, commands: list[str]
) -> None:
    assert run(PACKAGING / "debian/xapid.prerm", argument, tmp_path) == commands


@pytest.mark.parametrize("argument", ["purge", "remove"])
def test_purging_deletes_what_is_ours_and_no_disk(tmp_path: Path, argument: str) -> None:
    state = tmp_path / "state"
    for name in ("state.db", "state.db-wal", "disks/one.raw", "sr/1/two.qcow2", "patches/p"):
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).write_text("x")

    run(PACKAGING / "debian/xapid.postrm", argument, tmp_path)

    assert (state / "disks/one.raw").exists()
    assert (state / "sr/1/two.qcow2").exists()
    assert (state / "state.db").exists() == (argument == "remove")
    assert (state / "patches").exists() == (argument == "remove")


def test_units_end_the_main_process_only() -> None:
    for name in ("xapid.service", "xapid-xen.service"):
        assert "\nKillMode=process\n" in (PACKAGING.parent / "systemd" / name).read_text()
