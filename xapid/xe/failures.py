"""What can go wrong, each as one sentence that says what to do."""

from __future__ import annotations

from collections.abc import Sequence


class UsageError(Exception):
    """The command line cannot be understood as it is."""


class Unreachable(Exception):  # noqa: N818
    """The server cannot be reached, or does not answer as one that speaks the API."""


class Untrusted(Exception):  # noqa: N818
    """The server's certificate is not one that may be trusted."""


class Refused(Exception):  # noqa: N818
    """The command cannot be carried out, and nothing was changed."""


class Failure(Exception):  # noqa: N818
    """The server answered with an error. method: what was called, if it is known."""

    def __init__(self, description: Sequence[str], method: str = "") -> None:
        super().__init__(*description)
        self.code = description[0] if description else "INTERNAL_ERROR"
        self.parameters = list(description[1:])
        self.method = method


class Cancelled(Exception):  # noqa: N818
    """The user gave up; the text says what became of the work."""


def sentence(failure: Failure) -> str:
    """What is wrong and what to do, from the API's own catalogue."""
    from ..datamodel.errors import BY_CODE  # only when needed: it takes long to load

    error = BY_CODE.get(failure.code)
    if error is None:
        return "The server answered with an error that this client does not know."
    return " ".join((error.__doc__ or failure.code).split())


def facts(failure: Failure) -> list[tuple[str, str]]:
    """The parameters of the error by name, those without text left out."""
    from ..datamodel.errors import BY_CODE

    error = BY_CODE.get(failure.code)
    names = list(error.parameters()) if error is not None else []
    names += [f"parameter {n}" for n in range(len(names) + 1, len(failure.parameters) + 1)]
    pairs = zip(names, failure.parameters, strict=False)
    return [(name.replace("_", "-"), value) for name, value in pairs if value]
