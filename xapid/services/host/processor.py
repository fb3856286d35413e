"""The kind of processor a host has: its maker, family and model, and the names of its features."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Final

MODALIAS: Final = Path("/sys/devices/system/cpu/modalias")
"""What the kernel tells of the processor: libxl tells its features, and nothing of its maker."""

CPUINFO: Final = Path("/proc/cpuinfo")
"""Asked for the maker's own words and the revision alone: Xen shows the control domain both as the
processor tells them, while everything else there is of virtual processors."""

MAX_BRAND: Final = 64  # CPUID's brand string has 48 bytes

# The kernel's numbers of the makers (arch/x86/include/asm/processor.h), as CPUID spells them.
VENDORS: Final = {
    0: "GenuineIntel",
    1: "CyrixInstead",
    2: "AuthenticAMD",
    5: "CentaurHauls",
    7: "GenuineTMx86",
    9: "HygonGenuine",
    10: "  Shanghai  ",
}

# Bit 0 first; "-" for bits without a name. Words 0 to 3 are CPUID's leaf 1 (edx, ecx) and leaf
# 0x80000001 (edx, ecx), word 5 is leaf 7 (ebx): the order of libxl_physinfo.hw_cap.
_WORDS: Final = {
    0: "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - dts"
    " acpi mmx fxsr sse sse2 ss ht tm ia64 pbe",
    1: "sse3 pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm -"
    " pcid dca sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave osxsave avx f16c"
    " rdrand hypervisor",
    2: "- - - - - - - - - - - syscall - - - - - - - mp nx - mmxext - - fxsr_opt pdpe1gb rdtscp - lm"
    " 3dnowext 3dnow",
    3: "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop"
    " skinit wdt - lwp fma4 tce - nodeid_msr - tbm topoext perfctr_core perfctr_nb - bpext - - - -"
    " -",
    5: "fsgsbase tsc_adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm cqm - mpx rdt_a avx512f"
    " avx512dq rdseed adx smap avx512ifma - clflushopt clwb intel_pt avx512pf avx512er avx512cd"
    " sha_ni avx512bw avx512vl",
}
FLAGS: Final = {word: names.split() for word, names in _WORDS.items()}

_MODALIAS: Final = re.compile(r"cpu:type:x86,ven([0-9A-F]{4})fam([0-9A-F]{4})mod([0-9A-F]{4}):")


@dataclass(frozen=True)
class Processor:
    """Unknown parts are "" and 0."""

    vendor: str = ""
    family: int = 0
    model: int = 0
    brand: str = ""
    stepping: str = ""

    @property
    def model_name(self) -> str:
        """Words for people: the maker's own, or what is known."""
        if self.brand:
            return self.brand
        if not self.vendor:
            return ""
        return f"{self.vendor.strip()} family {self.family} model {self.model}"


UNKNOWN: Final = Processor()


def read_processor(path: Path = MODALIAS, cpuinfo: Path = CPUINFO) -> Processor:
    """What the host has; UNKNOWN where that cannot be read."""
    try:
        found = _MODALIAS.match(path.read_text())
    except (OSError, UnicodeError):
        return UNKNOWN
    if found is None:
        return UNKNOWN
    vendor, family, model = (int(part, 16) for part in found.groups())
    return Processor(VENDORS.get(vendor, ""), family, model, *_brand_and_stepping(cpuinfo))


def _brand_and_stepping(cpuinfo: Path) -> tuple[str, str]:
    """Of the first processor: Xen runs on processors of one kind. "" for what is not told."""
    try:
        with cpuinfo.open(encoding="ascii", errors="replace") as file:
            first = "".join(takewhile(str.strip, file))
    except OSError:
        return "", ""
    brand = re.search(r"^model name\s*: *(.+)$", first, re.MULTILINE)
    stepping = re.search(r"^stepping\s*: *([0-9]{1,3})$", first, re.MULTILINE)
    words = " ".join(brand[1].split())[:MAX_BRAND] if brand else ""
    return words if words.isprintable() else "", stepping[1] if stepping else ""


def flag_names(hw_cap: Sequence[int]) -> list[str]:
    """The features that are set in libxl_physinfo.hw_cap, in its order."""
    return [
        name
        for word, names in FLAGS.items()
        for bit, name in enumerate(names)
        if name != "-" and word < len(hw_cap) and hw_cap[word] >> bit & 1
    ]
