"""Networks for domains: which VIF holds which bridge, and bridges that come and go with that."""

from __future__ import annotations

import asyncio
from collections import defaultdict
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

log = structlog.get_logger(__name__)


@dataclass
class WireService:
    """Implements `ports.Wires`."""

    store: Store
    bridges: Bridges
    _held: dict[str, Ref[Network]] = field(default_factory=dict)
    _changing: defaultdict[str, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )

    async def restore(self) -> None:
        """At the daemon's start: hold again what domains hold, take down what nothing holds.

        What fails is logged.
        """
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
        async with self._changing[network.ref]:
            self._held[vif] = network.ref
            try:
                with network_errors(network.bridge):
                    mtu = record.MTU or DEFAULT_MTU
                    bridge = await self.bridges.ensure(network.bridge, mtu, network.uuid)
            except BaseException:
                del self._held[vif]
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
        """Whether any VIF holds the network."""
        return network in self._held.values()

    async def take_down(self, network: Network) -> None:
        """Remove the network's bridge if it is ours and nothing holds it; logs what fails."""
        async with self._changing[network.ref]:
            if self.held(network.ref):
                return
            try:
                await self.bridges.remove(network.bridge, network.uuid)
            except NetworkError as error:
                log.warning("bridge not removed", bridge=network.bridge, error=str(error))
