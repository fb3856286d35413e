"""What `ip`, `bridge` and `xl` show of a host's network, and where the records disagree with it."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from typing import Any

from testhost.api import Api
from testhost.machine import Machine

LOOK = """
ip -j -d link; echo; ip -j -4 address; echo; bridge -j link; echo
for domid in $(xl list | sed 1,2d | awk '{print $2}'); do
    xl network-list "$domid" | sed 1d | sed "s/^/$domid /"
done
"""
Record = dict[str, Any]


@dataclass(frozen=True)
class Wiring:
    """The interfaces of one moment by name, and the MACs of guests by the backend's name."""

    links: dict[str, Record]
    addresses: dict[str, set[str]]
    bridges: dict[str, str]
    guests: dict[str, str]

    @classmethod
    def of(cls, machine: Machine) -> Wiring:
        lines = machine.run(LOOK).splitlines()
        links, addresses, bridges = (
            json.loads(line) if line else [] for line in [each for each in lines if each][:3]
        )
        rows = (line.split() for line in lines if line[:1].isdigit())
        return cls(
            {link["ifname"]: link for link in links},
            {
                each["ifname"]: {f"{a['local']}/{a['prefixlen']}" for a in each["addr_info"]}
                for each in addresses
            },
            {each["ifname"]: each["master"] for each in bridges if "master" in each},
            {f"vif{row[0]}.{row[1]}": row[3] for row in rows},
        )

    def is_up(self, name: str) -> bool:
        return name in self.links and "UP" in self.links[name]["flags"]

    def carries(self, name: str) -> bool:
        return name in self.links and "LOWER_UP" in self.links[name]["flags"]


class Agreement:
    """Compares all records with the wiring once; `complaints` is what does not agree."""

    def __init__(self, api: Api, wiring: Wiring) -> None:
        def every(name: str) -> dict[str, Record]:
            records: dict[str, Record] = api.call(f"{name}.get_all_records")
            return records

        self.wiring = wiring
        self.networks, self.pifs, self.vifs = every("network"), every("PIF"), every("VIF")
        self.bonds, self.vms, self.metrics = every("Bond"), every("VM"), every("PIF_metrics")
        self.complaints: list[str] = []
        self._held: set[str] = set()
        for pif in self.pifs.values():
            self._check_pif(pif)
        for vif in self.vifs.values():
            self._check_vif(vif)
        self._check_ours()

    def _expect(self, agrees: bool, complaint: str) -> None:
        if not agrees:
            self.complaints.append(complaint)

    def _bridge(self, record: Record) -> str:
        return str(self.networks[record["network"]]["bridge"])

    def _check_pif(self, pif: Record) -> None:
        name = link_name(pif)
        wiring, bridge, attached = self.wiring, self._bridge(pif), pif["currently_attached"]
        carrier = self.metrics[pif["metrics"]]["carrier"]
        self._expect(carrier == wiring.carries(name), f"carrier of {name} is {carrier}")
        if not pif["managed"]:
            self._expect(attached == wiring.is_up(name), f"{name} is attached: {attached}")
            return
        if attached:
            self._held.add(bridge)
            link = wiring.links.get(name, {})
            self._expect(wiring.is_up(name), f"{name} is not up")
            self._expect(wiring.bridges.get(name) == bridge, f"{name} is not in {bridge}")
            self._expect(link.get("address") == pif["MAC"], f"{name} has not the MAC {pif['MAC']}")
            self._check_address(pif, bridge)
        elif pif["bond_slave_of"] in self.bonds:
            master = self.pifs[self.bonds[pif["bond_slave_of"]]["master"]]
            if self._needed(master):
                is_in = wiring.links.get(name, {}).get("master")
                self._expect(is_in == master["device"], f"{name} is not in {master['device']}")
        else:
            self._expect(name not in wiring.bridges, f"{name} is in {wiring.bridges.get(name)}")
            if not self._needed(pif):
                self._expect(not wiring.is_up(name), f"{name} is up for nothing")

    def _needed(self, pif: Record) -> bool:
        on_it = (p for p in self.pifs.values() if p["device"] == pif["device"])
        return any(each["currently_attached"] for each in on_it)

    def _check_address(self, pif: Record, bridge: str) -> None:
        found = self.wiring.addresses.get(bridge, set())
        expected = set()
        if pif["IP"]:
            prefix = ipaddress.IPv4Network((0, pif["netmask"])).prefixlen
            expected = {f"{pif['IP']}/{prefix}"}
        self._expect(found == expected, f"{bridge} has {found}, the record of its PIF {expected}")

    def _check_vif(self, vif: Record) -> None:
        vm, bridge = self.vms[vif["VM"]], self._bridge(vif)
        backend = f"vif{vm['domid']}.{vif['device']}"
        if not vif["currently_attached"]:
            self._expect(backend not in self.wiring.guests, f"{backend} is there")
            return
        self._held.add(bridge)
        seen, master = self.wiring.guests.get(backend), self.wiring.bridges.get(backend)
        self._expect(seen == vif["MAC"], f"{backend} has the MAC {seen}, its record {vif['MAC']}")
        self._expect(master == bridge, f"{backend} is in {master}, not in {bridge}")

    def _check_ours(self) -> None:
        """Nothing that xapid made is there without a reason."""
        attached = {link_name(p) for p in self.pifs.values() if p["managed"] and self._needed(p)}
        for name, link in self.wiring.links.items():
            if link.get("ifalias", "").startswith("xapid:"):
                self._expect(name in self._held | attached, f"{name} is left behind")


def link_name(pif: Record) -> str:
    """What the host calls a PIF."""
    return str(pif["device"]) + ("" if pif["VLAN"] == "-1" else f".{pif['VLAN']}")
