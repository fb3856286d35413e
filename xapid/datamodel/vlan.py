"""VLANs on physical interfaces."""

# mypy: disable-error-code="empty-body"
# ruff: noqa: N803 (parameters are spelled as on the wire)

from __future__ import annotations

from typing import TYPE_CHECKING

from .declare import (
    RW,
    Class,
    Int,
    MapOf,
    Ref,
    RefTo,
    ROins,
    ROrun,
    String,
    message,
    static_message,
)
from .pif import MAKES_VLAN, REMOVES_VLAN

if TYPE_CHECKING:
    from .network import Network
    from .pif import PIF


class VLAN(Class):
    """A tagged network on a physical interface, and the interface that it appears as."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    tagged_PIF = ROins(
        RefTo("PIF"), "The interface that carries the tagged packets.", inverse="VLAN_slave_of"
    )
    untagged_PIF = ROrun(
        RefTo("PIF"), "The interface that the packets appear on without their tag."
    )
    tag = ROins(Int, "The tag, from 0 to 4094; -1 for none.", default=-1)
    other_config = RW(MapOf(String, String), "Keys and values for the clients' own use.")

    @static_message(min_role="pool-operator", raises=MAKES_VLAN)
    @staticmethod
    def create(tagged_PIF: Ref[PIF], tag: int, network: Ref[Network]) -> Ref[VLAN]:
        """Make a VLAN on an interface.

        tagged_PIF: the interface that carries the VLAN.
        tag: the tag, from 0 to 4094.
        network: the network that the VLAN joins.
        """

    @message(min_role="pool-operator", raises=REMOVES_VLAN)
    def destroy(self) -> None:
        """Destroy a VLAN, together with the interface that it appears as."""
