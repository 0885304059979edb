"""`/v1/models`: the list and the single object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from proxy.types import Json


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model as clients see it; `extra` adds to OpenAI's four fields and never replaces them."""

    id: str
    owned_by: str
    created: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)


def listed(models: Iterable[ListedModel]) -> bytes:
    return orjson.dumps({"object": "list", "data": [_members(model) for model in models]})


def single(model: ListedModel) -> bytes:
    return orjson.dumps(_members(model))


def _members(model: ListedModel) -> Json:
    own = {"id": model.id, "object": "model", "created": model.created, "owned_by": model.owned_by}
    return own | {name: value for name, value in model.extra.items() if name not in own}
