"""TODO VIF_metrics."""

from __future__ import annotations

from .declare import Class, DateTime, Float, ROrun, String


class VIFMetrics(Class, wire="VIF_metrics"):
    """TODO VIF_metrics."""

    uuid = ROrun(String, "TODO uuid.")
    io_read_kbs = ROrun(Float, "TODO io_read_kbs.", volatile=True)
    io_write_kbs = ROrun(Float, "TODO io_write_kbs.", volatile=True)
    last_updated = ROrun(DateTime, "TODO last_updated.", volatile=True)
