"""Physical hosts."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from typing import TYPE_CHECKING

from .declare import (
    NULL,
    RW,
    Bool,
    Class,
    EnumOf,
    Int,
    MapOf,
    Ref,
    RefTo,
    ROins,
    ROrun,
    SetOf,
    String,
    message,
    static_message,
)
from .enums import HostAllowedOperations
from .errors import (
    CannotContactHost,
    CannotEvacuateHost,
    CannotPlugBondSlave,
    HostCannotDestroySelf,
    HostInUse,
    HostNameInvalid,
    HostNotDisabled,
    HostNotLive,
    InterfaceHasNoIP,
    InvalidValue,
    LicenseProcessingError,
    OperationNotAllowed,
    OtherOperationInProgress,
    PIFDeviceNotFound,
    PIFNotAttachedToHost,
    SystemStatusRetrievalFailed,
    TaskCancelled,
    ValueNotSupported,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .network import Network
    from .pif import PIF


class Host(
    Class,
    wire="host",
    derived=("get_all", "get_all_records", "get_by_name_label", "get_by_uuid", "get_record"),
):
    """A physical machine that runs virtual machines."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    name_label = RW(String, "Name shown to people; it need not be unique.")
    name_description = RW(String, "A longer text shown to people.")
    memory_overhead = ROrun(Int, "Bytes of memory that Xen keeps for itself.")
    allowed_operations = ROrun(
        SetOf(EnumOf(HostAllowedOperations)),
        "The operations that may be started now.",
        volatile=True,
    )
    current_operations = ROrun(
        MapOf(String, EnumOf(HostAllowedOperations)),
        "The operations that run now, by the reference of their task.",
        volatile=True,
    )
    API_version_major = ROrun(
        Int, "The API revision that the host speaks: the number before the point."
    )
    API_version_minor = ROrun(
        Int, "The API revision that the host speaks: the number after the point."
    )
    API_version_vendor = ROrun(String, "Who made this implementation of the API.")
    API_version_vendor_implementation = ROrun(
        MapOf(String, String), "Version and details of this implementation."
    )
    enabled = ROrun(Bool, "True when the host may start VMs.", default=True)
    software_version = ROins(MapOf(String, String), "Versions of the software on the host.")
    other_config = RW(MapOf(String, String), "Keys and values for the clients' own use.")
    capabilities = ROins(SetOf(String), "What Xen can run on this host, such as `xen-3.0-x86_64`.")
    cpu_configuration = ROrun(
        MapOf(String, String), "Numbers of processors, cores, threads and nodes."
    )
    sched_policy = ROrun(String, "The scheduler that Xen uses.")
    supported_bootloaders = ROrun(SetOf(String), "The bootloaders that PV_bootloader may name.")
    resident_VMs = ROrun(
        SetOf(RefTo("VM")),
        "The VMs that run on the host, the control domain among them.",
        inverse="resident_on",
    )
    logging = RW(MapOf(String, String), "Where the logs of the host go.")
    PIFs = ROrun(SetOf(RefTo("PIF")), "The network interfaces of the host.", inverse="host")
    suspend_image_sr = RW(
        RefTo("SR"), "Where saved states of VMs on this host go; null leaves it to the pool."
    )
    crash_dump_sr = RW(
        RefTo("SR"), "Where crash dumps of VMs on this host go; null leaves it to the pool."
    )
    crashdumps = ROrun(
        SetOf(RefTo("host_crashdump")), "Dumps that the host left when it crashed.", inverse="host"
    )
    patches = ROrun(SetOf(RefTo("host_patch")), "The patches on the host.", inverse="host")
    PBDs = ROrun(
        SetOf(RefTo("PBD")), "How the host reaches its storage repositories.", inverse="host"
    )
    host_CPUs = ROrun(SetOf(RefTo("host_cpu")), "The processors of the host.", inverse="host")
    hostname = RW(String, "Host name, as DNS knows it.")
    address = RW(String, "Address that others reach the host by.")
    metrics = ROrun(RefTo("host_metrics"), "What is measured of the host.")
    license_params = ROrun(MapOf(String, String), "What the licence of the host says.")

    @message(min_role="client-cert", this="host", raises=(HostNotLive,))
    def disable(self, auto_enable: bool = True) -> None:
        """Let the host start no more VMs; those that run go on.

        auto_enable: let the host enable itself when it boots next.
        """

    @message(
        min_role="client-cert",
        this="host",
        operation=HostAllowedOperations.ENABLE,
        raises=(HostNotLive, OtherOperationInProgress),
    )
    def enable(self) -> None:
        """Let the host start VMs again."""

    @message(
        min_role="pool-operator",
        this="host",
        operation=HostAllowedOperations.SHUTDOWN,
        raises=(
            HostNotDisabled,
            HostInUse,
            HostNotLive,
            OtherOperationInProgress,
            OperationNotAllowed,
        ),
    )
    def shutdown(self) -> None:
        """Switch the host off. It must be disabled and run no VMs."""

    @message(
        min_role="pool-operator",
        this="host",
        operation=HostAllowedOperations.REBOOT,
        raises=(
            HostNotDisabled,
            HostInUse,
            HostNotLive,
            OtherOperationInProgress,
            OperationNotAllowed,
        ),
    )
    def reboot(self) -> None:
        """Reboot the host. It must be disabled and run no VMs."""

    @message(
        min_role="pool-operator", this="host", raises=(HostNotLive, SystemStatusRetrievalFailed)
    )
    def dmesg(self) -> str:
        """Get the messages of Xen."""

    @message(
        min_role="pool-operator", this="host", raises=(HostNotLive, SystemStatusRetrievalFailed)
    )
    def dmesg_clear(self) -> str:
        """Get the messages of Xen, and clear them."""

    @message(min_role="read-only", this="host", raises=(HostNotLive, OperationNotAllowed))
    def get_log(self) -> str:
        """Get the log of the host."""

    @message(
        min_role="pool-admin", this="host", raises=(HostNotLive, InvalidValue, OperationNotAllowed)
    )
    def send_debug_keys(self, keys: str) -> None:
        """Send debug keys to Xen; what they bring is among its messages.

        keys: the keys, one letter each.
        """

    @message(
        min_role="pool-operator",
        this="host",
        raises=(
            HostNotLive,
            InvalidValue,
            ValueNotSupported,
            CannotContactHost,
            OperationNotAllowed,
            TaskCancelled,
        ),
    )
    def bugreport_upload(self, url: str, options: Mapping[str, str]) -> None:
        """Gather a report on the state of the host, and upload it.

        url: where to upload it to.
        options: options of the upload.
        """

    @static_message(min_role="read-only")
    @staticmethod
    def list_methods() -> tuple[str, ...]:
        """Get the names of all methods."""

    @message(min_role="pool-operator", this="host", raises=(LicenseProcessingError,))
    def license_apply(self, contents: str) -> None:
        """Apply a licence to the host.

        contents: the licence file, encoded in base64.
        """

    @message(min_role="pool-operator", raises=(HostCannotDestroySelf, OperationNotAllowed))
    def destroy(self) -> None:
        """Remove the record of a host that is lost for good."""

    @message(min_role="pool-operator", this="host", raises=(CannotEvacuateHost, HostNotLive))
    def assert_can_evacuate(self) -> None:
        """Fail unless all VMs can leave the host; the error says which cannot."""

    @message(
        min_role="client-cert",
        this="host",
        operation=HostAllowedOperations.EVACUATE,
        raises=(CannotEvacuateHost, HostNotLive, InvalidValue, OtherOperationInProgress),
    )
    def evacuate(self, network: Ref[Network] = NULL, evacuate_batch_size: int = 0) -> None:
        """Move all running VMs to other hosts.

        network: the network to move them over; null for the usual one.
        evacuate_batch_size: how many to move at once; 0 lets the server decide.
        """

    @message(
        min_role="pool-operator",
        this="host",
        raises=(HostNotLive, InvalidValue, ValueNotSupported, OperationNotAllowed),
    )
    def syslog_reconfigure(self) -> None:
        """Make the logging that `logging` asks for take effect."""

    @static_message(
        min_role="pool-operator",
        raises=(InterfaceHasNoIP, CannotPlugBondSlave, PIFNotAttachedToHost),
    )
    @staticmethod
    def management_reconfigure(pif: Ref[PIF]) -> None:
        """Move management to another interface.

        pif: the interface.
        """

    @static_message(
        min_role="pool-operator",
        raises=(InterfaceHasNoIP, CannotPlugBondSlave, PIFDeviceNotFound, PIFNotAttachedToHost),
    )
    @staticmethod
    def local_management_reconfigure(interface: str) -> None:
        """Move management to another interface while the host has no master.

        interface: name of the interface.
        """

    @static_message(min_role="pool-operator")
    @staticmethod
    def management_disable() -> None:
        """Stop serving the API on the network; the local socket stays."""

    @message(min_role="read-only", this="host")
    def get_system_status_capabilities(self) -> str:
        """Get, as XML, what a report on the state of the host can contain."""

    @message(min_role="pool-operator", this="host", raises=(HostNotLive,))
    def restart_agent(self) -> None:
        """Restart this daemon. VMs go on."""

    @message(
        min_role="pool-operator",
        this="host",
        raises=(HostNameInvalid, HostNotLive, OperationNotAllowed),
    )
    def set_hostname_live(self, hostname: str) -> None:
        """Change the host name at once.

        hostname: the new name.
        """
