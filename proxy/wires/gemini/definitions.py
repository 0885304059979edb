"""What the references of a JSON Schema point at, under the names it is sent with.

Gemini follows `#/$defs/NAME` and nothing else for certain. So every target of a reference gets such a name:
the root's `$defs` and `definitions` their own, whatever else is pointed at (`#/properties/a`, `#`, an anchor)
one made from its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from proxy.types import Json

PREFIX = "#/$defs/"
HOLDERS = ("$defs", "definitions")

_Steps = tuple[str, ...]

_ODD = re.compile(r"[^A-Za-z0-9_.-]")
_LONGEST_NAME = 64


class Definitions:
    """`targets` are names and what stands under them, uncleaned; it grows as references are named."""

    def __init__(self, root: Json) -> None:
        self.targets: list[tuple[str, Any]] = []
        self._root = root
        self._names: dict[_Steps, str] = {}
        self._taken: set[str] = set()
        self._found: dict[str, tuple[_Steps, Any]] = {}
        self._elsewhere: dict[str, tuple[_Steps, Any]] | None = None
        for holder in HOLDERS:
            known = root.get(holder)
            for name, target in known.items() if isinstance(known, Mapping) else ():
                self._named((holder, name), name, target)

    def target(self, reference: str) -> Any:
        """The schema that a reference points at; None if it leads nowhere."""
        return self._find(reference)[1]

    def reference(self, reference: str) -> str | None:
        """The reference as it is sent; None if it leads nowhere."""
        steps, target = self._find(reference)
        if target is None:
            return None
        name = self._names.get(steps) or self._named(steps, "_".join(steps) or "schema", target)
        return PREFIX + name

    def _named(self, steps: _Steps, wish: str, target: Any) -> str:
        wish = _ODD.sub("_", wish[:_LONGEST_NAME]) or "definition"
        name, number = wish, 2
        while name in self._taken:
            name, number = f"{wish}_{len(self._taken) + number}", number + 1
        self._taken.add(name)
        self._names[steps] = name
        self.targets.append((name, target))
        return name

    def _find(self, reference: str) -> tuple[_Steps, Any]:
        found = self._found.get(reference)
        if found is None:
            found = self._found[reference] = self._looked_up(reference)
        return found

    def _looked_up(self, reference: str) -> tuple[_Steps, Any]:
        path = reference.removeprefix("#")
        if path == reference or path[:1] not in ("", "/"):
            return self._indexed(reference)
        steps = tuple(unquote(step).replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:])
        node: Any = self._root
        for step in steps:
            if isinstance(node, Mapping) and step in node:
                node = node[step]
            elif isinstance(node, list) and step.isdecimal() and len(step) < 6 and int(step) < len(node):
                node = node[int(step)]
            else:
                return self._indexed(PREFIX + steps[-1]) if steps[0] in HOLDERS else ((), None)
        return (steps, node) if isinstance(node, Mapping | bool) else ((), None)

    def _indexed(self, reference: str) -> tuple[_Steps, Any]:
        """By anchor or identifier, or a definition that was put into another schema with all it had."""
        if self._elsewhere is None:
            self._elsewhere = _index(self._root)
        return self._elsewhere.get(reference, ((), None))


def _index(root: Json) -> dict[str, tuple[_Steps, Any]]:
    """The schemas that are known by a word, not by their place; the first of each word."""
    found: dict[str, tuple[_Steps, Any]] = {}
    rest: list[Any] = [root]
    while rest:
        node = rest.pop()
        if isinstance(node, Mapping):
            rest += reversed(list(node.values()))
            for key, sign in (("$id", ""), ("id", ""), ("$anchor", "#"), ("$dynamicAnchor", "#")):
                if isinstance(word := node.get(key), str):
                    found.setdefault(sign + word, ((sign, word), node))
            for holder in HOLDERS:
                inner = node.get(holder)
                for name, target in inner.items() if isinstance(inner, Mapping) else ():
                    if isinstance(target, Mapping):
                        found.setdefault(PREFIX + name, ((holder, name), target))
        elif isinstance(node, list):
            rest += reversed(node)
    return found
