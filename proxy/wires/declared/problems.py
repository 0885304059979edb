"""What is wrong with a profile, as sentences with an address, and the reading of mappings that finds it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from proxy.checking import mistakes, units
from proxy.checking.mistakes import Mistakes, did_you_mean
from proxy.checking.names import is_header_name

Where = mistakes.Path
T = TypeVar("T")
D = TypeVar("D")


# Keys as one would call them, and ours: the first that is known at the place.
_SYNONYMS = {
    "status": ("http",),
    "status_code": ("http",),
    "url": ("request", "base_url"),
    "path": ("request",),
    "interval": ("every",),
    "timeout": ("give_up",),
    "done": ("success",),
    "completed": ("success",),
    "max_n": ("n",),
    "ratios": ("aspects",),
}


class Problems(Mistakes):
    """The mistakes of a profile."""

    def unknown(self, code: str, path: Where, what: str, name: str, known: Iterable[str]) -> None:
        """Complain about a name that is none of `known`, and suggest the nearest."""
        self.add(code, path, f"unknown {what} {name}", did_you_mean(name, known) or "there are none")

    def unknown_key(self, path: Where, known: Iterable[str]) -> None:
        """Complain about the key that `path` ends with."""
        key, known = str(path[-1]), list(known)
        message = f'unknown key "{key}" in {shown(path[:-1])}'
        meant = next((word for word in _SYNONYMS.get(key, ()) if word in known), None)
        hint = f"it is called {meant} here" if meant else did_you_mean(key, known)
        self.add("E101", path, message, hint or "there are none")


class Mapped:
    """A mapping while it is read: each key is taken with a reader, then unknown keys are complaints."""

    def __init__(self, data: Any, where: Where, known: Iterable[str], problems: Problems) -> None:
        self.where = where
        self.problems = problems
        self.data: Mapping[str, Any] = {}
        if not isinstance(data, Mapping):
            problems.add("E103", where, f"{shown(where)} must be a mapping of keys")
            return
        names = list(known)
        for key in data:
            if not isinstance(key, str):
                problems.add(
                    "E126", (*where, key), f"{key!r} is no text, so it cannot be a key", "put it in quotes"
                )
            elif key not in names:
                problems.unknown_key((*where, key), names)
        self.data = {key: value for key, value in data.items() if key in names and value is not None}

    def __contains__(self, key: str) -> bool:
        return key in self.data

    def take(self, key: str, read: Callable[[Any, Where, Problems], T], default: D) -> T | D:
        """Read one key; `default` if it is absent or null."""
        if key not in self.data:
            return default
        return read(self.data[key], (*self.where, key), self.problems)


def shown(where: Where) -> str:
    return mistakes.shown(where) or "the profile"


# --- readers of single values ----------------------------------------------------------------------


def text(value: Any, where: Where, problems: Problems) -> str:
    if isinstance(value, str) and value:
        return value
    problems.add("E103", where, f"{shown(where)} must be text, not {_kind(value)}")
    return ""


def any_text(value: Any, where: Where, problems: Problems) -> str:
    return value if value == "" else text(value, where, problems)


def header_name(value: Any, where: Where, problems: Problems) -> str:
    name = text(value, where, problems)
    if name and not is_header_name(name):
        problems.add("E103", where, f"{shown(where)} must be the name of a header")
    return name


def flag(value: Any, where: Where, problems: Problems) -> bool:
    if isinstance(value, bool):
        return value
    hint = f"write {value}, without quotes" if value in ("true", "false") else ""
    problems.add("E103", where, f"{shown(where)} must be true or false, not {_kind(value)}", hint)
    return False


def count(value: Any, where: Where, problems: Problems) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    hint = f"write {value}, without quotes" if isinstance(value, str) and value.isdecimal() else ""
    problems.add("E103", where, f"{shown(where)} must be a whole number above 0, not {_kind(value)}", hint)
    return 1


def number(value: Any, where: Where, problems: Problems) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return value
    problems.add("E103", where, f"{shown(where)} must be a number above 0, not {_kind(value)}")
    return 1.0


def texts(value: Any, where: Where, problems: Problems) -> tuple[str, ...]:
    """One word or a list of words; whole numbers are read as words (states and codes may be numbers)."""
    items = value if isinstance(value, list) else [value]
    good = [item for item in items if isinstance(item, str | int) and not isinstance(item, bool)]
    if len(good) != len(items):
        problems.add("E103", where, f"{shown(where)} must be a list of words")
    return tuple(map(str, good))


def counts(value: Any, where: Where, problems: Problems) -> tuple[int, ...]:
    items = value if isinstance(value, list) else [value]
    return tuple(count(item, where, problems) for item in items)


def one_of(*words: str) -> Callable[[Any, Where, Problems], str]:
    def read(value: Any, where: Where, problems: Problems) -> str:
        if value in words:
            return str(value)
        problems.add("E103", where, f"{shown(where)} is {value!r}; it must be one of {', '.join(words)}")
        return words[0]

    return read


def seconds(value: Any, where: Where, problems: Problems) -> float:
    """A duration with its unit: 500ms, 4s, 10m, 24h."""
    try:
        return units.read(units.duration, value)
    except ValueError as exc:
        hint = f"write {exc.number}s" if isinstance(exc, units.NoUnitError) else ""
        problems.add("E143", where, f"{shown(where)} {exc}", hint)
        return 1.0


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text" if value else "empty text"
    return {bool: "true or false", list: "a list", dict: "a mapping"}.get(type(value), repr(value))
