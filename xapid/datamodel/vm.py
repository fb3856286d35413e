"""Virtual machines, and the templates they are cloned from."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from typing import TYPE_CHECKING

from .declare import (
    RW,
    Bool,
    Class,
    EnumOf,
    Float,
    Int,
    MapOf,
    Record,
    Ref,
    RefTo,
    ROins,
    ROrun,
    SetOf,
    String,
    message,
)
from .enums import DomainType, OnCrashBehaviour, OnNormalExit, VmOperations, VmPowerState
from .errors import (
    BootloaderFailed,
    CannotResetControlDomain,
    DeviceAttachTimeout,
    DiskVBDMustBeReadwriteForHVM,
    DomainBuilderError,
    DomainExists,
    FailedToStartEmulator,
    HostCannotAttachNetwork,
    HostDisabled,
    HostNotEnoughFreeMemory,
    HostNotEnoughPCPUs,
    HostNotLive,
    InvalidValue,
    LicenceRestriction,
    MemoryConstraintViolation,
    NetworkSRIOVInsufficientCapacity,
    NoHostsAvailable,
    OperationBlocked,
    OperationNotAllowed,
    OtherOperationInProgress,
    ProvisionOnlyAllowedOnTemplate,
    SRBackendFailure,
    SRFull,
    SRNotAttached,
    SROperationNotSupported,
    SRSuspendSpaceInsufficient,
    SuspendImageNotAccessible,
    TaskCancelled,
    UnknownBootloader,
    ValueNotSupported,
    VBDCDsMustBeReadonly,
    VDIInUse,
    VDIMissing,
    VDINotAvailable,
    VDINotManaged,
    VDIReadonly,
    VMBadPowerState,
    VMCrashed,
    VMFailedShutdownAcknowledgment,
    VMFailedSuspendAcknowledgment,
    VMHasNoSuspendVDI,
    VMHasPCIAttached,
    VMHostIncompatibleVersion,
    VMHostIncompatibleVirtualHardwarePlatformVersion,
    VMHVMRequired,
    VMIncompatibleWithThisHost,
    VMIsTemplate,
    VMLacksFeature,
    VMMigrateFailed,
    VMMissingPVDrivers,
    VMNonSuspendable,
    VMNoSuspendSR,
    VMNoVCPUs,
    VMRequiresGPU,
    VMRequiresIOMMU,
    VMRequiresNetwork,
    VMRequiresSR,
    VMRequiresVGPU,
    VMShutdownTimeout,
    VMSuspendTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .host import Host
    from .sr import SR


class VM(
    Class,
    derived=(
        "create",
        "destroy",
        "get_all",
        "get_all_records",
        "get_by_name_label",
        "get_by_uuid",
        "get_record",
    ),
    min_role="vm-admin",
):
    """A virtual machine, or a template to clone one from."""

    uuid = ROrun(
        String,
        "Permanent identity, in the usual form of 36 characters; Xen calls the domain by it too.",
    )
    allowed_operations = ROrun(
        SetOf(EnumOf(VmOperations)), "The operations that may be started now.", volatile=True
    )
    current_operations = ROrun(
        MapOf(String, EnumOf(VmOperations)),
        "The operations that run now, by the reference of their task.",
        volatile=True,
    )
    name_label = RW(String, "Name shown to people; it need not be unique.")
    name_description = RW(String, "A longer text shown to people.")
    power_state = ROins(EnumOf(VmPowerState), "What the VM is doing.", default=VmPowerState.HALTED)
    user_version = RW(
        Int, "A version number for the creators of VMs and templates to use as they like."
    )
    is_a_template = RW(Bool, "True for a template, which can be cloned but not started.")
    suspend_VDI = ROins(
        RefTo("VDI"), "The image that holds the saved state of a suspended VM; null otherwise."
    )
    resident_on = ROrun(
        RefTo("host"),
        "The host that the VM runs on; null while it does not run.",
        inverse="resident_VMs",
    )
    scheduled_to_be_resident_on = ROrun(
        RefTo("host"), "The host that is about to run the VM; null when there is none."
    )
    affinity = RW(
        RefTo("host"),
        "The host that the VM should run on if it can; null for any.",
        min_role="vm-power-admin",
    )
    memory_overhead = ROrun(Int, "Bytes of memory that Xen needs for the VM beyond the VM's own.")
    memory_target = ROins(
        Int, "Bytes of memory that the guest was asked to use; superseded by the dynamic range."
    )
    memory_static_max = ROins(
        Int, "Bytes of memory that the guest can ever have; fixed while it runs.", required=True
    )
    memory_dynamic_max = ROins(
        Int, "Bytes of memory that the guest is given when there is enough.", required=True
    )
    memory_dynamic_min = ROins(
        Int, "Bytes of memory below which the guest is not squeezed.", required=True
    )
    memory_static_min = ROins(Int, "Bytes of memory below which the guest may not work.", default=0)
    VCPUs_params = RW(
        MapOf(String, String),
        "Scheduling of the vCPUs: `weight`, `cap`, and `mask`, the processors they may use.",
    )
    VCPUs_max = ROins(Int, "Number of vCPUs that the guest can ever have.", default=1)
    VCPUs_at_startup = ROins(Int, "Number of vCPUs that the guest boots with.", default=1)
    actions_after_shutdown = RW(
        EnumOf(OnNormalExit),
        "What to do when the guest powers itself off.",
        default=OnNormalExit.DESTROY,
    )
    actions_after_reboot = RW(
        EnumOf(OnNormalExit),
        "What to do when the guest reboots itself.",
        default=OnNormalExit.RESTART,
    )
    actions_after_crash = ROins(
        EnumOf(OnCrashBehaviour),
        "What to do when the guest crashes.",
        default=OnCrashBehaviour.RESTART,
        accessors=("set",),
    )
    consoles = ROrun(
        SetOf(RefTo("console")), "The consoles of the VM, while it has a domain.", inverse="VM"
    )
    VIFs = ROrun(SetOf(RefTo("VIF")), "The network interfaces of the VM.", inverse="VM")
    VBDs = ROrun(SetOf(RefTo("VBD")), "The disks and drives of the VM.", inverse="VM")
    crash_dumps = ROrun(
        SetOf(RefTo("crashdump")), "The crash dumps that the VM left.", inverse="VM"
    )
    VTPMs = ROrun(SetOf(RefTo("VTPM")), "The virtual TPMs of the VM.", inverse="VM")
    PV_bootloader = RW(
        String,
        "The bootloader of a PV guest, by name or path; `pygrub` when PV_kernel is empty too.",
    )
    PV_kernel = RW(
        String, "Path of the kernel, in the control domain, or for the bootloader to find."
    )
    PV_ramdisk = RW(String, "Path of the initial ramdisk, found as the kernel is.")
    PV_args = RW(String, "Command line of the kernel.")
    PV_bootloader_args = RW(String, "Further arguments for the bootloader.")
    PV_legacy_args = RW(String, "Command line of the kernel for guests of an older kind.")
    domain_type = ROins(
        EnumOf(DomainType),
        "How Xen builds the domain; when unspecified, HVM_boot_policy decides.",
        default=DomainType.UNSPECIFIED,
        accessors=("set",),
        extension="The specification cannot say PVH; clients of today choose it here.",
    )
    HVM_boot_policy = ROins(
        String,
        "`BIOS order` makes the VM an HVM guest; empty makes it a PV guest.",
        accessors=("set",),
    )
    HVM_boot_params = RW(
        MapOf(String, String), "For HVM guests, `order` gives the devices to boot from, as letters."
    )
    HVM_shadow_multiplier = ROins(
        Float,
        "How much more memory for page tables the guest gets than the least it needs.",
        default=1.0,
    )
    platform = ROins(
        MapOf(String, String),
        "Properties of the virtual hardware, such as `acpi`, `apic`, `pae` and `viridian`.",
        accessors=("set", "add", "remove"),
    )
    PCI_bus = RW(
        String, "PCI path for a passed-through device; superseded by the key `pci` of other_config."
    )
    other_config = ROins(
        MapOf(String, String),
        "Keys and values for the clients' own use.",
        accessors=("set", "add", "remove"),
    )
    domid = ROrun(Int, "Xen's number of the domain; -1 while there is none.", default=-1)
    domarch = ROrun(String, "Architecture of the domain; empty while there is none.")
    last_boot_CPU_flags = ROins(
        MapOf(String, String), "Features of the processors that the VM last booted on."
    )
    is_control_domain = ROrun(Bool, "True for the domain that manages the host.")
    is_foreign_domain = ROrun(
        Bool,
        "True for a domain that another toolstack made, which is shown and left alone.",
        extension="A host may also run domains that were not made through this API.",
    )
    metrics = ROrun(RefTo("VM_metrics"), "What Xen measures of the VM.")
    guest_metrics = ROrun(
        RefTo("VM_guest_metrics"),
        "What the guest tells about itself; null when it tells nothing.",
    )
    last_booted_record = ROins(
        String, "The record that the VM last booted with, as text; empty before the first boot."
    )
    recommendations = RW(String, "XML that tells clients what values suit the VM.")
    xenstore_data = RW(
        MapOf(String, String),
        "Keys and values to write into the VM's xenstore directory when it starts.",
    )

    @message(
        min_role="vm-operator",
        this="vm",
        operation=VmOperations.START,
        allowed_in=(VmPowerState.HALTED,),
        raises=(
            VMBadPowerState,
            VMHVMRequired,
            VMIsTemplate,
            OtherOperationInProgress,
            OperationNotAllowed,
            BootloaderFailed,
            UnknownBootloader,
            NoHostsAvailable,
            LicenceRestriction,
            HostNotEnoughFreeMemory,
            HostDisabled,
            DomainBuilderError,
            VMNoVCPUs,
            DeviceAttachTimeout,
            FailedToStartEmulator,
            SRNotAttached,
            VDIInUse,
            VDINotAvailable,
            TaskCancelled,
            OperationBlocked,
            ValueNotSupported,
            MemoryConstraintViolation,
            VBDCDsMustBeReadonly,
            DomainExists,
            VDIMissing,
            VDIReadonly,
            VDINotManaged,
            VMRequiresIOMMU,
            DiskVBDMustBeReadwriteForHVM,
            SRBackendFailure,
        ),
    )
    def start(self, start_paused: bool, force: bool) -> None:
        """Build a domain for a halted VM and let it run. The host is chosen by the server.

        start_paused: leave the vCPUs stopped once the domain is built.
        force: skip the check of free memory, and let Xen have the last word.
        """

    @message(
        min_role="client-cert",
        this="vm",
        operation=VmOperations.START_ON,
        allowed_in=(VmPowerState.HALTED,),
        raises=(
            VMBadPowerState,
            VMIsTemplate,
            OtherOperationInProgress,
            OperationNotAllowed,
            BootloaderFailed,
            UnknownBootloader,
            VMHVMRequired,
            HostNotEnoughFreeMemory,
            HostDisabled,
            DomainBuilderError,
            VMNoVCPUs,
            DeviceAttachTimeout,
            FailedToStartEmulator,
            SRNotAttached,
            VDIInUse,
            VDINotAvailable,
            TaskCancelled,
            OperationBlocked,
            ValueNotSupported,
            MemoryConstraintViolation,
            VBDCDsMustBeReadonly,
            DomainExists,
            VDIMissing,
            VDIReadonly,
            VDINotManaged,
            VMRequiresIOMMU,
            DiskVBDMustBeReadwriteForHVM,
            HostNotLive,
            SRBackendFailure,
        ),
    )
    def start_on(self, host: Ref[Host], start_paused: bool, force: bool) -> None:
        """Build a domain for a halted VM on a given host and let it run.

        host: the host to run on.
        start_paused: leave the vCPUs stopped once the domain is built.
        force: skip the check of free memory, and let Xen have the last word.
        """

    @message(
        min_role="vm-operator",
        this="vm",
        operation=VmOperations.PAUSE,
        allowed_in=(VmPowerState.RUNNING,),
        raises=(
            VMBadPowerState,
            OtherOperationInProgress,
            OperationNotAllowed,
            VMIsTemplate,
            DomainBuilderError,
        ),
    )
    def pause(self) -> None:
        """Stop the vCPUs of a running VM; it keeps its memory and devices."""

    @message(
        min_role="vm-operator",
        this="vm",
        operation=VmOperations.UNPAUSE,
        allowed_in=(VmPowerState.PAUSED,),
        raises=(
            VMBadPowerState,
            OperationNotAllowed,
            VMIsTemplate,
            OtherOperationInProgress,
            DomainBuilderError,
        ),
    )
    def unpause(self) -> None:
        """Let the vCPUs of a paused VM run again."""

    @message(
        min_role="vm-operator",
        this="vm",
        operation=VmOperations.CLEAN_SHUTDOWN,
        allowed_in=(VmPowerState.RUNNING,),
        raises=(
            VMBadPowerState,
            OtherOperationInProgress,
            OperationNotAllowed,
            VMIsTemplate,
            VMFailedShutdownAcknowledgment,
            VMShutdownTimeout,
            VMLacksFeature,
            VMCrashed,
            TaskCancelled,
            DomainBuilderError,
        ),
    )
    def clean_shutdown(self) -> None:
        """Ask the guest to shut down, and wait until it has.

        The guest must have drivers that listen.
        """

    @message(
        min_role="vm-operator",
        this="vm",
        operation=VmOperations.CLEAN_REBOOT,
        allowed_in=(VmPowerState.RUNNING,),
        raises=(
            VMBadPowerState,
            OtherOperationInProgress,
            OperationNotAllowed,
            VMIsTemplate,
            VMFailedShutdownAcknowledgment,
            VMShutdownTimeout,
            VMLacksFeature,
            VMCrashed,
            TaskCancelled,
            DomainBuilderError,
            VMMissingPVDrivers,
            HostNotEnoughFreeMemory,
            BootloaderFailed,
            UnknownBootloader,
            SRNotAttached,
            VDIInUse,
            VDINotAvailable,
            VDIMissing,
        ),
    )
    def clean_reboot(self) -> None:
        """Ask the guest to shut down, wait until it has, and start it again."""

    @message(
        min_role="vm-operator",
        this="vm",
        operation=VmOperations.HARD_SHUTDOWN,
        allowed_in=(VmPowerState.RUNNING, VmPowerState.PAUSED, VmPowerState.SUSPENDED),
        raises=(
            VMBadPowerState,
            OtherOperationInProgress,
            OperationNotAllowed,
            VMIsTemplate,
            DomainBuilderError,
        ),
    )
    def hard_shutdown(self) -> None:
        """Stop the VM without asking the guest.

        Data that the guest has not written is lost; of a suspended VM, the saved state is.
        """

    @message(
        min_role="vm-operator",
        this="vm",
        operation=VmOperations.HARD_REBOOT,
        allowed_in=(VmPowerState.RUNNING, VmPowerState.PAUSED),
        raises=(
            VMBadPowerState,
            OtherOperationInProgress,
            OperationNotAllowed,
            VMIsTemplate,
            HostNotEnoughFreeMemory,
            DomainBuilderError,
            BootloaderFailed,
            UnknownBootloader,
            SRNotAttached,
            VDIInUse,
            VDINotAvailable,
            VDIMissing,
        ),
    )
    def hard_reboot(self) -> None:
        """Stop the VM without asking the guest, and start it again."""

    @message(
        min_role="client-cert",
        this="vm",
        operation=VmOperations.SUSPEND,
        allowed_in=(VmPowerState.RUNNING,),
        raises=(
            VMBadPowerState,
            OtherOperationInProgress,
            OperationNotAllowed,
            VMIsTemplate,
            VMFailedSuspendAcknowledgment,
            VMSuspendTimeout,
            VMNoSuspendSR,
            VMNonSuspendable,
            SRFull,
            SRSuspendSpaceInsufficient,
            TaskCancelled,
            DomainBuilderError,
            SRNotAttached,
            SRBackendFailure,
            VMHasPCIAttached,
        ),
    )
    def suspend(self) -> None:
        """Save the state of a running VM to disk, and take its domain away.

        Figure 1.1 also lets a paused VM be suspended; here it must be unpaused first, as a guest
        whose vCPUs are stopped cannot take part.
        """

    @message(
        min_role="vm-operator",
        this="vm",
        operation=VmOperations.RESUME,
        allowed_in=(VmPowerState.SUSPENDED,),
        raises=(
            VMBadPowerState,
            OperationNotAllowed,
            VMIsTemplate,
            OtherOperationInProgress,
            VMHasNoSuspendVDI,
            SuspendImageNotAccessible,
            HostNotEnoughFreeMemory,
            HostDisabled,
            DomainBuilderError,
            DeviceAttachTimeout,
            TaskCancelled,
            DomainExists,
            SRNotAttached,
            VDIInUse,
            VDIMissing,
            SRBackendFailure,
        ),
    )
    def resume(self, start_paused: bool, force: bool) -> None:
        """Build a domain from the saved state of a suspended VM and let it run on.

        start_paused: leave the vCPUs stopped once the domain is built.
        force: skip the check of free memory, and let Xen have the last word.
        """

    @message(
        min_role="client-cert",
        this="vm",
        operation=VmOperations.RESUME_ON,
        allowed_in=(VmPowerState.SUSPENDED,),
        raises=(
            VMBadPowerState,
            OperationNotAllowed,
            VMIsTemplate,
            OtherOperationInProgress,
            VMHasNoSuspendVDI,
            SuspendImageNotAccessible,
            HostNotEnoughFreeMemory,
            HostDisabled,
            DomainBuilderError,
            DeviceAttachTimeout,
            TaskCancelled,
            DomainExists,
            HostNotLive,
            SRNotAttached,
            VDIInUse,
            VDIMissing,
            SRBackendFailure,
        ),
    )
    def resume_on(self, host: Ref[Host], start_paused: bool, force: bool) -> None:
        """Build a domain from the saved state of a suspended VM on a given host.

        host: the host to run on.
        start_paused: leave the vCPUs stopped once the domain is built.
        force: skip the check of free memory, and let Xen have the last word.
        """

    @message(
        min_role="pool-operator",
        this="vm",
        operation=VmOperations.POWER_STATE_RESET,
        raises=(
            CannotResetControlDomain,
            OtherOperationInProgress,
            OperationNotAllowed,
            DomainBuilderError,
            VMIsTemplate,
        ),
    )
    def power_state_reset(self) -> None:
        """Set the record of the VM to halted, whatever it says now.

        Use it only when the VM surely runs nowhere, for instance after its host is lost.
        """

    @message(
        min_role="vm-admin",
        this="vm",
        operation=VmOperations.PROVISION,
        allowed_in=(VmPowerState.HALTED,),
        raises=(
            VMBadPowerState,
            SRFull,
            OperationNotAllowed,
            LicenceRestriction,
            OtherOperationInProgress,
            ProvisionOnlyAllowedOnTemplate,
            SRNotAttached,
            ValueNotSupported,
            TaskCancelled,
            SRBackendFailure,
        ),
    )
    def provision(self) -> None:
        """Make the disks that a VM cloned from a template still lacks.

        The template lists them in its other_config.
        """

    @message(
        min_role="vm-admin",
        this="vm",
        operation=VmOperations.CLONE,
        allowed_in=(VmPowerState.HALTED,),
        raises=(
            VMBadPowerState,
            SRFull,
            OperationNotAllowed,
            LicenceRestriction,
            OtherOperationInProgress,
            SRNotAttached,
            TaskCancelled,
            SRBackendFailure,
            VDIMissing,
            VDIInUse,
            SROperationNotSupported,
        ),
    )
    def clone(self, new_name: str) -> Ref[VM]:
        """Make a new VM like this one, with its disks cloned.

        Where the storage can, the clones share their data with the originals until either
        changes; otherwise they are copied. The clone of a template is a template.

        new_name: name of the new VM.
        """

    @message(
        min_role="vm-admin",
        this="vm",
        operation=VmOperations.COPY,
        allowed_in=(VmPowerState.HALTED,),
        raises=(
            VMBadPowerState,
            SRFull,
            OperationNotAllowed,
            LicenceRestriction,
            OtherOperationInProgress,
            SRNotAttached,
            TaskCancelled,
            SRBackendFailure,
            VDIMissing,
            VDIInUse,
            SROperationNotSupported,
        ),
    )
    def copy(self, new_name: str, sr: Ref[SR]) -> Ref[VM]:
        """Make a new VM like this one, with its disks copied in full.

        new_name: name of the new VM.
        sr: the repository for the copies; null keeps each disk where its original is.
        """

    @message(
        min_role="client-cert",
        this="vm",
        operation=VmOperations.POOL_MIGRATE,
        allowed_in=(VmPowerState.RUNNING,),
        raises=(
            VMBadPowerState,
            OtherOperationInProgress,
            VMIsTemplate,
            OperationNotAllowed,
            VMMigrateFailed,
        ),
    )
    def pool_migrate(self, host: Ref[Host], options: Mapping[str, str]) -> None:
        """Move a running VM to another host of the pool.

        host: the host to move to.
        options: `live` set to `true` keeps the guest running on the way.
        """

    @message(
        min_role="vm-power-admin",
        operation=VmOperations.CHANGING_MEMORY_LIVE,
        allowed_in=(VmPowerState.RUNNING, VmPowerState.PAUSED),
        raises=(
            VMBadPowerState,
            OtherOperationInProgress,
            HostNotEnoughFreeMemory,
            MemoryConstraintViolation,
            DomainBuilderError,
            OperationNotAllowed,
            VMIsTemplate,
        ),
    )
    def set_memory_target_live(self, target: int) -> None:
        """Ask a running guest to use another amount of memory.

        target: bytes of memory, within the dynamic range.
        """

    @message(
        min_role="vm-power-admin",
        operation=VmOperations.CHANGING_SHADOW_MEMORY_LIVE,
        allowed_in=(VmPowerState.RUNNING,),
        raises=(
            VMBadPowerState,
            OtherOperationInProgress,
            DomainBuilderError,
            HostNotEnoughFreeMemory,
            InvalidValue,
            OperationNotAllowed,
            VMHVMRequired,
            VMIsTemplate,
        ),
    )
    def set_shadow_multiplier_live(self, multiplier: float) -> None:
        """Change the memory for page tables of a running HVM guest.

        multiplier: how many times the least that the guest needs; at least 1.
        """

    @message(
        min_role="vm-admin",
        operation=VmOperations.CHANGING_VCPUS_LIVE,
        allowed_in=(VmPowerState.RUNNING, VmPowerState.PAUSED),
        raises=(
            OperationNotAllowed,
            LicenceRestriction,
            VMBadPowerState,
            OtherOperationInProgress,
            InvalidValue,
            DomainBuilderError,
            VMIsTemplate,
        ),
    )
    def set_VCPUs_number_live(self, nvcpu: int) -> None:
        """Change the number of vCPUs that a running guest may use.

        nvcpu: the number, from 1 to VCPUs_max.
        """

    @message(
        min_role="vm-admin",
        operation=VmOperations.CHANGING_VCPUS_LIVE,
        allowed_in=(VmPowerState.RUNNING, VmPowerState.PAUSED),
        raises=(
            VMBadPowerState,
            OtherOperationInProgress,
            InvalidValue,
            DomainBuilderError,
            OperationNotAllowed,
            VMIsTemplate,
        ),
    )
    def add_to_VCPUs_params_live(self, key: str, value: str) -> None:
        """Change the scheduling of the vCPUs of a running guest, and remember it.

        key: `weight`, `cap` or `mask`.
        value: the value of the key.
        """

    @message(
        min_role="pool-admin",
        this="vm",
        operation=VmOperations.SEND_SYSRQ,
        allowed_in=(VmPowerState.RUNNING,),
        raises=(
            VMBadPowerState,
            OtherOperationInProgress,
            InvalidValue,
            DomainBuilderError,
            OperationNotAllowed,
            VMIsTemplate,
        ),
    )
    def send_sysrq(self, key: str) -> None:
        """Send a SysRq key to the kernel of the guest.

        key: the letter of the key.
        """

    @message(
        min_role="pool-admin",
        this="vm",
        operation=VmOperations.SEND_TRIGGER,
        allowed_in=(VmPowerState.RUNNING,),
        raises=(
            VMBadPowerState,
            OtherOperationInProgress,
            InvalidValue,
            DomainBuilderError,
            OperationNotAllowed,
            VMHVMRequired,
            VMIsTemplate,
        ),
    )
    def send_trigger(self, trigger: str) -> None:
        """Send a trigger to the guest.

        trigger: name of the trigger, such as `nmi`, `reset`, `init`, `power` or `sleep`.
        """

    @message(min_role="read-only")
    def get_boot_record(self) -> Record[VM]:
        """Get the record that the VM booted with, or would boot with if it is halted."""

    @message(
        min_role="read-only",
        raises=(
            InvalidValue,
            DomainBuilderError,
            OperationNotAllowed,
            UnknownBootloader,
        ),
    )
    def maximise_memory(self, total: int, approximate: bool) -> int:
        """Work out the largest memory_static_max with which the VM fits into some memory.

        total: bytes of memory that the VM and its overhead may take together.
        approximate: be content with a value that is surely small enough.
        """

    @message(
        min_role="read-only",
        raises=(
            HostNotEnoughFreeMemory,
            HostNotEnoughPCPUs,
            NetworkSRIOVInsufficientCapacity,
            HostNotLive,
            HostDisabled,
            HostCannotAttachNetwork,
            VMHVMRequired,
            VMRequiresGPU,
            VMRequiresIOMMU,
            VMRequiresNetwork,
            VMRequiresSR,
            VMRequiresVGPU,
            VMHostIncompatibleVersion,
            VMHostIncompatibleVirtualHardwarePlatformVersion,
            InvalidValue,
            MemoryConstraintViolation,
            OperationNotAllowed,
            ValueNotSupported,
            VMIncompatibleWithThisHost,
            DomainBuilderError,
            UnknownBootloader,
        ),
    )
    def assert_can_boot_here(self, host: Ref[Host]) -> None:
        """Fail unless the VM can start on a host; the error says why it cannot.

        host: the host in question.
        """

    @message(min_role="read-only", this="vm", raises=(DomainBuilderError, OperationNotAllowed))
    def get_possible_hosts(self) -> tuple[Ref[Host], ...]:
        """Get the hosts that the VM can start on."""

    @message(min_role="read-only", this="vm")
    def get_allowed_VBD_devices(self) -> tuple[str, ...]:
        """Get the positions that are free for another disk or drive."""

    @message(min_role="read-only", this="vm")
    def get_allowed_VIF_devices(self) -> tuple[str, ...]:
        """Get the positions that are free for another network interface."""

    @message(
        min_role="read-only",
        raises=(VMBadPowerState, VMIsTemplate, OtherOperationInProgress, OperationNotAllowed),
    )
    def assert_operation_valid(self, op: VmOperations) -> None:
        """Fail unless an operation may be started now; the error says why it may not.

        op: the operation in question.
        """

    @message(min_role="pool-admin")
    def update_allowed_operations(self) -> None:
        """Work out allowed_operations again.

        It is right by itself, so nobody needs to call this.
        """
