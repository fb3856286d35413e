"""What the store raises when the trouble is its file, not the caller's request."""

# ruff: noqa: N818 (an error is named as the complaint it makes)

from __future__ import annotations


class StorageFailure(Exception):
    """The change could not be written to disk and was taken back; the store stays readable."""


class StoreClosed(StorageFailure):
    """The store is closed or closing and takes no more changes."""


class CannotOpen(Exception):
    """The database cannot be used; the message says why and what to do."""


class StoreInUse(CannotOpen):
    """Another daemon holds this database."""


class SchemaTooNew(CannotOpen):
    """The database was written by a newer version of xapid."""


class NotOurDatabase(CannotOpen):
    """The file is not a database of xapid."""


class DatabaseDamaged(CannotOpen):
    """A page or a stored row cannot be read."""


class DiskRefused(CannotOpen):
    """The database itself may be good, but its disk is full, read-only, failing or not there."""


class BackupFailed(Exception):
    """No copy of the database was made; the message says why. The database itself is untouched."""
