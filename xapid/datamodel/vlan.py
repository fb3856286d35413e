"""TODO VLAN."""

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

if TYPE_CHECKING:
    from .network import Network
    from .pif import PIF


class VLAN(Class):
    """TODO VLAN."""

    uuid = ROrun(String, "TODO uuid.")
    tagged_PIF = ROins(RefTo("PIF"), "TODO tagged_PIF.", inverse="VLAN_slave_of")
    untagged_PIF = ROrun(RefTo("PIF"), "TODO untagged_PIF.")
    tag = ROins(Int, "TODO tag.", default=-1)
    other_config = RW(MapOf(String, String), "TODO other_config.")

    @static_message(min_role="pool-operator")
    @staticmethod
    def create(tagged_PIF: Ref[PIF], tag: int, network: Ref[Network]) -> Ref[VLAN]:
        """TODO create.

        tagged_PIF: TODO tagged_PIF.
        tag: TODO tag.
        network: TODO network.
        """

    @message(min_role="pool-operator")
    def destroy(self) -> None:
        """TODO destroy."""
