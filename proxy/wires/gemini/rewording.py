"""What a JSON Schema says in keywords that Gemini does not know, in keywords that it does.

What stands beside a reference, under patterns and on conditions would be lost with those keywords: properties
beside a `$ref`, the schema of a map's values, properties that only `then` or `else` has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from proxy.types import Json
from proxy.wires.gemini.law import describe

# Keywords as Google's own SDK for Python spells them.
_SNAKES = {
    "any_of": "anyOf",
    "one_of": "oneOf",
    "prefix_items": "prefixItems",
    "additional_properties": "additionalProperties",
    "property_ordering": "propertyOrdering",
    "min_items": "minItems",
    "max_items": "maxItems",
    "min_length": "minLength",
    "max_length": "maxLength",
    "min_properties": "minProperties",
    "max_properties": "maxProperties",
}
_CONDITIONS = frozenset({"then", "else", "dependentSchemas", "dependencies"})
REWORDED = frozenset({*_SNAKES, *_CONDITIONS, "$ref", "allOf", "patternProperties"})
_EXTENSIONS = ("properties", "required", "anyOf", "oneOf", "allOf")  # of a reference that they stand beside
_ALL_KEYS = frozenset({"", ".*", ".+", "^.*$", "^.+$", "^(.*)$", "^(.+)$"})
_LONGEST_REMARK = 500
_WIDEST_CHOICE = 100


def reworded(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """The node itself where it has no such keyword, else a copy."""
    if REWORDED.isdisjoint(node):
        return node
    found = {_SNAKES.get(key, key): value for key, value in node.items()}
    branches = found["allOf"] if isinstance(found.get("allOf"), list) else []
    conditional = _conditional([found, *filter(_is_conditional, branches)])
    branches = [_unconditional(branch) if _is_conditional(branch) else branch for branch in branches]
    if patterns := _schemas(found.pop("patternProperties", None)):
        _open(found, patterns)
    if isinstance(found.get("$ref"), str) and (conditional or any(map(found.get, _EXTENSIONS))):
        branches = [{"$ref": found.pop("$ref")}, *branches]
    if conditional and branches:
        branches = [{"properties": conditional}, *branches]  # whatever else is said of them holds
    elif conditional:
        own = _schemas(found.get("properties"))
        found["properties"] = {**own, **{name: one for name, one in conditional.items() if name not in own}}
    if branches:
        found["allOf"] = branches
    return _unconditional(found)


def _open(found: Json, patterns: Mapping[str, Any]) -> None:
    """Keys of a pattern as keys that are not declared."""
    others = found.get("additionalProperties", False)
    if others is True or others == {}:
        return
    schemas = [schema for schema in (*patterns.values(), others) if schema is not False]
    if not schemas:
        return
    found["additionalProperties"] = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    words = ", or ".join(pattern for pattern in patterns if pattern not in _ALL_KEYS)
    if words and len(words) <= _LONGEST_REMARK:
        describe(found, f"Other keys match {words}.")


def _conditional(nodes: Iterable[Mapping[str, Any]]) -> Json:
    """The properties that an object has on conditions; where they differ, a choice, if it is not too wide to
    be one."""
    choices: dict[str, list[Any]] = {}
    for condition in chain.from_iterable(map(_conditions, nodes)):
        for name, schema in _schemas(reworded(condition).get("properties")).items():
            known = choices.setdefault(name, [])
            if schema is not False and len(known) <= _WIDEST_CHOICE and schema not in known:
                known.append(schema)
    return {name: _chosen(known) for name, known in choices.items() if known}


def _chosen(schemas: list[Any]) -> Any:
    if len(schemas) > _WIDEST_CHOICE:
        return {}
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _is_conditional(branch: Any) -> bool:
    return isinstance(branch, Mapping) and not _CONDITIONS.isdisjoint(branch)


def _unconditional(node: Mapping[str, Any]) -> Json:
    return {key: value for key, value in node.items() if key not in _CONDITIONS}


def _conditions(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for key, inner in node.items():
        if key in _CONDITIONS:
            for one in (inner,) if key in ("then", "else") else _schemas(inner).values():
                if isinstance(one, Mapping):
                    yield one


def _schemas(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
