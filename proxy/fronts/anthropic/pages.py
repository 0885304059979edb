"""Pages of a list as Anthropic cuts them: `limit` things behind `after_id`, or before `before_id`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import orjson

from proxy.errors import RequestError
from proxy.fronts import checks
from proxy.types import Json

_LIMIT = 20  # Anthropic's default
_MOST = 1000


class _Named(Protocol):
    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=_Named)


def page(things: Sequence[T], query: Mapping[str, str], kind: str, told: Callable[[T], Json]) -> bytes:
    """Raises `RequestError` for what is none."""
    size = _size(query.get("limit"))
    begin, end = 0, len(things)
    if (after := query.get("after_id")) is not None:
        begin = _place(things, after, "after_id", kind) + 1
    if (before := query.get("before_id")) is not None:
        end = _place(things, before, "before_id", kind)
    found = list(things[begin:end])
    from_the_end = before is not None and after is None
    shown = found[-size:] if from_the_end else found[:size]
    return orjson.dumps(
        {
            "data": [told(one) for one in shown],
            "has_more": len(shown) < len(found),
            "first_id": shown[0].id if shown else None,
            "last_id": shown[-1].id if shown else None,
        }
    )


def _size(limit: str | None) -> int:
    if limit is None:
        return _LIMIT
    size = checks.numbered(limit, 1, _MOST)
    if size is None:
        raise RequestError(
            f"limit: expected a number from 1 to {_MOST}, but got {limit[:40]!r}.", param="limit"
        )
    return size


def _place(things: Sequence[_Named], name: str, field: str, kind: str) -> int:
    for place, one in enumerate(things):
        if one.id == name:
            return place
    raise RequestError(f"{field}: there is no {kind} {name[:100]!r} here.", param=field)
