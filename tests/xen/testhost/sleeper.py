"""The smallest guest there is: a PVH kernel of a few instructions that sleeps for ever.

It needs 4 MiB of memory and is built in a fraction of a second, so that a host in emulation can
run many of them at once.
"""

from __future__ import annotations

import struct

LOAD_AT = 0x100000
HYPERCALL_PAGE = LOAD_AT + 0x1000
STACK = LOAD_AT + 0x3000
END = STACK

# Numbers of Xen's public interface.
CPUID_HYPERCALLS = 0x40000002  # answers in ebx which MSR takes the address of a hypercall page
SCHED_OP = 29
SCHED_POLL = 3
ENTRY_NOTE = 18  # XEN_ELFNOTE_PHYS32_ENTRY

HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
SEGMENT = struct.Struct("<8I")
NOTE = struct.Struct("<III4sI")


def sleeper_kernel() -> bytes:
    """An ELF file for PV_kernel: one segment with the note that names the entry, and the code."""
    note_at = HEADER.size + 2 * SEGMENT.size
    argument_at = note_at + NOTE.size
    code_at = argument_at + 16
    entry = LOAD_AT + code_at
    code = instructions(LOAD_AT + argument_at)
    size = code_at + len(code)
    identity = b"\x7fELF" + bytes([1, 1, 1]) + bytes(9)  # 32 bits, little-endian
    executable, i386 = 2, 3
    header = HEADER.pack(
        *(identity, executable, i386, 1, entry, HEADER.size, 0, 0),
        *(HEADER.size, SEGMENT.size, 2, 0, 0, 0),
    )
    load = SEGMENT.pack(1, 0, LOAD_AT, LOAD_AT, size, END - LOAD_AT, 7, 0x1000)
    told = SEGMENT.pack(
        4, note_at, LOAD_AT + note_at, LOAD_AT + note_at, NOTE.size, NOTE.size, 4, 4
    )
    note = NOTE.pack(4, 4, ENTRY_NOTE, b"Xen\0", entry)
    no_ports_and_no_timeout = bytes(16)
    return header + load + told + note + no_ports_and_no_timeout + code


def instructions(argument: int) -> bytes:
    """Ask Xen for its hypercall page, then poll no event channel without a timeout, again."""

    def word(opcode: int, value: int) -> bytes:
        return struct.pack("<BI", opcode, value)

    prepare = (
        word(0xBC, STACK)  # mov esp
        + word(0xB8, CPUID_HYPERCALLS)  # mov eax
        + b"\x0f\xa2"  # cpuid
        + b"\x89\xd9"  # mov ecx, ebx
        + word(0xB8, HYPERCALL_PAGE)  # mov eax
        + b"\x31\xd2"  # xor edx, edx
        + b"\x0f\x30"  # wrmsr
    )
    poll = (
        word(0xBB, SCHED_POLL)  # mov ebx
        + word(0xB9, argument)  # mov ecx
        + word(0xB8, HYPERCALL_PAGE + 32 * SCHED_OP)  # mov eax
        + b"\xff\xd0"  # call eax
    )
    return prepare + poll + struct.pack("<Bb", 0xEB, -len(poll) - 2)  # jmp
