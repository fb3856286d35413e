"""The life of a VM under the names of old: start, shutdown, suspend, memory and vCPUs."""

from __future__ import annotations

from ..catalogue import BOOL, FLOAT, INT, NULL, ref_to
from ..command import Argument, Call, Command, optional, required
from ..failures import UsageError

FORCE_MEMORY = optional(
    "force", BOOL, "skip the check of free memory, and let Xen have the last word"
)
ON = optional("on", ref_to("host"), "the host to run on", "host")
PAUSED = optional("paused", BOOL, "leave the vCPUs stopped", "start-paused")
FORCE = optional(
    "force", BOOL, "do not ask the guest; what it has not written to its disks is lost"
)


def _start(call: Call, vm: str) -> None:
    _begin(call, vm, "start")


def _resume(call: Call, vm: str) -> None:
    _begin(call, vm, "resume")


def _begin(call: Call, vm: str, verb: str) -> None:
    paused, force = call.get("paused", False), call.get("force", False)
    host = call.get("on", NULL)
    label = call.label("VM", vm)
    if host == NULL:
        call.perform(label, f"VM.{verb}", vm, paused, force)
    else:
        call.perform(label, f"VM.{verb}_on", vm, host, paused, force)


def _shutdown(call: Call, vm: str) -> None:
    _end(call, vm, "shutdown")


def _reboot(call: Call, vm: str) -> None:
    _end(call, vm, "reboot")


def _end(call: Call, vm: str, verb: str) -> None:
    kind = "hard" if call.get("force", False) else "clean"
    call.perform(call.label("VM", vm), f"VM.{kind}_{verb}", vm)


def _reset(call: Call, vm: str) -> None:
    if not call.get("force", False):
        raise UsageError(
            "this only changes the record, and a guest that still runs somewhere may then be "
            "started twice and ruin its disks: make sure that it runs nowhere, and say --force"
        )
    call.perform(call.label("VM", vm), "VM.power_state_reset", vm)


def _migrate(call: Call, vm: str) -> None:
    options = {"live": "true"} if call.get("live", False) else {}
    call.perform(call.label("VM", vm), "VM.pool_migrate", vm, call.get("host"), options)


def _set_target(call: Call, vm: str) -> None:
    call.perform(call.label("VM", vm), "VM.set_memory_target_live", vm, call.get("target"))


def _set_vcpus(call: Call, vm: str) -> None:
    call.perform(call.label("VM", vm), "VM.set_VCPUs_number_live", vm, call.get("new-vcpus"))


def _set_shadow(call: Call, vm: str) -> None:
    call.perform(call.label("VM", vm), "VM.set_shadow_multiplier_live", vm, call.get("multiplier"))


def _maximum_memory(call: Call, vm: str) -> None:
    total, approximate = call.get("total"), call.get("approximate", False)
    call.out.value(int(call.server("VM.maximise_memory", vm, total, approximate)))


TARGET = required("target", INT, "bytes of memory, within the dynamic range")


def _vm(verb: str, summary: str, run: object, *arguments: Argument, details: str = "") -> Command:
    return Command(
        f"vm-{verb}", "vm", summary, run, arguments, "VM",  # type: ignore[arg-type]
        only=(("is_a_template", False),), details=details,
    )  # fmt: skip


COMMANDS = (
    _vm("start", "Start a halted VM.", _start, ON, PAUSED, FORCE_MEMORY),
    _vm(
        "shutdown", "Ask the guest to shut down, and wait until it has.", _shutdown, FORCE,
        details="With --force the VM is stopped at once; a suspended one loses its saved state.",
    ),
    _vm("reboot", "Ask the guest to shut down, and start it again.", _reboot, FORCE),
    _vm("resume", "Let a suspended VM run on.", _resume, ON, PAUSED, FORCE_MEMORY),
    _vm(
        "reset-powerstate", "Set the record of a VM to halted, whatever it says.", _reset,
        optional("force", BOOL, "needed: the VM surely runs nowhere"),
    ),
    _vm(
        "migrate", "Move a running VM to another host of the pool.", _migrate,
        required("host", ref_to("host"), "the host to move to"),
        optional("live", BOOL, "keep the guest running on the way"),
    ),
    _vm("memory-target-set", "Ask a guest to use another amount of memory.", _set_target, TARGET),
    _vm("memory-balloon", "The same as vm-memory-target-set.", _set_target, TARGET),
    _vm(
        "memory-shadow-multiplier-set", "Change the memory for page tables of an HVM guest.",
        _set_shadow, required("multiplier", FLOAT, "how many times the least that it needs"),
    ),
    _vm(
        "vcpu-hotplug", "Change how many vCPUs a running guest may use.", _set_vcpus,
        required("new-vcpus", INT, "the number, from 1 to VCPUs-max"),
    ),
    _vm(
        "compute-maximum-memory", "Work out the most memory that a VM can have within a total.",
        _maximum_memory, required("total", INT, "bytes for the VM and its overhead"),
        optional("approximate", BOOL, "be content with a value that is surely small enough"),
    ),
)  # fmt: skip
