"""Patterns of names (`gpt-4o*`), and which of several a name belongs to. A star stands for any text; nothing
else is special, for names of models hold brackets and dots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

LONGEST_NAME = 256  # no model is called like more; names come from outside and may be half a megabyte


def is_pattern(name: str) -> bool:
    return "*" in name


@dataclass(frozen=True, slots=True)
class NamePattern:
    """A pattern in the pieces between its stars: looked for from left to right, never twice in one place."""

    text: str
    head: str
    middle: tuple[str, ...]
    tail: str

    @classmethod
    def of(cls, text: str) -> NamePattern:
        head, *middle, tail = text.split("*")
        return cls(text, head, tuple(filter(None, middle)), tail)

    @property
    def literals(self) -> int:
        """How many characters it says itself."""
        return len(self.head) + sum(map(len, self.middle)) + len(self.tail)

    def fits(self, name: str) -> bool:
        start, end = len(self.head), len(name) - len(self.tail)
        if start > end or not (name.startswith(self.head) and name.endswith(self.tail)):
            return False
        for piece in self.middle:
            found = name.find(piece, start, end)
            if found < 0:
                return False
            start = found + len(piece)
        return True


@dataclass(frozen=True, slots=True)
class PatternTable:
    """Patterns to look names up in. Those without a slash are apart: they fit no `provider/model`."""

    plain: tuple[NamePattern, ...] = ()
    slashed: tuple[NamePattern, ...] = ()

    @classmethod
    def of(cls, texts: Iterable[str]) -> PatternTable:
        """Of those that fit a name, the pattern with the most characters of its own is found; of equals the
        one that comes first."""
        patterns = sorted(map(NamePattern.of, texts), key=lambda pattern: pattern.literals, reverse=True)
        plain = tuple(pattern for pattern in patterns if "/" not in pattern.text)
        return cls(plain, tuple(pattern for pattern in patterns if "/" in pattern.text))

    def find(self, name: str) -> str | None:
        """The pattern for a name, as it is written."""
        if len(name) <= LONGEST_NAME:
            for pattern in self.slashed if "/" in name else self.plain:
                if pattern.fits(name):
                    return pattern.text
        return None
