"""`/v1/models` as Anthropic tells it: pages of a list, and the single object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from proxy.fronts.anthropic import pages
from proxy.fronts.dialects import ListedModel, stamp
from proxy.types import Json


def listed(models: Sequence[ListedModel], query: Mapping[str, str]) -> bytes:
    return pages.page(models, query, "model", _members)


def single(model: ListedModel) -> bytes:
    return orjson.dumps(_members(model))


def _members(model: ListedModel) -> Json:
    """Anthropic's members alone: its SDKs and those behind them check what they read."""
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.id,
        "created_at": stamp(model.created),
        "lifecycle": "active",
    }
