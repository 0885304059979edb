"""A request in the making: the fields of a body are gathered until all are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from proxy.fronts import checks
from proxy.fronts.notes import Notes
from proxy.types import Foreign, Json

DIALECT = "openai"

_EMPTY: tuple[object, ...] = (None, "", [], {})

# Values that say what OpenAI does anyway: nothing is lost when they are not carried.
_DEFAULTS: dict[str, Any] = {"verbosity": "medium"}


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
        marks = tuple(self.notes.marks.values()) if self.notes.marks else ()
        return Foreign(DIALECT, self.foreign, frozenset(silent), marks=marks)
