"""`/v1/models` as Anthropic tells it: pages of a list, and the single object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import orjson

from proxy.errors import RequestError
from proxy.fronts.dialects import ListedModel
from proxy.types import Json

_LIMIT = 20  # Anthropic's default
_MOST = 1000


def listed(models: Sequence[ListedModel], query: Mapping[str, str]) -> bytes:
    """`limit` models behind `after_id`, or before `before_id`. Raises `RequestError` for what is none."""
    size = _size(query.get("limit"))
    begin, end = 0, len(models)
    if (after := query.get("after_id")) is not None:
        begin = _place(models, after, "after_id") + 1
    if (before := query.get("before_id")) is not None:
        end = _place(models, before, "before_id")
    page = list(models[begin:end])
    from_the_end = before is not None and after is None
    shown = page[-size:] if from_the_end else page[:size]
    return orjson.dumps(
        {
            "data": [_members(model) for model in shown],
            "has_more": len(shown) < len(page),
            "first_id": shown[0].id if shown else None,
            "last_id": shown[-1].id if shown else None,
        }
    )


def single(model: ListedModel) -> bytes:
    return orjson.dumps(_members(model))


def _members(model: ListedModel) -> Json:
    """Anthropic's members alone: its SDKs and those behind them check what they read."""
    created = datetime.fromtimestamp(model.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.id,
        "created_at": created,
        "lifecycle": "active",
    }


def _size(limit: str | None) -> int:
    if limit is None:
        return _LIMIT
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:5]) <= _MOST:
        raise RequestError(
            f"limit: expected a number from 1 to {_MOST}, but got {limit[:40]!r}.", param="limit"
        )
    return int(limit[:5])


def _place(models: Sequence[ListedModel], name: str, field: str) -> int:
    for place, model in enumerate(models):
        if model.id == name:
            return place
    raise RequestError(f"{field}: there is no model {name[:100]!r} here.", param=field)
