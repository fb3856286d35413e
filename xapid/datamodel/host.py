"""TODO host."""

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
    CannotEvacuateHost,
    HostHasResidentVMs,
    HostNameInvalid,
    HostNotDisabled,
    LicenseProcessingError,
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
    """TODO host."""

    uuid = ROrun(String, "TODO uuid.")
    name_label = RW(String, "TODO name_label.")
    name_description = RW(String, "TODO name_description.")
    memory_overhead = ROrun(Int, "TODO memory_overhead.")
    allowed_operations = ROrun(
        SetOf(EnumOf(HostAllowedOperations)), "TODO allowed_operations.", volatile=True
    )
    current_operations = ROrun(
        MapOf(String, EnumOf(HostAllowedOperations)), "TODO current_operations.", volatile=True
    )
    API_version_major = ROrun(Int, "TODO API_version_major.")
    API_version_minor = ROrun(Int, "TODO API_version_minor.")
    API_version_vendor = ROrun(String, "TODO API_version_vendor.")
    API_version_vendor_implementation = ROrun(
        MapOf(String, String), "TODO API_version_vendor_implementation."
    )
    enabled = ROrun(Bool, "TODO enabled.", default=True)
    software_version = ROins(MapOf(String, String), "TODO software_version.")
    other_config = RW(MapOf(String, String), "TODO other_config.")
    capabilities = ROins(SetOf(String), "TODO capabilities.")
    cpu_configuration = ROrun(MapOf(String, String), "TODO cpu_configuration.")
    sched_policy = ROrun(String, "TODO sched_policy.")
    supported_bootloaders = ROrun(SetOf(String), "TODO supported_bootloaders.")
    resident_VMs = ROrun(SetOf(RefTo("VM")), "TODO resident_VMs.", inverse="resident_on")
    logging = RW(MapOf(String, String), "TODO logging.")
    PIFs = ROrun(SetOf(RefTo("PIF")), "TODO PIFs.", inverse="host")
    suspend_image_sr = RW(RefTo("SR"), "TODO suspend_image_sr.")
    crash_dump_sr = RW(RefTo("SR"), "TODO crash_dump_sr.")
    crashdumps = ROrun(SetOf(RefTo("host_crashdump")), "TODO crashdumps.", inverse="host")
    patches = ROrun(SetOf(RefTo("host_patch")), "TODO patches.", inverse="host")
    PBDs = ROrun(SetOf(RefTo("PBD")), "TODO PBDs.", inverse="host")
    host_CPUs = ROrun(SetOf(RefTo("host_cpu")), "TODO host_CPUs.", inverse="host")
    hostname = RW(String, "TODO hostname.")
    address = RW(String, "TODO address.")
    metrics = ROrun(RefTo("host_metrics"), "TODO metrics.")
    license_params = ROrun(MapOf(String, String), "TODO license_params.")

    @message(min_role="client-cert", this="host")
    def disable(self, auto_enable: bool = True) -> None:
        """TODO disable.

        auto_enable: TODO auto_enable.
        """

    @message(min_role="client-cert", this="host", operation=HostAllowedOperations.ENABLE)
    def enable(self) -> None:
        """TODO enable."""

    @message(
        min_role="pool-operator",
        this="host",
        operation=HostAllowedOperations.SHUTDOWN,
        raises=(HostNotDisabled, HostHasResidentVMs),
    )
    def shutdown(self) -> None:
        """TODO shutdown."""

    @message(
        min_role="pool-operator",
        this="host",
        operation=HostAllowedOperations.REBOOT,
        raises=(HostNotDisabled, HostHasResidentVMs),
    )
    def reboot(self) -> None:
        """TODO reboot."""

    @message(min_role="pool-operator", this="host")
    def dmesg(self) -> str:
        """TODO dmesg."""

    @message(min_role="pool-operator", this="host")
    def dmesg_clear(self) -> str:
        """TODO dmesg_clear."""

    @message(min_role="read-only", this="host")
    def get_log(self) -> str:
        """TODO get_log."""

    @message(min_role="pool-admin", this="host")
    def send_debug_keys(self, keys: str) -> None:
        """TODO send_debug_keys.

        keys: TODO keys.
        """

    @message(min_role="pool-operator", this="host")
    def bugreport_upload(self, url: str, options: Mapping[str, str]) -> None:
        """TODO bugreport_upload.

        url: TODO url.
        options: TODO options.
        """

    @static_message(min_role="read-only")
    @staticmethod
    def list_methods() -> tuple[str, ...]:
        """TODO list_methods."""

    @message(min_role="pool-operator", this="host", raises=(LicenseProcessingError,))
    def license_apply(self, contents: str) -> None:
        """TODO license_apply.

        contents: TODO contents.
        """

    @message(min_role="pool-operator")
    def destroy(self) -> None:
        """TODO destroy."""

    @message(min_role="pool-operator", this="host", raises=(CannotEvacuateHost,))
    def assert_can_evacuate(self) -> None:
        """TODO assert_can_evacuate."""

    @message(
        min_role="client-cert",
        this="host",
        operation=HostAllowedOperations.EVACUATE,
        raises=(CannotEvacuateHost,),
    )
    def evacuate(self, network: Ref[Network] = NULL, evacuate_batch_size: int = 0) -> None:
        """TODO evacuate.

        network: TODO network.
        evacuate_batch_size: TODO evacuate_batch_size.
        """

    @message(min_role="pool-operator", this="host")
    def syslog_reconfigure(self) -> None:
        """TODO syslog_reconfigure."""

    @static_message(min_role="pool-operator")
    @staticmethod
    def management_reconfigure(pif: Ref[PIF]) -> None:
        """TODO management_reconfigure.

        pif: TODO pif.
        """

    @static_message(min_role="pool-operator")
    @staticmethod
    def local_management_reconfigure(interface: str) -> None:
        """TODO local_management_reconfigure.

        interface: TODO interface.
        """

    @static_message(min_role="pool-operator")
    @staticmethod
    def management_disable() -> None:
        """TODO management_disable."""

    @message(min_role="read-only", this="host")
    def get_system_status_capabilities(self) -> str:
        """TODO get_system_status_capabilities."""

    @message(min_role="pool-operator", this="host")
    def restart_agent(self) -> None:
        """TODO restart_agent."""

    @message(min_role="pool-operator", this="host", raises=(HostNameInvalid,))
    def set_hostname_live(self, hostname: str) -> None:
        """TODO set_hostname_live.

        hostname: TODO hostname.
        """
