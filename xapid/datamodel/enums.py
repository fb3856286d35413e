"""The enumerations of the API: those of section 2.3.3 of the specification, and additions."""

from __future__ import annotations

import enum
from typing import Self


class Enumeration(enum.StrEnum):
    """An enumeration of the API; each value says what it means.

    A value of ours carries, as `extension`, why it exists although the specification has it not.
    """

    doc: str
    extension: str | None

    def __new__(cls, value: str, doc: str = "", extension: str | None = None) -> Self:
        self = str.__new__(cls, value)
        self._value_ = value
        self.doc = doc
        self.extension = extension
        return self


class EventOperation(Enumeration):
    """What happened to an object."""

    ADD = "add", "The object was created."
    DEL = "del", "The object was destroyed."
    MOD = "mod", "A field of the object changed."


class ConsoleProtocol(Enumeration):
    """The protocol that a console speaks."""

    VT100 = "vt100", "A text terminal that understands VT100 sequences."
    RFB = "rfb", "A graphical screen over the remote framebuffer protocol, as VNC uses it."
    RDP = "rdp", "A graphical screen over the remote desktop protocol."


class VbdOperations(Enumeration):
    """What can be done with a virtual block device."""

    ATTACH = "attach", "The device is being attached to a VM."
    EJECT = "eject", "The medium is being taken out."
    INSERT = "insert", "A medium is being put in."
    PLUG = "plug", "The device is being plugged into a running VM."
    UNPLUG = "unplug", "The device is being unplugged from a running VM."
    UNPLUG_FORCE = (
        "unplug_force",
        "The device is being taken from a running VM without its consent.",
    )


class VdiOperations(Enumeration):
    """What can be done with a virtual disk image."""

    SCAN = "scan", "The backend is being searched for new and vanished images."
    CLONE = "clone", "The image is being cloned."
    COPY = "copy", "The image is being copied."
    RESIZE = "resize", "The image is being resized."
    SNAPSHOT = "snapshot", "A snapshot of the image is being taken."
    DESTROY = "destroy", "The image is being destroyed."
    FORGET = "forget", "The record is being removed while the data stays."
    FORCE_UNLOCK = "force_unlock", "The lock on the image is being broken."
    RESIZE_ONLINE = (
        "resize_online",
        "The image is being resized while a VM uses it.",
        "VDI.resize_online needs a name here; clients of today know this one.",
    )


class StorageOperations(Enumeration):
    """What can be done with a storage repository."""

    SCAN = "scan", "The backend is being searched for new and vanished images."
    DESTROY = "destroy", "The repository and its contents are being destroyed."
    FORGET = "forget", "The record is being removed while the storage stays."
    PLUG = "plug", "A PBD is being plugged, which makes the repository reachable from a host."
    UNPLUG = "unplug", "A PBD is being unplugged."
    VDI_CREATE = "vdi_create", "An image is being created."
    VDI_INTRODUCE = "vdi_introduce", "A record is being made for an image that exists."
    VDI_DESTROY = "vdi_destroy", "An image is being destroyed."
    VDI_RESIZE = "vdi_resize", "An image is being resized."
    VDI_CLONE = "vdi_clone", "An image is being cloned."
    VDI_SNAPSHOT = "vdi_snapshot", "A snapshot of an image is being taken."


class VifOperations(Enumeration):
    """What can be done with a virtual network interface."""

    ATTACH = "attach", "The interface is being attached to a VM."
    PLUG = "plug", "The interface is being plugged into a running VM."
    UNPLUG = "unplug", "The interface is being unplugged from a running VM."


class NetworkOperations(Enumeration):
    """What can be done with a network."""

    ATTACHING = "attaching", "The network is being attached to a VIF or a PIF."


class PoolAllowedOperations(Enumeration):
    """What can be done with a pool."""

    HA_ENABLE = "ha_enable", "High availability is being switched on."
    HA_DISABLE = "ha_disable", "High availability is being switched off."
    CLUSTER_CREATE = "cluster_create", "A cluster is being formed."
    DESIGNATE_NEW_MASTER = "designate_new_master", "Another host is being made the master."
    CONFIGURE_REPOSITORIES = (
        "configure_repositories",
        "The sources of updates are being configured.",
    )
    SYNC_UPDATES = "sync_updates", "Updates are being fetched from a repository."
    SYNC_BUNDLE = "sync_bundle", "Updates are being fetched from a bundle."
    GET_UPDATES = "get_updates", "The list of updates is being worked out."
    APPLY_UPDATES = "apply_updates", "Updates are being applied."
    TLS_VERIFICATION_ENABLE = (
        "tls_verification_enable",
        "Verification of certificates is being switched on.",
    )
    CERT_REFRESH = "cert_refresh", "A certificate is being replaced."
    EXCHANGE_CERTIFICATES_ON_JOIN = (
        "exchange_certificates_on_join",
        "Certificates are being exchanged with a joining host.",
    )
    EXCHANGE_CA_CERTIFICATES_ON_JOIN = (
        "exchange_ca_certificates_on_join",
        "Authority certificates are being exchanged with a joining host.",
    )
    COPY_PRIMARY_HOST_CERTS = (
        "copy_primary_host_certs",
        "The certificates of the master are being copied.",
    )
    EJECT = "eject", "A host is being sent out of the pool."
    EXCHANGE_CRLS_ON_JOIN = (
        "exchange_crls_on_join",
        "Revocation lists are being exchanged with a joining host.",
    )


class HostAllowedOperations(Enumeration):
    """What can be done with a host."""

    PROVISION = "provision", "The host can take another VM."
    EVACUATE = "evacuate", "The host is being emptied of running VMs."
    SHUTDOWN = (
        "shutdown",
        "The host is being shut down.",
        "host.shutdown needs a name here; clients of today know this one.",
    )
    REBOOT = (
        "reboot",
        "The host is being rebooted.",
        "host.reboot needs a name here; clients of today know this one.",
    )
    ENABLE = (
        "enable",
        "The host is being enabled.",
        "Clients of today look here before they offer to enable a host.",
    )


class VmPowerState(Enumeration):
    """What a VM is doing."""

    HALTED = "Halted", "The VM is off and uses no memory or processor."
    PAUSED = "Paused", "The VM has its memory and devices, but its vCPUs do not run."
    RUNNING = "Running", "The VM runs."
    SUSPENDED = "Suspended", "The state of the VM is on disk; its disks stay in use."
    UNKNOWN = "Unknown", "The state of the VM cannot be told now."


class AfterApplyGuidance(Enumeration):
    """What must be restarted before a patch takes effect."""

    RESTART_HVM = "restartHVM", "HVM guests must be restarted."
    RESTART_PV = "restartPV", "PV guests must be restarted."
    RESTART_HOST = "restartHost", "The host must be rebooted."
    RESTART_XAPI = "restartXAPI", "The management daemon must be restarted."


class TaskStatusType(Enumeration):
    """How far a task has come."""

    PENDING = "pending", "The task has not ended yet."
    SUCCESS = "success", "The task ended and did what was asked."
    FAILURE = "failure", "The task ended with an error."
    CANCELLING = "cancelling", "The task was asked to stop and is undoing what it did."
    CANCELLED = "cancelled", "The task was stopped before it was done."


class TaskAllowedOperations(Enumeration):
    """What can be done with a task."""

    CANCEL = "cancel", "The task can be asked to stop."
    DESTROY = (
        "destroy",
        "The record of the task can be removed.",
        "Clients of today look for it before they remove a task that has ended.",
    )


class VmOperations(Enumeration):
    """What can be done with a VM."""

    CLONE = "clone", "The VM is being cloned."
    COPY = "copy", "The VM is being copied."
    PROVISION = "provision", "The disks of the VM are being made."
    START = "start", "The VM is being started."
    START_ON = "start_on", "The VM is being started on a given host."
    PAUSE = "pause", "The VM is being paused."
    UNPAUSE = "unpause", "The VM is being unpaused."
    CLEAN_SHUTDOWN = "clean_shutdown", "The guest is being asked to shut down."
    CLEAN_REBOOT = "clean_reboot", "The guest is being asked to reboot."
    HARD_SHUTDOWN = "hard_shutdown", "The VM is being stopped without asking the guest."
    POWER_STATE_RESET = "power_state_reset", "The record of the VM is being set to halted."
    HARD_REBOOT = "hard_reboot", "The VM is being stopped and started without asking the guest."
    SUSPEND = "suspend", "The state of the VM is being saved to disk."
    CSVM = "csvm", "The VM is being cloned while it is suspended."
    RESUME = "resume", "The VM is being resumed from its saved state."
    RESUME_ON = "resume_on", "The VM is being resumed on a given host."
    POOL_MIGRATE = "pool_migrate", "The VM is being moved to another host of the pool."
    MIGRATE = "migrate", "The VM is being moved to a host of another pool."
    STATISTICS = "statistics", "The statistics of the VM are being read."
    GET_BOOT_RECORD = "get_boot_record", "The record that the VM booted with is being read."
    SEND_SYSRQ = "send_sysrq", "A SysRq key is being sent to the guest."
    SEND_TRIGGER = "send_trigger", "A trigger is being sent to the guest."
    CHANGING_MEMORY_LIVE = "changing_memory_live", "The memory of the running VM is being changed."
    CHANGING_SHADOW_MEMORY_LIVE = (
        "changing_shadow_memory_live",
        "The shadow memory of the running VM is being changed.",
    )
    CHANGING_VCPUS_LIVE = (
        "changing_VCPUs_live",
        "The number or the scheduling of the vCPUs of the running VM is being changed.",
    )
    ASSERT_OPERATION_VALID = (
        "assert_operation_valid",
        "It is being checked whether an operation is allowed.",
    )
    UPDATE_ALLOWED_OPERATIONS = (
        "update_allowed_operations",
        "The list of allowed operations is being worked out again.",
    )
    MAKE_INTO_TEMPLATE = "make_into_template", "The VM is being turned into a template."
    IMPORT = "import", "The VM is being read from a stream."
    EXPORT = "export", "The VM is being written to a stream."
    DESTROY = "destroy", "The VM is being removed."


class OnNormalExit(Enumeration):
    """What to do when a guest ends by itself."""

    DESTROY = "destroy", "Let the VM end."
    RESTART = "restart", "Start the VM again."


class OnCrashBehaviour(Enumeration):
    """What to do when a guest crashes."""

    DESTROY = "destroy", "Let the VM end."
    COREDUMP_AND_DESTROY = "coredump_and_destroy", "Write a core dump, then let the VM end."
    RESTART = "restart", "Start the VM again."
    COREDUMP_AND_RESTART = "coredump_and_restart", "Write a core dump, then start the VM again."
    PRESERVE = "preserve", "Keep the crashed domain for inspection."
    RENAME_RESTART = (
        "rename_restart",
        "Keep what the crashed domain had in memory, as a core dump, and start the VM anew.",
    )


class DomainType(Enumeration):
    """How Xen builds the domain of a VM."""

    HVM = "hvm", "A full machine with firmware and emulated devices."
    PV = "pv", "A paravirtual domain."
    PV_IN_PVH = "pv_in_pvh", "A paravirtual guest inside a PVH domain."
    PVH = "pvh", "A hardware-assisted domain without emulated devices."
    UNSPECIFIED = "unspecified", "The boot parameters of the VM decide, as section 1.7 says."


class IpConfigurationMode(Enumeration):
    """Where an interface has its address from."""

    NONE = "None", "The interface has no address."
    DHCP = "DHCP", "A DHCP server gives the address."
    STATIC = "Static", "The address is given by hand."


class BondMode(Enumeration):
    """How a bond spreads traffic over its members."""

    BALANCE_SLB = (
        "balance-slb",
        "Each source address stays on one member, and the load is balanced between members.",
    )
    ACTIVE_BACKUP = "active-backup", "One member carries all traffic until it fails."
    LACP = "lacp", "The switch negotiates the bond by LACP."


class VdiType(Enumeration):
    """What an image is for."""

    SYSTEM = "system", "A disk that may be replaced on upgrade."
    USER = "user", "A disk that is always kept on upgrade."
    EPHEMERAL = "ephemeral", "A disk that may be wiped on upgrade."
    SUSPEND = "suspend", "The saved state of a VM."
    CRASHDUMP = "crashdump", "The memory of a crashed VM."


class VbdMode(Enumeration):
    """How a guest may access a disk."""

    RO = "RO", "The guest may read."
    RW = "RW", "The guest may read and write."


class VbdType(Enumeration):
    """What kind of device a guest sees."""

    CD = "CD", "A CD drive."
    DISK = "Disk", "A disk."


# Enumerations that the specification has not, and why xapid has them.
EXTENSIONS: dict[type[Enumeration], str] = {
    DomainType: "The specification knows PV and HVM only; clients of today say it so.",
}

ENUMERATIONS: tuple[type[Enumeration], ...] = (
    EventOperation,
    ConsoleProtocol,
    VbdOperations,
    VdiOperations,
    StorageOperations,
    VifOperations,
    NetworkOperations,
    PoolAllowedOperations,
    HostAllowedOperations,
    VmPowerState,
    AfterApplyGuidance,
    TaskStatusType,
    TaskAllowedOperations,
    VmOperations,
    OnNormalExit,
    OnCrashBehaviour,
    DomainType,
    IpConfigurationMode,
    BondMode,
    VdiType,
    VbdMode,
    VbdType,
)
