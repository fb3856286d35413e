"""TODO Bond."""

# mypy: disable-error-code="empty-body"

# ruff: noqa: N803 (parameters are spelled as on the wire)

from __future__ import annotations

from typing import TYPE_CHECKING

from .declare import (
    EMPTY,
    RW,
    Class,
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

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .network import Network
    from .pif import PIF


class Bond(Class):
    """TODO Bond."""

    uuid = ROrun(String, "TODO uuid.")
    master = ROins(RefTo("PIF"), "TODO master.", inverse="bond_master_of")
    slaves = ROrun(SetOf(RefTo("PIF")), "TODO slaves.", inverse="bond_slave_of")
    other_config = RW(MapOf(String, String), "TODO other_config.")

    @static_message(min_role="pool-operator")
    @staticmethod
    def create(
        network: Ref[Network],
        members: tuple[Ref[PIF], ...],
        MAC: str,
        mode: BondMode = BondMode.BALANCE_SLB,
        properties: Mapping[str, str] = EMPTY,
    ) -> Ref[Bond]:
        """TODO create.

        network: TODO network.
        members: TODO members.
        MAC: TODO MAC.
        mode: TODO mode.
        properties: TODO properties.
        """

    @message(min_role="pool-operator")
    def destroy(self) -> None:
        """TODO destroy."""
