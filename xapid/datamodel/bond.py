"""Bonds of physical interfaces."""

# mypy: disable-error-code="empty-body"
# ruff: noqa: N803 (parameters are spelled as on the wire)

from __future__ import annotations

from typing import TYPE_CHECKING

from .declare import (
    EMPTY,
    RW,
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
from .enums import BondMode
from .errors import (
    MACInvalid,
    NetworkAlreadyConnected,
    NetworkIncompatibleWithBond,
    OperationNotAllowed,
    PIFAlreadyBonded,
    PIFBondMoreThanOneIP,
    PIFBondNeedsMoreMembers,
    PIFCannotBondCrossHost,
    PIFIsManagementInterface,
    PIFIsNotPhysical,
    PIFUnmanaged,
    PIFVLANStillExists,
    VIFInUse,
)
from .pif import CANNOT_CONFIGURE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .network import Network
    from .pif import PIF


class Bond(Class):
    """Several physical interfaces that act as one."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    master = ROins(
        RefTo("PIF"), "The interface that the bond appears as.", inverse="bond_master_of"
    )
    slaves = ROrun(
        SetOf(RefTo("PIF")), "The interfaces that make up the bond.", inverse="bond_slave_of"
    )
    mode = ROrun(
        EnumOf(BondMode),
        "How the bond spreads traffic over its members, as it really does.",
        extension="create takes one, and clients of today read it here.",
    )
    links_up = ROrun(
        Int,
        "How many members have a link.",
        volatile=True,
        extension="Clients of today read it here.",
    )
    active_slave = ROrun(
        RefTo("PIF"),
        "The member that carries the traffic where only one does; null for none.",
        volatile=True,
        extension="An administrator wants to know which cable is in use.",
    )
    other_config = RW(MapOf(String, String), "Keys and values for the clients' own use.")

    @static_message(
        min_role="pool-operator",
        raises=(
            MACInvalid,
            NetworkAlreadyConnected,
            NetworkIncompatibleWithBond,
            PIFAlreadyBonded,
            PIFBondMoreThanOneIP,
            PIFBondNeedsMoreMembers,
            PIFCannotBondCrossHost,
            PIFIsNotPhysical,
            PIFUnmanaged,
            PIFVLANStillExists,
            VIFInUse,
            OperationNotAllowed,
            *CANNOT_CONFIGURE,
        ),
    )
    @staticmethod
    def create(
        network: Ref[Network],
        members: tuple[Ref[PIF], ...],
        MAC: str,
        mode: BondMode = BondMode.BALANCE_SLB,
        properties: Mapping[str, str] = EMPTY,
    ) -> Ref[Bond]:
        """Join several interfaces of a host into a bond.

        network: the network that the bond joins.
        members: the interfaces.
        MAC: Ethernet address of the bond; empty takes that of a member.
        mode: how traffic is spread over the members.
        properties: further settings of the mode.
        """

    @message(
        min_role="pool-operator",
        raises=(
            PIFVLANStillExists,
            PIFIsManagementInterface,
            VIFInUse,
            OperationNotAllowed,
            *CANNOT_CONFIGURE,
        ),
    )
    def destroy(self) -> None:
        """Take a bond apart; its members become interfaces of their own again."""
