"""TODO host_metrics."""

from __future__ import annotations

from .declare import Bool, Class, DateTime, Int, ROrun, String


class HostMetrics(Class, wire="host_metrics"):
    """TODO host_metrics."""

    uuid = ROrun(String, "TODO uuid.")
    memory_total = ROrun(Int, "TODO memory_total.", volatile=True)
    memory_free = ROrun(Int, "TODO memory_free.", volatile=True)
    live = ROrun(Bool, "TODO live.", volatile=True)
    last_updated = ROrun(DateTime, "TODO last_updated.", volatile=True)
