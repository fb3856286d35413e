"""What is measured of physical interfaces."""

from __future__ import annotations

from .declare import Bool, Class, DateTime, Float, Int, ROrun, String


class PIFMetrics(Class, wire="PIF_metrics"):
    """What is measured of a network interface of a host."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    io_read_kbs = ROrun(Float, "Kilobytes that come in each second.", volatile=True)
    io_write_kbs = ROrun(Float, "Kilobytes that go out each second.", volatile=True)
    carrier = ROrun(Bool, "True while there is a link.")
    vendor_id = ROrun(String, "Number of the maker.")
    vendor_name = ROrun(String, "Name of the maker.")
    device_id = ROrun(String, "Number of the device.")
    device_name = ROrun(String, "Name of the device.")
    speed = ROrun(Int, "Speed of the link in megabits a second.")
    duplex = ROrun(Bool, "True when the link is full duplex.")
    pci_bus_path = ROrun(String, "Where the device is on the PCI bus.")
    last_updated = ROrun(DateTime, "When these values were last read.", volatile=True)
