"""Networks for domains: which VIF holds which bridge, and bridges that come and go with that."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from ...datamodel.declare import Ref
from ...datamodel.errors import ApiError
from ...datamodel.network import Network
from ...datamodel.vif import VIF
from ...datamodel.vm import VM
from ...db.store import Store
from ...network.driver import Bridges, NetworkError
from ...xen.devices import WITH_DOMAIN
from .failures import network_errors
from .names import DEFAULT_MTU
from .uplinks import Uplinks

log = structlog.get_logger(__name__)


@dataclass
class WireService:
    """Implements `ports.Wires`."""

    store: Store
    bridges: Bridges
    uplinks: Uplinks
    _held: dict[str, Ref[Network]] = field(default_factory=dict)

    async def restore(self) -> None:
        """At the daemon's start: hold again what domains hold, take down what nothing holds.

        What fails is logged.
        """
        await self.uplinks.restore()
        for vif in self.store.all(VIF):
            vm = self.store.find(VM, vif.VM)
            if vm is not None and vm.power_state in WITH_DOMAIN and vif.currently_attached:
                try:
                    await self.attach(vif.ref)
                except ApiError as error:
                    log.error("network of a running guest not up", vif=vif.MAC, error=str(error))
        for network in self.store.all(Network):
            await self.take_down(network)

    async def stop(self) -> None:
        """At the daemon's end: bridges stay for the guests."""
        await self.bridges.close()

    async def attach(self, vif: Ref[VIF]) -> str:
        """Bring up the VIF's network on this host: the name of its bridge.

        Raises BRIDGE_NOT_AVAILABLE.
        """
        record = self.store.get(vif)
        network = self.store.get(record.network)
        self._held[vif] = network.ref
        try:
            await self.uplinks.carry(network)
            async with self.uplinks.lock(network.ref):
                with network_errors(network.bridge):
                    mtu = record.MTU or DEFAULT_MTU
                    bridge = await self.bridges.ensure(network.bridge, mtu, network.uuid)
        except BaseException:
            self._held.pop(vif, None)
            raise
        if not bridge.up:
            log.warning("the bridge of a network is down", bridge=bridge.name)
        return bridge.name

    async def detach(self, vif: Ref[VIF]) -> None:
        """Let go of the network; its bridge goes when it is ours and nothing else holds it."""
        network = self.store.find(Network, self._held.pop(vif, ""))
        if network is not None:
            await self.take_down(network)

    def held(self, network: Ref[Network]) -> bool:
        """Whether a VIF or an interface of the host holds the network."""
        record = self.store.find(Network, network)
        uplink = record is not None and self.uplinks.hold(record)
        return uplink or network in self._held.values()

    async def take_down(self, network: Network) -> None:
        """Remove the network's bridge if it is ours and nothing holds it; logs what fails."""
        async with self.uplinks.lock(network.ref):
            if self.held(network.ref):
                return
            try:
                await self.bridges.remove(network.bridge, network.uuid)
            except NetworkError as error:
                log.warning("bridge not removed", bridge=network.bridge, error=str(error))
