"""The version of xapid."""

VERSION = "0.1.0"
