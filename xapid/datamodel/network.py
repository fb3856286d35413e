"""TODO network."""

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
    """TODO network."""

    uuid = ROrun(String, "TODO uuid.")
    name_label = RW(String, "TODO name_label.", min_role="pool-operator")
    name_description = RW(String, "TODO name_description.", min_role="pool-operator")
    allowed_operations = ROrun(
        SetOf(EnumOf(NetworkOperations)), "TODO allowed_operations.", volatile=True
    )
    current_operations = ROrun(
        MapOf(String, EnumOf(NetworkOperations)), "TODO current_operations.", volatile=True
    )
    VIFs = ROrun(SetOf(RefTo("VIF")), "TODO VIFs.", inverse="network")
    PIFs = ROrun(SetOf(RefTo("PIF")), "TODO PIFs.", inverse="network")
    other_config = RW(MapOf(String, String), "TODO other_config.", min_role="pool-operator")
    bridge = ROins(String, "TODO bridge.")
