"""Puts a guest that boots in seconds into dom0: as kernel and initrd, and on disks.

/srv/guest/vmlinux   the kernel, unpacked: building a domain need not do it under emulation
/srv/guest/vmlinuz   the kernel as Debian ships it
/srv/guest/initrd    busybox, Xen's disk and network front ends, and an agent on the console
/srv/guest/hvm.img   a disk that a BIOS boots (HVM)
/srv/guest/pygrub.img  an ext4 disk with a grub.cfg, for pygrub
"""

from __future__ import annotations

import gzip
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from testhost.tree import inside, run

HERE = Path(__file__).parent

GUEST_MODULES = ("block/xen-blkfront", "net/xen-netfront")
CONSOLES = "console=tty0 console=ttyS0,115200 console=hvc0 quiet loglevel=3"
SECTOR = 512
KERNEL_AT = 64
BUILD_LOADER = """
    options="-m32 -march=i686 -mgeneral-regs-only -ffreestanding -fno-pic -fno-stack-protector"
    gcc $options -fno-asynchronous-unwind-tables -fcf-protection=none -Os -Wall -Wextra -Werror \\
        -c load.c entry.S
    ld -m elf_i386 -T loader.ld --oformat binary -o loader entry.o load.o
"""
# How a kernel may be packed: what its payload begins with, and the command that unpacks it.
PACKERS = (
    (b"\xfd7zXZ\0", ("xz", "-dc", "--single-stream")),
    (b"\x28\xb5\x2f\xfd", ("zstd", "-dc")),
    (b"\x02\x21\x4c\x18", ("lz4", "-dc")),
    (b"\x1f\x8b\x08", ("gzip", "-dc")),
)


def install(root: Path, kernel: str, build_root: Path) -> None:
    """Make the guest for the tree root from its Debian kernel, with the tools in build_root."""
    place = root / "srv/guest"
    place.mkdir(parents=True)
    packed = root / f"boot/vmlinuz-{kernel}"
    shutil.copy(packed, place / "vmlinuz")
    (place / "vmlinux").write_bytes(unpacked_kernel(packed.read_bytes(), build_root))
    (place / "initrd").write_bytes(initrd(root, kernel))
    bios_disk(place, build_root)
    pygrub_disk(place)


def unpacked_kernel(packed: bytes, build_root: Path) -> bytes:
    """The ELF image inside a bzImage."""
    for magic, command in PACKERS:
        start = packed.find(magic)
        while start >= 0:
            # Other bytes follow the payload; unpackers complain about them when they are done.
            done = subprocess.run(
                ["chroot", str(build_root), *command], input=packed[start:], capture_output=True
            )
            if done.stdout.startswith(b"\x7fELF"):
                return done.stdout
            start = packed.find(magic, start + 1)
    raise SystemExit("found no ELF image in the guest's kernel")


def initrd(root: Path, kernel: str) -> bytes:
    """A gzip-packed cpio archive: busybox, two modules, our init, agent and counter."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch)
        for name in [
            "bin",
            "sbin",
            "usr/bin",
            "usr/sbin",
            "proc",
            "sys",
            "dev",
            "etc",
            "run",
            "tmp",
            "mnt",
            "modules",
        ]:
            (tree / name).mkdir(parents=True)
        shutil.copy(root / "bin/busybox", tree / "bin/busybox")
        for order, module in enumerate(GUEST_MODULES):
            source = root / f"lib/modules/{kernel}/kernel/drivers/{module}.ko"
            target = tree / f"modules/{order}-{Path(module).name}.ko"
            if source.exists():
                shutil.copy(source, target)
            else:
                target.write_bytes(
                    subprocess.run(
                        ["xz", "-dc", f"{source}.xz"], check=True, capture_output=True
                    ).stdout
                )
        shutil.copy(HERE / "guest/init", tree / "init")
        for name in ("agent", "counter"):
            shutil.copy(HERE / "guest" / name, tree / "bin" / name)
        names = "\n".join(sorted(str(path.relative_to(tree)) for path in tree.rglob("*")))
        archive = subprocess.run(
            ["cpio", "-o", "-H", "newc", "-R", "0:0"],
            cwd=tree,
            check=True,
            input=names.encode(),
            capture_output=True,
        )
    return gzip.compress(archive.stdout, 6)


def bios_disk(place: Path, build_root: Path) -> None:
    """A disk that a BIOS boots: our loader, the kernel and the initrd."""
    scratch = build_root / "tmp/loader"
    shutil.copytree(HERE / "loader", scratch)
    inside(build_root, "sh", "-euc", f"cd /tmp/loader; {BUILD_LOADER}")
    kernel, initrd = (place / "vmlinuz").read_bytes(), (place / "initrd").read_bytes()
    initrd_at = KERNEL_AT + sectors(kernel)
    where = struct.pack("<4I", KERNEL_AT, sectors(kernel), initrd_at, len(initrd))
    with (place / "hvm.img").open("wb") as disk:
        disk.truncate(24 << 20)
        disk.write((scratch / "loader").read_bytes())
        disk.seek(SECTOR)
        disk.write(where + CONSOLES.encode() + b"\0")
        disk.seek(KERNEL_AT * SECTOR)
        disk.write(kernel)
        disk.seek(initrd_at * SECTOR)
        disk.write(initrd)
    shutil.rmtree(scratch)


def sectors(content: bytes) -> int:
    return -(-len(content) // SECTOR)


def pygrub_disk(place: Path) -> None:
    """An ext4 disk without partitions: kernel, initrd, and grub.cfg as distributions write it."""
    with tempfile.TemporaryDirectory() as scratch:
        boot = Path(scratch) / "boot"
        (boot / "grub").mkdir(parents=True)
        for name in ("vmlinuz", "initrd"):
            shutil.copy(place / name, boot / name)
        (boot / "grub/grub.cfg").write_text(
            "set default=0\nset timeout=0\n"
            "menuentry 'guest' {\n  linux /boot/vmlinuz console=hvc0 quiet loglevel=3\n"
            "  initrd /boot/initrd\n}\n"
        )
        disk = place / "pygrub.img"
        with disk.open("wb") as image:
            image.truncate(32 << 20)
        # pygrub's file system library knows no more of ext4 than these features.
        run(
            "mkfs.ext4", "-q", "-F", "-O", "^64bit,^metadata_csum,^has_journal", "-d", scratch, disk
        )
