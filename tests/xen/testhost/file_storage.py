"""File systems in dom0 for storage repositories, and dom0's own NFS server."""

from __future__ import annotations

from testhost.machine import Machine

EXPORT = "/srv/store/export"
UNITS = "rpcbind.service rpcbind.socket"


def file_system(machine: Machine, place: str, mib: int) -> None:
    """A file system of its own, whose size nothing else changes, mounted at `place` once."""
    machine.run(
        f"mountpoint -q {place} && exit; mkdir -p {place} && truncate -s {mib}M {place}.img && "
        f"mkfs.ext4 -q -F {place}.img && mount -o loop,noatime {place}.img {place}"
    )


def drop_file_system(machine: Machine, place: str) -> None:
    machine.run(f"if mountpoint -q {place}; then umount {place}; fi; rm -f {place}.img")


def serve_export(machine: Machine) -> None:
    """Export a directory by NFS 4 to this host alone."""
    machine.run(
        f"mkdir -p {EXPORT}; systemctl -q unmask {UNITS}; systemctl start rpcbind.socket; "
        "mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd; "
        "echo 10 >/proc/fs/nfsd/nfsv4leasetime; echo 10 >/proc/fs/nfsd/nfsv4gracetime; "
        f"exportfs -o rw,no_root_squash,no_subtree_check,fsid=1 127.0.0.1:{EXPORT}; "
        "pidof -q rpc.mountd || rpc.mountd -N 3"
    )
    start_server(machine)


def start_server(machine: Machine) -> None:
    """Let the server answer, at once also to those that it does not remember."""
    machine.run("rpc.nfsd -N 3 -V 4 2 && echo Y >/proc/fs/nfsd/v4_end_grace")


def stop_server(machine: Machine) -> None:
    """The server answers nothing any more; its clients wait."""
    machine.run("rpc.nfsd 0")


def stop_export(machine: Machine) -> None:
    stop_server(machine)
    machine.run(f"exportfs -u 127.0.0.1:{EXPORT}; exportfs -f")
