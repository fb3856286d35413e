"""TODO VM."""

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
    DomainBuilderError,
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
    SRFull,
    SRNotAttached,
    SRSuspendSpaceInsufficient,
    SuspendImageNotAccessible,
    TaskCancelled,
    UnknownBootloader,
    ValueNotSupported,
    VBDCDsMustBeReadonly,
    VDIInUse,
    VDINotAvailable,
    VMBadPowerState,
    VMCrashed,
    VMFailedShutdownAcknowledgment,
    VMFailedSuspendAcknowledgment,
    VMHasNoSuspendVDI,
    VMHostIncompatibleVersion,
    VMHostIncompatibleVirtualHardwarePlatformVersion,
    VMHVMRequired,
    VMIncompatibleWithThisHost,
    VMIsTemplate,
    VMLacksFeature,
    VMMigrateFailed,
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
    """TODO VM."""

    uuid = ROrun(String, "TODO uuid.")
    allowed_operations = ROrun(
        SetOf(EnumOf(VmOperations)), "TODO allowed_operations.", volatile=True
    )
    current_operations = ROrun(
        MapOf(String, EnumOf(VmOperations)), "TODO current_operations.", volatile=True
    )
    name_label = RW(String, "TODO name_label.")
    name_description = RW(String, "TODO name_description.")
    power_state = ROins(EnumOf(VmPowerState), "TODO power_state.", default=VmPowerState.HALTED)
    user_version = RW(Int, "TODO user_version.")
    is_a_template = RW(Bool, "TODO is_a_template.")
    suspend_VDI = ROins(RefTo("VDI"), "TODO suspend_VDI.")
    resident_on = ROrun(RefTo("host"), "TODO resident_on.", inverse="resident_VMs")
    scheduled_to_be_resident_on = ROrun(RefTo("host"), "TODO scheduled_to_be_resident_on.")
    affinity = RW(RefTo("host"), "TODO affinity.", min_role="vm-power-admin")
    memory_overhead = ROrun(Int, "TODO memory_overhead.")
    memory_target = ROins(Int, "TODO memory_target.")
    memory_static_max = ROins(Int, "TODO memory_static_max.", required=True)
    memory_dynamic_max = ROins(Int, "TODO memory_dynamic_max.", required=True)
    memory_dynamic_min = ROins(Int, "TODO memory_dynamic_min.", required=True)
    memory_static_min = ROins(Int, "TODO memory_static_min.", default=0)
    VCPUs_params = RW(MapOf(String, String), "TODO VCPUs_params.")
    VCPUs_max = ROins(Int, "TODO VCPUs_max.", default=1)
    VCPUs_at_startup = ROins(Int, "TODO VCPUs_at_startup.", default=1)
    actions_after_shutdown = RW(
        EnumOf(OnNormalExit), "TODO actions_after_shutdown.", default=OnNormalExit.DESTROY
    )
    actions_after_reboot = RW(
        EnumOf(OnNormalExit), "TODO actions_after_reboot.", default=OnNormalExit.RESTART
    )
    actions_after_crash = ROins(
        EnumOf(OnCrashBehaviour),
        "TODO actions_after_crash.",
        default=OnCrashBehaviour.RESTART,
        accessors=("set",),
    )
    consoles = ROrun(SetOf(RefTo("console")), "TODO consoles.", inverse="VM")
    VIFs = ROrun(SetOf(RefTo("VIF")), "TODO VIFs.", inverse="VM")
    VBDs = ROrun(SetOf(RefTo("VBD")), "TODO VBDs.", inverse="VM")
    crash_dumps = ROrun(SetOf(RefTo("crashdump")), "TODO crash_dumps.", inverse="VM")
    VTPMs = ROrun(SetOf(RefTo("VTPM")), "TODO VTPMs.", inverse="VM")
    PV_bootloader = RW(String, "TODO PV_bootloader.")
    PV_kernel = RW(String, "TODO PV_kernel.")
    PV_ramdisk = RW(String, "TODO PV_ramdisk.")
    PV_args = RW(String, "TODO PV_args.")
    PV_bootloader_args = RW(String, "TODO PV_bootloader_args.")
    PV_legacy_args = RW(String, "TODO PV_legacy_args.")
    domain_type = ROins(
        EnumOf(DomainType),
        "TODO domain_type.",
        default=DomainType.UNSPECIFIED,
        accessors=("set",),
        extension="The specification cannot say PVH; clients of today choose it here.",
    )
    HVM_boot_policy = ROins(String, "TODO HVM_boot_policy.", accessors=("set",))
    HVM_boot_params = RW(MapOf(String, String), "TODO HVM_boot_params.")
    HVM_shadow_multiplier = ROins(Float, "TODO HVM_shadow_multiplier.", default=1.0)
    platform = ROins(MapOf(String, String), "TODO platform.", accessors=("set", "add", "remove"))
    PCI_bus = RW(String, "TODO PCI_bus.")
    other_config = ROins(
        MapOf(String, String), "TODO other_config.", accessors=("set", "add", "remove")
    )
    domid = ROrun(Int, "TODO domid.", default=-1)
    domarch = ROrun(String, "TODO domarch.")
    last_boot_CPU_flags = ROins(MapOf(String, String), "TODO last_boot_CPU_flags.")
    is_control_domain = ROrun(Bool, "TODO is_control_domain.")
    metrics = ROrun(RefTo("VM_metrics"), "TODO metrics.")
    guest_metrics = ROrun(RefTo("VM_guest_metrics"), "TODO guest_metrics.")
    last_booted_record = ROins(String, "TODO last_booted_record.")
    recommendations = RW(String, "TODO recommendations.")
    xenstore_data = RW(MapOf(String, String), "TODO xenstore_data.")

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
        ),
    )
    def start(self, start_paused: bool, force: bool) -> None:
        """TODO start.

        start_paused: TODO start_paused.
        force: TODO force.
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
        ),
    )
    def start_on(self, host: Ref[Host], start_paused: bool, force: bool) -> None:
        """TODO start_on.

        host: TODO host.
        start_paused: TODO start_paused.
        force: TODO force.
        """

    @message(
        min_role="vm-operator",
        this="vm",
        operation=VmOperations.PAUSE,
        allowed_in=(VmPowerState.RUNNING,),
        raises=(VMBadPowerState, OtherOperationInProgress, OperationNotAllowed, VMIsTemplate),
    )
    def pause(self) -> None:
        """TODO pause."""

    @message(
        min_role="vm-operator",
        this="vm",
        operation=VmOperations.UNPAUSE,
        allowed_in=(VmPowerState.PAUSED,),
        raises=(VMBadPowerState, OperationNotAllowed, VMIsTemplate, OtherOperationInProgress),
    )
    def unpause(self) -> None:
        """TODO unpause."""

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
        ),
    )
    def clean_shutdown(self) -> None:
        """TODO clean_shutdown."""

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
        ),
    )
    def clean_reboot(self) -> None:
        """TODO clean_reboot."""

    @message(
        min_role="vm-operator",
        this="vm",
        operation=VmOperations.HARD_SHUTDOWN,
        allowed_in=(VmPowerState.RUNNING, VmPowerState.PAUSED, VmPowerState.SUSPENDED),
        raises=(VMBadPowerState, OtherOperationInProgress, OperationNotAllowed, VMIsTemplate),
    )
    def hard_shutdown(self) -> None:
        """TODO hard_shutdown."""

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
        ),
    )
    def hard_reboot(self) -> None:
        """TODO hard_reboot."""

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
        ),
    )
    def suspend(self) -> None:
        """TODO suspend."""

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
        ),
    )
    def resume(self, start_paused: bool, force: bool) -> None:
        """TODO resume.

        start_paused: TODO start_paused.
        force: TODO force.
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
        ),
    )
    def resume_on(self, host: Ref[Host], start_paused: bool, force: bool) -> None:
        """TODO resume_on.

        host: TODO host.
        start_paused: TODO start_paused.
        force: TODO force.
        """

    @message(
        min_role="pool-operator",
        this="vm",
        operation=VmOperations.POWER_STATE_RESET,
        raises=(CannotResetControlDomain, OtherOperationInProgress, OperationNotAllowed),
    )
    def power_state_reset(self) -> None:
        """TODO power_state_reset."""

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
        ),
    )
    def provision(self) -> None:
        """TODO provision."""

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
        ),
    )
    def clone(self, new_name: str) -> Ref[VM]:
        """TODO clone.

        new_name: TODO new_name.
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
        ),
    )
    def copy(self, new_name: str, sr: Ref[SR]) -> Ref[VM]:
        """TODO copy.

        new_name: TODO new_name.
        sr: TODO sr.
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
        """TODO pool_migrate.

        host: TODO host.
        options: TODO options.
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
        ),
    )
    def set_memory_target_live(self, target: int) -> None:
        """TODO set_memory_target_live.

        target: TODO target.
        """

    @message(
        min_role="vm-power-admin",
        operation=VmOperations.CHANGING_SHADOW_MEMORY_LIVE,
        allowed_in=(VmPowerState.RUNNING,),
        raises=(VMBadPowerState, OtherOperationInProgress, HostNotEnoughFreeMemory, InvalidValue),
    )
    def set_shadow_multiplier_live(self, multiplier: float) -> None:
        """TODO set_shadow_multiplier_live.

        multiplier: TODO multiplier.
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
        ),
    )
    def set_VCPUs_number_live(self, nvcpu: int) -> None:
        """TODO set_VCPUs_number_live.

        nvcpu: TODO nvcpu.
        """

    @message(
        min_role="vm-admin",
        operation=VmOperations.CHANGING_VCPUS_LIVE,
        allowed_in=(VmPowerState.RUNNING, VmPowerState.PAUSED),
        raises=(VMBadPowerState, OtherOperationInProgress, InvalidValue),
    )
    def add_to_VCPUs_params_live(self, key: str, value: str) -> None:
        """TODO add_to_VCPUs_params_live.

        key: TODO key.
        value: TODO value.
        """

    @message(
        min_role="pool-admin",
        this="vm",
        operation=VmOperations.SEND_SYSRQ,
        allowed_in=(VmPowerState.RUNNING,),
        raises=(VMBadPowerState, OtherOperationInProgress, InvalidValue),
    )
    def send_sysrq(self, key: str) -> None:
        """TODO send_sysrq.

        key: TODO key.
        """

    @message(
        min_role="pool-admin",
        this="vm",
        operation=VmOperations.SEND_TRIGGER,
        allowed_in=(VmPowerState.RUNNING,),
        raises=(VMBadPowerState, OtherOperationInProgress, InvalidValue),
    )
    def send_trigger(self, trigger: str) -> None:
        """TODO send_trigger.

        trigger: TODO trigger.
        """

    @message(min_role="read-only")
    def get_boot_record(self) -> Record[VM]:
        """TODO get_boot_record."""

    @message(min_role="read-only", raises=(InvalidValue,))
    def maximise_memory(self, total: int, approximate: bool) -> int:
        """TODO maximise_memory.

        total: TODO total.
        approximate: TODO approximate.
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
        ),
    )
    def assert_can_boot_here(self, host: Ref[Host]) -> None:
        """TODO assert_can_boot_here.

        host: TODO host.
        """

    @message(min_role="read-only", this="vm")
    def get_possible_hosts(self) -> tuple[Ref[Host], ...]:
        """TODO get_possible_hosts."""

    @message(min_role="read-only", this="vm")
    def get_allowed_VBD_devices(self) -> tuple[str, ...]:
        """TODO get_allowed_VBD_devices."""

    @message(min_role="read-only", this="vm")
    def get_allowed_VIF_devices(self) -> tuple[str, ...]:
        """TODO get_allowed_VIF_devices."""

    @message(
        min_role="read-only",
        raises=(VMBadPowerState, VMIsTemplate, OtherOperationInProgress, OperationNotAllowed),
    )
    def assert_operation_valid(self, op: VmOperations) -> None:
        """TODO assert_operation_valid.

        op: TODO op.
        """

    @message(min_role="pool-admin")
    def update_allowed_operations(self) -> None:
        """TODO update_allowed_operations."""
