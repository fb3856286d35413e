"""The messages that the datamodel declares and nothing implements yet; this list only shrinks."""

from __future__ import annotations

from typing import Final

NOT_YET: Final[frozenset[str]] = frozenset(
    {
        "Bond.create",
        "Bond.destroy",
        "PIF.create_VLAN",
        "PIF.destroy",
        "PIF.forget",
        "PIF.introduce",
        "PIF.plug",
        "PIF.reconfigure_ip",
        "PIF.scan",
        "PIF.unplug",
        "VLAN.create",
        "VLAN.destroy",
        "host.local_management_reconfigure",
        "host.management_disable",
        "host.management_reconfigure",
        "pool.create_VLAN",
        "pool.create_VLAN_from_PIF",
    }
)
