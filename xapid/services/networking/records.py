"""The records that stand for interfaces: how they are made from what the host has."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ...datamodel.bond import Bond
from ...datamodel.declare import NULL, Ref
from ...datamodel.host import Host
from ...datamodel.network import Network
from ...datamodel.pif import PIF
from ...datamodel.pif_metrics import PIFMetrics
from ...datamodel.vif import VIF
from ...datamodel.vlan import VLAN
from ...db.store import Store
from ...db.transaction import Transaction
from ...network.links import Link
from ..ports import View

AUTOMATIC_NAME = "Network of "


def free_bridge(networks: list[Network], taken: set[str]) -> str:
    """The first name of ours that no network and nothing on the host has."""
    used = {network.bridge for network in networks} | taken
    number = 0
    while (name := f"xapi{number}") in used:
        number += 1
    return name


def create_pif(tx: Transaction, host: Ref[Host], link: Link, **values: Any) -> Ref[PIF]:
    """A PIF with its metrics. values: further fields by name."""
    metrics = tx.create(PIFMetrics, metrics_of(link))
    given = {"device": link.name, "MAC": link.mac, "MTU": link.mtu, "metrics": metrics}
    return tx.create(PIF, {"host": host, "currently_attached": False, **given, **values})


def destroy_pif(tx: Transaction, pif: Ref[PIF]) -> None:
    """A PIF and its metrics."""
    metrics = tx.get(pif).metrics
    tx.destroy(pif)
    if metrics != NULL:
        tx.destroy(metrics)


def metrics_of(link: Link) -> dict[str, Any]:
    """What PIF_metrics tells of an interface."""
    hardware = link.hardware
    return {
        "carrier": link.carrier,
        "speed": link.speed if link.carrier else 0,
        "duplex": link.full_duplex and link.carrier,
        "vendor_id": hardware.vendor_id,
        "vendor_name": hardware.vendor_name,
        "device_id": hardware.device_id,
        "device_name": hardware.device_name or hardware.driver,
        "pci_bus_path": hardware.bus_path,
    }


def changed(tx: Transaction, ref: Ref[Any], values: dict[str, Any], now: datetime | None) -> None:
    """Write what differs; `now` is the time of metrics that did."""
    row = tx.get(ref).row
    if any(row[name] != value for name, value in values.items()):
        tx.update(ref, values if now is None else values | {"last_updated": now})


def follow_management(tx: Transaction, ref: Ref[PIF]) -> None:
    """The host's address is the one that its management interface has."""
    pif = tx.get(ref)
    if pif.management and pif.IP:
        changed(tx, pif.host, {"address": pif.IP}, None)


def vif_in_use(store: Store, network: Network) -> VIF | None:
    """A VIF of the network that is plugged into a guest."""
    vifs = (store.get(vif) for vif in network.VIFs)
    return next((vif for vif in vifs if vif.currently_attached), None)


def bond_of(view: View, pif: PIF) -> Bond | None:
    """The bond that appears as this interface."""
    return view.get(pif.bond_master_of[0]) if pif.bond_master_of else None


def vlans_on(view: View, pif: PIF) -> Iterator[tuple[VLAN, PIF]]:
    """The VLANs that an interface carries, with the interfaces that they appear as."""
    for ref in pif.VLAN_slave_of:
        vlan = view.get(ref)
        if vlan.untagged_PIF != NULL:
            yield vlan, view.get(vlan.untagged_PIF)


def plain_pif(store: Store, device: str) -> PIF | None:
    """The interface of that name which is no VLAN."""
    found = (pif for pif in store.all(PIF) if pif.device == device and pif.VLAN == -1)
    return next(found, None)
