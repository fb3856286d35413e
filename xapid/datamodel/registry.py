"""Every class and every remote method of the API, by the names they have on the wire."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator

from .declare import Class
from .methods import Kind, Method, Param, methods_of, namespace
from .soundness import DatamodelError, faults

__all__ = ["CLASSES", "METHODS", "DatamodelError", "Kind", "Method", "Param", "check"]

MODULES = (
    *("session", "task", "event", "pool", "pool_patch", "vm", "vm_metrics", "vm_guest_metrics"),
    *("host", "host_crashdump", "host_patch", "host_metrics", "host_cpu", "network", "vif"),
    *("vif_metrics", "pif", "pif_metrics", "bond", "vlan", "sm", "sr", "vdi", "vbd"),
    *("vbd_metrics", "pbd", "crashdump", "vtpm", "console", "user"),
)


def _load() -> Iterator[type[Class]]:
    for name in MODULES:
        module = importlib.import_module(f"{__package__}.{name}")
        for value in vars(module).values():
            if isinstance(value, type) and value.__module__ == module.__name__:
                yield value


CLASSES: dict[str, type[Class]] = {cls.wire: cls for cls in _load()}
_NAMES = namespace(CLASSES.values())
METHODS: dict[str, Method] = {
    method.name: method for cls in CLASSES.values() for method in methods_of(cls, _NAMES)
}


def check(classes: Iterable[type[Class]] | None = None) -> None:
    """Raise DatamodelError unless the declarations agree with each other.

    classes: what to look at; None looks at the whole datamodel, as the daemon does when it starts.
    """
    found = tuple(faults(CLASSES.values() if classes is None else classes))
    if found:
        raise DatamodelError(found)
