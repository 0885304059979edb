"""What nobody reads of a request is named, so that nothing is lost in silence."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from proxy.types import Json

NAMES_MAX = 64
_NAME_CHARS_MAX = 200
_INDEX = re.compile(r"\[\d+\]")

# Values that ask for nothing: clients send back whole replies, with every empty member. An empty object may
# be a mark (`cache_control: {}`).
_NOTHING: tuple[object, ...] = (None, "", [])


@dataclass(slots=True)
class Notes:
    """What is not carried: `named` has its paths, as the client spelled them and in the request's order.

    The same member at several places is named once, as `messages[].cache_control`. At most `NAMES_MAX`
    names are kept.
    """

    named: dict[str, str] = field(default_factory=dict)

    def add(self, path: str) -> None:
        path = path[:_NAME_CHARS_MAX]
        everywhere = _INDEX.sub("[]", path)
        if everywhere in self.named:
            if self.named[everywhere] != path:
                self.named[everywhere] = everywhere
        elif len(self.named) < NAMES_MAX:
            self.named[everywhere] = path

    def unread(self, holder: Json, known: frozenset[str], path: str) -> None:
        """Note the members of `holder` that are not `known` and ask for something."""
        if holder.keys() <= known:
            return
        for name, value in holder.items():
            if name not in known and value not in _NOTHING:
                self.add(f"{path}.{name}")
