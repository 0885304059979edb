"""Reads a body as the service's proto3 JSON parser does: names, types, enums, base64; nothing about meaning.

What Google was recorded to accept beside the documented form is accepted: enum words in any case and as
numbers, one object for a list, a list inside a list, null for absent.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from typing import Any

from proxy.simulators.gemini.errors import Refused
from proxy.simulators.gemini.fields import ENUMS, MESSAGES, PART_DATA, SPELLINGS, snake

_PACKAGE = "type.googleapis.com/google.ai.generativelanguage.v1beta"
_PROTO_TYPES = {
    "string": "TYPE_STRING",
    "bool": "TYPE_BOOL",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "double": "TYPE_FLOAT",
    "bytes": "TYPE_BYTES",
    "duration": "type.googleapis.com/google.protobuf.Duration",
    "struct": "type.googleapis.com/google.protobuf.Struct",
}
_LIMITS = {"int32": 2**31, "int64": 2**63}
_DURATION = re.compile(r"-?\d+(\.\d{1,9})?s")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]*={0,2}")
_SHOWN = 64


def read(value: Any, message: str) -> dict[str, Any]:
    """The body with camelCase names and upper-case enum words; base64 fields stay text. Raises `Refused`."""
    reader = _Reader()
    result = reader.message(value, message, "")
    if reader.violations:
        raise Refused(
            "\n".join(text for _, text in reader.violations),
            details=[
                {
                    "@type": "type.googleapis.com/google.rpc.BadRequest",
                    "fieldViolations": [
                        {"field": place, "description": text} if place else {"description": text}
                        for place, text in reader.violations
                    ],
                }
            ],
        )
    return result


def decoded(text: str) -> bytes | None:
    """Standard or URL-safe base64, padded or not, as proto3 JSON takes it; None when it is neither."""
    raw = text.encode("ascii", "replace")
    if not _BASE64.fullmatch(raw):
        return None
    raw = raw.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return base64.b64decode(raw + b"=" * (-len(raw) % 4))
    except binascii.Error:
        return None


class _Reader:
    def __init__(self) -> None:
        self.violations: list[tuple[str, str]] = []

    def wrong(self, place: str, kind: str, value: Any) -> None:
        shown = f'"{value[:_SHOWN]}"' if isinstance(value, str) else str(value)[:_SHOWN]
        self.violations.append((place, f"Invalid value at '{place}' ({kind}), {shown}"))

    def message(self, value: Any, message: str, place: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.wrong(place, f"{_PACKAGE}.{message}", value)
            return {}
        fields, spellings = MESSAGES[message], SPELLINGS[message]
        result: dict[str, Any] = {}
        for given, inner in value.items():
            name = spellings.get(given)
            if name is None:
                where = f" at '{place}'" if place else ""
                text = f'Invalid JSON payload received. Unknown name "{given}"{where}: Cannot find field.'
                self.violations.append((place, text))
            elif inner is not None:
                inside = f"{place}.{snake(name)}" if place else snake(name)
                if name in result:
                    text = f"Invalid value at '{place}' (oneof), field '{snake(name)}' is already set."
                    self.violations.append((place, text))
                result[name] = self.field(inner, fields[name], inside)
        if message == "Part":
            self.one_of(result, place)
        return result

    def one_of(self, part: dict[str, Any], place: str) -> None:
        _, *others = [name for name in part if name in PART_DATA] or [""]
        for name in others:
            text = f"oneof field 'data' is already set. Cannot set '{name}'"
            self.violations.append((place, f"Invalid value at '{place}' (oneof), {text}"))

    def field(self, value: Any, kind: str, place: str) -> Any:
        if kind.startswith("["):
            return self.repeated(value, kind[1:-1], place)
        if kind.startswith("{"):
            if not isinstance(value, dict):
                self.wrong(place, "map", value)
                return {}
            return {
                name: self.field(inner, kind[1:-1], f"{place}[{index}].value")
                for index, (name, inner) in enumerate(value.items())
            }
        if kind.startswith("enum "):
            return self.enum(value, kind[5:], place)
        if kind in MESSAGES:
            return self.message(value, kind, place)
        if kind != "any" and not _fits(value, kind):
            if kind == "bytes" and isinstance(value, str):
                text = f'Base64 decoding failed for "{value[:_SHOWN]}"'
                self.violations.append((place, f"Invalid value at '{place}' (TYPE_BYTES), {text}"))
            else:
                self.wrong(place, _PROTO_TYPES[kind], value)
        if kind in _LIMITS and isinstance(value, str | float) and _fits(value, kind):
            return int(value)
        return value

    def repeated(self, value: Any, kind: str, place: str) -> list[Any]:
        if isinstance(value, dict) and kind in MESSAGES:
            return [self.field(value, kind, place)]
        if not isinstance(value, list):
            self.wrong(place, f"repeated {_PROTO_TYPES.get(kind, kind)}", value)
            return []
        flat = [inner for each in value for inner in (each if isinstance(each, list) else [each])]
        return [self.field(each, kind, f"{place}[{index}]") for index, each in enumerate(flat)]

    def enum(self, value: Any, name: str, place: str) -> Any:
        words = ENUMS[name]
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(words):
            return words[value]
        known = {word.lower(): word for word in words}
        if isinstance(value, str) and value.lower() in known:
            return known[value.lower()]
        self.wrong(place, f"{_PACKAGE}.{name}", value)
        return words[0]


def _fits(value: Any, kind: str) -> bool:
    if kind in ("string", "bool", "struct"):
        return isinstance(value, {"string": str, "bool": bool, "struct": dict}[kind])
    if kind == "bytes":
        return isinstance(value, str) and decoded(value) is not None
    if kind == "duration":
        return isinstance(value, str) and _DURATION.fullmatch(value) is not None
    if isinstance(value, bool):
        return False
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        return False
    if kind == "double":
        return math.isfinite(number)
    return number.is_integer() and -_LIMITS[kind] <= number < _LIMITS[kind]
