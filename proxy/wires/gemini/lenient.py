"""What we receive is read with patience: a field of another type than documented counts as missing."""

from __future__ import annotations

from typing import Any

from proxy.types import Json
from proxy.wires.counts import count


def dict_of(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def dicts_of(value: Any) -> list[Json]:
    """The objects of a list, without what is none."""
    return [item for item in list_of(value) if isinstance(item, dict)]


def string_of(value: Any) -> str | None:
    """A string with something in it."""
    return value if isinstance(value, str) and value else None


def count_of(value: Any) -> int:
    """A number of something, else 0."""
    return count(value) or 0
