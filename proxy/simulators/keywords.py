"""Whether the keywords of a JSON Schema hold what they have to; a real server refuses what it cannot read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def misplaced(schema: Any) -> str | None:
    """The path of the first keyword that holds another kind of value than it has to, as in
    `.properties[a].type`; "" for a schema that is none at all, None where all is well."""
    waiting: list[tuple[Any, str]] = [(schema, "")]
    while waiting:
        one, path = waiting.pop()
        if isinstance(one, bool):
            continue
        if not isinstance(one, dict):
            return path
        for name, value in one.items():
            is_right = _RIGHT.get(name)
            if is_right is not None and not is_right(value):
                return f"{path}.{name}"
        for name in _NAMED & one.keys():
            waiting += ((inner, f"{path}.{name}[{key}]") for key, inner in one[name].items())
        for name in _LISTED & one.keys():
            waiting += ((inner, f"{path}.{name}[{index}]") for index, inner in enumerate(one[name]))
        for name in _SINGLE & one.keys():
            inner = one[name]
            waiting += ((each, f"{path}.{name}") for each in (inner if isinstance(inner, list) else [inner]))
    return None


_NAMED = frozenset({"properties", "$defs", "definitions", "patternProperties"})
_LISTED = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_SINGLE = frozenset({"items", "additionalProperties"})
_NUMBERS = frozenset({"minimum", "maximum", "multipleOf"})
_COUNTS = frozenset({"minItems", "maxItems", "minLength", "maxLength"})
_TEXTS = frozenset({"$ref", "format", "description", "pattern"})


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


_RIGHT: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(_NAMED, _is_object),
    **dict.fromkeys(_LISTED | {"enum"}, _is_list),
    **dict.fromkeys(_NUMBERS, _is_number),
    **dict.fromkeys(_COUNTS, _is_count),
    **dict.fromkeys(_TEXTS, _is_text),
    "required": _are_texts,
    "type": lambda value: _is_text(value) or _are_texts(value),
}
