"""Starts of one PV guest with a disk and a VIF on real Xen: by xapid, by xl and by virsh.

`python -m bench.xen` boots a host of tests/xen/testhost (or takes the running one that
XAPID_XENHOST_RUNNING names), installs this checkout and libvirt there, and lets the three start
and end the same guest in turn. The host is emulated: only the ratios say something.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from .samples import BUILT

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/xen"))

from testhost.api import PackageApi
from testhost.daemon import STATE, Daemon
from testhost.image import ensure_image
from testhost.machine import Machine, boot, running
from testhost.package import ENVIRONMENT, install
from testhost.suite import chosen_suite
from testhost.workbench import MIB, Guest, Workbench

from .dom0_libvirt import put_libvirt_in

GOALS: Final = {"xl": 1.05, "virsh": 1.0}
BRIDGE: Final = "compared"
XL: Final = """\
name = "compared"
type = "pv"
kernel = "{kernel}"
ramdisk = "{ramdisk}"
cmdline = "{cmdline}"
memory = {mib}
vcpus = {vcpus}
disk = ["format=raw,vdev=xvda,access=rw,backendtype=phy,target={disk}"]
vif = ["bridge={bridge}"]
"""
LIBVIRT: Final = """\
<domain type='xen'><name>compared-too</name><memory unit='MiB'>{mib}</memory><vcpu>{vcpus}</vcpu>
<os><type arch='x86_64' machine='xenpv'>linux</type><kernel>{kernel}</kernel>
<initrd>{ramdisk}</initrd><cmdline>{cmdline}</cmdline></os><on_poweroff>destroy</on_poweroff>
<devices><disk type='block' device='disk'><driver name='phy' type='raw'/>
<source dev='{disk}'/><target dev='xvda' bus='xen'/></disk>
<interface type='bridge'><source bridge='{bridge}'/></interface></devices></domain>
"""
TIMED: Final = (
    "import subprocess, sys, time\n"
    "began = time.monotonic()\n"
    "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
    "print(time.monotonic() - began)\n"
)


class Rivals:
    """One guest, and who starts it; each start is timed inside dom0."""

    def __init__(self, machine: Machine, workbench: Workbench) -> None:
        self._machine = machine
        self._guest: Guest = workbench.guest("pv", "compared with xl")
        record = workbench.api.call("VM.get_record", self._guest.vm)
        # The image as a block device, as xapid attaches it: the others take a file to qemu.
        image = workbench.vdi_path(self._guest.disk)
        values = {
            "kernel": record["PV_kernel"],
            "ramdisk": record["PV_ramdisk"],
            "cmdline": record["PV_args"],
            "mib": int(record["memory_static_max"]) // MIB,
            "vcpus": record["VCPUs_at_startup"],
            "disk": machine.run(f"losetup --find --show {image}").strip(),
            "bridge": BRIDGE,
        }
        # Ours is there only while a guest is on it, so the others get one that stays.
        machine.run(f"[ -e /sys/class/net/{BRIDGE} ] || ip link add {BRIDGE} up type bridge")
        machine.write("/root/compared.cfg", XL.format(**values))
        machine.write("/root/compared.xml", LIBVIRT.format(**values))
        machine.write("/root/timed.py", TIMED)

    def by_xapid(self) -> float:
        """Seconds of one VM.start, by `xe` on the host's own socket, as the others are commands."""
        xe = f"{ENVIRONMENT}/bin/xe --socket {STATE}/xapid.sock"
        took = self._timed(xe, "vm-start", f"uuid={self._uuid}")
        self._guest.call("hard_shutdown")
        return took

    @property
    def _uuid(self) -> str:
        return str(self._guest.call("get_uuid"))

    def by_xl(self) -> float:
        took = self._timed("xl", "create", "/root/compared.cfg")
        self._machine.run("xl destroy compared")
        return took

    def by_virsh(self) -> float:
        took = self._timed("virsh", "-c", "xen:///system", "start", "compared-too")
        self._machine.run("virsh -c xen:///system destroy compared-too")
        return took

    def _timed(self, *command: str) -> float:
        words = " ".join(command)
        return float(self._machine.run(f"python3 /root/timed.py {words}", timeout_s=300))

    def define(self) -> None:
        """Tell libvirt of the guest."""
        virsh = "virsh -c xen:///system"
        self._machine.run(
            f"{virsh} undefine compared-too 2>/dev/null; {virsh} define /root/compared.xml"
        )


def compare(rivals: Rivals, rounds: int) -> list[dict[str, object]]:
    """Pairs of starts, in turn; prints a line for each rival."""
    rivals.define()
    others: dict[str, Callable[[], float]] = {"xl": rivals.by_xl, "virsh": rivals.by_virsh}
    rivals.by_xapid()  # what only the first start does counts for nobody
    rows: list[dict[str, object]] = []
    for name, start in others.items():
        start()
        pairs = [(rivals.by_xapid(), start()) for _ in range(rounds)]
        ratios = sorted(ours / theirs for ours, theirs in pairs)
        ratio, goal = statistics.median(ratios), GOALS[name]
        verdict = "reached" if ratio <= goal else "**missed**"
        print(
            f"| VM.start of a PV guest | {name} | {statistics.median(p[0] for p in pairs):.2f} s"
            f" | {statistics.median(p[1] for p in pairs):.2f} s"
            f" | {ratio:.3g} ({ratios[0]:.3g} to {ratios[-1]:.3g}) | ≤ {goal:.2f} {verdict} |"
        )
        rows.append({"against": name, "pairs": pairs, "ratio": ratio, "goal": goal})
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.xen", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds: int = parser.parse_args().rounds
    suite = chosen_suite()
    kept = os.environ.get("XAPID_XENHOST_RUNNING")
    machine = running(suite, kept) if kept else None
    machine = machine or boot(ensure_image(suite), kept or f"bench-{os.getpid()}")
    try:
        if not os.environ.get("XAPID_XENHOST_INSTALLED"):
            install(machine, ensure_image(suite))
            put_libvirt_in(machine, suite)
        daemon = Daemon(machine)
        daemon.forget_everything()
        daemon.start()
        workbench = Workbench(
            machine, daemon, PackageApi(machine.https_port, daemon.root_password())
        )
        workbench.prepare()
        rows = compare(Rivals(machine, workbench), rounds)
    finally:
        if not kept:
            machine.down()
    BUILT.mkdir(parents=True, exist_ok=True)
    path = BUILT / f"xen-{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    path.write_text(json.dumps({"suite": suite.name, "rounds": rounds, "rows": rows}, indent=1))
    print(f"saved in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
