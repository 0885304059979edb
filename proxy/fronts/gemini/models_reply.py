"""`models` as Google tells them: pages of a list, and the single object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from proxy.errors import RequestError
from proxy.fronts.dialects import ListedModel
from proxy.types import Json

_PAGE = 50  # Google's default
_MOST = 1000
_METHODS = ("generateContent", "countTokens")
_EMBEDS = ("embedContent", "batchEmbedContents")


def listed(models: Sequence[ListedModel], query: Mapping[str, str]) -> bytes:
    """`pageSize` models from `pageToken` on, which is the place of the first. Raises `RequestError` for what
    is none."""
    size = min(_number(query, "pageSize", _PAGE) or _PAGE, _MOST)
    start = _number(query, "pageToken", 0)
    told: Json = {"models": [_members(model) for model in models[start : start + size]]}
    if start + size < len(models):
        told["nextPageToken"] = str(start + size)
    return orjson.dumps(told)


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


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise RequestError(f"{name}: expected a number, but got {text[:40]!r}.", param=name)
    return int(text)
