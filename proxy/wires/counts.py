"""Numbers of tokens as upstreams write them."""

from __future__ import annotations

from typing import Any

_MOST_DIGITS = 15


def count(value: Any) -> int | None:
    """`12`, `12.0` of programs with one kind of number, `"12"` of Google's way to write 64 bits as JSON; None
    for what is no number of something."""
    if type(value) is int:
        return value if 0 <= value < 10**_MOST_DIGITS else None
    if isinstance(value, float):
        return int(value) if 0 <= value < 10**_MOST_DIGITS else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS:
        return int(value)
    return None
