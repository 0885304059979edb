"""What is wrong with a profile, as sentences with an address, and the reading of mappings that finds it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from proxy.checking.names import is_header_name

Where = tuple[str | int, ...]
T = TypeVar("T")
D = TypeVar("D")


class Problem(NamedTuple):
    """One line of `check`. `path` leads from the top of the profile to the value (or key) that is wrong."""

    code: str
    path: Where
    message: str
    hint: str = ""


class Problems(list[Problem]):
    def add(self, code: str, path: Where, message: str, hint: str = "") -> None:
        self.append(Problem(code, path, message, hint))

    def unknown(self, code: str, path: Where, what: str, name: str, known: Iterable[str]) -> None:
        """Complain about a name that is none of `known`, and suggest the nearest."""
        self.add(code, path, f"unknown {what} {name}", nearest(name, known))

    def unknown_key(self, path: Where, known: Iterable[str]) -> None:
        """Complain about the key that `path` ends with."""
        key = str(path[-1])
        self.add("E101", path, f'unknown key "{key}" in {shown(path[:-1])}', nearest(key, known))


def nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"?' if close else f"there are {', '.join(names) or 'none'}"


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
    """A path as a person writes it: `surfaces.image.models["nano-*"].size`."""
    text = ""
    for step in where:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.fullmatch(r"\w+", str(step)):
            text += f".{step}" if text else str(step)
        else:
            text += f'["{step}"]'
    return text or "the profile"


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
    problems.add("E103", where, f"{shown(where)} must be true or false, not {_kind(value)}")
    return False


def count(value: Any, where: Where, problems: Problems) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    problems.add("E103", where, f"{shown(where)} must be a whole number above 0, not {_kind(value)}")
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


_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(value: Any, where: Where, problems: Problems) -> float:
    """A duration with its unit: 500ms, 4s, 10m, 24h."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match:
        return float(match[1]) * _SECONDS[match[2]]
    problems.add("E143", where, f'{shown(where)} "{value}" has no unit', f"write {value}s")
    return 1.0


def _kind(value: Any) -> str:
    return {bool: "true or false", list: "a list", dict: "a mapping", str: "empty text"}.get(
        type(value), repr(value)
    )
