"""Which messages of the specification this version does not carry out, and why."""

from __future__ import annotations

from typing import Final

from . import errors as e

NOT_YET: Final[frozenset[str]] = frozenset()
"""Messages that nothing implements yet, and that answer NOT_IMPLEMENTED; this list only shrinks."""

OTHER_HOSTS: Final[dict[str, type[e.ApiError]]] = {
    "VM.pool_migrate": e.OperationNotAllowed,
    "pool.designate_new_master": e.OperationNotAllowed,
    "pool.disable_ha": e.HANotEnabled,
    "pool.eject": e.OperationNotAllowed,
    "pool.emergency_reset_master": e.NotInEmergencyMode,
    "pool.emergency_transition_to_master": e.NotInEmergencyMode,
    "pool.enable_ha": e.HANotInstalled,
    "pool.join": e.OperationNotAllowed,
    "pool.join_force": e.OperationNotAllowed,
    "pool.recover_slaves": e.OperationNotAllowed,
    "session.slave_local_login_with_password": e.OperationNotAllowed,
}
"""Messages that mean something only where a pool has other hosts, and what they answer."""
