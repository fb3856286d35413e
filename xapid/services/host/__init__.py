"""This host: its records, its power, its reports and its crash dumps."""

from .records import HostFacts, host_address, introduce_host, read_facts

__all__ = ["HostFacts", "host_address", "introduce_host", "read_facts"]
