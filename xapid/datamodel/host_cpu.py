"""TODO host_cpu."""

from __future__ import annotations

from .declare import Class, Float, Int, RefTo, ROrun, String


class HostCpu(Class, wire="host_cpu"):
    """TODO host_cpu."""

    uuid = ROrun(String, "TODO uuid.")
    host = ROrun(RefTo("host"), "TODO host.", inverse="host_CPUs")
    number = ROrun(Int, "TODO number.")
    vendor = ROrun(String, "TODO vendor.")
    speed = ROrun(Int, "TODO speed.")
    modelname = ROrun(String, "TODO modelname.")
    family = ROrun(Int, "TODO family.")
    model = ROrun(Int, "TODO model.")
    stepping = ROrun(String, "TODO stepping.")
    flags = ROrun(String, "TODO flags.")
    features = ROrun(String, "TODO features.")
    utilisation = ROrun(Float, "TODO utilisation.", volatile=True)
