"""What a client is told when storage fails: one table from StorageErrors to errors of the API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ...datamodel import errors
from ...datamodel.declare import NULL, Ref
from ...datamodel.sr import SR
from ...datamodel.vdi import VDI
from ...storage import driver

STATUS_OF_CONFIGURATION = "102"
STATUS_OF_FAILURE = "1"


TABLE: dict[type[driver.StorageError], Callable[[str, str, Any], errors.ApiError]] = {
    driver.ConfigInvalid: lambda sr, vdi, e: errors.SRBackendFailure(
        STATUS_OF_CONFIGURATION, "", str(e)
    ),
    driver.ConfigMissing: lambda sr, vdi, e: errors.SRBackendFailure(
        STATUS_OF_CONFIGURATION, "", str(e)
    ),
    driver.RepositoryInUse: lambda sr, vdi, e: errors.SRDeviceInUse(),
    driver.RepositoryMissing: lambda sr, vdi, e: errors.SRBackendFailure(
        STATUS_OF_FAILURE, "", str(e)
    ),
    driver.RepositoryNotEmpty: lambda sr, vdi, e: errors.SRNotEmpty(),
    driver.NoSpace: lambda sr, vdi, e: errors.SRFull(e.requested, e.available),
    driver.VolumeMissing: lambda sr, vdi, e: (
        errors.VDIMissing(sr, vdi) if vdi else errors.VDILocationMissing(sr, e.location)
    ),
    driver.VolumeExists: lambda sr, vdi, e: errors.LocationNotUnique(sr, e.location),
    driver.LocationInvalid: lambda sr, vdi, e: errors.VDILocationMissing(sr, e.location[:256]),
    driver.VolumeInUse: lambda sr, vdi, e: errors.VDIInUse(vdi, "attach"),
    driver.ShrinkRefused: lambda sr, vdi, e: errors.VDITooSmall(vdi, e.minimum),
    driver.NotSupported: lambda sr, vdi, e: errors.SROperationNotSupported(sr),
    driver.StorageTimeout: lambda sr, vdi, e: errors.SRBackendFailure(
        STATUS_OF_FAILURE, "", str(e)
    ),
    driver.BackendFailure: lambda sr, vdi, e: errors.SRBackendFailure(
        STATUS_OF_FAILURE, "", str(e)
    ),
}


@contextmanager
def storage_errors(sr: Ref[SR] = NULL, vdi: Ref[VDI] = NULL) -> Iterator[None]:
    """Turn StorageErrors into what the client is told, about this SR and this VDI."""
    try:
        yield
    except driver.StorageError as error:
        # A disk that has no record yet is not named to the client.
        raise TABLE[type(error)](str(sr), "" if vdi == NULL else str(vdi), error) from error
