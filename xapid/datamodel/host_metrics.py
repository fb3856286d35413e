"""What is measured of hosts."""

from __future__ import annotations

from .declare import Bool, Class, DateTime, Int, ROrun, String


class HostMetrics(Class, wire="host_metrics"):
    """What is measured of a host."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    memory_total = ROrun(Int, "Bytes of memory that the host has.", volatile=True)
    memory_free = ROrun(Int, "Bytes of memory that Xen has not given to anyone.", volatile=True)
    live = ROrun(Bool, "True while the host answers.", volatile=True)
    last_updated = ROrun(DateTime, "When these values were last read.", volatile=True)
