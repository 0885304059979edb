"""Definitions that lead back to themselves, in the JSON form.

Google writes cycles out to some depth and takes them within properties that are not required; that a required
one may be null is not enough. OpenAI's strict mode requires every property, so such schemas are common.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxy.types import Json
from proxy.wires.gemini.definitions import PREFIX

AGAIN = "The same structure again."

_Bearer = tuple[Json, str]  # an object's schema, and one of its properties that it requires


def loosen(definitions: Json) -> None:
    """Require no property that leads back, in place. Where no property is on the way, it ends there."""
    circular = _on_circles({name: set(_targets(node)) for name, node in definitions.items()})
    loosened: dict[int, tuple[Json, set[str]]] = {}  # by identity: objects, and what they require no more
    for name in circular:
        for node, bearer in _demanded(definitions[name]):
            if _target(node) not in circular:
                continue
            if bearer is None:
                node.clear()
                node["description"] = AGAIN
            else:
                loosened.setdefault(id(bearer[0]), (bearer[0], set()))[1].add(bearer[1])
    for holder, names in loosened.values():
        holder["required"] = [name for name in holder["required"] if name not in names]
        if not holder["required"]:
            del holder["required"]


def _on_circles(leads: dict[str, set[str]]) -> set[str]:
    """The names on circles, and those between two circles: what is left when all ends are taken away."""
    comes: dict[str, set[str]] = {name: set() for name in leads}
    for name, targets in leads.items():
        for target in targets:
            comes[target].add(name)
    left = set(leads)
    for onward, backward in ((leads, comes), (comes, leads)):
        count = {name: len(onward[name] & left) for name in left}
        ends = [name for name in left if not count[name]]
        while ends:
            left.discard(end := ends.pop())
            for name in backward[end] & left:
                count[name] -= 1
                if not count[name]:
                    ends.append(name)
    return left


def _targets(node: Json) -> Iterator[str]:
    """The definitions that a schema uses, at any place."""
    rest: list[Any] = [node]
    while rest:
        one = rest.pop()
        if (name := _target(one)) is not None:
            yield name
        rest += (inner for _, inner in _children(one))


def _demanded(node: Json) -> Iterator[tuple[Json, _Bearer | None]]:
    """The nodes in a definition that no value can leave out, and the nearest requirement that holds each."""
    rest: list[tuple[Json, _Bearer | None]] = [(node, None)]
    while rest:
        one, bearer = rest.pop()
        yield one, bearer
        required = set(one.get("required", ()))
        for name, inner in _children(one):
            if name is None:
                rest.append((inner, bearer))
            elif name in required:
                rest.append((inner, (one, name)))


def _children(node: Json) -> Iterator[tuple[str | None, Json]]:
    """The schemas in a schema, those of properties with their names."""
    yield from node.get("properties", {}).items()
    for key in ("anyOf", "prefixItems"):
        yield from ((None, inner) for inner in node.get(key, ()))
    for key in ("items", "additionalProperties"):
        if isinstance(inner := node.get(key), dict):
            yield None, inner


def _target(node: Json) -> str | None:
    reference = node.get("$ref")
    return reference.removeprefix(PREFIX) if isinstance(reference, str) else None
