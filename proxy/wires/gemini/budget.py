"""How much work the JSON Schemas of one request may be, counted in steps rather than in seconds.

A schema of 2 KB can describe millions of nodes, by references that use each other twice. So everything
that is written out, once or again, is paid for, and who runs out is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from proxy.errors import RequestError

# 512 functions, the most Google takes, of 40 nodes each; about 0.1 s.
STEPS = 20_000

# Gemini's parsers, and orjson's 254, end soon after; five more levels are around a schema in the body.
DEEPEST = 245

_FREE_VALUES = ("default", "example", "enum")


class Budget:
    """The steps that are left. `spend` raises `RequestError` when there are none."""

    def __init__(self, steps: int = STEPS) -> None:
        self.left = steps

    def spend(self, steps: int = 1) -> None:
        self.left -= steps
        if self.left < 0:
            raise RequestError(
                f"The JSON Schema is too large: with its references written out it is over {STEPS} parts.",
                code="schema_too_large",
            )

    def pay_for(self, node: Mapping[str, Any]) -> None:
        """One node: itself, its texts and lists, not the schemas below it."""
        steps = 1
        for key, value in node.items():
            if isinstance(value, str):
                steps += len(value) // 1000
            elif key in _FREE_VALUES:
                steps += _size(value)
            elif isinstance(value, list):
                steps += len(value) // 10
            elif key == "properties" and isinstance(value, Mapping):
                steps += sum(map(len, value)) // 1000
        self.spend(steps)


def check_depth(level: int) -> None:
    """`level` counts the brackets of JSON that a node stands in."""
    if level > DEEPEST:
        raise RequestError(f"The JSON Schema is nested too deeply: more than {DEEPEST} levels.")


def levels(value: Any) -> int:
    """How many brackets a value has inside each other; beyond `DEEPEST` they are not counted."""
    deep, level = 0, [value] if isinstance(value, Mapping | list) else []
    while level and deep <= DEEPEST:
        deep += 1
        level = [inner for holder in level for inner in _items(holder) if isinstance(inner, Mapping | list)]
    return deep


def _items(holder: Mapping[str, Any] | list[Any]) -> Iterable[Any]:
    return holder.values() if isinstance(holder, Mapping) else holder


def _size(value: Any) -> int:
    """A free value in steps of ten items or a thousand characters."""
    items, characters, rest = 0, 0, [value]
    while rest:
        one = rest.pop()
        items += 1
        if isinstance(one, str):
            characters += len(one)
        elif isinstance(one, list):
            rest += one
        elif isinstance(one, Mapping):
            rest += one.values()
            characters += sum(map(len, one))
    return items // 10 + characters // 1000
