"""Pages of a list as Google cuts them: `pageSize` things from `pageToken` on, the place of the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import orjson

from proxy.errors import RequestError
from proxy.types import Json

T = TypeVar("T")

_PAGE = 50  # Google's default
_MOST = 1000


def page(things: Sequence[T], query: Mapping[str, str], name: str, told: Callable[[T], Json]) -> bytes:
    """The list is in the member `name`. Raises `RequestError` for what is none."""
    size = min(_number(query, "pageSize", _PAGE) or _PAGE, _MOST)
    start = _number(query, "pageToken", 0)
    found: Json = {name: [told(one) for one in things[start : start + size]]}
    if start + size < len(things):
        found["nextPageToken"] = str(start + size)
    return orjson.dumps(found)


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise RequestError(f"{name}: expected a number, but got {text[:40]!r}.", param=name)
    return int(text)
