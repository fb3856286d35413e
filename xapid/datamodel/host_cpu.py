"""The processors of hosts."""

from __future__ import annotations

from .declare import Class, Float, Int, RefTo, ROrun, String


class HostCpu(Class, wire="host_cpu"):
    """A processor of a host."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    host = ROrun(RefTo("host"), "The host that the processor is in.", inverse="host_CPUs")
    number = ROrun(Int, "Number of the processor within its host, from 0.")
    vendor = ROrun(String, "Name of the maker.")
    speed = ROrun(Int, "Clock rate in megahertz.")
    modelname = ROrun(String, "Name of the model.")
    family = ROrun(Int, "Number of the processor family.")
    model = ROrun(Int, "Number of the model within the family.")
    stepping = ROrun(String, "Revision of the model.")
    flags = ROrun(String, "Features of the processor, as words.")
    features = ROrun(String, "Features of the processor, as hexadecimal words.")
    utilisation = ROrun(
        Float, "Share of time that the processor was busy, from 0.0 to 1.0.", volatile=True
    )
