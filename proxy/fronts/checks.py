"""Checks of single JSON values, for every front: all raise `RequestError` that names the field."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from proxy.errors import RequestError
from proxy.fronts.base import Form
from proxy.types import Json, Slice

Check = Callable[[Any, str], Any]

# What every JSON library on the way can write; some end at 64 bits, some at a depth of 254.
INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1
DEPTH_MAX = 200
_LONGEST_NUMBER = len(str(INTEGER_MIN))

_KINDS: dict[type, str] = {
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    str: "a string",
    Slice: "a string",
    list: "an array",
    dict: "an object",
    type(None): "null",
    Form: "a form",
}


def kind(value: Any) -> str:
    return _KINDS.get(type(value), type(value).__name__)


def invalid_type(path: str, expected: str, value: Any) -> RequestError:
    return RequestError(
        f"Invalid type for '{path}': expected {expected}, but got {kind(value)} instead.",
        param=path,
        code="invalid_type",
    )


def invalid_value(path: str, value: Any, supported: Collection[str] = ()) -> RequestError:
    shown = repr(value[:80]) if isinstance(value, str) else kind(value)
    listed = f" Supported values are: {', '.join(map(repr, supported))}." if supported else ""
    return RequestError(f"Invalid value for '{path}': {shown}.{listed}", param=path, code="invalid_value")


def invalid(path: str, sentence: str, code: str = "invalid_value") -> RequestError:
    return RequestError(f"Invalid '{path}': {sentence}", param=path, code=code)


def missing(path: str) -> RequestError:
    return RequestError(
        f"Missing required parameter: '{path}'.", param=path, code="missing_required_parameter"
    )


def model_of(body: Any) -> str:
    """The name of the model that a body asks for."""
    if not isinstance(body, dict):
        raise no_object(body)
    name = body.get("model")
    return plain if type(name) is str and (plain := name.strip()) else model(name, "model")


def no_object(body: Any) -> RequestError:
    return RequestError(
        f"The request body must be a JSON object, but it is {kind(body)}.", code="invalid_type"
    )


def model(name: Any, path: str) -> str:
    if type(name) is str and (plain := name.strip()):
        return plain
    return required_string(name.strip() if isinstance(name, str) else name, path)


def string(value: Any, path: str) -> str:
    """A string that may be long base64 all the same."""
    if isinstance(value, str):
        return value
    if isinstance(value, Slice):
        return str(value)
    raise invalid_type(path, "a string", value)


def required_string(value: Any, path: str) -> str:
    if type(value) is str and value:
        return value
    if value is None:
        raise missing(path)
    text = string(value, path)
    if not text:
        raise invalid(path, "empty string.", "empty_string")
    return text


def given(holder: Json, name: str, path: str, check: Check = string) -> Any:
    """A member that may be absent: None where it is."""
    value = holder.get(name)
    return None if value is None else check(value, f"{path}.{name}")


def boolean(value: Any, path: str) -> bool:
    if value is True or value is False:
        return bool(value)
    raise invalid_type(path, "a boolean", value)


def mapping(value: Any, path: str) -> Json:
    if isinstance(value, dict):
        return value
    raise invalid_type(path, "an object", value)


def array(value: Any, path: str) -> list[Any]:
    if isinstance(value, list):
        return value
    raise invalid_type(path, "an array", value)


def strings(value: Any, path: str) -> list[str]:
    return [string(item, f"{path}[{index}]") for index, item in enumerate(array(value, path))]


def objects(value: Any, path: str) -> list[Json]:
    for index, item in enumerate(array(value, path)):
        if not isinstance(item, dict):
            raise invalid_type(f"{path}[{index}]", "an object", item)
    return list(value)


def carried(value: Any, path: str) -> Any:
    """A value that goes on as it is, if it can be written again: neither too deep nor beyond 64 bits."""
    if type(value) is int:
        _within(value, path, INTEGER_MIN, INTEGER_MAX, "integer")
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEPTH_MAX):
        if not level:
            return value
        inner: list[Any] = []
        for holder in level:
            for item in holder.values() if isinstance(holder, dict) else holder:
                if isinstance(item, dict | list):
                    inner.append(item)
                elif type(item) is int:
                    _within(item, path, INTEGER_MIN, INTEGER_MAX, "integer")
        level = inner
    if level:
        raise invalid(path, f"nested deeper than {DEPTH_MAX} levels.", "nested_too_deep")
    return value


def integer(low: int = INTEGER_MIN, high: int = INTEGER_MAX) -> Callable[[Any, str], int]:
    """A whole number that every JSON library on the way can write."""

    def check(value: Any, path: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            # JSON has one kind of number; some clients write 64.0.
            if not isinstance(value, float) or not value.is_integer():
                raise invalid_type(path, "an integer", value)
            value = int(value)
        return value if low <= value <= high else int(_within(value, path, low, high, "integer"))

    return check


def numbered(said: str, low: int = INTEGER_MIN, high: int = INTEGER_MAX) -> int | None:
    """The whole number that a text says, None where it says none within these bounds. `int` reads more than
    it should, and fails on what is too long."""
    if not (said.isascii() and said.removeprefix("-").isdecimal() and len(said) <= _LONGEST_NUMBER):
        return None
    return value if low <= (value := int(said)) <= high else None


def number(low: float, high: float) -> Callable[[Any, str], float]:
    def check(value: Any, path: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise invalid_type(path, "a decimal", value)
        return value if low <= value <= high else _within(value, path, low, high, "decimal")

    return check


def one_of(*words: str) -> Check:
    def check(value: Any, path: str) -> str:
        if not isinstance(value, str):
            raise invalid_type(path, f"one of {', '.join(map(repr, words))}", value)
        if value not in words:
            raise invalid_value(path, value, words)
        return value

    return check


def _within(value: float, path: str, low: float, high: float, sort: str) -> float:
    if not value >= low:
        sentence = f"{sort} below minimum value. Expected a value >= {low}, but got {value} instead."
        raise invalid(path, sentence, f"{sort}_below_min_value")
    if not value <= high:
        sentence = f"{sort} above maximum value. Expected a value <= {high}, but got {value} instead."
        raise invalid(path, sentence, f"{sort}_above_max_value")
    return value
