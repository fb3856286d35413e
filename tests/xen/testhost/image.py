"""Builds what a test host boots from, with the guests inside it and a build root beside it.

A build ends with one rename, so that an interrupted one never counts; its directory is named after
a hash of everything that goes into it, so that a changed recipe is built anew.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testhost import guests
from testhost.suite import Suite
from testhost.tree import inside, run, say, write

HERE = Path(__file__).parent

# Command -> Debian package, for the machine that builds and boots.
NEEDED_HERE = {
    "mmdebstrap": "mmdebstrap",
    "cpio": "cpio",
    "ssh": "openssh-client",
    "mkfs.ext4": "e2fsprogs",
    "qemu-system-x86_64": "qemu-system-x86",
    "xz": "xz-utils",
}

DOM0_PACKAGES = """
    systemd-sysv dbus udev kmod procps iproute2 bridge-utils ethtool libpam-modules openssh-server
    {dhcp}
    curl     linux-image-amd64 initramfs-tools zstd busybox-static
    xen-utils-{xen} xen-hypervisor-{xen}-amd64 xenstore-utils qemu-system-xen qemu-utils seabios
    python3 python3-venv
    e2fsprogs lvm2 nfs-common nfs-kernel-server open-iscsi tgt
    rsyslog
"""

BUILD_PACKAGES = """
    python3-dev python3-venv gcc libc6-dev libxen-dev make
    xz-utils zstd lz4
"""

# What would only cost time at boot; storage servers are started by the tests that want them.
MASKED_UNITS = """
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer
    e2scrub_reap.service fstrim.timer logrotate.timer man-db.timer systemd-tmpfiles-clean.timer
    getty@tty1.service serial-getty@hvc0.service systemd-networkd-wait-online.service
    tgt.service nfs-server.service nfs-kernel-server.service nfs-blkmap.service
    rpcbind.service rpcbind.socket rpc-statd.service rpc-statd-notify.service nfs-client.target
    nfsdcld.service nfs-mountd.service nfs-idmapd.service
    open-iscsi.service iscsid.service iscsid.socket
    lvm2-monitor.service lvm2-lvmpolld.socket systemd-pstore.service
    systemd-timesyncd.service systemd-update-utmp.service systemd-update-utmp-runlevel.service
    console-setup.service keyboard-setup.service ifupdown-pre.service networking.service
    xendomains.service systemd-binfmt.service systemd-hwdb-update.service
    dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount
"""

DOM0_MODULES = "xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xen-blkback xen-netback loop bridge"
INITRD_MODULES = "virtio_pci virtio_blk ext4 crc32c_generic"


@dataclass(frozen=True)
class Image:
    """The files of one finished build."""

    suite: Suite
    directory: Path

    @property
    def disk(self) -> Path:
        return self.directory / "dom0.img"

    @property
    def hypervisor(self) -> Path:
        return self.directory / "xen"

    @property
    def kernel(self) -> Path:
        return self.directory / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.directory / "initrd"

    @property
    def key(self) -> Path:
        return self.directory / "key"

    @property
    def build_root(self) -> Path:
        """A tree of the same release with a compiler, Python's and Xen's headers."""
        return self.directory / "build-root"


def recipe_key(suite: Suite) -> str:
    """A name for the result of this recipe: changes with every file that goes into it."""
    digest = hashlib.sha256(repr(suite).encode())
    for path in [
        HERE / "image.py",
        HERE / "guests.py",
        HERE / "tree.py",
        *sorted(HERE.glob("guest/*")),
        *sorted(HERE.glob("loader/*")),
    ]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def ensure_image(suite: Suite) -> Image:
    """The image of the release, built now (as root) if this recipe's is not there yet."""
    suite.directory.mkdir(parents=True, exist_ok=True)
    image = Image(suite, suite.directory / f"image-{recipe_key(suite)}")
    with locked(suite.directory / "build.lock"):
        if not image.directory.exists():
            build(image)
            forget_older(image)
    return image


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file lock path: one builder at a time, whoever runs it."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(image: Image) -> None:
    """Make the image beside its final place, then move it there in one step."""
    if os.geteuid() != 0:
        raise SystemExit(
            "building a Xen test host needs root (chroot, file owners): run it as root once"
        )
    install_needed()
    for left in image.suite.directory.glob("building-*"):
        shutil.rmtree(left)
    work = Image(image.suite, image.suite.directory / f"building-{image.directory.name}")
    work.directory.mkdir()
    os.umask(0o022)
    say(f"building the {image.suite.name} test host in {image.directory} (once; some minutes)")
    bootstrap(work.suite, BUILD_PACKAGES, work.build_root)
    root = work.directory / "dom0"
    packages = DOM0_PACKAGES.format(xen=work.suite.xen, dhcp=work.suite.dhcp_client)
    bootstrap(work.suite, packages, root)
    kernel = next((root / "boot").glob("vmlinuz-[0-9]*")).name.removeprefix("vmlinuz-")
    configure_dom0(work, root)
    configure_boot(work, root, kernel)
    guests.install(root, kernel, work.build_root)
    say("writing the disk of dom0")
    for unwanted in ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/lib/apt/lists"):
        shutil.rmtree(root / unwanted, ignore_errors=True)
    with work.disk.open("wb") as disk:
        disk.truncate(6 << 30)
    run(
        "mkfs.ext4",
        "-q",
        "-F",
        "-O",
        "^has_journal",
        "-E",
        "lazy_itable_init=1",
        "-d",
        root,
        work.disk,
    )
    shutil.rmtree(root)
    work.directory.rename(image.directory)
    say(f"built {image.directory}")


def install_needed() -> None:
    """Install the tools that the build and the boot need and that are missing on this machine."""
    missing = sorted({package for tool, package in NEEDED_HERE.items() if not shutil.which(tool)})
    if missing:
        say(f"installing {' '.join(missing)}")
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        run("apt-get", "update", "-qq", env=environment)
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing, env=environment)


def bootstrap(suite: Suite, packages: str, root: Path) -> None:
    say(f"unpacking {root.name}")
    run(
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={','.join(packages.split())}",
        suite.name,
        root,
    )


def configure_dom0(image: Image, root: Path) -> None:
    """Names, network, access and services of the control domain."""
    write(root / "etc/fstab", "/dev/vda / ext4 defaults,noatime 0 1\n")
    write(root / "etc/hostname", "xenhost\n")
    write(root / "etc/hosts", "127.0.0.1 localhost xenhost\n")
    write(
        root / "etc/systemd/network/eth0.network",
        "[Match]\nName=eth0\n[Network]\nAddress=10.0.2.15/24\nIPv6AcceptRA=no\n",
    )
    write(
        root / "etc/systemd/journald.conf.d/volatile.conf",
        "[Journal]\nStorage=volatile\nRuntimeMaxUse=64M\n",
    )
    write(root / "etc/modules-load.d/xen.conf", "\n".join(DOM0_MODULES.split()) + "\n")
    # Without this, sshd looks every client up in a name service that is not there.
    write(
        root / "etc/ssh/sshd_config.d/testhost.conf",
        "UseDNS no\nMaxSessions 100\nMaxStartups 100\n",
    )
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "xapid-testhost", "-f", image.key)
    write(root / "root/.ssh/authorized_keys", image.key.with_suffix(".pub").read_text())
    (root / "root/.ssh").chmod(0o700)
    inside(root, "passwd", "-d", "root")
    # The users that a de-privileged device model or bootloader runs as: base + domid.
    inside(
        root,
        "useradd",
        "--system",
        "--no-create-home",
        "--uid",
        "131072",
        "xen-qemuuser-range-base",
    )
    inside(root, "systemctl", "--quiet", "enable", "systemd-networkd", "ssh")
    # The journal is enough; the test that sends logs elsewhere starts it.
    inside(root, "systemctl", "--quiet", "disable", "rsyslog")
    for unit in MASKED_UNITS.split():
        mask = root / "etc/systemd/system" / unit
        mask.unlink(missing_ok=True)
        mask.symlink_to("/dev/null")


def configure_boot(image: Image, root: Path, kernel: str) -> None:
    """Xen, dom0's kernel and an initial RAM disk that does no more than mount the root disk."""
    write(
        root / "etc/initramfs-tools/conf.d/small",
        "MODULES=list\nCOMPRESS=gzip\nBUSYBOX=n\nFSTYPE=ext4\n",
    )
    with (root / "etc/initramfs-tools/modules").open("a") as modules:
        modules.write("\n".join(INITRD_MODULES.split()) + "\n")
    inside(root, "update-initramfs", "-u", "-k", kernel)
    packed = next((root / "boot").glob(f"xen-{image.suite.xen}*.gz"))
    image.hypervisor.write_bytes(gzip.decompress(packed.read_bytes()))
    shutil.copy(root / f"boot/vmlinuz-{kernel}", image.kernel)
    shutil.copy(root / f"boot/initrd.img-{kernel}", image.initrd)


def forget_older(image: Image) -> None:
    """Delete the images of older recipes, unless a host still runs from one."""
    used = {image.directory}
    for state in image.suite.directory.glob("run/*/host.json"):
        if is_running(state.with_name("pid")):
            used.add(Path(json.loads(state.read_text())["image"]))
    for other in set(image.suite.directory.glob("image-*")) - used:
        shutil.rmtree(other)


def is_running(pid_file: Path) -> bool:
    """Whether the QEMU that wrote pid_file still runs."""
    try:
        return b"qemu" in Path(f"/proc/{int(pid_file.read_text())}/cmdline").read_bytes()
    except (OSError, ValueError):
        return False
