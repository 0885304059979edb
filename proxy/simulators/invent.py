"""Values that fit a schema or a form, and which functions a prompt asks for. The same for the same prompt.

Reads both JSON Schema and the OpenAPI form with upper-case types.
"""

from __future__ import annotations

import json
import re
from typing import Any

Json = dict[str, Any]

_LONGEST = 10_000  # of texts and lists, whatever is asked for
_DEEPEST = 5
_STRINGS = {
    "date-time": "2026-11-21T12:00:00Z",
    "date": "2026-11-21",
    "time": "12:00:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
    "hostname": "example.com",
    "duration": "PT1H",
}
_COMMON = frozenset(
    ("get", "set", "find", "list", "make", "call", "tool", "current", "function", "with", "from")
)
_FORM = "JSON format: "
_ASKS = re.compile(r"\b(call|use|run|invoke)\b.*\b(tool|function)s?\b", re.IGNORECASE | re.DOTALL)
_NAMES = re.compile(r"(?<![.!?\n] )(?<!^)\b[A-Z][a-zà-ÿ]+(?: [A-Z][a-zà-ÿ]+)*")


def value_for(schema: Any, *, hint: str = "", number: int = 0) -> Any:
    """A value of this schema. `hint` is the prompt, whose proper names fill strings; `number` varies them."""
    return _Inventor(schema, hint, number).value(schema, "value", 0)


def formed(prompt: str) -> str | None:
    """The object that a prompt shows behind `JSON format:`, as chat UIs ask for titles and tags in words."""
    _, found, rest = prompt.partition(_FORM)
    try:
        return rest[: json.JSONDecoder().raw_decode(rest)[1]] if found else None
    except ValueError:
        return None


class _Inventor:
    def __init__(self, root: Any, hint: str, number: int) -> None:
        self.root = root
        self.names = _NAMES.findall(hint)
        self.number = number

    def value(self, schema: Any, name: str, depth: int) -> Any:
        if not isinstance(schema, dict):
            return f"{name} {self.number + 1}"
        schema = self.resolved(schema)
        for fixed in ("const", "default", "example"):
            if fixed in schema:
                return schema[fixed]
        if schema.get("enum"):
            return self.chosen(schema)
        branches = schema.get("anyOf") or schema.get("oneOf")
        if branches and "properties" not in schema:
            usable = [each for each in branches if _kind(self.resolved(each)) != "null"] or branches
            return self.value(usable[0], name, depth)
        make = getattr(self, f"_{_kind(schema)}", self._string)
        return make(schema, name, depth)

    def chosen(self, schema: Json) -> Any:
        word = schema["enum"][self.number % len(schema["enum"])]
        return int(word) if _kind(schema) == "integer" and isinstance(word, str) else word

    def resolved(self, given: Any) -> Json:
        """With `$ref` followed and `allOf` merged."""
        schema: Json = given if isinstance(given, dict) else {}
        seen = 0
        while "$ref" in schema and seen < 20:
            node: Any = self.root
            for step in str(schema["$ref"]).removeprefix("#").strip("/").split("/"):
                key = step.replace("~1", "/").replace("~0", "~")
                node = node if not step else node.get(key) if isinstance(node, dict) else None
            node = node if isinstance(node, dict) else {}
            schema, seen = {**node, **{k: v for k, v in schema.items() if k != "$ref"}}, seen + 1
        if "allOf" not in schema:
            return schema
        merged = {name: value for name, value in schema.items() if name != "allOf"}
        for each in map(self.resolved, schema["allOf"]):
            properties = {**merged.get("properties", {}), **each.get("properties", {})}
            required = [*merged.get("required", ()), *each.get("required", ())]
            merged = {**merged, **each}
            merged |= ({"properties": properties} if properties else {}) | (
                {"required": required} if required else {}
            )
        return merged

    def _object(self, schema: Json, name: str, depth: int) -> Json:
        required = schema.get("required") or ()
        return {
            key: self.value(inner, key, depth + 1)
            for key, inner in (schema.get("properties") or {}).items()
            if inner is not False and (key in required or depth < _DEEPEST)
        }

    def _array(self, schema: Json, name: str, depth: int) -> list[Any]:
        first = [self.value(each, name, depth + 1) for each in schema.get("prefixItems", ())]
        least = min(int(schema.get("minItems", 0)), _LONGEST)
        if depth >= _DEEPEST and not least:
            return first
        most = int(schema.get("maxItems", max(1, least)))
        wanted = max(least, min(1, most)) - len(first)
        items = schema.get("items")
        if isinstance(items, list):
            return [self.value(each, name, depth + 1) for each in items]
        return first + [
            self.value(items, name, depth + 1) for _ in range(wanted if items is not False else 0)
        ]

    def _string(self, schema: Json, name: str, depth: int) -> str:
        text = _STRINGS.get(schema.get("format", ""))
        if text is None:
            text = self.names[self.number % len(self.names)] if self.names else f"{name} {self.number + 1}"
        least, most = min(int(schema.get("minLength", 0)), _LONGEST), schema.get("maxLength")
        text = text.ljust(least, "x")
        return text if most is None else text[: int(most)]

    def _number(self, schema: Json, name: str, depth: int) -> float:
        return self._bounded(schema, 1.5)

    def _integer(self, schema: Json, name: str, depth: int) -> int:
        return int(self._bounded(schema, self.number + 1, whole=True))

    def _bounded(self, schema: Json, wish: float, *, whole: bool = False) -> float:
        step = schema.get("multipleOf") or (1 if whole else 0.5)
        low, high = schema.get("minimum"), schema.get("maximum")
        below, above = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
        if isinstance(below, int | float) and not isinstance(below, bool):
            low = max(below + step, low if low is not None else below + step)
        if isinstance(above, int | float) and not isinstance(above, bool):
            high = min(above - step, high if high is not None else above - step)
        value = wish
        if high is not None:
            value = min(value, high)
        if low is not None:
            value = max(value, low)
        if "multipleOf" in schema:
            value = -(-value // step) * step
        return -(-value // 1) if whole else value

    def _boolean(self, schema: Json, name: str, depth: int) -> bool:
        return True

    def _null(self, schema: Json, name: str, depth: int) -> None:
        return None


def _kind(schema: Json) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    if kind in (None, "TYPE_UNSPECIFIED"):
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind).lower()


def wanted(prompt: str, names: list[str]) -> list[str]:
    """The declared functions a prompt asks for: named in it, or sharing a telling word with it."""
    lower = prompt.lower()
    found = [
        name for name in names if name.lower() in lower or _telling(name) & set(re.findall(r"\w+", lower))
    ]
    return found or (names[:1] if _ASKS.search(prompt) else [])


def _telling(name: str) -> set[str]:
    words = re.split(r"[^a-z0-9]+", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower())
    return {word for word in words if len(word) >= 4 and word not in _COMMON}
