"""What a client is told when the host's network fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...datamodel.errors import BridgeNotAvailable, InternalError
from ...network.driver import NetworkError, NotABridge


@contextmanager
def network_errors(bridge: str) -> Iterator[None]:
    """Turn NetworkErrors about a bridge into errors of the API."""
    try:
        yield
    except NotABridge as error:
        raise BridgeNotAvailable(bridge) from error
    except NetworkError as error:
        raise InternalError(f"the network of this host failed: {error}") from error
