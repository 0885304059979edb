"""Orders to a simulator inside a prompt: `sim:name` or `sim:name:value`, told apart by blanks.

The table in docs/simulators.md says what each does. `sim:text:` takes the rest of its line. A directive
that the asked vendor does not know is left alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_DIRECTIVE = re.compile(r"sim:(?:text:(?P<text>[^\n]*)|(?P<name>[a-z0-9-]+)(?::(?P<value>[^\s\"'`,;]+))?)")


@dataclass(frozen=True, slots=True)
class Pace:
    """When the bytes of a reply go out. Frames are counted from 1; None: never."""

    slow_s: float = 0.0
    gap_s: float = 0.0
    cut_after: int | None = None
    stall_after: int | None = None
    drop: bool = False
    split_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Directives:
    """`said` is the prompt without its directives."""

    said: str = ""
    orders: dict[str, str] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.orders

    def word(self, name: str, default: str = "") -> str:
        return self.orders.get(name) or default

    def count(self, name: str, default: int = 0) -> int:
        """The whole number after `name`; `default` where the directive or its number is absent."""
        value = self.orders.get(name, "").split(":")[0]
        return int(value) if value.isdigit() else default

    def seconds(self, name: str) -> float:
        try:
            return float(self.orders.get(name) or 0)
        except ValueError:
            return 0.0

    @property
    def pace(self) -> Pace:
        return Pace(
            slow_s=self.seconds("slow"),
            gap_s=self.seconds("gap") / 1000,
            cut_after=self.count("cut") if "cut" in self else None,
            stall_after=self.count("stall") if "stall" in self else None,
            drop="drop" in self,
            split_bytes=self.count("split", 7) if "split" in self else 0,
        )


def parse(prompt: str) -> Directives:
    if "sim:" not in prompt:
        return Directives(prompt)
    orders: dict[str, str] = {}
    for found in _DIRECTIVE.finditer(prompt):
        if found["name"] is None:
            orders["text"] = found["text"]
        else:
            orders[found["name"]] = (found["value"] or "").rstrip(".")
    return Directives(" ".join(_DIRECTIVE.sub(" ", prompt).split()), orders)
