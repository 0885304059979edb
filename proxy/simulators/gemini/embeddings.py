"""`embedContent` and `batchEmbedContents`: vectors that follow from the text (gemini.md 9).

The first model takes the task as a field, and only its whole vectors are one long; the second takes the task
as words, counts its tokens, and all its vectors are one long.
"""

from __future__ import annotations

from typing import Any

from proxy.simulators import directives, vectors
from proxy.simulators.exchange import Exchange, Reply, json_reply
from proxy.simulators.gemini import proto
from proxy.simulators.gemini.errors import Refused, error_reply
from proxy.simulators.gemini.models import Model

Json = dict[str, Any]

_SIZE = 3072
_MOST = 100
_TASKS = frozenset(
    {
        "TASK_TYPE_UNSPECIFIED",
        "SEMANTIC_SIMILARITY",
        "CLASSIFICATION",
        "CLUSTERING",
        "RETRIEVAL_DOCUMENT",
        "RETRIEVAL_QUERY",
        "QUESTION_ANSWERING",
        "FACT_VERIFICATION",
        "CODE_RETRIEVAL_QUERY",
    }
)


def one(exchange: Exchange, model: Model, raw: Any) -> Reply:
    request = proto.read(raw, "EmbedContentRequest")
    return _failure([request]) or json_reply(
        {"embedding": _vector(request, model), **_usage([request], model)}
    )


def several(exchange: Exchange, model: Model, raw: Any) -> Reply:
    requests = proto.read(raw, "BatchEmbedContentsRequest").get("requests") or []
    if not 0 < len(requests) <= _MOST:
        raise Refused(
            f"* BatchEmbedContentsRequest.requests: at least one requests is required, at most {_MOST}."
        )
    if any(request.get("model", "").removeprefix("models/") != model.name for request in requests):
        raise Refused("* BatchEmbedContentsRequest.requests: unexpected model name format")
    embeddings = [_vector(request, model) for request in requests]
    return _failure(requests) or json_reply({"embeddings": embeddings, **_usage(requests, model)})


def _failure(requests: list[Json]) -> Reply | None:
    orders = directives.parse("\n".join(map(_text, requests)))
    return error_reply(orders.word("error", "500"), orders) if "error" in orders else None


def _text(request: Json) -> str:
    return " ".join(part.get("text", "") for part in (request.get("content") or {}).get("parts", ()))


def _said(request: Json, model: Model) -> str:
    """The second generation embeds pictures and sound too."""
    parts = (request.get("content") or {}).get("parts", ()) if model.counts_embeddings else ()
    return _text(request) + "".join(part["inlineData"]["data"] for part in parts if "inlineData" in part)


def _vector(request: Json, model: Model) -> Json:
    text = _said(request, model)
    if not text:
        raise Refused("* EmbedContentRequest.content: contents is not specified\n")
    size = request.get("outputDimensionality", _SIZE)
    if not 0 < size <= _SIZE:
        raise Refused(f"output_dimensionality must be between 1 and {_SIZE}.")
    task = request.get("taskType")
    if task is not None and (model.counts_embeddings or task not in _TASKS):
        raise Refused(f"* EmbedContentRequest.task_type: {task} is not supported by {model.name}.\n")
    if request.get("title") and task != "RETRIEVAL_DOCUMENT":
        raise Refused("* EmbedContentRequest.title: title is only for the task RETRIEVAL_DOCUMENT.\n")
    unit = model.counts_embeddings or size == _SIZE
    return {"values": vectors.of(text, size, unit=unit)}


def _usage(requests: list[Json], model: Model) -> Json:
    if not model.counts_embeddings:
        return {}
    count = sum(vectors.tokens_of(_text(request)) for request in requests)
    return {"usageMetadata": {"promptTokenCount": count, "totalTokenCount": count}}
