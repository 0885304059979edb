"""`/v1/models` as OpenAI tells it: the list and the single object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from proxy.fronts.dialects import ListedModel
from proxy.types import Json


def listed(models: Sequence[ListedModel], query: Mapping[str, str]) -> bytes:
    return orjson.dumps({"object": "list", "data": [_members(model) for model in models]})


def single(model: ListedModel) -> bytes:
    return orjson.dumps(_members(model))


def _members(model: ListedModel) -> Json:
    """What it can do is told as OpenRouter tells it, with sizes and ratios beside."""
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
