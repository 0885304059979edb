"""What Google refuses never leaves: the demands on a cleaned JSON Schema that hold in the JSON form too.

Google turns `parametersJsonSchema` and `responseJsonSchema` into the typed proto, and answers 400 for what
that refuses: "items: missing field", "properties: only allowed for OBJECT type", "property is not defined".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.errors import RequestError
from proxy.types import Json
from proxy.wires.gemini.budget import Budget
from proxy.wires.gemini.definitions import PREFIX

_ONLY_FOR = {
    "properties": "object",
    "required": "object",
    "propertyOrdering": "object",
    "additionalProperties": "object",
    "minProperties": "object",
    "maxProperties": "object",
    "items": "array",
    "prefixItems": "array",
    "minItems": "array",
    "maxItems": "array",
}
_LONGEST_REMARK = 500


def obey(cleaned: Json, node: Mapping[str, Any]) -> None:
    """Hold one cleaned node, whose children hold, to the law. `node` is what it was before."""
    kinds = types(cleaned)
    if kinds:
        for key, kind in _ONLY_FOR.items():
            if key in cleaned and kind not in kinds:
                del cleaned[key]
    if "array" in kinds and not ("items" in cleaned or "prefixItems" in cleaned):
        cleaned["items"] = {}
    for key in ("required", "propertyOrdering"):
        if key in cleaned:
            _keep_defined(cleaned, key)
    if "anyOf" in cleaned and not any(cleaned["anyOf"]):
        del cleaned["anyOf"]
        _say_what_is_required(cleaned, node)


def types(node: Mapping[str, Any]) -> list[str]:
    """The types of a node, none if it does not say."""
    kinds = node.get("type")
    return [kinds] if isinstance(kinds, str) else list(kinds or ())


def describe(node: Json, text: str) -> None:
    """Say in the description what the schema cannot."""
    before = node.get("description")
    if not isinstance(before, str):
        before = ""
    if text in before:
        return
    node["description"] = f"{before.rstrip('. ')}. {text}" if before else text


def _keep_defined(cleaned: Json, key: str) -> None:
    defined = cleaned.get("properties", {})
    names = [name for name in cleaned[key] if name in defined]
    if names:
        cleaned[key] = names
    else:
        del cleaned[key]


def _say_what_is_required(cleaned: Json, node: Mapping[str, Any]) -> None:
    """A choice of nothing but `required`, whose names are defined beside the choice, not in it."""
    branches = [*_list(node.get("anyOf")), *_list(node.get("oneOf"))]
    sets = [_list(branch.get("required")) for branch in branches if isinstance(branch, Mapping)]
    words = ", or ".join(" and ".join(map(str, names)) for names in sets if names)
    if words and len(words) <= _LONGEST_REMARK:
        describe(cleaned, f"Required: {words}.")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


# --- the parameters of a function ----------------------------------------------------------------


def object_root(root: Json, budget: Budget) -> Json:
    """A cleaned schema whose root is an object: references are followed, the objects of a choice united.

    Raises `RequestError` where there is none.
    """
    known = root.get("$defs", {})
    found = _as_object(root, known, frozenset(), budget)
    if found is None:
        kinds = " or ".join(types(root)) or "something else"
        raise RequestError(f"The parameters of a function are an object; this schema describes {kinds}.")
    return {**found, "type": "object", **({"$defs": known} if known else {})}


def _as_object(node: Json, known: Json, inside: frozenset[str], budget: Budget) -> Json | None:
    """The node as an object, None if it never is one. `inside` are the references that led here."""
    budget.pay_for(node)
    if "$ref" in node:
        name = node["$ref"].removeprefix(PREFIX)
        if name in inside or name not in known:
            return {}
        found = _as_object(known[name], known, inside | {name}, budget)
        words = {key: node[key] for key in ("description",) if key in node}
        return None if found is None else {**found, **words}
    kinds = types(node)
    if kinds and "object" not in kinds:
        return None
    flat = {key: value for key, value in node.items() if key not in ("anyOf", "$defs", "nullable")}
    if "anyOf" not in node:
        return flat
    choices = [_as_object(choice, known, inside, budget) for choice in node["anyOf"]]
    objects = [choice for choice in choices if choice is not None]
    if not objects and not kinds and "properties" not in node:
        return None
    return _united(flat, objects, budget)


def _united(own: Json, branches: list[Json], budget: Budget) -> Json:
    """One object that any of the branches fits into: all their properties, what all of them require."""
    properties = dict(own.get("properties", {}))
    required = dict.fromkeys(own.get("required", ()))
    for branch in branches:
        budget.pay_for(branch)
        for name, schema in branch.get("properties", {}).items():
            properties.setdefault(name, schema)
    if branches:
        everywhere = set.intersection(*(set(branch.get("required", ())) for branch in branches))
        required |= dict.fromkeys(name for name in branches[0].get("required", ()) if name in everywhere)
    united = {**own, "properties": properties, "required": [name for name in required if name in properties]}
    return {key: value for key, value in united.items() if value or key not in ("properties", "required")}
