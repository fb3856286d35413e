"""The words a datamodel class is written in."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import (
    Any,
    ClassVar,
    Concatenate,
    Generic,
    NamedTuple,
    ParamSpec,
    TypeVar,
    Union,
    overload,
)

T = TypeVar("T")
E = TypeVar("E", bound="Class")
K = TypeVar("K")
V = TypeVar("V")
P = ParamSpec("P")
R = TypeVar("R")
EnumT = TypeVar("EnumT", bound=enum.StrEnum)


class Ref(str, Generic[E]):
    """An opaque reference to an object of class E."""

    __slots__ = ()


NULL: Ref[Any] = Ref("OpaqueRef:NULL")
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
EMPTY: Mapping[str, Any] = {}

# In a message's annotations: all fields of an E, as a row of the store or by wire name.
Record = Union[E, Mapping[str, Any]]  # noqa: UP007 (a generic alias cannot be written with |)


class Type(Generic[T]):
    """A type of the API: its name in the specification and the value a field starts with.

    In Python a string is `str`, an int `int` (64-bit), a float `float`, a bool `bool`, a datetime
    an aware `datetime` in UTC, an enumeration its `StrEnum`, a reference `Ref`, a set a `tuple`
    (the wire's sets keep their order, and error_info depends on it), a map a `dict` that nobody
    changes in place.
    """

    def __init__(self, name: str, empty: T) -> None:
        self.name = name
        self.empty = empty

    def __repr__(self) -> str:
        return f"<type {self.name}>"


class EnumType(Type[EnumT]):
    def __init__(self, values: type[EnumT]) -> None:
        super().__init__(f"enum {wire_name(values)}", next(iter(values)))
        self.values = values


class RefType(Type[Ref[Any]]):
    def __init__(self, target: str) -> None:
        super().__init__(f"{target} ref", NULL)
        self.target = target


class SetType(Type[tuple[T, ...]]):
    def __init__(self, item: Type[T]) -> None:
        super().__init__(f"{item.name} set", ())
        self.item = item


class MapType(Type[Mapping[K, V]], Generic[K, V]):
    def __init__(self, key: Type[K], value: Type[V]) -> None:
        super().__init__(f"({key.name} -> {value.name}) map", {})
        self.key = key
        self.value = value


class RecordType(Type[Mapping[str, Any]]):
    """All fields of an object of a class, by name."""

    def __init__(self, target: str) -> None:
        super().__init__(f"{target} record", {})
        self.target = target


String = Type[str]("string", "")
Int = Type[int]("int", 0)
Float = Type[float]("float", 0.0)
Bool = Type[bool]("bool", False)
DateTime = Type[datetime]("datetime", NEVER)
Void = Type[None]("void", None)


def EnumOf(values: type[EnumT]) -> Type[EnumT]:
    return EnumType(values)


def RefTo(class_name: str) -> Type[Ref[Any]]:
    return RefType(class_name)


def SetOf(item: Type[T]) -> Type[tuple[T, ...]]:
    return SetType(item)


def MapOf(key: Type[K], value: Type[V]) -> Type[Mapping[K, V]]:
    return MapType(key, value)


def RecordOf(class_name: str) -> Type[Mapping[str, Any]]:
    return RecordType(class_name)


def wire_name(values: type[enum.StrEnum]) -> str:
    """The enumeration's name in the specification: vm_power_state for VmPowerState."""
    name = values.__name__
    return "".join("_" + c.lower() if c.isupper() and i else c.lower() for i, c in enumerate(name))


class Field(Generic[T]):
    """One attribute of a class: read it from a record, or name it on the class.

    default: the value of an object made without one (else the type's empty value).
    required: a constructor must be given it.
    inverse: the field at the other end of a bound pair (section 2.2); the end that is a set is
        kept by the store and never written.
    volatile: lives in memory only and starts from its default when the daemon starts.
    min_role: of the field's setters; None takes the class's.
    extension: why the field exists although the specification has it not.
    accessors: of `set`, `add` and `remove`, those that exist; None takes what the qualifier gives
        (an RW field can be set, a set or map also added to and removed from).
    this: what the setters call their first parameter in the specification.
    """

    qualifier: ClassVar[str]

    def __init__(
        self,
        type_: Type[T],
        doc: str,
        *,
        default: T | None = None,
        required: bool = False,
        inverse: str | None = None,
        volatile: bool = False,
        min_role: str | None = None,
        extension: str | None = None,
        accessors: Collection[str] | None = None,
        this: str = "self",
    ) -> None:
        self.type = type_
        self.doc = doc
        self.default: T = type_.empty if default is None else default
        self.required = required
        self.inverse = inverse
        self.volatile = volatile
        self.min_role = min_role
        self.extension = extension
        self.accessors = self._usual_accessors() if accessors is None else tuple(accessors)
        self.this = this

    def _usual_accessors(self) -> tuple[str, ...]:
        if self.qualifier != "RW":
            return ()
        holds_many = isinstance(self.type, SetType | MapType)
        return ("set", "add", "remove") if holds_many else ("set",)

    def __set_name__(self, owner: type[Class], name: str) -> None:
        self.attribute = name
        self.name = name.rstrip("_")  # `class_` is the field `class`
        self.owner = owner

    def __repr__(self) -> str:
        return f"<{self.owner.wire}.{self.name}: {self.type.name}>"

    @overload
    def __get__(self, record: None, owner: type[Class]) -> Field[T]: ...
    @overload
    def __get__(self, record: Class, owner: type[Class]) -> T: ...
    def __get__(self, record: Class | None, owner: type[Class]) -> Field[T] | T:
        if record is None:
            return self
        value: T = record.row[self.name]
        return value


class RW(Field[T]):
    """Read and written by clients."""

    qualifier = "RW"


class ROins(Field[T]):
    """Given once, when the object is created."""

    qualifier = "RO/constructor"


class ROrun(Field[T]):
    """Written by the daemon only, as the world changes."""

    qualifier = "RO/runtime"


class Message(Generic[E, P, R]):
    """One remote call on an object of a class.

    operation: what `current_operations` shows while it runs.
    allowed_in: the power states in which it may start (empty: any).
    raises: the errors it may answer with, besides those every call may.
    extension: why the message exists although the specification has it not.
    this: what the specification calls the parameter that names the object.
    """

    static: ClassVar[bool] = False

    def __init__(
        self,
        stub: Callable[Concatenate[E, P], R],
        min_role: str | None,
        operation: enum.StrEnum | None,
        allowed_in: Collection[enum.StrEnum],
        raises: Collection[type[Exception]],
        session: bool,
        extension: str | None,
        this: str = "self",
    ) -> None:
        self.stub: Callable[..., Any] = stub
        self.doc = inspect.getdoc(stub) or ""
        self.min_role = min_role
        self.operation = operation
        self.allowed_in = tuple(allowed_in)
        self.raises = tuple(raises)
        self.session = session
        self.extension = extension
        self.this = this

    def __set_name__(self, owner: type[Class], name: str) -> None:
        self.owner = owner
        self.method = name.rstrip("_")

    @property
    def name(self) -> str:
        return f"{self.owner.wire}.{self.method}"

    def __repr__(self) -> str:
        return f"<message {self.name}>"


class StaticMessage(Message[Any, P, R]):
    """One remote call of a class that names no object of its own first."""

    static = True


def message(
    *,
    min_role: str | None = None,
    operation: enum.StrEnum | None = None,
    allowed_in: Collection[enum.StrEnum] = (),
    raises: Collection[type[Exception]] = (),
    extension: str | None = None,
    this: str = "self",
) -> Callable[[Callable[Concatenate[E, P], R]], Message[E, P, R]]:
    """Declare a message on an object; the stub's docstring explains every parameter."""

    def declare(stub: Callable[Concatenate[E, P], R]) -> Message[E, P, R]:
        return Message(stub, min_role, operation, allowed_in, raises, True, extension, this)

    return declare


def static_message(
    *,
    min_role: str | None = None,
    raises: Collection[type[Exception]] = (),
    session: bool = True,
    extension: str | None = None,
) -> Callable[[Callable[P, R]], StaticMessage[P, R]]:
    """Declare a message of the class itself; goes above `@staticmethod`.

    session: whether the first parameter on the wire is a session.
    """

    def declare(stub: Callable[P, R]) -> StaticMessage[P, R]:
        plain = stub.__func__ if isinstance(stub, staticmethod) else stub
        return StaticMessage(plain, min_role, None, (), raises, session, extension)

    return declare


class Former(NamedTuple):
    """How an object was encoded before its latest changes, and the fields that they changed."""

    encoded: Any
    starts: Any
    changed: frozenset[str]


class Class:
    """Base of every datamodel class; an instance is one immutable row of the store.

    Class keywords:
    wire: the name in the specification, where Python's differs.
    derived: the names of the derived class-wide messages that exist, of `get_all`,
        `get_all_records`, `get_by_uuid`, `get_by_name_label`, `get_record`, `create`, `destroy`.
    accessors: whether the per-field getters and setters exist.
    volatile: objects live in memory only.
    min_role: of the derived setters, `create` and `destroy`.
    """

    fields: ClassVar[dict[str, Field[Any]]]
    messages: ClassVar[dict[str, Message[Any, ..., Any]]]
    wire: ClassVar[str]
    derived: ClassVar[frozenset[str]]
    accessors: ClassVar[bool]
    volatile: ClassVar[bool]
    min_role: ClassVar[str]
    extension: ClassVar[str | None]

    __slots__ = ("encoded", "former", "ref", "row", "starts")

    def __init_subclass__(
        cls,
        *,
        wire: str | None = None,
        derived: Collection[str] = ("get_all", "get_all_records", "get_by_uuid", "get_record"),
        accessors: bool = True,
        volatile: bool = False,
        min_role: str = "pool-operator",
        extension: str | None = None,
    ) -> None:
        cls.wire = wire or cls.__name__
        cls.fields = {f.name: f for f in vars(cls).values() if isinstance(f, Field)}
        cls.messages = {m.method: m for m in vars(cls).values() if isinstance(m, Message)}
        cls.derived = frozenset(derived)
        cls.accessors = accessors
        cls.volatile = volatile
        cls.min_role = min_role
        cls.extension = extension

    def __init__(self, ref: Ref[Any], row: dict[str, Any]) -> None:
        self.ref = ref
        self.row = row
        # The codec's own: a changed object is a new instance, encoded from what it was before.
        self.encoded: Any = None
        self.starts: Any = None
        self.former: Former | None = None

    def follow(self, old: Class, fields: Iterable[str]) -> None:
        """Take the place of `old`, from which it differs in these fields."""
        if old.encoded is not None:
            self.former = Former(old.encoded, old.starts, frozenset(fields))
        elif old.former is not None:
            encoded, starts, before = old.former
            self.former = Former(encoded, starts, before.union(fields))

    def __repr__(self) -> str:
        return f"<{self.wire} {self.row.get('name_label') or self.row.get('uuid')}>"
