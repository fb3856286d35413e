"""TODO VM_metrics."""

from __future__ import annotations

from .declare import Class, DateTime, Float, Int, MapOf, ROrun, SetOf, String


class VMMetrics(Class, wire="VM_metrics"):
    """TODO VM_metrics."""

    uuid = ROrun(String, "TODO uuid.")
    memory_actual = ROrun(Int, "TODO memory_actual.", volatile=True)
    VCPUs_number = ROrun(Int, "TODO VCPUs_number.", volatile=True)
    VCPUs_utilisation = ROrun(MapOf(Int, Float), "TODO VCPUs_utilisation.", volatile=True)
    VCPUs_CPU = ROrun(MapOf(Int, Int), "TODO VCPUs_CPU.", volatile=True)
    VCPUs_params = ROrun(MapOf(String, String), "TODO VCPUs_params.", volatile=True)
    VCPUs_flags = ROrun(MapOf(Int, SetOf(String)), "TODO VCPUs_flags.", volatile=True)
    state = ROrun(SetOf(String), "TODO state.", volatile=True)
    start_time = ROrun(DateTime, "TODO start_time.")
    install_time = ROrun(DateTime, "TODO install_time.")
    last_updated = ROrun(DateTime, "TODO last_updated.", volatile=True)
