"""Virtual networks."""

from __future__ import annotations

from .declare import RW, Class, EnumOf, MapOf, RefTo, ROins, ROrun, SetOf, String
from .enums import NetworkOperations


class Network(
    Class,
    wire="network",
    derived=(
        "create",
        "destroy",
        "get_all",
        "get_all_records",
        "get_by_name_label",
        "get_by_uuid",
        "get_record",
    ),
    min_role="vm-admin",
):
    """A virtual switch that joins virtual and physical interfaces."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    name_label = RW(
        String, "Name shown to people; it need not be unique.", min_role="pool-operator"
    )
    name_description = RW(String, "A longer text shown to people.", min_role="pool-operator")
    allowed_operations = ROrun(
        SetOf(EnumOf(NetworkOperations)), "The operations that may be started now.", volatile=True
    )
    current_operations = ROrun(
        MapOf(String, EnumOf(NetworkOperations)),
        "The operations that run now, by the reference of their task.",
        volatile=True,
    )
    VIFs = ROrun(SetOf(RefTo("VIF")), "The virtual interfaces on the network.", inverse="network")
    PIFs = ROrun(
        SetOf(RefTo("PIF")),
        "The physical interfaces on the network; none makes it internal to each host.",
        inverse="network",
    )
    other_config = RW(
        MapOf(String, String), "Keys and values for the clients' own use.", min_role="pool-operator"
    )
    bridge = ROins(String, "Name of the bridge on each host; made up when it is not given.")
