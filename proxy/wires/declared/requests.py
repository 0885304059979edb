"""A request as a profile writes it: its line, its headers, and its body in one of three ways."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.types import Encoding, FormFile, Slice
from proxy.wires.declared.problems import Mapped, shown
from proxy.wires.declared.template import (
    ABSENT,
    TASK_FIELDS,
    UPLOAD_INPUTS,
    Node,
    RequestLine,
    Scope,
    parse,
    read_request_line,
)

BODIES: dict[str, Encoding] = {"body": "json", "form": "form", "multipart": "multipart"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
REQUEST_KEYS = ("request", "headers", *BODIES, "files")


@dataclass(frozen=True, slots=True)
class Sending:
    """`encoding` is how `body` is written; with `files` that come it is multipart in any case. `used` are the
    inputs that it names. `optional` are fields of the body without which an order is given again where they
    are refused, each with the inputs it is made of. `tabled` are inputs that only tables name, each with the
    values that they have."""

    request: RequestLine
    headers: Mapping[str, Node]
    body: Node
    encoding: Encoding
    files: Mapping[str, Node]
    used: frozenset[str]
    optional: Mapping[str, frozenset[str]] = field(default_factory=dict)
    tabled: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def used_without(self, refused: frozenset[str]) -> frozenset[str]:
        """The inputs of which an order still holds something when these fields are left out."""
        return self.used.difference(*(self.optional[name] for name in refused if name in self.optional))

    def filled(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What a `Call` is made of beside its address."""
        body = self.body.render(values)
        headers = ((name, node.render(values)) for name, node in self.headers.items())
        return {
            "method": self.request.method,
            "body": {} if body is ABSENT else body,
            "headers": {name: _in_one_line(value) for name, value in headers if value is not ABSENT},
            "encoding": self.encoding,
            "files": _files(self.files, values),
        }


def _in_one_line(value: Any) -> str:
    """As HTTP reads a line break inside of a header: as a space. A client's words may hold any."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return _CONTROL.sub(" ", text)


@dataclass(frozen=True, slots=True)
class Sample:
    """A request as people are shown it: `path` may be an address, `body` is one text where it is a file. What
    only the vendor's answer tells, and what is of a picture, stands as its name in braces."""

    purpose: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any

    @classmethod
    def of(cls, purpose: str, sending: Sending, values: Mapping[str, Any]) -> Sample:
        filled = sending.filled({**_NAMED, **values})
        files = {file.field: "{file}" for file in filled["files"]}
        body = files.get("") or ({**filled["body"], **files} if files else filled["body"])
        path = sending.request.shown(str(values["model"]))
        return cls(purpose, filled["method"], path, filled["headers"], body)


_NAMED: dict[str, Any] = {
    **{name: f"{{{name}}}" for name in ("uuid", *UPLOAD_INPUTS)},
    "file": FormFile("", "{name}", "{mime}", Slice.of(b"")),
    "task": {name: f"{{task.{name}}}" for name in TASK_FIELDS},
}


def read_sending(section: Mapped, scope: Scope) -> Sending | None:
    """None if there is no request line, as in a partial section. `raw: true` sends `$file` alone."""
    request = section.take("request", read_request_line, None)
    given = [name for name in BODIES if name in section]
    raw = section.data.get("raw") is True
    if len(given) + raw > 1:
        both = " and ".join([*given, *["raw"] * raw])
        section.problems.add("E106", section.where, f"{shown(section.where)} has both {both}", "keep one")
    if request and request.method == "GET" and (given or "files" in section):
        name = (*given, "files")[0]
        where = (*section.where, name)
        section.problems.add("E103", where, f"{shown(where)}: a GET sends no body", "put it into the path")
    place = given[0] if given else "body"
    headers = _templates(section, "headers", scope)
    files = _templates(section, "files", scope)
    if raw:
        files = {"": parse("$file", (*section.where, "raw"), scope, section.problems)}
    body = parse(section.data.get(place, {}), (*section.where, place), scope, section.problems)
    if place != "body" and not isinstance(section.data.get(place, {}), Mapping):
        where = (*section.where, place)
        section.problems.add("E103", where, f"{shown(where)} must be a mapping of fields")
    encoding: Encoding = "raw" if raw else BODIES[place]
    if request is None:
        return None
    tabled = {name: frozenset(rows) for name, rows in scope.tabled.items() if name not in scope.whole}
    return Sending(request, headers, body, encoding, files, frozenset(scope.used), tabled=tabled)


def _templates(section: Mapped, key: str, scope: Scope) -> dict[str, Node]:
    where, data = (*section.where, key), section.data.get(key, {})
    if not isinstance(data, Mapping):
        section.problems.add("E103", where, f"{shown(where)} must be a mapping of keys")
        return {}
    return {str(name): parse(value, (*where, name), scope, section.problems) for name, value in data.items()}


def _files(files: Mapping[str, Node], values: Mapping[str, Any]) -> tuple[FormFile, ...]:
    """The files of a multipart call, each under the field that the profile names."""
    found = []
    for name, node in files.items():
        value = node.render(values)
        items = value if isinstance(value, list) else [] if value is ABSENT else [value]
        found += [FormFile(name, item.filename, item.mime, item.data) for item in items]
    return tuple(found)
