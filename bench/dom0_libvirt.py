"""Puts libvirt with its Xen driver into dom0, which has no way to a package index of its own."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from testhost.machine import Machine
from testhost.suite import Suite
from testhost.tree import run, say

PACKAGES: Final = ("libvirt-daemon-system", "libvirt-daemon-driver-xen", "libvirt-clients")
ARCHIVE: Final = "http://deb.debian.org/debian"
KEYS: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
# The Xen driver gives up where no processor that it knows has so few features as the emulated
# one; and the daemon is to stay, or a start would now and then include its own.
INSTALL: Final = """
    cd /root/libvirt
    DEBIAN_FRONTEND=noninteractive dpkg --force-confold -i *.deb >install.log 2>&1
    model="<model name='486'><decode host='on' guest='on'/><feature name='fpu'/></model>"
    echo "<cpus>$model</cpus>" >/usr/share/libvirt/cpu_map/x86_486.xml
    echo LIBVIRTD_ARGS= >/etc/default/libvirtd
    systemctl stop libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd
    systemctl start libvirtd
    timeout 120 virsh -c xen:///system version
"""


def put_libvirt_in(machine: Machine, suite: Suite) -> None:
    """Install libvirt and start it; fetches what dom0 lacks. Raises HostError, SystemExit."""
    with tempfile.TemporaryDirectory(prefix="xapid-bench-") as scratch:
        directory = Path(scratch)
        directory.chmod(0o755)  # apt fetches as a user of its own
        (directory / "status").write_text(machine.run("cat /var/lib/dpkg/status"))
        source = f"deb [signed-by={KEYS}] {ARCHIVE} {suite.name} main\n"
        (directory / "sources.list").write_text(source)
        for each in ("lists/partial", "archives/partial"):
            (directory / each).mkdir(parents=True)
        apt = [
            "apt-get",
            "-qq",
            *(
                word
                for setting in (
                    f"Dir::State::status={directory}/status",
                    f"Dir::State::lists={directory}/lists",
                    f"Dir::Cache={directory}",
                    f"Dir::Etc::sourcelist={directory}/sources.list",
                    "Dir::Etc::sourceparts=-",
                    "APT::Install-Recommends=false",
                )
                for word in ("-o", setting)
            ),
        ]
        say("fetching libvirt for dom0")
        run(*apt, "update")
        run(*apt, "--yes", "--download-only", "install", *PACKAGES)
        packages = sorted((directory / "archives").glob("*.deb"))
        say(f"installing libvirt in dom0, {len(packages)} packages")
        machine.run("mkdir -p /root/libvirt")
        machine.push(*packages, target="/root/libvirt")
    machine.run(INSTALL, timeout_s=1200)
