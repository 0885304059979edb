"""`embedContent` and `batchEmbedContents`: vectors that follow from the text (gemini.md 9)."""

from __future__ import annotations

import random
from typing import Any

from proxy.simulators.exchange import Exchange, Reply, json_reply
from proxy.simulators.gemini import proto
from proxy.simulators.gemini.errors import Refused
from proxy.simulators.gemini.models import Model

Json = dict[str, Any]

_SIZE = 3072
_MOST = 100


def one(exchange: Exchange, model: Model, raw: Any) -> Reply:
    return json_reply({"embedding": _vector(proto.read(raw, "EmbedContentRequest"))})


def several(exchange: Exchange, model: Model, raw: Any) -> Reply:
    requests = proto.read(raw, "BatchEmbedContentsRequest").get("requests") or []
    if not 0 < len(requests) <= _MOST:
        raise Refused(
            f"* BatchEmbedContentsRequest.requests: at least one requests is required, at most {_MOST}."
        )
    if any(request.get("model", "").removeprefix("models/") != model.name for request in requests):
        raise Refused("* BatchEmbedContentsRequest.requests: unexpected model name format")
    return json_reply({"embeddings": [_vector(request) for request in requests]})


def _vector(request: Json) -> Json:
    text = " ".join(part.get("text", "") for part in (request.get("content") or {}).get("parts", ()))
    if not text:
        raise Refused("* EmbedContentRequest.content: contents is not specified\n")
    size = request.get("outputDimensionality", _SIZE)
    if not 0 < size <= _SIZE:
        raise Refused(f"output_dimensionality must be between 1 and {_SIZE}.")
    source = random.Random(text)
    return {"values": [round(source.uniform(-0.1, 0.1), 6) for _ in range(size)]}
