"""TODO SM."""

from __future__ import annotations

from .declare import RW, Class, MapOf, ROrun, SetOf, String


class SM(
    Class, derived=("get_all", "get_all_records", "get_by_name_label", "get_by_uuid", "get_record")
):
    """TODO SM."""

    uuid = ROrun(String, "TODO uuid.")
    name_label = ROrun(String, "TODO name_label.")
    name_description = ROrun(String, "TODO name_description.")
    type = ROrun(String, "TODO type.")
    vendor = ROrun(String, "TODO vendor.")
    copyright = ROrun(String, "TODO copyright.")
    version = ROrun(String, "TODO version.")
    required_api_version = ROrun(String, "TODO required_api_version.")
    configuration = ROrun(MapOf(String, String), "TODO configuration.")
    capabilities = ROrun(SetOf(String), "TODO capabilities.")
    other_config = RW(MapOf(String, String), "TODO other_config.")
