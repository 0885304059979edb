"""`/v1/models`: the list and the single object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from proxy.types import Abilities, Json


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model as clients see it; `extra` adds to OpenAI's four fields and never replaces them. `abilities`
    are told as OpenRouter tells them, with sizes and ratios beside."""

    id: str
    owned_by: str
    created: int = 0
    abilities: Abilities = field(default_factory=Abilities)
    extra: Mapping[str, Any] = field(default_factory=dict)


def listed(models: Iterable[ListedModel]) -> bytes:
    return orjson.dumps({"object": "list", "data": [_members(model) for model in models]})


def single(model: ListedModel) -> bytes:
    return orjson.dumps(_members(model))


def _members(model: ListedModel) -> Json:
    own: Json = {"id": model.id, "object": "model", "created": model.created, "owned_by": model.owned_by}
    able = model.abilities
    known = {"input_modalities": able.inputs, "output_modalities": able.outputs}
    if told := {name: words for name, words in known.items() if words}:
        own["architecture"] = told
    if able.sizes:
        own["image_sizes"] = able.sizes
    if able.ratios:
        own["aspect_ratios"] = able.ratios
    return own | {name: value for name, value in model.extra.items() if name not in own}
