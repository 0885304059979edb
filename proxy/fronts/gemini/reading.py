"""A native body has every field in two spellings, camelCase and snake_case, and numbers also as text (N-004).

What nobody here understands is kept by its path, as the client wrote it: Google does understand it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from proxy.codec import jsonio
from proxy.errors import RequestError
from proxy.fronts import checks
from proxy.types import Json

DIALECT = "gemini"

_NAMES_MAX = 64
_NAME_CHARS_MAX = 200
_SILENT: tuple[object, ...] = (None, "", [], {})  # zero and no are answers


@dataclass(slots=True)
class Reading:
    """A request in the making: its attributes, and what has none, by its path."""

    request: Json = field(default_factory=dict)
    foreign: Json = field(default_factory=dict)

    def strange(self, path: str, value: Any) -> None:
        """Keep what asks for something; at most `_NAMES_MAX` of them."""
        if value not in _SILENT and len(self.foreign) < _NAMES_MAX:
            self.foreign.setdefault(path[:_NAME_CHARS_MAX], value)

    def others(self, holder: Json, path: str, known: frozenset[str]) -> None:
        """Keep what is not `known` of the object at `path`."""
        if holder.keys() <= known:
            return
        for name, written, value in members(holder):
            if name not in known:
                self.strange(f"{path}.{written}", value)


def camel(name: str) -> str:
    return _camel(name) if len(name) <= _NAME_CHARS_MAX else _camel.__wrapped__(name)


@lru_cache(maxsize=4096)
def _camel(name: str) -> str:
    first, *rest = name.split("_") if "_" in name.strip("_") else (name,)
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def members(holder: Json) -> Iterator[tuple[str, str, Any]]:
    """Its name in camelCase, as it was written, and the value, of each member that has one."""
    for written, value in holder.items():
        if value is not None:
            yield (camel(written) if "_" in written else written), written, value


def member(holder: Json, name: str) -> Any:
    """The member of that name, in whichever spelling; None if there is none."""
    value = holder.get(name)
    return value if value is not None else holder.get(_snake(name))


@lru_cache(maxsize=256)
def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def listed(value: Any, path: str) -> list[Json]:
    """A list of objects, or the one object that clients write in its place (N-005)."""
    if isinstance(value, dict):
        return [value]
    if isinstance(value, list) and set(map(type, value)) == {dict}:
        return value
    return checks.objects(value, path)


def word(value: Any) -> str:
    """An enumerated value in upper case, whichever the client's (N-005); empty for none."""
    return value.upper() if isinstance(value, str) else ""


def number(value: Any, path: str) -> float:
    if isinstance(value, str):  # proto3's JSON has numbers as text too
        try:
            value = float(value)
        except ValueError:
            raise checks.invalid_type(path, "a decimal", value) from None
    return checks.number(-1e300, 1e300)(value, path)


def integer(value: Any, path: str) -> int:
    if isinstance(value, str) and (number := checks.numbered(value.strip())) is not None:
        value = number
    return checks.integer()(value, path)


def text_of(value: Any, path: str) -> str:
    """A value as compact JSON. Raises `RequestError` for what JSON has no form for."""
    try:
        return b"".join(jsonio.dumps(value)).decode()
    except jsonio.JSONEncodeError as error:
        raise RequestError(f"Invalid '{path}': {error}.", param=path, code="invalid_value") from None
