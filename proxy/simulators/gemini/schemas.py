"""The service's demands on schemas (gemini.md 2.1 to 2.3).

The OpenAPI form is judged beyond its 22 field names; of the JSON form what users report: the service turns it
into the other one, ignores what it does not know and refuses what cannot be turned.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxy.simulators.gemini.errors import Refused
from proxy.simulators.keywords import misplaced

Json = dict[str, Any]

_FORMATS = {
    "STRING": ("enum", "date-time"),
    "INTEGER": ("int32", "int64"),
    "NUMBER": ("float", "double"),
}
_DEEPEST = 32


def check_schema(schema: Json, place: str, *, third: bool, depth: int = 0) -> None:
    if depth > _DEEPEST:
        raise Refused(f"{place}: schema is nested too deeply.")
    kind = schema.get("type", "TYPE_UNSPECIFIED")
    if "anyOf" in schema:
        _check_branches(schema, place, third=third, depth=depth)
        return
    if kind == "TYPE_UNSPECIFIED" and ("properties" in schema or "items" in schema or "enum" in schema):
        raise Refused(f"{place}.type: must be specified.")
    _check_enum(schema, kind, place, third=third)
    wanted = _FORMATS.get(kind)
    if schema.get("format") and wanted and schema["format"] not in wanted:
        known = " and ".join(f"'{word}'" for word in wanted)
        raise Refused(f"{place}.format: only {known} are supported for {kind} type")
    if kind == "ARRAY" and not schema.get("items"):  # G-058
        raise Refused(f"{place}.items: missing field.")
    if "items" in schema:
        if kind != "ARRAY":
            raise Refused(f"{place}.items: field predicate failed: $type == Type.ARRAY")
        check_schema(schema["items"], f"{place}.items", third=third, depth=depth + 1)
    _check_object(schema, kind, place, third=third, depth=depth)


def _check_branches(schema: Json, place: str, *, third: bool, depth: int) -> None:
    # G-056. `nullable` and `description` were recorded beside it with success.
    if set(schema) - {"anyOf", "nullable", "description", "title", "default", "type"}:
        raise Refused(f"{place}.any_of: when using any_of, it must be the only field set.")
    for index, branch in enumerate(schema["anyOf"]):
        check_schema(branch, f"{place}.any_of[{index}]", third=third, depth=depth + 1)


def _check_enum(schema: Json, kind: str, place: str, *, third: bool) -> None:
    words = schema.get("enum")
    if not words:
        return
    for index, word in enumerate(words):
        if word == "":  # G-060
            raise Refused(f"{place}.enum[{index}]: cannot be empty")
    if kind == "INTEGER" and third:  # G-059
        if not all(word.lstrip("-").isdigit() for word in words):
            raise Refused(f"{place}.enum: values of an INTEGER must be whole numbers")
    elif kind != "STRING":
        raise Refused(f"{place}.enum: only allowed for STRING type")


def _check_object(schema: Json, kind: str, place: str, *, third: bool, depth: int) -> None:
    properties = schema.get("properties")
    if kind == "OBJECT" and not properties:
        raise Refused(f"{place}.properties: should be non-empty for OBJECT type")
    if kind != "OBJECT" and ("properties" in schema or schema.get("required")):
        raise Refused(f"{place}.properties: only allowed for OBJECT type")
    for index, name in enumerate(schema.get("required") or ()):
        if name not in (properties or {}):  # G-062
            raise Refused(f"{place}.required[{index}]: property is not defined")
    for name, inner in (properties or {}).items():
        check_schema(inner, f"{place}.properties[{name}]", third=third, depth=depth + 1)


# --- the JSON form -------------------------------------------------------------------------------

_KINDS = ("object", "array", "string", "number", "integer", "boolean", "null")


def check_json_schema(schema: Json, place: str, *, root: Json | None = None) -> None:
    """`root` is the whole schema, None for the root itself."""
    if root is None:
        root = schema
        if (where := misplaced(schema)) is not None:
            raise Refused(f"{place}{where}: holds a value of the wrong kind.")
        _check_circles(schema.get("$defs", {}), place)
    word = schema.get("type", [])
    # The Gemini CLI 0.61.0 writes them in upper case here too, and the service takes that.
    kinds = [kind.lower() for kind in ([word] if isinstance(word, str) else word)]
    if unknown := [kind for kind in kinds if kind not in _KINDS]:
        raise Refused(f"{place}.type: {unknown[0]!r} is not a type of JSON Schema.")
    if "array" in kinds and "items" not in schema and "prefixItems" not in schema:
        raise Refused(f"{place}.items: missing field.")
    properties = schema.get("properties", {})
    if properties and kinds and "object" not in kinds:
        raise Refused(f"{place}.properties: only allowed for OBJECT type")
    for index, name in enumerate(schema.get("required", ())):
        if name not in properties:
            raise Refused(f"{place}.required[{index}]: property is not defined")
    if "$ref" in schema and not _leads_somewhere(schema["$ref"], root):
        raise Refused(f"{place}: reference to undefined schema {schema['$ref']!r}.")
    for name, inner in _inner_schemas(schema):
        check_json_schema(inner, f"{place}.{name}", root=root)


def check_json_parameters(schema: Any, place: str) -> None:
    if not isinstance(schema, dict):
        raise Refused(f"{place}: must be a JSON object.")
    if str(schema.get("type")).lower() != "object":
        raise Refused(f"{place}: parameters schema should be of type OBJECT.")
    check_json_schema(schema, place)


def _check_circles(definitions: Json, place: str) -> None:
    """Cycles are taken in properties that are not required, and nowhere else."""
    demands = {name: set(_demanded(one)) for name, one in definitions.items() if isinstance(one, dict)}
    for name in demands:
        rest, seen = [name], set()
        while rest:
            for reference in demands.get(rest.pop().rpartition("/")[2], ()):
                if reference.rpartition("/")[2] == name:
                    raise Refused(f"{place}.$defs[{name}]: a cyclic reference in a required property.")
                if reference not in seen:
                    seen.add(reference)
                    rest.append(reference)


def _demanded(schema: Json) -> Iterator[str]:
    """The references in a schema that no value can leave out."""
    if "$ref" in schema:
        yield str(schema["$ref"])
    required = schema.get("required", ())
    for name, inner in _inner_schemas({key: value for key, value in schema.items() if key != "$defs"}):
        if not name.startswith("properties[") or name[len("properties[") : -1] in required:
            yield from _demanded(inner)


def _leads_somewhere(reference: str, root: Json) -> bool:
    """Definitions of the root, and the root itself."""
    if reference == "#":
        return True
    head, _, name = reference.rpartition("/")
    return head == "#/$defs" and name in root.get("$defs", {})


def _inner_schemas(schema: Json) -> list[tuple[str, Json]]:
    found = [
        (f"{key}[{name}]", one)
        for key in ("properties", "$defs")
        for name, one in schema.get(key, {}).items()
    ]
    for key in ("anyOf", "oneOf", "prefixItems"):
        found += [(f"{key}[{index}]", one) for index, one in enumerate(schema.get(key, ()))]
    found += [(key, schema[key]) for key in ("items", "additionalProperties") if key in schema]
    return [(name, one) for name, one in found if isinstance(one, dict)]
