"""Every VBD and VIF has metrics of its own from its first moment, kept as long as it is there."""

from __future__ import annotations

from functools import partial
from typing import Final

from ...datamodel.declare import NULL, Class, Ref
from ...datamodel.vbd import VBD
from ...datamodel.vbd_metrics import VBDMetrics
from ...datamodel.vif import VIF
from ...datamodel.vif_metrics import VIFMetrics
from ...db.store import Store
from ...db.transaction import Transaction

METRICS_OF: Final[dict[type[Class], type[Class]]] = {VBD: VBDMetrics, VIF: VIFMetrics}


async def govern(store: Store) -> None:
    """Make the metrics of devices with them, and now of those that have none."""
    for owner, metrics in METRICS_OF.items():
        store.on_change(owner, partial(_give, metrics))
    async with store.transaction() as tx:
        for owner, metrics in METRICS_OF.items():
            for ref in store.refs(owner):
                _give(metrics, tx, ref)


def _give(metrics: type[Class], tx: Transaction, device: Ref[Class]) -> None:
    if tx.get(device).row["metrics"] == NULL:
        tx.update(device, {"metrics": tx.create(metrics)})
