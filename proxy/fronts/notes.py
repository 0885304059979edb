"""What nobody reads of a request is named, so that nothing is lost in silence."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from proxy.fronts import checks
from proxy.types import Json

NAMES_MAX = 64
# Marks of how far a cache shall reach: Anthropic's word, which relays read in OpenAI's dialect, and OpenAI's.
MARKS = ("cache_control", "prompt_cache_breakpoint")
_NAME_CHARS_MAX = 200
_INDEX = re.compile(r"\[\d+\]")

# Values that ask for nothing: clients send back whole replies, with every empty member. An empty object may
# be a mark (`cache_control: {}`).
_NOTHING: tuple[object, ...] = (None, "", [])


@dataclass(slots=True)
class Notes:
    """What is not carried: `named` has its paths, as the client spelled them and in the request's order.

    The same member at several places is named once, as `messages[].cache_control`. At most `NAMES_MAX`
    names are kept. `marks` has those of what only some wires carry (see `Foreign`), None in a dialect that
    carries none.
    """

    named: dict[str, str] = field(default_factory=dict)
    marks: dict[str, str] | None = None

    def add(self, path: str) -> None:
        _add(self.named, path)

    def marked(self, holder: Json, path: str) -> Json | None:
        """The `MARKS` of a part, a tool or a message, if their dialect carries any, and they are noted; else
        named. Raises `RequestError` where they could not be written again."""
        found = {name: holder[name] for name in MARKS if holder.get(name) is not None}
        for name in found:
            _add(self.named if self.marks is None else self.marks, f"{path}.{name}")
        return checks.carried(found, path) if found and self.marks is not None else None

    def unread(self, holder: Json, known: frozenset[str], path: str) -> None:
        """Note the members of `holder` that are not `known` and ask for something."""
        if holder.keys() <= known:
            return
        for name, value in holder.items():
            if name not in known and value not in _NOTHING:
                self.add(f"{path}.{name}")


def _add(names: dict[str, str], path: str) -> None:
    path = path[:_NAME_CHARS_MAX]
    everywhere = _INDEX.sub("[]", path)
    if everywhere in names:
        if names[everywhere] != path:
            names[everywhere] = everywhere
    elif len(names) < NAMES_MAX:
        names[everywhere] = path
