"""A request in the making: the fields of a body are gathered until all are read. What nobody reads is named,
so that nothing is lost in silence."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from proxy.fronts.openai import checks
from proxy.types import Foreign, Json

DIALECT = "openai"

_EMPTY: tuple[object, ...] = (None, "", [], {})

# Values that say what OpenAI does anyway: nothing is lost when they are not carried.
_DEFAULTS: dict[str, Any] = {"verbosity": "medium"}

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


@dataclass(slots=True)
class Reading:
    """Attributes of the request and of its shape, fields without an attribute, which of several spellings
    the client chose, and what nobody reads."""

    request: Json = field(default_factory=dict)
    shape: Json = field(default_factory=dict)
    foreign: Json = field(default_factory=dict)
    wrote: list[str] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)

    def add_foreign(self, name: str, value: Any) -> None:
        """Keep a field as it is. Raises `RequestError` where it could not be written again."""
        self.foreign[name] = checks.carried(value, name)

    def foreign_fields(self) -> Foreign:
        silent = (
            name for name, value in self.foreign.items() if value in _EMPTY or value == _DEFAULTS.get(name)
        )
        return Foreign(DIALECT, self.foreign, frozenset(silent))
