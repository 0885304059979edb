"""Request templates: YAML in the shape of the vendor's body, with `$name` leaves and three closed forms.

    $name, $options.NAME, $references.0   the value itself, typed; absent drops its key (V-049)
    {$first: [$pixels, $tier, auto]}      the first that is present
    {$map: $n, $to: {1: off}, $else: on}  a closed table; without `$else` other values are absent, and what is
                                          absent has only the row `null`
    {$each: $references, $as: {...}}      one item per reference; inside a list the items join that list

`$$` at the start of a text stands for one dollar sign. There are no expressions: what needs one is a wire.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from proxy.errors import RequestError
from proxy.wires.declared.problems import Problems, Where, shown

ABSENT: Any = object()

# What a body may insert. `references` and `mask` arrive in the form that `limits.references` names.
INPUTS = (
    "model", "prompt", "negative_prompt", "n", "aspect", "tier", "pixels", "width", "height", "quality",
    "references", "mask", "seed", "background", "output_format", "output_compression", "moderation", "style",
    "partial_images", "user", "stream", "uuid", "random", "options",
)  # fmt: skip
# What the requests about a job may insert, and what the upload of a picture may.
LATER_INPUTS = ("model", "task", "uuid")
UPLOAD_INPUTS = ("model", "file", "mime", "name", "base64", "data_uri")
_EACH_INPUTS = ("ref", "mime")
TASK_FIELDS = ("id", "poll_url", "result_url", "cancel_url")
_TASK_HINT = f"what the reply says of the job is declared under task, as one of {', '.join(TASK_FIELDS)}"
_HAVE_PARTS = ("options", "references", "task")
_NOTHING = "null"
_FORMS = {"$first": set[str](), "$map": {"$to", "$else"}, "$each": {"$as"}}


class Node(Protocol):
    def render(self, inputs: Mapping[str, Any]) -> Any:
        """The value, or `ABSENT`."""
        ...


@dataclass(frozen=True, slots=True)
class _Constant:
    value: Any

    def render(self, inputs: Mapping[str, Any]) -> Any:
        return self.value


@dataclass(frozen=True, slots=True)
class _Input:
    name: str
    step: str | int | None = None

    def render(self, inputs: Mapping[str, Any]) -> Any:
        value = inputs.get(self.name)
        if self.name == "references" and value:
            value = [item["ref"] for item in value]
        if self.step is not None:
            value = _step(value, self.step)
        return ABSENT if value is None or value == [] else value


def _step(value: Any, step: str | int) -> Any:
    if isinstance(step, str):
        return (value or {}).get(step)
    return value[step] if value and step < len(value) else None


@dataclass(frozen=True, slots=True)
class _First:
    choices: tuple[Node, ...]

    def render(self, inputs: Mapping[str, Any]) -> Any:
        return next((one for node in self.choices if (one := node.render(inputs)) is not ABSENT), ABSENT)


@dataclass(frozen=True, slots=True)
class _Table:
    subject: Node
    rows: Mapping[str, Node]
    otherwise: Node

    def render(self, inputs: Mapping[str, Any]) -> Any:
        value = self.subject.render(inputs)
        if value is ABSENT:
            return self.rows[_NOTHING].render(inputs) if _NOTHING in self.rows else ABSENT
        return self.rows.get(word(value), self.otherwise).render(inputs)


@dataclass(frozen=True, slots=True)
class _Each:
    item: Node

    def items(self, inputs: Mapping[str, Any]) -> Iterator[Any]:
        for reference in inputs.get("references") or ():
            value = self.item.render({**inputs, **reference})
            if value is not ABSENT:
                yield value

    def render(self, inputs: Mapping[str, Any]) -> Any:
        return list(self.items(inputs)) or ABSENT


@dataclass(frozen=True, slots=True)
class _Object:
    """An object whose keys all dropped drops too; one written empty stays."""

    fields: Mapping[str, Node]

    def render(self, inputs: Mapping[str, Any]) -> Any:
        rendered = ((name, node.render(inputs)) for name, node in self.fields.items())
        kept = {name: value for name, value in rendered if value is not ABSENT}
        return kept if kept or not self.fields else ABSENT


@dataclass(frozen=True, slots=True)
class _Array:
    nodes: tuple[Node, ...]

    def render(self, inputs: Mapping[str, Any]) -> Any:
        items: list[Any] = []
        for node in self.nodes:
            if isinstance(node, _Each):
                items += node.items(inputs)
            elif (value := node.render(inputs)) is not ABSENT:
                items.append(value)
        return items if items or not self.nodes else ABSENT


def word(value: Any) -> str:
    """How a value is written as a key of `$to`, in YAML: true, 1, auto; null is for what is absent."""
    if value is None:
        return _NOTHING
    return str(value).lower() if isinstance(value, bool) else str(value)


class Scope:
    """What a template may name, and afterwards what it did name: all of it in `used`, in `whole` what goes
    through as it is, in `tabled` the values that a table without `$else` has for an input."""

    def __init__(self, options: Mapping[str, Any], names: tuple[str, ...] = INPUTS) -> None:
        self.options = tuple(options)
        self.names = names
        self.used: set[str] = set()
        self.whole: set[str] = set()
        self.tabled: dict[str, set[str]] = {}

    def subject(self) -> Scope:
        """For what a table is asked of, whose names are kept apart until it is known what gets through."""
        inner = Scope({}, self.names)
        inner.options = self.options
        return inner

    def inside_each(self) -> Scope:
        inner = Scope({}, self.names + _EACH_INPUTS)
        inner.options, inner.used = self.options, self.used
        inner.whole, inner.tabled = self.whole, self.tabled
        return inner


def parse(data: Any, where: Where, scope: Scope, problems: Problems) -> Node:
    """Compile a template; complaints are E122 for unknown names and E103 for broken forms."""
    if isinstance(data, Mapping):
        if any(isinstance(key, str) and key.startswith("$") for key in data):
            return _form(data, where, scope, problems)
        fields = {}
        for key, value in data.items():
            if isinstance(key, str):
                fields[key] = parse(value, (*where, key), scope, problems)
            else:
                problems.add(
                    "E126", (*where, key), f"{key!r} is no text, so it cannot be a key", "put it in quotes"
                )
        return _Object(fields)
    if isinstance(data, list):
        return _Array(tuple(parse(item, (*where, at), scope, problems) for at, item in enumerate(data)))
    if isinstance(data, str) and data.startswith("$$"):
        return _Constant(data[1:])
    if isinstance(data, str) and data.startswith("$"):
        return _input(data[1:], where, scope, problems)
    return _Constant(ABSENT if data is None else data)


def _input(name: str, where: Where, scope: Scope, problems: Problems) -> Node:
    head, dot, step = name.partition(".")
    if head not in scope.names:
        problems.unknown("E122", where, "input", f"${head}", [f"${one}" for one in scope.names])
    elif head == "options" and step not in scope.options:
        problems.unknown(
            "E122", where, "option", f"$options.{step}", [f"$options.{o}" for o in scope.options]
        )
    elif head == "references" and dot and not step.isdecimal():
        problems.add("E122", where, f"${name} needs a number after the dot", "write $references.0")
    elif head == "task" and step not in TASK_FIELDS:
        problems.add("E122", where, f"unknown input ${name}", _TASK_HINT)
    elif dot and head not in _HAVE_PARTS:
        problems.add("E122", where, f"${name}: {head} has no parts", f"write ${head}")
    else:
        scope.used.add(f"task.{step}" if head == "task" else head)
        scope.whole.add(head)
        return _Input(head, (int(step) if head == "references" else step) if dot else None)
    return _Constant(ABSENT)


def _form(data: Mapping[Any, Any], where: Where, scope: Scope, problems: Problems) -> Node:
    form = next((name for name in _FORMS if name in data), "")
    for key in data:
        if key != form and key not in _FORMS.get(form, ()):
            known = sorted(_FORMS[form]) if form else list(_FORMS)
            problems.unknown_key((*where, key), known)
    missing = {"$map": "$to", "$each": "$as"}.get(form)
    if missing and missing not in data:
        problems.add("E106", where, f"{shown(where)} has {form} but no {missing}")
        return _Constant(ABSENT)
    if form == "$first":
        choices = data[form] if isinstance(data[form], list) else [data[form]]
        steps = ((*where, form, at) for at in range(len(choices)))
        return _First(
            tuple(parse(one, step, scope, problems) for one, step in zip(choices, steps, strict=True))
        )
    if form == "$map":
        rows = data["$to"] if isinstance(data["$to"], Mapping) else {}
        if not rows:
            problems.add("E103", (*where, "$to"), f"{shown(where)}.$to must be a table")
        subject = parse(data[form], (*where, form), inner := scope.subject(), problems)
        if isinstance(data[form], str) and data.get("$else") is None:
            for name in inner.used:
                scope.tabled.setdefault(name, set()).update(map(word, rows))
        else:
            scope.whole |= inner.used
        scope.used |= inner.used
        return _Table(
            subject,
            {word(key): parse(row, (*where, "$to", key), scope, problems) for key, row in rows.items()},
            parse(data.get("$else"), (*where, "$else"), scope, problems),
        )
    if form == "$each":
        if data[form] != "$references":
            problems.add("E103", (*where, form), f"{shown(where)}.$each can only go over $references")
        scope.used.add("references")
        return _Each(parse(data["$as"], (*where, "$as"), scope.inside_each(), problems))
    return _Constant(ABSENT)


# --- request lines ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequestLine:
    """`GET /v1/tasks/{task.id}`; or `GET {task.poll_url}`, an address that the vendor gave (`url_field`)."""

    method: str
    pieces: tuple[str, ...] = ()
    url_field: str | None = None

    def fields(self) -> tuple[str, ...]:
        """The names in braces."""
        return (self.url_field,) if self.url_field else self.pieces[1::2]

    def shown(self, model: str) -> str:
        """The path, or the address, with the names in braces that only the vendor can fill in."""
        if self.url_field:
            return "{" + self.url_field + "}"
        named = {"model": _in_path("model", model)}
        return "".join(
            named.get(piece, "{" + piece + "}") if at % 2 else piece for at, piece in enumerate(self.pieces)
        )

    def path(self, values: Mapping[str, str]) -> str:
        """Fill in and percent-encode. Only a model's name may hold slashes; it may not climb up."""
        parts = list(self.pieces)
        for at in range(1, len(parts), 2):
            parts[at] = _in_path(parts[at], values[parts[at]])
        return "".join(parts)


def _in_path(name: str, value: str) -> str:
    if name != "model":
        return quote(value, safe="")
    if any(segment in ("", ".", "..") for segment in value.split("/")):
        raise RequestError(f"{value[:80]!r} is not a model name.", attribute="model", code="model_not_found")
    return quote(value, safe="/:@")


_METHODS = ("GET", "POST", "PUT", "DELETE")
_LOOSE_LINE = re.compile(r"(?:(get|post|put|delete) +)?(?:https?://([\w.:-]+))?/?([^\s/{][^\s]*)", re.I)


def _meant_line(value: Any) -> str:
    """The cure for a line whose method or first slash is missing, or that names the host too."""
    found = _LOOSE_LINE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return ""
    method, host, path = found.groups()
    where = f"; the host, {host}, stands in base_url" if host else ""
    choice = "" if method else f", or {', '.join(_METHODS[:1] + _METHODS[2:])} in place of POST"
    return f"write {(method or 'POST').upper()} /{path}{where}{choice}"


def read_request_line(value: Any, where: Where, problems: Problems) -> RequestLine:
    method, _, target = value.partition(" ") if isinstance(value, str) else ("", "", "")
    target = target.strip()
    is_whole = re.fullmatch(r"[^{}\s]*(?:\{[^{}\s]*\}[^{}\s]*)*", target)
    if method not in _METHODS or not target.startswith(("/", "{")) or not is_whole:
        problems.add(
            "E103",
            where,
            f"{shown(where)} is {value!r}; it must be a method and a path",
            _meant_line(value) or "write for example GET /tasks/{task.id}",
        )
        return RequestLine("POST", ("/",))
    pieces = target.replace("}", "{").split("{")
    known = ["model", "uuid", *(f"task.{field}" for field in TASK_FIELDS)]
    for name in pieces[1::2]:
        if name not in known:
            if name.startswith("task."):
                problems.add("E122", where, f"unknown input {{{name}}}", _TASK_HINT)
            elif f"task.{name}" in known:
                problems.add("E122", where, f"unknown input {{{name}}}", f"write {{task.{name}}}")
            else:
                problems.unknown("E122", where, "input", f"{{{name}}}", [f"{{{one}}}" for one in known])
            return RequestLine(method, ("/",))
    if target.startswith("{"):
        if len(pieces) != 3 or pieces[2] or not pieces[1].endswith("_url"):
            problems.add("E103", where, f"{shown(where)}: an address from the vendor stands alone",
                         "write GET {task.poll_url}")  # fmt: skip
        return RequestLine(method, url_field=pieces[1])
    return RequestLine(method, tuple(pieces))
