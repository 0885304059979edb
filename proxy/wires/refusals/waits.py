"""When to come back, however it is spelled: seconds, milliseconds, a date, Google's delay, a sentence."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from proxy.errors import LONGEST_WAIT_S

_NUMBER = re.compile(r"\d{1,30}(?:\.\d{1,30})?")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_AMOUNT = r"\d{1,9}(?:\.\d{1,9})?"
_PIECE = rf"{_AMOUNT} ?(?:ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)(?![a-z])"
_SENTENCE = re.compile(
    r"(?:try again|retry|wait)(?: in| after| for)? (?:about )?"
    rf"({_PIECE} ?(?:{_PIECE})? ?(?:{_PIECE})?|{_AMOUNT}(?=[.,;)]|$))",
    re.I,
)
_PARTS = re.compile(rf"({_AMOUNT}) ?([a-z]{{0,12}})", re.I)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """What the headers say, from 0 to an hour; None for nothing and for nonsense.

    A date is read against the reply's own `date`, or against the clock where there is none.
    """
    lower = {name.lower(): value.strip() for name, value in headers.items()}
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if (value := _number(lower.get(name))) is not None:
            return _bounded(value * unit_s)
    until = _moment(lower.get("retry-after"))
    if until is None:
        return None
    now = _moment(lower.get("date"))
    return _bounded(until - (time.time() if now is None else now))


def delay_s(value: Any) -> float | None:
    """google.rpc.RetryInfo's `retryDelay`: `34.4s`."""
    number = _number(value[:-1]) if isinstance(value, str) and value.endswith("s") else None
    return None if number is None else _bounded(number)


def told_s(message: str) -> float | None:
    """`Please try again in 1m20.5s.`"""
    found = _SENTENCE.search(message)
    if found is None:
        return None
    parts = _PARTS.findall(found[1])
    return _bounded(sum(float(number) * _UNIT_S[_short(unit)] for number, unit in parts))


def _short(unit: str) -> str:
    unit = unit.lower() or "s"
    return "ms" if unit.startswith(("ms", "mil")) else unit[0]


def _number(text: str | None) -> float | None:
    return float(text) if text is not None and _NUMBER.fullmatch(text) else None


def _moment(text: str | None) -> float | None:
    """Seconds since 1970."""
    try:
        moment = parsedate_to_datetime(text) if text else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment is None:
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), LONGEST_WAIT_S)
