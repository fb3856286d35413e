"""Networks: one bridge each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...datamodel.declare import Field, Ref
from ...datamodel.errors import (
    BridgeNameExists,
    NetworkContainsPIF,
    NetworkContainsVIF,
    OtherOperationInProgress,
)
from ...datamodel.network import Network
from ...db.store import Store
from ...network.driver import Bridges
from ..ports import Call, overrides
from .failures import network_errors
from .names import check_bridge
from .records import free_bridge
from .wires import WireService

CREATED_WITH = (Network.name_label, Network.name_description, Network.other_config)


@dataclass
class NetworkService:
    store: Store
    bridges: Bridges
    wires: WireService

    @overrides("network.create")
    async def create(self, call: Call, values: Mapping[str, Any]) -> Ref[Network]:
        """A network on a bridge with the given name, made or adopted when something attaches.

        Without a name it gets a free one. Raises INVALID_VALUE, BRIDGE_NAME_EXISTS,
        BRIDGE_NOT_AVAILABLE.
        """
        planned: dict[Field[Any], Any] = {
            field: values.get(field.name, field.default) for field in CREATED_WITH
        }
        wanted = values.get("bridge", "")
        if wanted:
            with network_errors(check_bridge(wanted)):
                await self.bridges.look(wanted)
        taken: set[str] = set()
        while True:
            async with self.store.transaction() as tx:
                used = {network.bridge for network in self.store.all(Network)}
                if wanted in used:
                    raise BridgeNameExists(wanted)
                if wanted:
                    return tx.create(Network, planned | {Network.bridge: wanted})
                name = free_bridge(self.store.all(Network), taken)
            # The host is asked outside the transaction, so the records may have changed meanwhile.
            with network_errors(name):
                on_host = await self.bridges.taken(name)
            taken.add(name)
            if on_host:
                continue
            async with self.store.transaction() as tx:
                if all(network.bridge != name for network in self.store.all(Network)):
                    return tx.create(Network, planned | {Network.bridge: name})

    @overrides("network.destroy")
    async def destroy(self, call: Call, network: Ref[Network]) -> None:
        async with self.store.transaction() as tx:
            record = tx.get(network)
            for task, running in record.current_operations.items():
                raise OtherOperationInProgress("network", network, running, task)
            if record.VIFs:
                raise NetworkContainsVIF(", ".join(record.VIFs))
            if record.PIFs:
                raise NetworkContainsPIF(", ".join(record.PIFs))
            tx.destroy(network)
        await self.wires.take_down(record)
