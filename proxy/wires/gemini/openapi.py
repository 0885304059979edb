"""The OpenAPI form of a schema, for `parameters` and `responseSchema`.

Those are a typed proto, in which one unknown key refuses the whole request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from proxy.errors import RequestError
from proxy.types import Json
from proxy.wires.gemini import cycles, free_objects
from proxy.wires.gemini.budget import Budget, check_depth
from proxy.wires.gemini.definitions import PREFIX
from proxy.wires.gemini.law import describe
from proxy.wires.gemini.schema import object_root, simplified

_ANY = ("string", "number", "integer", "boolean", "array", "object")

# The simple ones of the 22 fields of Google's v1beta proto `Schema`: the values they take, and the types of
# schema they mean something for. `type format enum items properties required anyOf propertyOrdering
# nullable` are converted one by one below; `title` is never sent (python-genai #1732).
_FIELDS: dict[str, tuple[tuple[type, ...], tuple[str, ...]]] = {
    "description": ((str,), _ANY),
    "example": ((object,), _ANY),
    "default": ((object,), _ANY),
    "minItems": ((int,), ("array",)),
    "maxItems": ((int,), ("array",)),
    "minProperties": ((int,), ("object",)),
    "maxProperties": ((int,), ("object",)),
    "minimum": ((int, float), ("number", "integer")),
    "maximum": ((int, float), ("number", "integer")),
    "minLength": ((int,), ("string",)),
    "maxLength": ((int,), ("string",)),
    "pattern": ((str,), ("string",)),
}
_FORMATS = {
    "string": ("enum", "date-time"),
    "integer": ("int32", "int64"),
    "number": ("float", "double"),
}
_IMPLIED_TYPES = {
    "properties": "object",
    "additionalProperties": "object",
    "items": "array",
    "prefixItems": "array",
    "minimum": "number",
    "maximum": "number",
}
_CUT: Json = {"type": "object", "description": cycles.AGAIN}

# litellm: so much enum text per request is accepted for integers; larger sums are refused.
_MAX_INTEGER_ENUM_TEXT = 2_000


class OpenApi:
    """Converts the schemas of one request.

    `integer_enums`: the model takes `type: integer` with an enum of strings. `ordering`: add
    `propertyOrdering` from the order of the keys.
    """

    def __init__(
        self, *, integer_enums: bool = False, ordering: bool = False, budget: Budget | None = None
    ) -> None:
        self._integer_enums = integer_enums
        self._ordering = ordering
        self._budget = budget or Budget()
        self._enum_text = 0
        self._definitions: Json = {}

    def parameters(self, schema: Json) -> Json:
        """The parameters of a function. Raises `RequestError` where they are no object, or as `schema`."""
        root = simplified(schema, self._budget)
        open_references = (root["$ref"],) if "$ref" in root else ()
        return self._root(object_root(root, self._budget), open_references)

    def schema(self, schema: Json) -> Json:
        """Convert. Raises `RequestError` if it is nested too deeply or too large."""
        return self._root(simplified(schema, self._budget), ())

    def _root(self, root: Json, open_references: tuple[str, ...]) -> Json:
        self._definitions = root.get("$defs", {})
        try:
            return self._convert(root, open_references, 1)
        except RecursionError as exc:
            raise RequestError("The JSON Schema is nested too deeply.") from exc

    def _convert(self, node: Mapping[str, Any], open_references: tuple[str, ...], level: int) -> Json:
        """Convert a node; `open_references` are the ones it is being written out under, `level` counts the
        brackets around it."""
        resolved, open_references = self._resolved(node, open_references)
        if resolved is None:
            resolved = {**_CUT, **({"description": node["description"]} if "description" in node else {})}
        return self._convert_resolved(_with_one_type(resolved), open_references, level)

    def _convert_resolved(self, node: Json, open_references: tuple[str, ...], level: int) -> Json:
        check_depth(level)
        self._budget.pay_for(node)
        if isinstance(node.get("anyOf"), list):
            return self._union(node, open_references, level)
        return self._single(node, open_references, level)

    def _resolved(
        self, node: Mapping[str, Any], open_references: tuple[str, ...]
    ) -> tuple[Json | None, tuple[str, ...]]:
        """Put what a reference points at in its place; None inside itself."""
        found = dict(node)
        while isinstance(found.get("$ref"), str):
            reference = found["$ref"]
            if reference in open_references:
                return None, open_references
            self._budget.spend(1 + len(open_references) // 10)
            open_references = (*open_references, reference)
            described = {"description": found["description"]} if found.get("description") else {}
            found = {**self._definitions[reference.removeprefix(PREFIX)], **described}
        return found, open_references

    def _union(self, node: Json, open_references: tuple[str, ...], level: int) -> Json:
        """A node with `anyOf` keeps only that: what stands beside it goes into the branches."""
        beside = {key: value for key, value in node.items() if key not in ("anyOf", "nullable", "$defs")}
        choices = [choice for choice in node["anyOf"] if choice.get("type") != "null"]
        nullable = node.get("nullable") is True or len(choices) < len(node["anyOf"])
        if len(choices) > 1:
            beside.pop("default", None)
        branches: dict[str, Json] = {}
        for choice in choices or [{}]:
            resolved, inside = self._resolved(choice, open_references)
            merged = _with_one_type(
                _beside(_CUT if resolved is None else resolved, beside, only=len(choices) == 1)
            )
            branch = self._convert_resolved(merged, inside, level + 2)
            for one in branch.get("anyOf", [branch]):
                if nullable:
                    one["nullable"] = True
                text = json.dumps(one, sort_keys=True)
                self._budget.spend(1 + len(text) // 1000)
                branches.setdefault(text, one)
        found = list(branches.values())
        return found[0] if len(found) == 1 else {"anyOf": found}

    def _single(self, node: Json, open_references: tuple[str, ...], level: int) -> Json:
        kind = _kind(node)
        if kind == "object" and not node.get("properties") and level > 1:
            return free_objects.as_text(node)
        converted: Json = {"type": kind}
        if node.get("nullable") is True:
            converted["nullable"] = True
        for key, (types, kinds) in _FIELDS.items():
            if key in node and kind in kinds and _is_one_of(node[key], types):
                converted[key] = node[key]
        form = node.get("format")
        if form in _FORMATS.get(kind, ()):
            converted["format"] = form
        elif kind == "string" and isinstance(form, str):
            describe(converted, f"Format: {form}")
        if kind == "object":
            self._object(converted, node, open_references, level)
        elif kind == "array":
            self._array(converted, node, open_references, level)
        if node.get("enum"):
            self._enum(converted, node["enum"])
        return converted

    def _object(self, converted: Json, node: Json, open_references: tuple[str, ...], level: int) -> None:
        properties = node.get("properties")
        if not properties:
            return
        converted["properties"] = {
            name: self._convert(schema, open_references, level + 2) for name, schema in properties.items()
        }
        for key in ("required", "propertyOrdering"):
            names = node.get(key)
            if isinstance(names, list):
                names = [name for name in names if isinstance(name, str) and name in properties]
                if names:
                    converted[key] = names
        if self._ordering:
            converted.setdefault("propertyOrdering", list(properties))

    def _array(self, converted: Json, node: Json, open_references: tuple[str, ...], level: int) -> None:
        items = node.get("items")
        tuple_items = node.get("prefixItems")
        if tuple_items:
            converted.setdefault("minItems", len(tuple_items))
            if not items:
                converted.setdefault("maxItems", len(tuple_items))
            items = {"anyOf": [*tuple_items, items] if items else tuple_items}
        converted["items"] = self._convert(items or {"type": "string"}, open_references, level + 1)

    def _enum(self, converted: Json, values: list[Any]) -> None:
        """The proto holds strings only; other values are described (a model told "1" answers "1" for 1)."""
        kind = converted["type"]
        texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
        if kind == "string" and all(isinstance(value, str) for value in values):
            converted["enum"] = texts
        elif kind == "integer" and self._integer_enums and all(_is_exact(value) for value in values):
            self._enum_text += sum(map(len, texts))
            if self._enum_text <= _MAX_INTEGER_ENUM_TEXT:
                converted["enum"] = texts
        if "enum" not in converted:
            describe(converted, f"Allowed values: {', '.join(texts)}")


def _with_one_type(node: Json) -> Json:
    """`["string", "null"]` is a nullable string, several types are a choice."""
    types = ["null"] if node.get("type") == "null" else node.get("type")
    if not isinstance(types, list):
        return node
    kinds = [kind for kind in types if isinstance(kind, str) and kind.lower() != "null"]
    rest = {key: value for key, value in node.items() if key != "type"}
    if len(kinds) < len(types):
        rest["nullable"] = True
    if "anyOf" in rest or not kinds:
        return rest
    if len(kinds) == 1:
        return {**rest, "type": kinds[0]}
    return {**rest, "anyOf": [{"type": kind} for kind in kinds]}


def _beside(choice: Json, beside: Json, *, only: bool) -> Json:
    """A branch with its surroundings; the only branch takes over their words, one of many keeps its own."""
    merged = {**choice, **beside} if only else {**beside, **choice}
    if isinstance(choice.get("properties"), Mapping) and isinstance(beside.get("properties"), Mapping):
        merged["properties"] = {**beside["properties"], **choice["properties"]}
    if isinstance(choice.get("required"), list) and isinstance(beside.get("required"), list):
        merged["required"] = list(dict.fromkeys([*beside["required"], *choice["required"]]))
    return merged


def _kind(node: Json) -> str:
    """The type of a node, worked out where it is not written."""
    kind = node.get("type")
    if isinstance(kind, str):
        return kind.lower() if kind.lower() in _ANY else "string"
    for key, implied in _IMPLIED_TYPES.items():
        if key in node:
            return implied
    values = node.get("enum") or [""]
    for implied, test in (("boolean", _is_bool), ("integer", _is_whole), ("number", _is_number)):
        if all(test(value) for value in values):
            return implied
    return "string"


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_exact(value: Any) -> bool:
    """An integer, or its text, that a double holds exactly."""
    if isinstance(value, str):
        return value.removeprefix("-").isdecimal() and len(value) < 16
    return _is_whole(value) and abs(value) <= 2**53


def _is_one_of(value: Any, types: tuple[type, ...]) -> bool:
    return isinstance(value, types) and (object in types or not isinstance(value, bool))
