"""Drivers of storage."""

from __future__ import annotations

from .declare import RW, Class, MapOf, ROrun, SetOf, String


class SM(
    Class, derived=("get_all", "get_all_records", "get_by_name_label", "get_by_uuid", "get_record")
):
    """A storage manager: the driver of one type of storage repository."""

    uuid = ROrun(String, "Permanent identity, in the usual form of 36 characters.")
    name_label = ROrun(String, "Name shown to people; it need not be unique.")
    name_description = ROrun(String, "A longer text shown to people.")
    type = ROrun(String, "The type of storage repository that the driver serves.")
    vendor = ROrun(String, "Who made the driver.")
    copyright = ROrun(String, "Whose the driver is.")
    version = ROrun(String, "Version of the driver.")
    required_api_version = ROrun(String, "Version of the storage interface that the driver needs.")
    configuration = ROrun(
        MapOf(String, String),
        "Keys of device_config that the driver understands, each with what it means.",
    )
    capabilities = ROrun(
        SetOf(String), "What the driver can do, such as `VDI_CREATE` and `VDI_RESIZE`."
    )
    other_config = RW(MapOf(String, String), "Keys and values for the clients' own use.")
