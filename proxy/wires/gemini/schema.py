"""JSON Schemas as the two schema fields of Gemini accept them.

`json_schema` prepares one for `parametersJsonSchema` and `responseJsonSchema`, which ignore what they do
not know; the stricter form for `parameters` and `responseSchema` is in `openapi.py`. Both go by position, so
a property called `format` or `title` survives, and leave their input unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from proxy.errors import RequestError
from proxy.types import Json

# Keys that describe no value, and constraints that Gemini refuses or misreads.
_DROPPED = frozenset(
    [
        "$schema",
        "$comment",
        "discriminator",
        "examples",
        "strict",
        "readOnly",
        "writeOnly",
        "deprecated",
        "contentEncoding",
        "contentMediaType",
        "title",
        "patternProperties",
        "propertyNames",
        "uniqueItems",
        "multipleOf",
        "not",
        "if",
        "then",
        "else",
        "dependentRequired",
        "dependentSchemas",
        "dependencies",
        "unevaluatedProperties",
        "unevaluatedItems",
        "contains",
        "minContains",
        "maxContains",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "const",
        "allOf",
        "oneOf",
        "definitions",
    ]
)
_BESIDE_REFERENCE = frozenset({"description", "title", "default", "$defs", "definitions"})
_STRING_FORMATS = frozenset({"date-time", "date", "time", "enum"})

# Merging writes references out in place; definitions that merge each other twice would grow exponentially.
_MAX_NODES = 5_000

_JSON_TYPES: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}


def json_schema(schema: Json) -> Json:
    """Clean a schema lightly; references stay. Raises `RequestError` if it is nested too deeply."""
    try:
        return _Cleaner(schema).clean(schema)
    except RecursionError as exc:
        raise RequestError("The JSON Schema is nested too deeply.") from exc


def is_empty(schema: Any) -> bool:
    """True for the parameters of a function that takes none, before or after cleaning."""
    if not isinstance(schema, Mapping):
        return True
    if schema.get("properties") or schema.get("type", "object") != "object":
        return False
    meaningful = {key for key in schema if key not in _DROPPED and not key.startswith("$")}
    meaningful -= {"type", "properties", "required", "description"}
    open_keys = schema.get("additionalProperties")
    if open_keys is not None and (open_keys is False or open_keys is True or open_keys == {}):
        meaningful.discard("additionalProperties")
    return not meaningful and "$ref" not in schema and not (schema.get("allOf") or schema.get("oneOf"))


class _Cleaner:
    """The light path. Holds the root, which references and `allOf` branches are looked up in."""

    def __init__(self, root: Json) -> None:
        self._root = root
        self._nodes = 0

    def clean(self, node: Any, merging: tuple[str, ...] = ()) -> Json:
        """Clean a node. `merging` are the references that are being merged into it."""
        self._nodes += 1
        if not isinstance(node, Mapping) or self._nodes > _MAX_NODES:
            return {}
        if node.get("allOf"):
            node, merging = self._merged(node, merging)
        if isinstance(node.get("$ref"), str):
            return self._reference(node, merging)
        cleaned: Json = {}
        for key, value in node.items():
            if key not in _DROPPED:
                self._carry(cleaned, key, value, merging)
        if isinstance(node.get("oneOf"), list):
            cleaned["anyOf"] = cleaned.get("anyOf", []) + self._branches(node["oneOf"], merging)
        if isinstance(node.get("definitions"), Mapping):
            cleaned["$defs"] = {**self._named(node["definitions"], merging), **cleaned.get("$defs", {})}
        if "const" in node:
            _apply_const(cleaned, node["const"])
        _apply_bounds(cleaned, node)
        _tidy_enum(cleaned)
        _tidy_required(cleaned)
        form = cleaned.get("format")
        if form is not None and cleaned.get("type", "string") == "string" and form not in _STRING_FORMATS:
            del cleaned["format"]
            describe(cleaned, f"Format: {form}")
        return cleaned

    def _carry(self, cleaned: Json, key: str, value: Any, merging: tuple[str, ...]) -> None:
        """Copy one keyword, cleaning what is a schema by position."""
        if key in ("properties", "$defs"):
            if isinstance(value, Mapping):
                cleaned[key] = self._named(value, merging)
        elif key in ("anyOf", "prefixItems") or (key == "items" and isinstance(value, list)):
            if isinstance(value, list):
                cleaned["anyOf" if key == "anyOf" else "prefixItems"] = self._branches(value, merging)
        elif key == "items":
            if value is not False:
                cleaned[key] = self.clean(value, merging)
        elif key == "additionalProperties":
            cleaned[key] = value if isinstance(value, bool) else self.clean(value, merging)
        else:
            cleaned[key] = value

    def _named(self, schemas: Mapping[str, Any], merging: tuple[str, ...]) -> Json:
        """Clean the values only: the keys are names, whatever they look like."""
        return {name: self.clean(schema, merging) for name, schema in schemas.items() if schema is not False}

    def _branches(self, schemas: list[Any], merging: tuple[str, ...]) -> list[Json]:
        return [self.clean(schema, merging) for schema in schemas if schema is not False]

    def _reference(self, node: Mapping[str, Any], merging: tuple[str, ...]) -> Json:
        """A reference may stand beside `$` keys only; a description is tolerated (gcli2api #374)."""
        reference = node["$ref"]
        if not reference.startswith("#"):
            return {}
        kept = {"$ref": reference.replace("#/definitions/", "#/$defs/", 1)}
        for name in ("$defs", "definitions"):
            if isinstance(node.get(name), Mapping):
                kept["$defs"] = {**kept.get("$defs", {}), **self._named(node[name], merging)}
        if isinstance(node.get("description"), str):
            kept["description"] = node["description"]
        return kept

    def _merged(self, node: Mapping[str, Any], merging: tuple[str, ...]) -> tuple[Json, tuple[str, ...]]:
        """The node with its `allOf` branches laid under its own keys."""
        branches = node["allOf"] if isinstance(node["allOf"], list) else []
        own = {key: value for key, value in node.items() if key != "allOf"}
        if len(branches) == 1 and isinstance(branches[0], Mapping) and not set(own) - _BESIDE_REFERENCE:
            # how older pydantic writes a described reference
            return {**branches[0], **own}, merging
        merged: Json = {}
        for branch in branches:
            while isinstance(branch, Mapping) and isinstance(branch.get("$ref"), str):
                reference = branch["$ref"]
                branch = {} if reference in merging else lookup(self._root, reference)
                merging = (*merging, reference)
            if isinstance(branch, Mapping):
                if branch.get("allOf"):
                    branch, merging = self._merged(branch, merging)
                _lay_over(merged, branch)
        _lay_over(merged, own)
        return merged, merging


def _lay_over(merged: Json, branch: Mapping[str, Any]) -> None:
    for key, value in branch.items():
        if key == "properties" and isinstance(merged.get(key), Mapping) and isinstance(value, Mapping):
            merged[key] = {**merged[key], **value}
        elif key == "required" and isinstance(merged.get(key), list) and isinstance(value, list):
            merged[key] = [*merged[key], *(name for name in value if name not in merged[key])]
        else:
            merged[key] = value


def lookup(root: Json, reference: str) -> Any:
    """What a local reference points at; `{}` if it points nowhere."""
    node: Any = root
    for step in reference.removeprefix("#").split("/")[1:]:
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(node, Mapping) and name in node:
            node = node[name]
        elif isinstance(node, list) and name.isdecimal() and len(name) < 6 and int(name) < len(node):
            node = node[int(name)]
        else:
            return {}
    return node if reference.startswith("#") else {}


def describe(node: Json, text: str) -> None:
    """Say in the description what the schema cannot."""
    before = node.get("description")
    if not isinstance(before, str):
        before = ""
    if text in before:
        return
    node["description"] = f"{before.rstrip('. ')}. {text}" if before else text


def _apply_const(cleaned: Json, value: Any) -> None:
    kind = _JSON_TYPES.get(type(value))
    if value is None:
        cleaned["type"] = "null"
        return
    cleaned["enum"] = [value]
    if kind and "type" not in cleaned:
        cleaned["type"] = kind


def _apply_bounds(cleaned: Json, node: Mapping[str, Any]) -> None:
    """Widen exclusive bounds to inclusive ones; for integers the next one inside is exact.

    Draft 4 wrote them as booleans beside the bound: there the bound stays.
    """
    whole = "integer" in _types(cleaned) and "number" not in _types(cleaned)
    for exclusive, inclusive, narrower, step in (
        ("exclusiveMinimum", "minimum", max, 1),
        ("exclusiveMaximum", "maximum", min, -1),
    ):
        bound = node.get(exclusive)
        if isinstance(bound, bool) or not isinstance(bound, int | float) or not math.isfinite(bound):
            continue
        if whole:
            bound = (math.floor(bound) if step > 0 else math.ceil(bound)) + step
        known = cleaned.get(inclusive)
        cleaned[inclusive] = narrower(bound, known) if isinstance(known, int | float) else bound


def _types(node: Mapping[str, Any]) -> list[str]:
    types = node.get("type")
    if isinstance(types, list):
        return [kind for kind in types if isinstance(kind, str)]
    return [types] if isinstance(types, str) else []


def _tidy_enum(cleaned: Json) -> None:
    """Remove what enums may not hold: the empty string is refused, null becomes a type."""
    values = cleaned.get("enum")
    if values is None:
        return
    if not isinstance(values, list):
        del cleaned["enum"]
        return
    kept = [value for value in values if value is not None and value != ""]
    if "" in values:
        describe(cleaned, "May be empty.")
    if None in values:
        types = _types(cleaned) or sorted({_JSON_TYPES.get(type(value), "string") for value in kept})
        cleaned["type"] = [*(kind for kind in types if kind != "null"), "null"]
    cleaned["enum"] = kept
    if not kept:
        del cleaned["enum"]


def _tidy_required(cleaned: Json) -> None:
    if "required" not in cleaned:
        return
    names, properties = cleaned["required"], cleaned.get("properties")
    if isinstance(names, list) and isinstance(properties, Mapping):
        names = [name for name in names if name in properties]
    if isinstance(names, list) and names:
        cleaned["required"] = names
    else:
        del cleaned["required"]
