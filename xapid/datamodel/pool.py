"""TODO pool."""

# mypy: disable-error-code="empty-body"

# ruff: noqa: N803 (parameters are spelled as on the wire)

from __future__ import annotations

from typing import TYPE_CHECKING

from .declare import RW, Class, EnumOf, MapOf, Ref, RefTo, ROrun, SetOf, String, static_message
from .enums import PoolAllowedOperations
from .errors import JoiningHostCannotContainSharedSRs, VLANTagInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .host import Host
    from .network import Network
    from .pif import PIF
    from .sr import SR


class Pool(
    Class,
    wire="pool",
    derived=("get_all", "get_all_records", "get_by_name_label", "get_by_uuid", "get_record"),
):
    """TODO pool."""

    uuid = ROrun(String, "TODO uuid.")
    name_label = RW(String, "TODO name_label.")
    name_description = RW(String, "TODO name_description.")
    master = ROrun(RefTo("host"), "TODO master.")
    default_SR = RW(RefTo("SR"), "TODO default_SR.")
    suspend_image_SR = RW(RefTo("SR"), "TODO suspend_image_SR.")
    crash_dump_SR = RW(RefTo("SR"), "TODO crash_dump_SR.")
    other_config = RW(MapOf(String, String), "TODO other_config.")
    allowed_operations = ROrun(
        SetOf(EnumOf(PoolAllowedOperations)), "TODO allowed_operations.", volatile=True
    )
    current_operations = ROrun(
        MapOf(String, EnumOf(PoolAllowedOperations)), "TODO current_operations.", volatile=True
    )

    @static_message(min_role="pool-operator", raises=(JoiningHostCannotContainSharedSRs,))
    @staticmethod
    def join(master_address: str, master_username: str, master_password: str) -> None:
        """TODO join.

        master_address: TODO master_address.
        master_username: TODO master_username.
        master_password: TODO master_password.
        """

    @static_message(min_role="pool-operator")
    @staticmethod
    def join_force(master_address: str, master_username: str, master_password: str) -> None:
        """TODO join_force.

        master_address: TODO master_address.
        master_username: TODO master_username.
        master_password: TODO master_password.
        """

    @static_message(min_role="pool-operator")
    @staticmethod
    def eject(host: Ref[Host]) -> None:
        """TODO eject.

        host: TODO host.
        """

    @static_message(min_role="pool-operator")
    @staticmethod
    def emergency_transition_to_master() -> None:
        """TODO emergency_transition_to_master."""

    @static_message(min_role="pool-operator")
    @staticmethod
    def emergency_reset_master(master_address: str) -> None:
        """TODO emergency_reset_master.

        master_address: TODO master_address.
        """

    @static_message(min_role="pool-operator")
    @staticmethod
    def recover_slaves() -> tuple[Ref[Host], ...]:
        """TODO recover_slaves."""

    @static_message(min_role="pool-operator", raises=(VLANTagInvalid,))
    @staticmethod
    def create_VLAN(device: str, network: Ref[Network], VLAN: int) -> tuple[Ref[PIF], ...]:
        """TODO create_VLAN.

        device: TODO device.
        network: TODO network.
        VLAN: TODO VLAN.
        """

    @static_message(min_role="pool-operator", raises=(VLANTagInvalid,))
    @staticmethod
    def create_VLAN_from_PIF(
        pif: Ref[PIF], network: Ref[Network], VLAN: int
    ) -> tuple[Ref[PIF], ...]:
        """TODO create_VLAN_from_PIF.

        pif: TODO pif.
        network: TODO network.
        VLAN: TODO VLAN.
        """

    @static_message(min_role="client-cert")
    @staticmethod
    def enable_ha(heartbeat_srs: tuple[Ref[SR], ...], configuration: Mapping[str, str]) -> None:
        """TODO enable_ha.

        heartbeat_srs: TODO heartbeat_srs.
        configuration: TODO configuration.
        """

    @static_message(min_role="client-cert")
    @staticmethod
    def disable_ha() -> None:
        """TODO disable_ha."""

    @static_message(min_role="pool-operator")
    @staticmethod
    def sync_database() -> None:
        """TODO sync_database."""

    @static_message(min_role="pool-operator")
    @staticmethod
    def designate_new_master(host: Ref[Host]) -> None:
        """TODO designate_new_master.

        host: TODO host.
        """
