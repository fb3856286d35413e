"""What a service may ask of the rest of the daemon, and how it says which message it implements."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from ..datamodel.declare import Class, Field, Message, Ref, StaticMessage
from ..xen.plan import BackendDisk

if TYPE_CHECKING:
    from ..datamodel.errors import ApiError
    from ..datamodel.session import Session
    from ..datamodel.sr import SR
    from ..datamodel.task import Task
    from ..datamodel.vbd import VBD
    from ..datamodel.vdi import VDI
    from ..datamodel.vif import VIF
    from ..datamodel.vm import VM

E = TypeVar("E", bound=Class)
F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")


class Call(Protocol):
    """One call of a client, or one piece of work the daemon began by itself."""

    @property
    def user(self) -> str:
        """Name of the account that called; "" for the daemon itself."""

    @property
    def session(self) -> Ref[Session]:
        """The caller's session; NULL for the daemon itself."""

    @property
    def task(self) -> Ref[Task]:
        """The task that stands for this call; made when first asked for."""

    def progress(self, fraction: float) -> None:
        """Say how far the call has come, 0 to 1; never goes back."""

    def unbroken(self) -> AbstractContextManager[None]:
        """A stretch that nothing can cut short within 30 s: its task cannot be cancelled then."""


class Calls(Protocol):
    """Makes a call for work that no client asked for."""

    def background(self, label: str) -> AbstractAsyncContextManager[Call]:
        """A call with a task of its own, ended with the block: failed if it raises."""


class View(Protocol):
    """Objects as they are now: the store itself, or a transaction with its own changes in it."""

    def get(self, ref: Ref[E]) -> E: ...
    def find(self, cls: type[E], raw_ref: str) -> E | None: ...


Refusal = Callable[[View, E, enum.StrEnum], "ApiError | None"]
"""Why an operation may not start on this object now; None when it may. Pure."""

Likeness = Callable[[View, E], "Hashable | None"]
"""All that the refusals look at: they refuse the same to objects that have it in common.

None: something is under way, of which that cannot be said.
"""


class Operations(Protocol):
    """Who works on what: `current_operations`, `allowed_operations` and their refusals."""

    def govern(
        self,
        cls: type[E],
        operations: Sequence[enum.StrEnum],
        refusal: Refusal[E],
        neighbours: Callable[[View, E], Sequence[Ref[Any]]] | None = None,
        likeness: Likeness[E] | None = None,
    ) -> None:
        """Say which operations a class has and when each is refused.

        neighbours: objects whose `allowed_operations` depend on this one's state.
        likeness: saves asking for the refusals of each object.
        """

    def claim(
        self, call: Call, obj: Ref[E], message: Message[E, ..., Any] | enum.StrEnum
    ) -> AbstractAsyncContextManager[E]:
        """Hold an object for an operation: yields its record as it is once held.

        Raises the refusal. Leaving the block always releases.
        """


class Disks(Protocol):
    """Disks as others than the storage services need them."""

    @property
    def served_by_qemu(self) -> bool:
        """Whether a guest could be given disks that a qemu serves."""

    async def attach(self, vbd: Ref[VBD]) -> BackendDisk:
        """Make the VBD's disk usable by a domain and hold it for that VBD.

        An empty drive gives format "empty". Raises SR_… and VDI_… errors.
        """

    async def detach(self, vbd: Ref[VBD]) -> None:
        """Let go of the VBD's disk; nothing happens when it is not held."""

    async def open(self, vdi: Ref[VDI]) -> Path:
        """Hold a disk for the daemon itself, writable: the path of a file or block device."""

    async def close(self, vdi: Ref[VDI]) -> None:
        """Let go of what `open` held."""

    async def create(
        self, call: Call, sr: Ref[SR], size: int, label: str, kind: enum.StrEnum
    ) -> Ref[VDI]:
        """A new disk of at least `size` bytes and of the vdi_type `kind`. Raises SR_FULL …"""

    async def copy(self, call: Call, vdi: Ref[VDI], sr: Ref[SR]) -> Ref[VDI]:
        """A full copy of a disk that nobody writes to; `call` gets the progress."""

    async def clone(self, call: Call, vdi: Ref[VDI]) -> Ref[VDI]:
        """A disk with the same content in the same SR, as cheaply as its driver can."""

    async def destroy(self, call: Call, vdi: Ref[VDI]) -> None:
        """Delete a disk that nobody uses."""


class Wires(Protocol):
    """Networks as others than the network services need them."""

    async def attach(self, vif: Ref[VIF]) -> str:
        """Bring up the VIF's network on this host: the name of its bridge."""

    async def detach(self, vif: Ref[VIF]) -> None:
        """Let go of the network; it may be taken down when nothing else holds it."""


class TPMs(Protocol):
    """Virtual TPMs as the builder of domains needs them."""

    def planned(self, record: VM) -> list[dict[str, Any]]:
        """The libxl_device_vtpm of each TPM of a VM. Raises OPERATION_NOT_ALLOWED."""

    def failure(self, record: VM, log: Sequence[str]) -> ApiError | None:
        """What a build that failed says of the VM's TPMs; None when they are not the reason.

        log: what libxl told while it built.
        """


class Guests(Protocol):
    """Running guests as the VBD and VIF services need them."""

    def domid(self, vm: Ref[VM]) -> int:
        """The guest's domain. Raises VM_BAD_POWER_STATE when it has none."""


def implements(
    declared: Message[E, P, R],
) -> Callable[
    [Callable[Concatenate[S, Call, Ref[E], P], Awaitable[R]]],
    Callable[Concatenate[S, Call, Ref[E], P], Awaitable[R]],
]:
    """Bind a service method to the message it implements."""

    def bind(
        method: Callable[Concatenate[S, Call, Ref[E], P], Awaitable[R]],
    ) -> Callable[Concatenate[S, Call, Ref[E], P], Awaitable[R]]:
        method.__dict__["implements"] = declared.name
        return method

    return bind


def implements_static(
    declared: StaticMessage[P, R],
) -> Callable[
    [Callable[Concatenate[S, Call, P], Awaitable[R]]],
    Callable[Concatenate[S, Call, P], Awaitable[R]],
]:
    """Bind a service method to a message that names no object of its class first."""

    def bind(
        method: Callable[Concatenate[S, Call, P], Awaitable[R]],
    ) -> Callable[Concatenate[S, Call, P], Awaitable[R]]:
        method.__dict__["implements"] = declared.name
        return method

    return bind


def overrides(method_name: str) -> Callable[[F], F]:
    """Give a derived method ("VM.create", "VM.set_is_a_template") a behaviour of its own.

    The method takes the call and then the parameters as the derived one would, already checked;
    a constructor takes one dict with every field a client may set, defaults filled in.
    """

    def bind(method: F) -> F:
        method.__dict__["implements"] = method_name
        return method

    return bind


def checks(*fields: Field[Any]) -> Callable[[F], F]:
    """A check `(call, obj or NULL, field, value)` before a client's value is stored in a field."""

    def bind(method: F) -> F:
        method.__dict__["checks"] = fields
        return method

    return bind
