"""A host's interfaces, networks and guests on them, made through the API and taken away again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from testhost.api import ApiError
from testhost.outside import Outside
from testhost.wiring import Agreement, Wiring
from testhost.workbench import KINDS, NULL, Guest, Workbench, wait_until

SPARE = ("eth1", "eth2", "eth3")
AGREE_WITHIN_S = 10


@dataclass
class Networks:
    """What one module of tests does with the network of its host."""

    workbench: Workbench
    outside: Outside
    pifs: dict[str, str] = field(default_factory=dict)
    networks: list[str] = field(default_factory=list)
    _vms: list[str] = field(default_factory=list)

    @classmethod
    def on(cls, workbench: Workbench) -> Networks:
        return cls(workbench, Outside(workbench.machine))

    def call(self, method: str, *arguments: Any) -> Any:
        return self.workbench.api.call(method, *arguments)

    def open(self) -> None:
        """The world outside, and the interfaces as a scan finds them."""
        self.outside.open()
        self.call("PIF.scan", self.workbench.host)
        self.find()

    def find(self) -> None:
        """Learn the interfaces by name."""
        records = self.call("PIF.get_all_records")
        self.pifs = {pif["device"]: ref for ref, pif in records.items() if pif["VLAN"] == "-1"}

    def close(self) -> None:
        """Leave the host and the records as they were found."""
        for vm in self._vms:
            if self.call("VM.get_power_state", vm) != "Halted":
                self.call("VM.hard_shutdown", vm)
            for vif in self.call("VM.get_VIFs", vm):
                self.call("VIF.destroy", vif)
            self.call("VM.destroy", vm)
        self.find()
        if any(self.call("PIF.get_management", pif) for pif in self.pifs.values()):
            self.call("host.management_reconfigure", self.pifs["eth0"])
        self.take_apart()
        self.find()
        for pif in self.pifs.values():
            if not self.call("PIF.get_management", pif):
                self.call("PIF.forget", pif)
        for ref, network in self.call("network.get_all_records").items():
            made = ref in self.networks or network["name_label"].startswith("Network of eth")
            if made and not network["PIFs"]:
                self.call("network.destroy", ref)
        self.outside.close()

    def take_apart(self) -> None:
        """No bond, no VLAN, no address, and nothing plugged."""
        for vlan in self.call("VLAN.get_all"):
            self.call("VLAN.destroy", vlan)
        for bond in self.call("Bond.get_all"):
            self.call("Bond.destroy", bond)
        in_use = {v["network"] for v in self._vifs().values() if v["currently_attached"]}
        for name in SPARE:
            if name in self.pifs and self.network_of(name) not in in_use:
                self.call("PIF.reconfigure_ip", self.pifs[name], "None", "", "", "", "")
                self.call("PIF.unplug", self.pifs[name])

    def _vifs(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = self.call("VIF.get_all_records")
        return found

    def clear(self) -> None:
        """After a test: guests have their first interface alone, and the host plain ones."""
        for name in SPARE:
            self.workbench.machine.set_carrier(name, present=True)
        for ref, vif in self._vifs().items():
            if vif["VM"] in self._vms and vif["device"] != "0":
                if vif["currently_attached"]:
                    self.call("VIF.unplug", ref)
                self.call("VIF.destroy", ref)
        self.find()
        self.take_apart()

    def network(self, name: str, **fields: Any) -> str:
        """A network without an interface of the host."""
        record = {"name_label": name, "name_description": "", "other_config": {}, **fields}
        self.networks.append(str(self.call("network.create", record)))
        return self.networks[-1]

    def bridge(self, network: str) -> str:
        return str(self.call("network.get_bridge", network))

    def network_of(self, name: str) -> str:
        """The network of an interface of the host."""
        return str(self.call("PIF.get_network", self.pifs[name]))

    def static(self, pif: str, address: str, gateway: str = "") -> None:
        """Give a PIF an address with 24 bits of network."""
        self.call("PIF.reconfigure_ip", pif, "Static", address, "255.255.255.0", gateway, "")

    def guest(self, name: str, network: str) -> Guest:
        """A halted VM without disks that has one VIF."""
        boot, _, patience_s = KINDS["pv"]
        vm = self.workbench.vm(name, boot)
        self.adopt(vm)
        self.vif(vm, network, "0")
        return Guest(self.workbench, "pv", vm, "", patience_s, NULL, "")

    def adopt(self, vm: str) -> None:
        """Have a VM destroyed at the end."""
        self._vms.append(vm)

    def vif(self, vm: str, network: str, device: str, **fields: Any) -> str:
        record = {
            "VM": vm,
            "network": network,
            "device": device,
            "MAC": "",
            "MTU": "0",
            "other_config": {},
            "qos_algorithm_type": "",
            "qos_algorithm_params": {},
            **fields,
        }
        return str(self.call("VIF.create", record))

    def settle(self, task: str, patience_s: float) -> None:
        """Wait until an asynchronous call succeeded."""
        wait_until(task, lambda: self.call("task.get_status", task) != "pending", patience_s)
        record = self.call("task.get_record", task)
        if record["status"] != "success":
            raise ApiError(record["name_label"], record["error_info"])

    def check_agreement(self) -> None:
        """The records are what ip, bridge and xl show, at the latest after some seconds."""
        last: list[str] = []

        def agree() -> bool:
            last[:] = Agreement(self.workbench.api, Wiring.of(self.workbench.machine)).complaints
            return not last

        try:
            wait_until("the records agree with the host", agree, AGREE_WITHIN_S)
        except Exception as error:
            raise AssertionError("; ".join(last)) from error
