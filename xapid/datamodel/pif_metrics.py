"""TODO PIF_metrics."""

from __future__ import annotations

from .declare import Bool, Class, DateTime, Float, Int, ROrun, String


class PIFMetrics(Class, wire="PIF_metrics"):
    """TODO PIF_metrics."""

    uuid = ROrun(String, "TODO uuid.")
    io_read_kbs = ROrun(Float, "TODO io_read_kbs.", volatile=True)
    io_write_kbs = ROrun(Float, "TODO io_write_kbs.", volatile=True)
    carrier = ROrun(Bool, "TODO carrier.")
    vendor_id = ROrun(String, "TODO vendor_id.")
    vendor_name = ROrun(String, "TODO vendor_name.")
    device_id = ROrun(String, "TODO device_id.")
    device_name = ROrun(String, "TODO device_name.")
    speed = ROrun(Int, "TODO speed.")
    duplex = ROrun(Bool, "TODO duplex.")
    pci_bus_path = ROrun(String, "TODO pci_bus_path.")
    last_updated = ROrun(DateTime, "TODO last_updated.", volatile=True)
