"""Network interfaces of hosts."""

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
    CannotAddVLANToBondSlave,
    CannotChangePIFProperties,
    CannotPlugBondSlave,
    ClusteringEnabled,
    CouldNotFindNetworkInterfaceWithSpecifiedDeviceNameAndMACAddress,
    DuplicatePIFDeviceName,
    HAOperationWouldBreakFailoverPlan,
    InvalidIPAddressSpecified,
    MACInvalid,
    NetworkAlreadyConnected,
    OperationNotAllowed,
    PIFAlreadyBonded,
    PIFConfigurationError,
    PIFDeviceNotFound,
    PIFDoesNotAllowUnplug,
    PIFHasFCOESRInUse,
    PIFIsManagementInterface,
    PIFIsNotPhysical,
    PIFIsPhysical,
    PIFIsVLAN,
    PIFTunnelStillExists,
    PIFUnmanaged,
    PIFVLANStillExists,
    TransportPIFNotConfigured,
    VIFInUse,
    VLANInUse,
    VLANTagInvalid,
)

CANNOT_CONFIGURE = (PIFConfigurationError, PIFDeviceNotFound)
"""What keeps an interface from being brought up."""

MAKES_VLAN = (
    VLANTagInvalid,
    VLANInUse,
    PIFIsVLAN,
    PIFUnmanaged,
    CannotAddVLANToBondSlave,
    NetworkAlreadyConnected,
    *CANNOT_CONFIGURE,
)
"""What the messages that make a VLAN answer with."""

REMOVES_VLAN = (VIFInUse, PIFIsManagementInterface, PIFConfigurationError)

if TYPE_CHECKING:
    from .host import Host
    from .network import Network


class PIF(Class):
    """A network interface of a host; each VLAN and each bond on it is one more."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    device = ROins(String, "Name of the interface on its host.")
    network = ROins(RefTo("network"), "The network that the interface joins.", inverse="PIFs")
    host = ROins(RefTo("host"), "The host that has the interface.", inverse="PIFs")
    MAC = ROins(String, "Ethernet address of the interface.")
    MTU = ROins(Int, "Size of the largest packet in bytes.", default=1500)
    VLAN = ROins(Int, "The VLAN tag of what passes; -1 for an interface without one.", default=-1)
    metrics = ROrun(RefTo("PIF_metrics"), "What is measured of the interface.")
    physical = ROrun(Bool, "True for hardware; false for a VLAN or a bond.")
    currently_attached = ROrun(Bool, "True while the interface is up.", default=True)
    ip_configuration_mode = ROrun(
        EnumOf(IpConfigurationMode),
        "Where the interface has its address from.",
        default=IpConfigurationMode.NONE,
    )
    IP = ROrun(String, "Its IP address; empty when it has none.")
    netmask = ROrun(String, "Its network mask; empty when it has none.")
    gateway = ROrun(String, "The gateway; empty when there is none.")
    DNS = ROrun(String, "The name servers, separated by commas; empty when there are none.")
    bond_slave_of = ROrun(
        RefTo("Bond"),
        "The bond that the interface is a member of; null for none.",
        inverse="slaves",
    )
    bond_master_of = ROrun(
        SetOf(RefTo("Bond")),
        "The bonds that appear as this interface: one or none.",
        inverse="master",
    )
    VLAN_master_of = ROrun(RefTo("VLAN"), "The VLAN that appears as this interface; null for none.")
    VLAN_slave_of = ROrun(
        SetOf(RefTo("VLAN")), "The VLANs that this interface carries.", inverse="tagged_PIF"
    )
    management = ROrun(Bool, "True when the API is reached through this interface.")
    managed = ROrun(
        Bool,
        "True when the server configures the interface; false when somebody else does.",
        default=True,
        extension="introduce takes it, and clients of today read it here.",
    )
    disallow_unplug = RW(
        Bool,
        "True to refuse that the interface is unplugged.",
        accessors=("set",),
        extension="PIF_DOES_NOT_ALLOW_UNPLUG is in the specification, what it asks for is not.",
    )
    other_config = RW(MapOf(String, String), "Keys and values for the clients' own use.")

    @static_message(min_role="pool-operator", raises=(*MAKES_VLAN, PIFDeviceNotFound))
    @staticmethod
    def create_VLAN(device: str, network: Ref[Network], host: Ref[Host], VLAN: int) -> Ref[PIF]:
        """Make a VLAN on an interface of a host.

        device: name of the interface that carries the VLAN.
        network: the network that the VLAN joins.
        host: the host.
        VLAN: the tag, from 0 to 4094.
        """

    @message(min_role="pool-operator", raises=(PIFIsPhysical, *REMOVES_VLAN))
    def destroy(self) -> None:
        """Destroy an interface that is a VLAN."""

    @message(
        min_role="pool-operator",
        raises=(
            ClusteringEnabled,
            InvalidIPAddressSpecified,
            CannotChangePIFProperties,
            PIFUnmanaged,
            PIFIsManagementInterface,
            OperationNotAllowed,
            *CANNOT_CONFIGURE,
        ),
    )
    def reconfigure_ip(
        self, mode: IpConfigurationMode, IP: str, netmask: str, gateway: str, DNS: str
    ) -> None:
        """Change where the interface has its address from.

        If it is up, the change takes effect at once.

        mode: where the address comes from.
        IP: the address, if it is static.
        netmask: the network mask, if the address is static.
        gateway: the gateway; empty for none.
        DNS: the name servers, separated by commas; empty for none.
        """

    @static_message(min_role="pool-operator", raises=(PIFConfigurationError,))
    @staticmethod
    def scan(host: Ref[Host]) -> None:
        """Look for the physical interfaces of a host, and make records for those that lack one.

        host: the host.
        """

    @static_message(
        min_role="pool-operator",
        raises=(
            CouldNotFindNetworkInterfaceWithSpecifiedDeviceNameAndMACAddress,
            DuplicatePIFDeviceName,
            MACInvalid,
            PIFConfigurationError,
        ),
    )
    @staticmethod
    def introduce(host: Ref[Host], MAC: str, device: str, managed: bool = True) -> Ref[PIF]:
        """Make a record for a physical interface that the host has.

        host: the host.
        MAC: Ethernet address of the interface; empty to find it by its name.
        device: name of the interface on its host.
        managed: whether the server configures the interface.
        """

    @message(
        min_role="pool-operator",
        raises=(
            PIFTunnelStillExists,
            ClusteringEnabled,
            PIFIsNotPhysical,
            PIFAlreadyBonded,
            PIFVLANStillExists,
            PIFIsManagementInterface,
            VIFInUse,
            PIFConfigurationError,
        ),
    )
    def forget(self) -> None:
        """Remove the record of a physical interface."""

    @message(
        min_role="pool-operator",
        raises=(
            HAOperationWouldBreakFailoverPlan,
            VIFInUse,
            PIFDoesNotAllowUnplug,
            PIFHasFCOESRInUse,
            PIFUnmanaged,
            PIFIsManagementInterface,
            PIFConfigurationError,
        ),
    )
    def unplug(self) -> None:
        """Take the interface down."""

    @message(
        min_role="pool-operator",
        raises=(TransportPIFNotConfigured, PIFUnmanaged, CannotPlugBondSlave, *CANNOT_CONFIGURE),
    )
    def plug(self) -> None:
        """Bring the interface up as it is configured."""
