"""JSON Schemas as the two schema fields of Gemini accept them.

`json_schema` prepares one for `parametersJsonSchema` and `responseJsonSchema`, which ignore what they do
not know; the stricter form for `parameters` and `responseSchema` is in `openapi.py`. Both go by position, so
a property called `format` or `title` survives, and leave their input unchanged.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from proxy.errors import RequestError
from proxy.types import Json
from proxy.wires.gemini import cycles, law
from proxy.wires.gemini.budget import Budget, check_depth, levels
from proxy.wires.gemini.definitions import Definitions
from proxy.wires.gemini.law import describe, types
from proxy.wires.gemini.rewording import REWORDED, reworded

# Keys that describe no value, and constraints that Gemini refuses or misreads.
_DROPPED = frozenset(
    [
        "$schema",
        "$comment",
        "$defs",
        "$id",
        "$anchor",
        "$dynamicAnchor",
        "$ref",
        "$dynamicRef",
        "$recursiveRef",
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
        "nullable",
    ]
)
_CHOICES = ("anyOf", "oneOf")
_BESIDE_REFERENCE = frozenset({"description", "title", "default", "$defs", "definitions"})
_STRING_FORMATS = frozenset({"date-time", "date", "time", "enum"})

# The seven types, and what is written for them: Google's own capitals, names of programming languages.
_TYPES = {
    **{kind: kind for kind in ("object", "array", "string", "number", "integer", "boolean", "null")},
    **dict.fromkeys(("dict", "dictionary", "map", "mapping", "struct", "record", "json"), "object"),
    **dict.fromkeys(("list", "tuple", "set", "sequence"), "array"),
    **dict.fromkeys(("str", "text", "char", "uuid", "uri", "url", "date", "datetime", "file"), "string"),
    **dict.fromkeys(("float", "double", "decimal", "numeric", "real"), "number"),
    **dict.fromkeys(("int", "int32", "int64", "long", "short", "uint"), "integer"),
    "bool": "boolean",
    **dict.fromkeys(("none", "nil"), "null"),
}

_JSON_TYPES: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_names(value: Any) -> bool:
    return isinstance(value, list)


# Keywords of one meaning, with the values they can have; any other value is left out.
_TYPED: dict[str, Callable[[Any], bool]] = {
    "description": _is_text,
    "format": _is_text,
    "pattern": _is_text,
    "minimum": _is_number,
    "maximum": _is_number,
    **dict.fromkeys(
        ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"), _is_count
    ),
    "required": _is_names,
    "propertyOrdering": _is_names,
    "enum": _is_names,
}

# What a node describes that has one of these and no type.
_IMPLIED_TYPES = {"properties": "object", "items": "array", "prefixItems": "array"}

# What is done to a node when it is clean, knowing what it was.
Law = Callable[[Json, Mapping[str, Any]], None]


def json_schema(schema: Json, budget: Budget | None = None) -> Json:
    """Clean a schema lightly; references stay. Raises `RequestError` if it is too deep or too large."""
    return simplified(schema, budget or Budget(), law.obey)


def parameters_schema(schema: Json, budget: Budget | None = None) -> Json:
    """The same for the parameters of a function, which are an object; raises where they are none."""
    budget = budget or Budget()
    return object_root(json_schema(schema, budget), budget)


def object_root(cleaned: Json, budget: Budget) -> Json:
    try:
        return law.object_root(cleaned, budget)
    except RecursionError as exc:
        raise RequestError("The JSON Schema is nested too deeply.") from exc


def simplified(schema: Json, budget: Budget, obey: Law | None = None) -> Json:
    """Rewrite a schema in the words that both forms have. `obey` holds each node to more."""
    try:
        return _Cleaner(schema, budget, obey).whole()
    except RecursionError as exc:
        raise RequestError("The JSON Schema is nested too deeply.") from exc


def is_empty(schema: Any) -> bool:
    """True for the parameters of a function that takes none, before or after cleaning."""
    if not isinstance(schema, Mapping):
        return True
    if schema.get("properties") or schema.get("type", "object") != "object":
        return False
    try:
        schema = reworded(schema)
    except RecursionError:  # which is told when it is cleaned
        return False
    if schema.get("properties"):
        return False
    meaningful = {key for key in schema if key not in _DROPPED and not key.startswith("$")}
    meaningful -= {"type", "properties", "required", "description"}
    open_keys = schema.get("additionalProperties")
    if open_keys is not None and (open_keys is False or open_keys is True or open_keys == {}):
        meaningful.discard("additionalProperties")
    return not meaningful and "$ref" not in schema and not (schema.get("allOf") or schema.get("oneOf"))


class _Cleaner:
    """The light path. `level` counts the brackets around a node; `merging` are the references that are
    being merged into it."""

    def __init__(self, root: Json, budget: Budget, obey: Law | None) -> None:
        self._root = root
        self._budget = budget
        self._obey = obey
        self._definitions = Definitions(root)

    def whole(self) -> Json:
        cleaned = self.clean(self._root, 1)
        known: Json = {}
        for name, target in self._definitions.targets:  # which grows as references are met
            known[name] = self.clean(target, 3)
        if known:
            cleaned["$defs"] = known
        if known and self._obey is not None:
            cycles.loosen(known)
        return cleaned

    def clean(self, node: Any, level: int, merging: frozenset[str] = frozenset()) -> Json:
        check_depth(level)
        if not isinstance(node, Mapping):
            self._budget.spend()
            return {}
        self._budget.pay_for(node)
        if not REWORDED.isdisjoint(node):  # in few of the thousands that an agent sends
            node = reworded(node)
        while node.get("allOf"):
            node, merging = self._merged(node, merging)
            node = reworded(node)
        if isinstance(node.get("$ref"), str) and (name := self._definitions.reference(node["$ref"])):
            return _reference(node, name)
        cleaned: Json = {}
        for key, value in node.items():
            if key not in _DROPPED:
                self._carry(cleaned, key, value, level, merging)
        if isinstance(node.get("oneOf"), list):
            cleaned["anyOf"] = cleaned.get("anyOf", []) + self._branches(node["oneOf"], level, merging)
        if "const" in node:
            _apply_const(cleaned, node["const"])
        _apply_bounds(cleaned, node)
        _tidy_enum(cleaned)
        _tidy_required(cleaned)
        _tidy_format(cleaned)
        if node.get("nullable") is True:
            _allow_null(cleaned)
        if self._obey is not None:
            self._obey(cleaned, node)
        return cleaned

    def _carry(self, cleaned: Json, key: str, value: Any, level: int, merging: frozenset[str]) -> None:
        """Copy one keyword, cleaning what is a schema by position."""
        if key == "type":
            _carry_type(cleaned, value)
        elif key == "properties":
            if isinstance(value, Mapping):
                cleaned[key] = {
                    name: self.clean(schema, level + 2, merging)
                    for name, schema in value.items()
                    if schema is not False
                }
        elif key in ("anyOf", "prefixItems") or (key == "items" and isinstance(value, list)):
            if isinstance(value, list) and (branches := self._branches(value, level, merging)):
                cleaned["anyOf" if key == "anyOf" else "prefixItems"] = branches
        elif key == "items":
            if value is not False:
                cleaned[key] = self.clean(value, level + 1, merging)
        elif key == "additionalProperties":
            cleaned[key] = value if isinstance(value, bool) else self.clean(value, level + 1, merging)
        elif key not in _TYPED or _TYPED[key](value):
            check_depth(level + levels(value))
            cleaned[key] = value

    def _branches(self, schemas: list[Any], level: int, merging: frozenset[str]) -> list[Json]:
        return [self.clean(schema, level + 2, merging) for schema in schemas if schema is not False]

    def _merged(self, node: Mapping[str, Any], merging: frozenset[str]) -> tuple[Json, frozenset[str]]:
        """The node with its `allOf` branches laid under its own keys."""
        branches = node["allOf"] if isinstance(node["allOf"], list) else []
        own = {key: value for key, value in node.items() if key != "allOf"}
        if len(branches) == 1 and isinstance(branches[0], Mapping) and not set(own) - _BESIDE_REFERENCE:
            # how older pydantic writes a described reference
            self._budget.pay_for(branches[0])
            return {**branches[0], **own}, merging
        merged: Json = {}
        properties: Json = {}
        required: dict[str, None] = {}
        for branch in [*branches, own]:
            laid, merging = self._plain(branch, merging) if branch is not own else (own, merging)
            self._budget.pay_for(laid)
            choices = {key: [*merged[key], *laid[key]] for key in _CHOICES if _lists(merged, laid, key)}
            merged.update({**laid, **choices})
            if isinstance(laid.get("properties"), Mapping):
                self._budget.spend(len(laid["properties"]) // 10)
                properties.update(laid["properties"])
            if isinstance(laid.get("required"), list):
                required.update(dict.fromkeys(name for name in laid["required"] if isinstance(name, str)))
        merged |= {"properties": properties} if properties else {}
        merged |= {"required": list(required)} if required else {}
        return merged, merging

    def _plain(self, branch: Any, merging: frozenset[str]) -> tuple[Mapping[str, Any], frozenset[str]]:
        """A branch without references and `allOf` of its own; {} if it is being merged already."""
        while isinstance(branch, Mapping):
            branch = reworded(branch)
            if isinstance(branch.get("$ref"), str):
                reference = branch["$ref"]
                branch = {} if reference in merging else self._definitions.target(reference)
                self._budget.spend(1 + len(merging))
                merging |= {reference}
            elif branch.get("allOf"):
                branch, merging = self._merged(branch, merging)
            else:
                return branch, merging
        return {}, merging


def _reference(node: Mapping[str, Any], name: str) -> Json:
    """A reference may stand beside `$` keys only; a description is tolerated (gcli2api #374)."""
    kept: Json = {"$ref": name}
    if node.get("nullable") is True:
        kept = {"anyOf": [kept, {"type": "null"}]}
    if isinstance(node.get("description"), str):
        kept["description"] = node["description"]
    return kept


def _lists(one: Mapping[str, Any], other: Mapping[str, Any], key: str) -> bool:
    return isinstance(one.get(key), list) and isinstance(other.get(key), list)


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
    whole = "integer" in types(cleaned) and "number" not in types(cleaned)
    for exclusive, inclusive, narrower, step in (
        ("exclusiveMinimum", "minimum", max, 1),
        ("exclusiveMaximum", "maximum", min, -1),
    ):
        bound = node.get(exclusive)
        if not _is_number(bound):
            continue
        if whole:
            bound = (math.floor(bound) if step > 0 else math.ceil(bound)) + step
        known = cleaned.get(inclusive)
        cleaned[inclusive] = narrower(bound, known) if isinstance(known, int | float) else bound


def _carry_type(cleaned: Json, value: Any) -> None:
    """Lower-case words of JSON Schema; a word that means nothing is left out."""
    words = value if isinstance(value, list) else [value]
    kinds = [_TYPES.get(word.strip().lower()) for word in words if isinstance(word, str)]
    known = list(dict.fromkeys(kind for kind in kinds if kind is not None))
    if known:
        cleaned["type"] = known if isinstance(value, list) else known[0]


def _allow_null(cleaned: Json) -> None:
    """What OpenAPI says by `nullable`. A value holds to the type and to the choice: both take null then."""
    choices = cleaned.get("anyOf")
    kinds = types(cleaned) or ([] if choices else _kinds_of(cleaned))
    if kinds and "null" not in kinds:
        cleaned["type"] = [*kinds, "null"]
    if choices and not any("null" in types(choice) for choice in choices):
        cleaned["anyOf"] = [*choices, {"type": "null"}]


def _kinds_of(cleaned: Json) -> list[str]:
    """The types that a node means without saying them."""
    if values := cleaned.get("enum"):
        return sorted({_JSON_TYPES[type(value)] for value in values})
    return next(([kind] for key, kind in _IMPLIED_TYPES.items() if key in cleaned), [])


def _tidy_enum(cleaned: Json) -> None:
    """Remove what enums may not hold: the empty string is refused, null becomes a type, lists and objects
    are described."""
    values = cleaned.get("enum", ())
    kept = [value for value in values if value is not None and value != ""]
    if "" in values:
        describe(cleaned, "May be empty.")
    said = types(cleaned)
    kinds = said or sorted({_JSON_TYPES.get(type(value), "string") for value in values if value is not None})
    if None in values:
        cleaned["type"] = [*(kind for kind in kinds if kind != "null"), "null"]
    elif "" in values and not said and len(kinds) > 1:
        cleaned["type"] = kinds
    if any(isinstance(value, list | Mapping) for value in kept):
        describe(cleaned, f"Allowed values: {', '.join(map(json.dumps, kept))}")
        kept = []
    if kept:
        cleaned["enum"] = kept
    else:
        cleaned.pop("enum", None)


def _tidy_required(cleaned: Json) -> None:
    """Names that stand there once and are defined, where the node defines any."""
    for key in ("required", "propertyOrdering"):
        if key not in cleaned:
            continue
        names = dict.fromkeys(name for name in cleaned.pop(key) if isinstance(name, str))
        defined = cleaned.get("properties", names)
        if kept := [name for name in names if name in defined]:
            cleaned[key] = kept


def _tidy_format(cleaned: Json) -> None:
    form = cleaned.get("format")
    if form is not None and "string" in (types(cleaned) or ["string"]) and form not in _STRING_FORMATS:
        del cleaned["format"]
        describe(cleaned, f"Format: {form}")
