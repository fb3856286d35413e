"""What is measured of virtual interfaces."""

from __future__ import annotations

from .declare import Class, DateTime, Float, ROrun, String


class VIFMetrics(Class, wire="VIF_metrics"):
    """What is measured of a network interface of a VM."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    io_read_kbs = ROrun(Float, "Kilobytes that come in each second.", volatile=True)
    io_write_kbs = ROrun(Float, "Kilobytes that go out each second.", volatile=True)
    last_updated = ROrun(DateTime, "When these values were last read.", volatile=True)
