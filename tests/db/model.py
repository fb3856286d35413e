"""A small datamodel to try the store with."""

# ruff: noqa: N815 (fields are spelled as on the wire)

from __future__ import annotations

import enum

from xapid.datamodel.declare import (
    RW,
    Bool,
    Class,
    DateTime,
    EnumOf,
    Float,
    Int,
    MapOf,
    RefTo,
    ROins,
    ROrun,
    SetOf,
    String,
)


class Mood(enum.StrEnum):
    CALM = "calm"
    CROSS = "cross"


class SR(Class):
    uuid = ROins(String, "Identity.")
    name_label = RW(String, "Name.")
    VDIs = ROrun(SetOf(RefTo("VDI")), "Disks here.", inverse="SR")


class VDI(Class):
    uuid = ROins(String, "Identity.")
    name_label = RW(String, "Name.")
    SR = ROins(RefTo("SR"), "Where it is.", inverse="VDIs")
    parent = ROrun(RefTo("VDI"), "What it was cloned from.")
    size = ROrun(Int, "Bytes.")
    VBDs = ROrun(SetOf(RefTo("VBD")), "Attachments.", inverse="VDI")


class VBD(Class):
    uuid = ROins(String, "Identity.")
    VDI = ROins(RefTo("VDI"), "Disk.", inverse="VBDs")
    attached = ROrun(Bool, "Whether a domain has it.", volatile=True)


class VM(Class):
    uuid = ROins(String, "Identity.")
    name_label = RW(String, "Name.")
    recommendations = RW(String, "A long text.")
    memory = RW(Int, "Bytes.", default=1 << 20)
    load = RW(Float, "Share.")
    ready = RW(Bool, "Whether it may start.")
    started = RW(DateTime, "When.")
    mood = RW(EnumOf(Mood), "How it is.", default=Mood.CROSS)
    moods = RW(SetOf(EnumOf(Mood)), "How it was.")
    tags = RW(SetOf(String), "Words.")
    other_config = RW(MapOf(String, String), "Keys and values.")
    usage = RW(MapOf(Int, Float), "Of each processor.")
    tempers = RW(MapOf(String, EnumOf(Mood)), "Of each part.")
    disks_by_name = RW(MapOf(String, RefTo("VDI")), "Disks.")
    favourites = RW(SetOf(RefTo("VDI")), "Disks it likes.")
    domid = ROrun(Int, "Domain.", default=-1, volatile=True)
    resident_on = ROrun(RefTo("host"), "Where it runs.", inverse="resident_VMs", volatile=True)
    allowed = ROrun(SetOf(String), "What may be done.", volatile=True)


class Host(Class, wire="host"):
    uuid = ROins(String, "Identity.")
    name_label = RW(String, "Name.")
    resident_VMs = ROrun(SetOf(RefTo("VM")), "What runs here.", inverse="resident_on")


class Task(Class, wire="task", volatile=True):
    uuid = ROins(String, "Identity.")
    name_label = RW(String, "Name.")
    host = ROrun(RefTo("host"), "Where it runs.")


class Session(Class, wire="session", volatile=True):
    uuid = ROins(String, "Identity.")


CLASSES = {cls.wire: cls for cls in (SR, VDI, VBD, VM, Host, Task, Session)}
