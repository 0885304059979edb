"""Google's subset of OpenAPI as JSON Schema, for upstreams that read nothing else (N-006).

A schema in JSON Schema's own words comes out as it is, but for types that clients write in upper case there
too.
"""

from __future__ import annotations

from functools import lru_cache
from math import isfinite
from typing import Any

import orjson

from proxy.fronts import checks
from proxy.fronts.gemini.reading import camel, member
from proxy.types import Json

_REMEMBERED_BYTES = 16_384

# Below these keys stand names of the client's, each with a schema; below those schemas; below the last lists.
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_ONE = frozenset({"additionalProperties", "not", "contains", "propertyNames", "if", "then", "else"})
_SEVERAL = frozenset({"anyOf", "oneOf", "allOf", "prefixItems", "items"})  # of `items` there may be one

# Vertex writes them so in its subset of OpenAPI.
_VERTEX = {"ref": "$ref", "defs": "$defs"}
_VERTEX_PLACE = "#/defs/"

_COUNTS = frozenset({"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"})
_LIMITS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_NOT_THERE = frozenset({"propertyOrdering", "nullable"})  # said in other ways
_NUMBERS = ("integer", "number")
_EXACT = 2**53  # whole numbers above are none that a double holds
_NO_TYPE = "type_unspecified"


def json_schema(schema: Any, path: str) -> Json:
    """Raises `RequestError` for what is no schema, or nested too deeply."""
    checks.carried(checks.mapping(schema, path), path)
    try:
        dumped = orjson.dumps(schema)
    except TypeError:
        return _schema(schema)
    if len(dumped) > _REMEMBERED_BYTES:
        return _schema(schema)
    return _remembered(dumped)


@lru_cache(maxsize=512)
def _remembered(dumped: bytes) -> Json:
    """An agent sends the same tools every time."""
    return _schema(orjson.loads(dumped))


def _schema(schema: Json) -> Json:
    found: Json = {}
    for written, value in schema.items():
        name = camel(written) if "_" in written else _VERTEX.get(written, written)
        if name == "type":
            value = _type(value)
            if value is None:
                continue
        elif name in _NOT_THERE:
            continue
        elif name == "example":
            name, value = "examples", [value]
        elif name in _NAMED and isinstance(value, dict):
            value = {key: _inner(inner) for key, inner in value.items()}
        elif name in _ONE:
            value = _inner(value)
        elif name in _SEVERAL:
            value = [_inner(inner) for inner in value] if isinstance(value, list) else _inner(value)
        elif written == "ref" and isinstance(value, str) and value.startswith(_VERTEX_PLACE):
            value = f"#/$defs/{value.removeprefix(_VERTEX_PLACE)}"
        elif name in _COUNTS and isinstance(value, str):  # int64 is text in proto3's JSON
            value = value if (count := checks.numbered(value)) is None else count
        elif name in _LIMITS:
            value = _number(value)
        found[name] = value
    if found.get("type") in _NUMBERS and isinstance(found.get("enum"), list):
        found["enum"] = list(map(_number, found["enum"]))
    if schema.get("nullable") is True:
        found = _nullable(found)
    order = member(schema, "propertyOrdering")
    if isinstance(order, list) and isinstance(found.get("properties"), dict):
        found["properties"] = _ordered(found["properties"], order)
    return found


def _ordered(properties: Json, order: list[Any]) -> Json:
    """Models write the properties of an object as they stand in its schema."""
    first = (name for name in order if isinstance(name, str) and name in properties)
    return {**{name: properties[name] for name in first}, **properties}


def _inner(value: Any) -> Any:
    return _schema(value) if isinstance(value, dict) else value


def _number(value: Any) -> Any:
    """Numbers are text in Google's enums, and may be in proto3's JSON. What is none stays as it is."""
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        return value
    if number is value or not isfinite(number):
        return value
    return int(number) if number.is_integer() and abs(number) < _EXACT else number


def _type(value: Any) -> Any:
    if isinstance(value, list):
        return [_type(one) for one in value]
    if not isinstance(value, str):
        return value
    return None if value.lower() == _NO_TYPE else value.lower()


def _nullable(schema: Json) -> Json:
    if isinstance(schema.get("$ref"), str):
        definitions: Json = {key: schema.pop(key) for key in ("$defs", "definitions") if key in schema}
        return {"anyOf": [schema, {"type": "null"}], **definitions}
    kinds = schema.get("type")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and isinstance(kinds, list) and "null" not in kinds:
        schema["type"] = [*kinds, "null"]
    if isinstance(schema.get("anyOf"), list):
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
        schema["enum"] = [*schema["enum"], None]
    return schema
