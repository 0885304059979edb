"""Members of known objects that nobody reads: they are named, so that nothing is lost in silence."""

from __future__ import annotations

import re

from proxy.types import Json

NAMES_MAX = 64
_NAME_CHARS_MAX = 200
_INDEX = re.compile(r"\[\d+\]")

# Values that ask for nothing: clients send back whole replies, with every empty member. An empty object may
# be a mark (`cache_control: {}`).
_NOTHING: tuple[object, ...] = (None, "", [])


class Notes:
    """Paths of what is not carried, in the client's spelling and the order of the request.

    The same member at several places is named once, as `messages[].cache_control`. At most `NAMES_MAX`
    names are kept.
    """

    __slots__ = ("_paths",)

    def __init__(self) -> None:
        self._paths: dict[str, str] = {}

    def add(self, path: str) -> None:
        path = path[:_NAME_CHARS_MAX]
        everywhere = _INDEX.sub("[]", path)
        if everywhere in self._paths:
            if self._paths[everywhere] != path:
                self._paths[everywhere] = everywhere
        elif len(self._paths) < NAMES_MAX:
            self._paths[everywhere] = path

    def unread(self, holder: Json, known: frozenset[str], path: str) -> None:
        """Note the members of `holder` that are not `known` and ask for something."""
        if holder.keys() <= known:
            return
        for name, value in holder.items():
            if name not in known and value not in _NOTHING:
                self.add(f"{path}.{name}")

    def paths(self) -> tuple[str, ...]:
        return tuple(self._paths.values())
