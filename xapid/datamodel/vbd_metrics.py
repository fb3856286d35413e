"""What is measured of virtual block devices."""

from __future__ import annotations

from .declare import Class, DateTime, Float, ROrun, String


class VBDMetrics(Class, wire="VBD_metrics"):
    """What is measured of a disk or drive of a VM."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    io_read_kbs = ROrun(Float, "Kilobytes that are read each second.", volatile=True)
    io_write_kbs = ROrun(Float, "Kilobytes that are written each second.", volatile=True)
    last_updated = ROrun(DateTime, "When these values were last read.", volatile=True)
