"""Quantities as people write them: `5s`, `20MiB`, `600/min`, `20%`. A number without a unit is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
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
    number, unit = _split(text, DURATION_PATTERN, "duration", "5s, 500ms, 10m, 1h")
    return float(number) * _DURATIONS[unit]


def size(text: str) -> int:
    """Bytes. Raises `ValueError`."""
    number, unit = _split(text, SIZE_PATTERN, "size", "20MiB, 512KiB")
    return round(float(number) * _SIZES[unit])


def rate(text: str) -> Rate:
    """Raises `ValueError`."""
    number, unit = _split(text, RATE_PATTERN, "rate", "600/min, 200/day")
    return Rate(int(number), _PERIODS[unit.removeprefix("/")])


def percent(text: str) -> float:
    """A fraction: `20%` is 0.2. Raises `ValueError`."""
    number, _ = _split(text, PERCENT_PATTERN, "percentage", "20%")
    return float(number) / 100


def _split(text: str, pattern: str, what: str, examples: str) -> tuple[str, str]:
    if re.match(pattern, text) is None or text.endswith("\n"):
        raise ValueError(f"is not a {what}; write for example {examples}")
    number = re.match(r"[\d.]+", text)
    assert number is not None
    return number[0], text[number.end() :]
