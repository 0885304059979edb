"""Quantities as people write them: `5s`, `20MiB`, `600/min`, `20%`. A number without a unit is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

T = TypeVar("T")

_DURATIONS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
_PERIODS = {"s": 1.0, "min": 60.0, "h": 3600.0, "hour": 3600.0, "d": 86400.0, "day": 86400.0}
# Units as others write them: of times (and what they are in a rate), and of sizes.
_MEANT_TIMES = (
    (r"ms|msecs?|milliseconds?", "ms", ""),
    (r"s|secs?|seconds?", "s", "s"),
    (r"m|mins?|minutes?", "m", "min"),
    (r"h|hrs?|hours?", "h", "h"),
    (r"d|days?", "d", "day"),
)
_MEANT_SIZES = (
    (r"k|kb|kilobytes?", "KiB"),
    (r"m|mb|mib|megabytes?", "MiB"),
    (r"g|gb|gib|gigabytes?", "GiB"),
)
_LOOSE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?) *([a-z]+)", re.I)
_LOOSE_RATE = re.compile(r"([0-9][0-9,_]{0,14}(?:\.[0-9]{1,3})?) *([km]?) *(?:/|per) *([a-z]+)", re.I)
_SHORT = {"": 1, "k": 1000, "m": 1000**2}
_NUMBER = r"[0-9]{1,12}(?:\.[0-9]{1,9})?"

DURATION_PATTERN = rf"^{_NUMBER}(?:{'|'.join(_DURATIONS)})$"
SIZE_PATTERN = rf"^{_NUMBER}(?:{'|'.join(_SIZES)})$"
RATE_PATTERN = rf"^[0-9]{{1,12}}/(?:{'|'.join(_PERIODS)})$"
PERCENT_PATTERN = rf"^{_NUMBER}%$"


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in so many seconds."""

    count: int
    per_s: float

    def written(self) -> str:
        unit = next(unit for unit, seconds in reversed(_PERIODS.items()) if seconds == self.per_s)
        return f"{self.count}/{unit}"


class NoUnitError(ValueError):
    """A bare number where a quantity belongs."""

    def __init__(self, number: float) -> None:
        super().__init__(f"{number} has no unit")
        self.number = number


def read(parse: Callable[[str], T], value: object) -> T:
    """A quantity as the file has it. Raises `ValueError` with what is wrong, ready to follow its path."""
    if isinstance(value, str):
        try:
            return parse(value)
        except ValueError as exc:
            raise ValueError(f'"{value}" {exc}') from None
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise NoUnitError(value)
    raise ValueError("must be a number with its unit, as text")


def duration(text: str) -> float:
    """Seconds. Raises `ValueError`."""
    if (found := _split(text, DURATION_PATTERN)) is None:
        cure = _meant(text, _MEANT_TIMES) or "for example 500ms, 5s, 10m, 1h, 30d"
        raise ValueError(f"is not a duration; write {cure}")
    return float(found[0]) * _DURATIONS[found[1]]


def size(text: str) -> int:
    """Bytes. Raises `ValueError`."""
    if (found := _split(text, SIZE_PATTERN)) is None:
        cure = _meant(text, _MEANT_SIZES) or "for example 20MiB, 512KiB"
        raise ValueError(f"is not a size; write {cure}")
    return round(float(found[0]) * _SIZES[found[1]])


def rate(text: str) -> Rate:
    """Raises `ValueError`."""
    if (found := _split(text, RATE_PATTERN)) is None:
        cure = _meant_rate(text) or "for example 600/min, 200/day"
        raise ValueError(f"is not a rate; write {cure}")
    return Rate(int(found[0]), _PERIODS[found[1].removeprefix("/")])


def percent(text: str) -> float:
    """A fraction: `20%` is 0.2. Raises `ValueError`."""
    if (found := _split(text, PERCENT_PATTERN)) is None:
        raise ValueError("is not a percentage; write for example 20%")
    return float(found[0]) / 100


def _meant(text: str, spellings: Sequence[tuple[str, ...]]) -> str:
    """A quantity whose unit is spelled otherwise, as it is written here; "" for other texts."""
    found = _LOOSE.fullmatch(text)
    unit = "" if found is None else _unit(found[2], spellings, 1)
    return f"{found[1]}{unit}" if found is not None and unit else ""


def _meant_rate(text: str) -> str:
    """The same of `1M/day`, `1,000 / minute`, `60 per second`."""
    found = _LOOSE_RATE.fullmatch(text)
    unit = "" if found is None else _unit(found[3], _MEANT_TIMES, 2)
    if found is None or not unit:
        return ""
    count = Decimal(re.sub("[,_]", "", found[1])) * _SHORT[found[2].lower()]
    return f"{int(count)}/{unit}" if count == int(count) else ""


def _unit(word: str, spellings: Sequence[tuple[str, ...]], place: int) -> str:
    return next((row[place] for row in spellings if re.fullmatch(row[0], word, re.I)), "")


def _split(text: str, pattern: str) -> tuple[str, str] | None:
    """The number and what follows it."""
    if re.match(pattern, text) is None or text.endswith("\n"):
        return None
    number = re.match(r"[\d.]+", text)
    assert number is not None
    return number[0], text[number.end() :]
