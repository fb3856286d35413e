"""The table of operations: what a name means, what it costs, which arguments it takes."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from .context import Context
from .jobs import Job, Kind
from .native import LibxlError, Native

JSON = dict[str, Any]


class Notes(Protocol):
    """What is remembered about each domain between two looks at the list."""

    def forget(self, domid: int) -> None:
        """Ask libxl again for the name and owner of `domid`."""
        ...

    def rewatch(self, domid: int) -> None:
        """Watch `domid` anew: libxl reports only the first shutdown of each watch."""
        ...

    def describe_all(self, context: Context) -> list[JSON]:
        """List all domains, as the `domains` event shows them."""
        ...


@dataclass(frozen=True)
class Run:
    """What one operation works with while it runs."""

    native: Native
    context: Context
    job: Job
    notes: Notes
    max_contexts: int = 0

    @property
    def lib(self) -> Any:
        return self.native.lib

    @property
    def ffi(self) -> Any:
        return self.native.ffi

    @property
    def ctx(self) -> Any:
        """The libxl_ctx of this operation alone."""
        return self.context.handle

    def call(self, function: str, *args: Any) -> int:
        """Call `function` of libxl with this context; raises LibxlError for a negative result."""
        return self.native.check(getattr(self.lib, function)(self.ctx, *args), function)

    def start(self, function: str, *args: Any) -> int:
        """Call a long-running `function` (one with ao_how) and wait for its end."""
        return self.call(function, *args, self.native.null)

    def is_gone(self, domid: int) -> bool:
        """Whether Xen knows no such domain."""
        info = self.ffi.new("libxl_dominfo *")
        self.lib.libxl_dominfo_init(info)
        try:
            rc: int = self.lib.libxl_domain_info(self.ctx, info, domid)
            return rc == int(self.lib.ERROR_DOMAIN_NOTFOUND)
        finally:
            self.lib.libxl_dominfo_dispose(info)

    def refusal(self, detail: str) -> LibxlError:
        """Make the error for arguments that must not reach libxl."""
        return self.native.refusal(self.job.name, detail)


Handler = Callable[..., Any]
F = TypeVar("F", bound=Handler)


@dataclass(frozen=True)
class Operation:
    """One entry of the table."""

    name: str
    kind: Kind
    handler: Handler
    excludes_domain: bool
    mock_only: bool
    parameters: dict[str, tuple[type, ...]]
    required: frozenset[str]
    rest: tuple[type, ...] | None

    def problem_with(self, args: JSON) -> str | None:
        """Say in words what is wrong with `args`, or None."""
        for name, value in args.items():
            allowed = self.parameters.get(name, self.rest)
            if allowed is None:
                return f"{self.name} takes no argument {name!r}"
            # bool is an int to isinstance, and never meant as one here.
            if type(value) not in allowed:
                wanted = " or ".join(kind.__name__ for kind in allowed)
                return f"{self.name}: {name} must be {wanted}, not {type(value).__name__}"
        if missing := sorted(self.required - args.keys()):
            return f"{self.name} needs {', '.join(missing)}"
        return None


TABLE: dict[str, Operation] = {}


def operation(
    kind: Kind, *, excludes_domain: bool = False, mock_only: bool = False
) -> Callable[[F], F]:
    """Enter a function into the table under its own name.

    Its parameters after the Run, with their annotations, are the arguments the operation takes.
    excludes_domain: never run beside another such operation on the same domid.
    """

    def enter(handler: F) -> F:
        hints = typing.get_type_hints(handler)
        declared = list(inspect.signature(handler).parameters.values())[1:]
        named = [p for p in declared if p.kind is not p.VAR_KEYWORD]
        rest = [_plain_types(hints[p.name]) for p in declared if p.kind is p.VAR_KEYWORD]
        TABLE[handler.__name__] = Operation(
            handler.__name__,
            kind,
            handler,
            excludes_domain,
            mock_only,
            {p.name: _plain_types(hints[p.name]) for p in named},
            frozenset(p.name for p in named if p.default is p.empty),
            rest[0] if rest else None,
        )
        return handler

    return enter


def _plain_types(hint: Any) -> tuple[type, ...]:
    if isinstance(hint, types.UnionType):
        return tuple(kind for part in typing.get_args(hint) for kind in _plain_types(part))
    origin: type = typing.get_origin(hint) or hint
    return (origin,)
