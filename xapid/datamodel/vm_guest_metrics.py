"""TODO VM_guest_metrics."""

from __future__ import annotations

from .declare import Bool, Class, DateTime, MapOf, ROrun, String


class VMGuestMetrics(Class, wire="VM_guest_metrics"):
    """TODO VM_guest_metrics."""

    uuid = ROrun(String, "TODO uuid.")
    os_version = ROrun(MapOf(String, String), "TODO os_version.", volatile=True)
    PV_drivers_version = ROrun(MapOf(String, String), "TODO PV_drivers_version.", volatile=True)
    PV_drivers_up_to_date = ROrun(Bool, "TODO PV_drivers_up_to_date.", volatile=True)
    memory = ROrun(MapOf(String, String), "TODO memory.", volatile=True)
    disks = ROrun(MapOf(String, String), "TODO disks.", volatile=True)
    networks = ROrun(MapOf(String, String), "TODO networks.", volatile=True)
    other = ROrun(MapOf(String, String), "TODO other.", volatile=True)
    last_updated = ROrun(DateTime, "TODO last_updated.", volatile=True)
