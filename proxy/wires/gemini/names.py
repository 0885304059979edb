"""Function names that Google accepts, with the way back to the client's."""

from __future__ import annotations

import re

_VALID = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}\Z")
_INVALID_CHARACTER = re.compile(r"[^A-Za-z0-9_.:-]")
_MAX = 128


class Names:
    """The function names of one request; the same client name always gets the same upstream name."""

    __slots__ = ("_numbers", "_upstream", "originals")

    def __init__(self) -> None:
        self._upstream: dict[str, str] = {}
        self._numbers: dict[str, int] = {}  # the next one for a name that is taken
        self.originals: dict[str, str] = {}

    def upstream(self, name: str) -> str:
        known = self._upstream.get(name)
        if known is not None:
            return known
        chosen = name if _VALID.match(name) else _sanitised(name)
        stem = chosen[: _MAX - 4] if chosen in self.originals else chosen
        while chosen in self.originals:
            number = self._numbers[stem] = self._numbers.get(stem, 1) + 1
            chosen = f"{stem}_{number}"
        self._upstream[name] = chosen
        self.originals[chosen] = name
        return chosen

    def renamed(self) -> dict[str, str]:
        """Upstream name to client name, where they differ."""
        return {upstream: name for upstream, name in self.originals.items() if upstream != name}


def _sanitised(name: str) -> str:
    plain = _INVALID_CHARACTER.sub("_", name)
    if not plain[:1].isalpha() and plain[:1] != "_":
        plain = "_" + plain
    return plain[:_MAX]
