"""Pools: what holds for all hosts."""

# mypy: disable-error-code="empty-body"
# ruff: noqa: N803 (parameters are spelled as on the wire)

from __future__ import annotations

from typing import TYPE_CHECKING

from .declare import RW, Class, EnumOf, MapOf, Ref, RefTo, ROrun, SetOf, String, static_message
from .enums import PoolAllowedOperations
from .errors import (
    HANotEnabled,
    HANotInstalled,
    JoiningHostCannotContainSharedSRs,
    NotInEmergencyMode,
    OperationNotAllowed,
)
from .pif import MAKES_VLAN

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
    """The hosts that are managed together, and what holds for all of them."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    name_label = RW(String, "Name shown to people; it need not be unique.")
    name_description = RW(String, "A longer text shown to people.")
    master = ROrun(RefTo("host"), "The host that decides for the pool.")
    default_SR = RW(RefTo("SR"), "Where new disks go when nothing else is said.")
    suspend_image_SR = RW(
        RefTo("SR"), "Where saved states of VMs go, for hosts that name no place of their own."
    )
    crash_dump_SR = RW(
        RefTo("SR"), "Where crash dumps of VMs go, for hosts that name no place of their own."
    )
    other_config = RW(MapOf(String, String), "Keys and values for the clients' own use.")
    allowed_operations = ROrun(
        SetOf(EnumOf(PoolAllowedOperations)),
        "The operations that may be started now.",
        volatile=True,
    )
    current_operations = ROrun(
        MapOf(String, EnumOf(PoolAllowedOperations)),
        "The operations that run now, by the reference of their task.",
        volatile=True,
    )

    @static_message(
        min_role="pool-operator", raises=(JoiningHostCannotContainSharedSRs, OperationNotAllowed)
    )
    @staticmethod
    def join(master_address: str, master_username: str, master_password: str) -> None:
        """Make this host a member of another pool.

        master_address: address of the master of that pool.
        master_username: a user of that pool.
        master_password: password of that user.
        """

    @static_message(min_role="pool-operator", raises=(OperationNotAllowed,))
    @staticmethod
    def join_force(master_address: str, master_username: str, master_password: str) -> None:
        """Make this host a member of another pool even when they do not fit well together.

        master_address: address of the master of that pool.
        master_username: a user of that pool.
        master_password: password of that user.
        """

    @static_message(min_role="pool-operator", raises=(OperationNotAllowed,))
    @staticmethod
    def eject(host: Ref[Host]) -> None:
        """Send a host out of the pool. The host forgets its VMs and its local storage.

        host: the host to send out.
        """

    @static_message(min_role="pool-operator", raises=(NotInEmergencyMode,))
    @staticmethod
    def emergency_transition_to_master() -> None:
        """Make this host the master, when the old one is lost."""

    @static_message(min_role="pool-operator", raises=(NotInEmergencyMode,))
    @staticmethod
    def emergency_reset_master(master_address: str) -> None:
        """Tell this host which host is the master, when it lost the old one.

        master_address: address of the new master.
        """

    @static_message(min_role="pool-operator", raises=(OperationNotAllowed,))
    @staticmethod
    def recover_slaves() -> tuple[Ref[Host], ...]:
        """Tell the other hosts that this one is the master now, and get those that listened."""

    @static_message(min_role="pool-operator", raises=MAKES_VLAN)
    @staticmethod
    def create_VLAN(device: str, network: Ref[Network], VLAN: int) -> tuple[Ref[PIF], ...]:
        """Make a VLAN on the interface of this name on every host.

        device: name of the interface that carries the VLAN.
        network: the network that the VLAN joins.
        VLAN: the tag, from 0 to 4094.
        """

    @static_message(min_role="pool-operator", raises=MAKES_VLAN)
    @staticmethod
    def create_VLAN_from_PIF(
        pif: Ref[PIF], network: Ref[Network], VLAN: int
    ) -> tuple[Ref[PIF], ...]:
        """Make a VLAN on every host, on the interface that is the counterpart of a given one.

        pif: the interface that carries the VLAN on its host.
        network: the network that the VLAN joins.
        VLAN: the tag, from 0 to 4094.
        """

    @static_message(min_role="client-cert", raises=(HANotInstalled,))
    @staticmethod
    def enable_ha(heartbeat_srs: tuple[Ref[SR], ...], configuration: Mapping[str, str]) -> None:
        """Switch high availability on.

        heartbeat_srs: the repositories for heartbeat and state.
        configuration: settings of the heartbeat.
        """

    @static_message(min_role="client-cert", raises=(HANotEnabled,))
    @staticmethod
    def disable_ha() -> None:
        """Switch high availability off."""

    @static_message(min_role="pool-operator", raises=(OperationNotAllowed,))
    @staticmethod
    def sync_database() -> None:
        """Write the database to all hosts now."""

    @static_message(min_role="pool-operator", raises=(OperationNotAllowed,))
    @staticmethod
    def designate_new_master(host: Ref[Host]) -> None:
        """Hand the role of the master to another host.

        host: the host that becomes the master.
        """
