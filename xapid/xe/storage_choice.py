"""Where a disk goes when nobody says: the pool's default repository, or the only one that fits."""

from __future__ import annotations

from .catalogue import NULL
from .command import Call
from .failures import Refused
from .output import shown


def repository_for_disks(call: Call, argument: str) -> str:
    """The repository that was asked for, or the one that new disks go to. Raises Refused."""
    if call.has(argument):
        return str(call.get(argument))
    pools = call.objects.records("pool").values()
    default = next((p["default_SR"] for p in pools if p["default_SR"] != NULL), NULL)
    if default != NULL and call.objects.record("SR", default) is not None:
        return str(default)
    fitting = {
        ref: record
        for ref, record in call.objects.records("SR").items()
        if "vdi_create" in record["allowed_operations"]
    }
    if len(fitting) == 1:
        return next(iter(fitting))
    if not fitting:
        raise Refused(
            "there is no storage repository for disks yet: make one, for instance with `xe "
            "sr-create name-label=disks type=file device-config:location=/srv/xapid`"
        )
    names = ", ".join(shown(record["name_label"]) for record in fitting.values())
    raise Refused(
        f"the pool has no default repository, and disks fit into several ({names}): say sr=NAME, "
        "or choose one for good with `xe pool-param-set default-SR=NAME`"
    )
