"""TODO PIF."""

# mypy: disable-error-code="empty-body"

# ruff: noqa: N803 (parameters are spelled as on the wire)

from __future__ import annotations

from typing import TYPE_CHECKING

from .declare import (
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
from .enums import IpConfigurationMode
from .errors import (
    ClusteringEnabled,
    HAOperationWouldBreakFailoverPlan,
    PIFDoesNotAllowUnplug,
    PIFHasFCOESRInUse,
    PIFIsPhysical,
    PIFTunnelStillExists,
    TransportPIFNotConfigured,
    VIFInUse,
    VLANTagInvalid,
)

if TYPE_CHECKING:
    from .host import Host
    from .network import Network


class PIF(Class):
    """TODO PIF."""

    uuid = ROrun(String, "TODO uuid.")
    device = ROins(String, "TODO device.")
    network = ROins(RefTo("network"), "TODO network.", inverse="PIFs")
    host = ROins(RefTo("host"), "TODO host.", inverse="PIFs")
    MAC = ROins(String, "TODO MAC.")
    MTU = ROins(Int, "TODO MTU.", default=1500)
    VLAN = ROins(Int, "TODO VLAN.", default=-1)
    metrics = ROrun(RefTo("PIF_metrics"), "TODO metrics.")
    physical = ROrun(Bool, "TODO physical.")
    currently_attached = ROrun(Bool, "TODO currently_attached.", default=True)
    ip_configuration_mode = ROrun(
        EnumOf(IpConfigurationMode), "TODO ip_configuration_mode.", default=IpConfigurationMode.NONE
    )
    IP = ROrun(String, "TODO IP.")
    netmask = ROrun(String, "TODO netmask.")
    gateway = ROrun(String, "TODO gateway.")
    DNS = ROrun(String, "TODO DNS.")
    bond_slave_of = ROrun(RefTo("Bond"), "TODO bond_slave_of.", inverse="slaves")
    bond_master_of = ROrun(SetOf(RefTo("Bond")), "TODO bond_master_of.", inverse="master")
    VLAN_master_of = ROrun(RefTo("VLAN"), "TODO VLAN_master_of.")
    VLAN_slave_of = ROrun(SetOf(RefTo("VLAN")), "TODO VLAN_slave_of.", inverse="tagged_PIF")
    management = ROrun(Bool, "TODO management.")
    other_config = RW(MapOf(String, String), "TODO other_config.")

    @static_message(min_role="pool-operator", raises=(VLANTagInvalid,))
    @staticmethod
    def create_VLAN(device: str, network: Ref[Network], host: Ref[Host], VLAN: int) -> Ref[PIF]:
        """TODO create_VLAN.

        device: TODO device.
        network: TODO network.
        host: TODO host.
        VLAN: TODO VLAN.
        """

    @message(min_role="pool-operator", raises=(PIFIsPhysical,))
    def destroy(self) -> None:
        """TODO destroy."""

    @message(min_role="pool-operator", raises=(ClusteringEnabled,))
    def reconfigure_ip(
        self, mode: IpConfigurationMode, IP: str, netmask: str, gateway: str, DNS: str
    ) -> None:
        """TODO reconfigure_ip.

        mode: TODO mode.
        IP: TODO IP.
        netmask: TODO netmask.
        gateway: TODO gateway.
        DNS: TODO DNS.
        """

    @static_message(min_role="pool-operator")
    @staticmethod
    def scan(host: Ref[Host]) -> None:
        """TODO scan.

        host: TODO host.
        """

    @static_message(min_role="pool-operator")
    @staticmethod
    def introduce(host: Ref[Host], MAC: str, device: str, managed: bool = True) -> Ref[PIF]:
        """TODO introduce.

        host: TODO host.
        MAC: TODO MAC.
        device: TODO device.
        managed: TODO managed.
        """

    @message(min_role="pool-operator", raises=(PIFTunnelStillExists, ClusteringEnabled))
    def forget(self) -> None:
        """TODO forget."""

    @message(
        min_role="pool-operator",
        raises=(
            HAOperationWouldBreakFailoverPlan,
            VIFInUse,
            PIFDoesNotAllowUnplug,
            PIFHasFCOESRInUse,
        ),
    )
    def unplug(self) -> None:
        """TODO unplug."""

    @message(min_role="pool-operator", raises=(TransportPIFNotConfigured,))
    def plug(self) -> None:
        """TODO plug."""
