"""Block devices in dom0 for storage repositories: a loop device, and a LUN of dom0's own target."""

from __future__ import annotations

from testhost.machine import Machine

IQN = "iqn.2026-11.test.xapid:disks"
USER = "xapid-test"
SECRET = "a-secret-of-sixteen-characters"
LUN = "1"


def loop_device(machine: Machine, name: str, mib: int) -> str:
    """A new loop device that is `mib` MiB large."""
    path = f"/srv/{name}.img"
    return machine.run(f"truncate -s {mib}M {path} && losetup -f --show {path}").strip()


def drop_loop_device(machine: Machine, name: str) -> None:
    path = f"/srv/{name}.img"
    machine.run(f"losetup -j {path} -n -O NAME | xargs -r losetup -d; rm -f {path}")


def serve_lun(machine: Machine, mib: int) -> None:
    """Let dom0 be an iSCSI target that asks for a secret, and be able to log in to targets."""
    machine.write("/etc/xapid/chap/test", SECRET + "\n")
    admin = "tgtadm --lld iscsi --mode"
    machine.run(
        "chmod 600 /etc/xapid/chap/test; systemctl unmask tgt.service iscsid.service iscsid.socket;"
        f" systemctl start tgt.service iscsid.service; truncate -s {mib}M /srv/lun.img;"
        f" {admin} target --op new --tid 1 --targetname {IQN};"
        f" {admin} logicalunit --op new --tid 1 --lun {LUN} --backing-store /srv/lun.img;"
        f" {admin} target --op bind --tid 1 --initiator-address ALL;"
        f" {admin} account --op new --user {USER} --password {SECRET};"
        f" {admin} account --op bind --tid 1 --user {USER}"
    )


def drop_lun(machine: Machine) -> None:
    machine.run("systemctl stop tgt.service; rm -f /srv/lun.img /etc/xapid/chap/test")


def iscsi_config() -> dict[str, str]:
    """The device_config that leads to the LUN."""
    return {
        "target": "127.0.0.1",
        "targetIQN": IQN,
        "LUNid": LUN,
        "chapuser": USER,
        "chapsecret": "test",
    }
