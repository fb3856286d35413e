"""What guests tell about themselves."""

from __future__ import annotations

from .declare import Bool, Class, DateTime, MapOf, ROrun, String


class VMGuestMetrics(Class, wire="VM_guest_metrics"):
    """What the agent inside a guest tells about it."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    os_version = ROrun(MapOf(String, String), "The operating system of the guest.", volatile=True)
    PV_drivers_version = ROrun(
        MapOf(String, String), "Version of the paravirtual drivers of the guest.", volatile=True
    )
    PV_drivers_up_to_date = ROrun(
        Bool, "True when the paravirtual drivers are recent enough.", volatile=True
    )
    memory = ROrun(
        MapOf(String, String), "Free and used memory as the guest sees them.", volatile=True
    )
    disks = ROrun(MapOf(String, String), "Disks as the guest sees them.", volatile=True)
    networks = ROrun(
        MapOf(String, String),
        "Addresses of the interfaces, by the number of the interface.",
        volatile=True,
    )
    other = ROrun(MapOf(String, String), "Whatever else the guest tells.", volatile=True)
    last_updated = ROrun(DateTime, "When the guest last told something.", volatile=True)
