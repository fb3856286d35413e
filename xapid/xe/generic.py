"""The commands that every class has: list, param-*, and one for each message and constructor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from .catalogue import STRING, ApiClass, Field, Message, classes, folded, word_of
from .command import Argument, Call, Command, map_members, optional, required, selectors_of
from .failures import Refused, UsageError
from .parameters import JOINED, Parameter, parameters, selected, wanted
from .values import read_moment, read_value, split

PARAMS: Final = optional(
    "params", STRING, "the fields to show, with commas between them; `all` for all"
)
PARAM_NAME: Final = required("param-name", STRING, "the field")
PARAM_KEY: Final = optional("param-key", STRING, "the key of a map, or the member of a set")

Only = tuple[tuple[str, Any], ...]


def commands_of(word: str, cls: ApiClass, only: Only = ()) -> Iterator[Command]:
    """The commands of a class that need no message. word: what they begin with."""
    topic = word
    thing = word.replace("-", " ")
    if cls.listed:
        yield Command(
            f"{word}-list", topic, f"List each {thing}, or those that the selectors match.",
            run_list, (PARAMS,), "", only, open=True,
        )  # fmt: skip

    def one(verb: str, summary: str, run: Any, *arguments: Argument) -> Command:
        return Command(
            f"{word}-param-{verb}", topic, summary, run, arguments, cls.name, only,
            alone=verb in ("get", "list"), open=verb in ("set", "add"),
        )  # fmt: skip

    yield one("list", f"Show all that there is to know of one {thing}.", run_param_list)
    yield one("get", f"Show one field of one {thing}.", run_param_get, PARAM_NAME, PARAM_KEY)
    if any(field.accessors for field in cls.fields):
        yield one("set", "Change fields: FIELD=VALUE, or MAP:KEY=VALUE.", run_param_set)
    if any("add" in field.accessors for field in cls.fields):
        yield one(
            "add", "Put a member into a set (param-key=MEMBER) or keys into a map (KEY=VALUE).",
            run_param_add, PARAM_NAME, PARAM_KEY,
        )  # fmt: skip
        yield one(
            "remove", "Take a member out of a set, or a key out of a map.",
            run_param_remove, PARAM_NAME, required("param-key", STRING, "the key or the member"),
        )  # fmt: skip
        yield one("clear", "Make a set or a map empty.", run_param_clear, PARAM_NAME)


def message_command(word: str, cls: ApiClass, message: Message) -> Command:
    """The command that calls a message, with the parameters' names for its arguments."""
    if len(message.params) == 1 and message.params[0].type.kind == "record":
        return create_command(word, cls, message.name, message.doc)
    arguments = tuple(
        Argument(
            param.name.replace("_", "-"), param.type, param.doc,
            required=not param.optional and param.type.kind not in ("map", "bool"),
            wire=param.name, secret=param.secret,
        )
        for param in message.params
    )  # fmt: skip

    def run(call: Call, ref: str) -> None:
        values = [ref] if message.this else []
        values += message_values(call, message)
        method = f"{cls.name}.{message.name}"
        if message.task:
            what = call.label(cls.name, ref) if message.this else ""
            answer = call.perform(what, method, *values)
        else:
            answer = call.server(method, *values)
        if message.result.kind == "ref":
            call.made(message.result.target, answer)
        elif message.result.kind != "void":
            call.out.value(call.objects.translated(message.result, answer))

    return Command(
        f"{word}-{folded(message.name)}", word, first_sentence(message.doc), run, arguments,
        cls.name if message.this else "", details=_details(message),
    )  # fmt: skip


def message_values(call: Call, message: Message) -> list[Any]:
    """The values for a message's parameters; trailing ones that are not given are left out."""
    values: list[Any] = []
    given = 0
    for param in message.params:
        name = param.name.replace("_", "-")
        if not param.optional or call.has(name):
            given = len(values) + 1
        if param.optional:
            usual = param.default
            if param.type.kind == "datetime":
                usual = read_moment(param.default, name)
        else:
            usual = {"map": {}, "bool": False}.get(param.type.kind)
        values.append(call.get(name, usual))
    return values[:given]


def _details(message: Message) -> str:
    rest = message.doc[len(first_sentence(message.doc)) :].strip()
    if message.answers:
        rest += f"\nThis version of xapid answers {message.answers}, as a pool has one host."
    return rest.strip()


def first_sentence(doc: str) -> str:
    flat = " ".join(doc.split())
    end = flat.find(". ")
    return flat if end < 0 else flat[: end + 1]


# constructors and destructors


def field_argument(field: Field) -> Argument:
    """The argument that gives a field to a constructor."""
    name = field.name.replace("_", "-")
    if field.type.kind == "ref":
        name = f"{name.lower()}-uuid"
    return Argument(name, field.type, field.doc, field.given == "required", field.name)


def create_command(word: str, cls: ApiClass, name: str = "create", doc: str = "") -> Command:
    """The command that makes an object from the fields that a constructor takes."""
    arguments = tuple(field_argument(field) for field in cls.fields if field.given)

    def run(call: Call, _: str) -> None:
        create(call, cls.name, given_fields(call))

    summary = f"Make one {word.replace('-', ' ')}, and print its uuid."
    return Command(f"{word}-{folded(name)}", word, summary, run, arguments)


def given_fields(call: Call) -> dict[str, Any]:
    """The record for a constructor: what was given, by the fields' names on the wire."""
    record: dict[str, Any] = {}
    for argument in call.command.arguments:
        if argument.wire and (argument.required or call.has(argument.name)):
            record[argument.wire] = call.get(argument.name)
    return record


def create(call: Call, class_name: str, record: Mapping[str, Any]) -> str:
    """Make an object, print its uuid, and give its reference."""
    label = str(record.get("name_label", ""))
    ref: str = call.perform(label, f"{class_name}.create", record)
    call.made(class_name, ref)
    return ref


def destroy_command(word: str, cls: ApiClass) -> Command:
    def run(call: Call, ref: str) -> None:
        call.perform(call.label(cls.name, ref), f"{cls.name}.destroy", ref)

    summary = f"Destroy one {word.replace('-', ' ')}, unless another object needs it."
    return Command(f"{word}-destroy", word, summary, run, (), cls.name)


# list and param-*


def class_of(call: Call) -> str:
    """The class that a command without a selected object is about, from its name."""
    word = call.command.topic
    known = {"template": "VM", **{word_of(name): name for name in classes()}}
    return known[word]


def run_list(call: Call, _: str) -> None:
    """Print the objects that match, and those fields of them that were asked for."""
    class_name = class_of(call)
    filters = {n: v for n, v in call.words.values.items() if n not in ("params", "database")}
    for name, parts in call.words.maps.items():
        filters |= {f"{name}:{key}": value for key, value in parts.items()}
    for name in call.words.names:
        filters[word_of(class_name)] = name
    found = call.objects.matching(class_name, filters)
    found = {r: o for r, o in found.items() if _is_listed(call, class_name, o, filters)}
    print_objects(call, class_name, found, call.get("params", ""))


def _is_listed(
    call: Call, class_name: str, record: Mapping[str, Any], filters: Mapping[str, str]
) -> bool:
    """Whether an object is of the kind: templates are no VMs, unless one asks for them."""
    if class_name != "VM" or "is-a-template" in filters:
        return True
    wants = dict(call.command.only).get("is_a_template", False)
    return bool(record["is_a_template"] == wants)


def print_objects(call: Call, class_name: str, found: Mapping[str, Any], asked: str) -> None:
    """Print some parameters of objects. asked: as `params=` has it."""
    table = call.out.form == "table"
    chosen = selected(class_name, asked, table=table)
    if not table and asked:  # the form of old has an order of its own
        order = [p.name for p in parameters(class_name)]
        chosen.sort(key=lambda p: order.index(p.name))
    call.objects.prepare_for(class_name, chosen, found.values())
    rows = [
        [call.objects.value(class_name, p, ref, record) for p in chosen]
        for ref, record in found.items()
    ]
    if table:
        rows.sort(key=lambda row: [str(cell) for cell in row])
    call.out.records(chosen, rows)


def run_param_list(call: Call, ref: str) -> None:
    class_name = call.command.selects
    record = _record(call, class_name, ref)
    chosen = parameters(class_name)
    joined = JOINED.get(class_name, {})
    chosen = [p for p in chosen if not p.extra or p.source == "call" or p.name in joined]
    row = [call.objects.value(class_name, p, ref, record) for p in chosen]
    call.out.records(chosen, [row], alone=True)


def run_param_get(call: Call, ref: str) -> None:
    class_name = call.command.selects
    parameter = wanted(class_name, call.get("param-name"))
    record = _record(call, class_name, ref)
    value = call.objects.value(class_name, parameter, ref, record)
    key = call.get("param-key", "")
    if key:
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, dict):
            raise Refused(
                f"{parameter.name} has no key {key}; it has {', '.join(value) or 'none at all'}"
            )
        else:
            raise UsageError(f"{parameter.name} is no map, so it has no keys")
    call.out.value(value)


def _record(call: Call, class_name: str, ref: str) -> dict[str, Any]:
    record = call.objects.record(class_name, ref)
    if record is None:
        raise Refused(f"the {word_of(class_name)} is gone")
    return record


def _changes(call: Call) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """What is to be changed, without what names the object."""
    naming = selectors_of(word_of(call.command.selects))
    values = {n: v for n, v in call.words.values.items() if n not in naming}
    return values, dict(call.words.maps)


def run_param_set(call: Call, ref: str) -> None:
    class_name = call.command.selects
    values, maps = _changes(call)
    if not values and not maps:
        raise UsageError(f"say what to change: {call.command.name} uuid=… FIELD=VALUE")
    steps: list[tuple[str, tuple[Any, ...]]] = []
    for name, text in values.items():
        parameter = _writable(class_name, name, "set")
        steps.append((f"set_{parameter.field}", (_typed(call, parameter, text),)))
    for name, members in maps.items():
        parameter = _writable(class_name, name, "add")
        for key, text in map_members(parameter.name, members).items():
            item = parameter.type.item or STRING
            value = read_value(item, text, f"{parameter.name}:{key}")
            steps.append((f"add_to_{parameter.field}", (key, value)))
    for method, given in steps:
        call.server(f"{class_name}.{method}", ref, *given)


def _writable(class_name: str, name: str, accessor: str) -> Parameter:
    """The parameter, if it can be changed in this way. Raises UsageError."""
    parameter = wanted(class_name, name)
    field = classes()[class_name].field(parameter.field) if parameter.field else None
    if parameter.source == "field" and field is not None and accessor in field.accessors:
        return parameter
    word = word_of(class_name)
    if field is not None and accessor == "set" and field.given and not field.accessors:
        raise UsageError(f"{parameter.name} is given when a {word} is made, and stays as it is")
    if field is not None and field.accessors:
        raise UsageError(
            f"{parameter.name} is {'no' if accessor != 'set' else 'a'} set or map: see "
            f"`xe help {word}-param-{'set' if accessor != 'set' else 'add'}`"
        )
    raise UsageError(f"{parameter.name} cannot be changed: it says how things are")


def _typed(call: Call, parameter: Parameter, text: str) -> Any:
    if parameter.type.kind == "ref":
        return call.objects.find(parameter.type.target, text)
    if parameter.type.kind == "map":
        raise UsageError(f"{parameter.name} is a map: say {parameter.name}:KEY=VALUE")
    return read_value(parameter.type, text, parameter.name)


def run_param_add(call: Call, ref: str) -> None:
    class_name = call.command.selects
    parameter = _writable(class_name, call.get("param-name"), "add")
    method = f"{class_name}.add_to_{parameter.field}"
    if parameter.type.kind == "set":
        members = split(call.get("param-key", ""))
        if not members:
            raise UsageError(f"say what to put into {parameter.name}: param-key=MEMBER")
        for member in members:
            call.server(method, ref, member)
        return
    values, _ = _changes(call)
    pairs = {call.words.typed.get(n, n): v for n, v in values.items() if not n.startswith("param-")}
    if not pairs:
        raise UsageError(f"say what to put into {parameter.name}: KEY=VALUE")
    item = parameter.type.item or STRING
    for key, text in map_members(parameter.name, pairs).items():
        call.server(method, ref, key, read_value(item, text, key))


def run_param_remove(call: Call, ref: str) -> None:
    class_name = call.command.selects
    parameter = _writable(class_name, call.get("param-name"), "remove")
    for member in split(call.get("param-key")):
        call.server(f"{class_name}.remove_from_{parameter.field}", ref, member)


def run_param_clear(call: Call, ref: str) -> None:
    class_name = call.command.selects
    parameter = _writable(class_name, call.get("param-name"), "remove")
    empty_value: Any = {} if parameter.type.kind == "map" else []
    call.server(f"{class_name}.set_{parameter.field}", ref, empty_value)
