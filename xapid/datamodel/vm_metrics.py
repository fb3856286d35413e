"""What is measured of virtual machines."""

from __future__ import annotations

from .declare import Class, DateTime, Float, Int, MapOf, ROrun, SetOf, String


class VMMetrics(Class, wire="VM_metrics"):
    """What Xen measures of a VM from outside."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    memory_actual = ROrun(Int, "Bytes of memory that the domain has.", volatile=True)
    VCPUs_number = ROrun(Int, "Number of vCPUs that are online.", volatile=True)
    VCPUs_utilisation = ROrun(
        MapOf(Int, Float),
        "Share of time that each vCPU ran, from 0.0 to 1.0, by its number.",
        volatile=True,
    )
    VCPUs_CPU = ROrun(
        MapOf(Int, Int), "The processor that each vCPU runs on, by its number.", volatile=True
    )
    VCPUs_params = ROrun(MapOf(String, String), "The scheduling that is in effect.", volatile=True)
    VCPUs_flags = ROrun(
        MapOf(Int, SetOf(String)),
        "State of each vCPU, such as `online`, `running` and `blocked`, by its number.",
        volatile=True,
    )
    state = ROrun(
        SetOf(String),
        "State of the domain, such as `running`, `blocked`, `paused`, `dying` and `crashed`.",
        volatile=True,
    )
    start_time = ROrun(DateTime, "When the VM was last started.")
    install_time = ROrun(DateTime, "When the VM was made.")
    last_updated = ROrun(DateTime, "When these values were last read.", volatile=True)
