"""What is wrong with a configuration file, said like a compiler: address, code, line, caret, hint."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from proxy.checking.mistakes import Path
from proxy.config.masking import mask

Severity = Literal["error", "warning", "note"]

_SEVERITIES: dict[str, Severity] = {"E": "error", "W": "warning", "N": "note"}
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what YAML's parsers take for the end of a line
_WIDEST = 160  # characters of a source line that are shown


@dataclass(frozen=True, slots=True)
class Mark:
    """A position in the file; both numbers count from 1, columns in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands, and the key that names it (for items of a list the value again)."""

    key: Mark
    value: Mark


@dataclass(frozen=True, slots=True)
class Problem:
    """`source_line` is the line of the file with secrets masked, character for character."""

    file: str
    line: int
    column: int
    severity: Severity
    code: str
    message: str
    hint: str = ""
    source_line: str = ""

    def render(self) -> str:
        """As `file:line:col: severity CODE message`, the line, a caret and the hint.

        Notes are one line: a file with ten vendors has many, and nothing in it is wrong.
        """
        head = f"{self.file}:{self.line}:{self.column}: {self.severity} {self.code} {self.message}"
        if self.severity == "note":
            return head
        lines = [head]
        if self.source_line:
            text, column = _window(self.source_line, self.column)
            lines += [f"  {text}", f"  {_indent(text[: column - 1])}^"]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)

    __str__ = render

    def json(self) -> dict[str, Any]:
        names = ("file", "line", "column", "severity", "code", "message", "hint", "source_line")
        return {name: getattr(self, name) for name in names}


def lines_of(text: str) -> list[str]:
    return _BREAK.split(text)


def _window(line: str, column: int) -> tuple[str, int]:
    """The part of a long line around a column, and the column in it."""
    start = 0 if len(line) <= _WIDEST else max(0, min(column - _WIDEST // 2, len(line) - _WIDEST))
    return line[start : start + _WIDEST], column - start


def _indent(before: str) -> str:
    """Blank space as wide as `before` on a terminal."""
    return "".join(
        "\t" if char == "\t" else "  " if unicodedata.east_asian_width(char) in "WF" else " "
        for char in before
    )


@dataclass(slots=True)
class Report:
    """Collects problems and gives each its position in the text."""

    file: str
    text: str = ""
    places: Mapping[Path, Place] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    problems: list[Problem] = field(default_factory=list)

    def add(
        self, code: str, where: Path | Mark, message: str, hint: str = "", *, at_key: bool = False
    ) -> None:
        """Note a problem at a mark, or at the value (or the key) that a path leads to.

        A path without a place of its own (a missing key, a part of a string) stands at its parent's.
        """
        mark = self._within(where if isinstance(where, Mark) else self._mark(where, at_key))
        source_line = lines_of(self.text.rstrip())[mark.line - 1]
        self.problems.append(
            Problem(
                self.file,
                mark.line,
                mark.column,
                _SEVERITIES[code[0]],
                code,
                mask(message, self.secrets),
                mask(hint, self.secrets),
                mask(source_line, self.secrets),
            )
        )

    def tells_of(self, path: Path) -> bool:
        """Something is wrong already with the value that the path leads to."""
        mark = self._within(self._mark(path, at_key=False))
        return any(Mark(one.line, one.column) == mark for one in self.problems)

    def line_of(self, path: Path) -> int:
        return self._mark(path, at_key=False).line

    def _within(self, mark: Mark) -> Mark:
        """Parsers place a missing end after the end."""
        lines = lines_of(self.text.rstrip())
        return Mark(len(lines), len(lines[-1]) + 1) if mark.line > len(lines) else mark

    def _mark(self, path: Path, at_key: bool) -> Mark:
        exact = path in self.places
        while path and path not in self.places:
            path = path[:-1]
        place = self.places.get(path)
        if place is None:
            return Mark(1, 1)
        return place.key if at_key or not exact else place.value

    def sorted(self) -> list[Problem]:
        unique = dict.fromkeys(self.problems)
        return sorted(unique, key=lambda problem: (problem.line, problem.column, problem.code))
