"""`models` as Google tells them: pages of a list, and the single object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from proxy.fronts.dialects import ListedModel
from proxy.fronts.gemini import pages
from proxy.types import Json

_METHODS = ("generateContent", "countTokens")
_EMBEDS = ("embedContent", "batchEmbedContents")


def listed(models: Sequence[ListedModel], query: Mapping[str, str]) -> bytes:
    return pages.page(models, query, "models", _members)


def single(model: ListedModel) -> bytes:
    return orjson.dumps(_members(model))


def _members(model: ListedModel) -> Json:
    able = model.abilities
    told = {
        "name": f"models/{model.id}",
        "version": "1",
        "displayName": model.id,
        "description": model.extra.get("description"),
        "inputTokenLimit": able.input_tokens,
        "outputTokenLimit": able.output_tokens,
        "supportedGenerationMethods": _EMBEDS if able.outputs == ("embeddings",) else _METHODS,
        "thinking": able.thinks,
    }
    return {name: value for name, value in told.items() if value is not None}
