"""Vectors: `embedContent` for one text, `batchEmbedContents` for several."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from math import hypot
from typing import Any, Final

from proxy.errors import ErrorClass, RequestError, UpstreamError
from proxy.types import Call, EmbedRequest, Event, Json, Native, Target, Usage, Vector, Whole
from proxy.wires.gemini import error, models
from proxy.wires.gemini.lenient import dict_of, dicts_of
from proxy.wires.gemini.models import Embedding
from proxy.wires.gemini.request import DIALECT, place
from proxy.wires.gemini.usage import read_usage

_TITLED = "retrieval_document"

# What the second generation reads in the text instead of a field (ai.google.dev, embeddings, "task types").
_WORDS: Final = {
    "retrieval_query": "search result",
    "question_answering": "question answering",
    "fact_verification": "fact checking",
    "code_retrieval_query": "code retrieval",
    "classification": "classification",
    "clustering": "clustering",
    "semantic_similarity": "sentence similarity",
}


class GeminiEmbeddings:
    """Implements `types.Operation`."""

    carries: Final = frozenset({"model", "inputs", "dimensions", "task", "title", "foreign"})

    def build(self, request: EmbedRequest, target: Target, repairs: frozenset[str] = frozenset()) -> Call:
        refusal = self.unable(request, target)
        if refusal is not None:
            raise refusal
        model = models.find(target.model, target.options)
        traits = model.embedding
        assert traits is not None
        if (whole := _relayed(request)) is not None:
            return _relay(whole, model.id)
        rest: Json = {} if request.dimensions is None else {"outputDimensionality": request.dimensions}
        dropped = () if request.title is None or request.task == _TITLED else ("title",)
        if request.foreign is not None:
            dropped = (*dropped, *request.foreign.paths())
        if not traits.task_words and request.task is not None:
            rest["taskType"] = request.task.upper()
            if request.title is not None and not dropped:
                rest["title"] = request.title
        entries = [
            {
                "model": f"models/{model.id}",
                "content": {"parts": [{"text": _said(text, request) if traits.task_words else text}]},
                **rest,
            }
            for text in request.inputs
        ]
        if len(entries) == 1:
            return Call(f"/{place(model.id)}:embedContent", entries[0], dropped=dropped)
        return Call(f"/{place(model.id)}:batchEmbedContents", {"requests": entries}, dropped=dropped)

    def reader(self, request: EmbedRequest, target: Target, call: Call) -> _Reader:
        traits = models.find(target.model, target.options).embedding
        assert traits is not None
        return _Reader(len(request.inputs), traits, target, relays="relayed" in call.context)

    def unable(self, request: EmbedRequest, target: Target) -> RequestError | None:
        traits = models.find(target.model, target.options).embedding
        if traits is None or target.options.get("kind") == "vertex":
            where = "" if traits is None else " on Vertex"
            return RequestError(
                f"The model {target.model!r} makes no embeddings{where}.",
                status=404,
                attribute="model",
                code="unsupported_endpoint",
            )
        if not all(isinstance(one, str) for one in request.inputs):
            return RequestError(
                "Token ids cannot be decoded for this model; send text.",
                attribute="inputs",
                code="unsupported_value",
            )
        if "" in request.inputs and _relayed(request) is None:
            return RequestError(
                "What is no text is embedded as it came alone: not beside a model's defaults, nor in a batch "
                "that is too long for one call.",
                attribute="inputs",
                code="unsupported_value",
            )
        if request.dimensions is not None and request.dimensions > traits.size:
            return RequestError(
                f"The model makes vectors of at most {traits.size} dimensions, not {request.dimensions}.",
                attribute="dimensions",
                code="integer_above_max_value",
            )
        return None

    def shares(self, request: EmbedRequest, target: Target) -> tuple[int, ...]:
        traits = models.find(target.model, target.options).embedding
        most = len(request.inputs) if traits is None else traits.batch
        whole, rest = divmod(len(request.inputs), most)
        return (most,) * whole + ((rest,) if rest else ())


def _relayed(request: EmbedRequest) -> Whole | None:
    """The client's own body, where it is in Google's words and says all that is asked for: defaults may have
    been added, or one call is asked for less of it."""
    foreign = request.foreign
    if foreign is None or foreign.whole is None or foreign.dialect != DIALECT:
        return None
    said = foreign.whole.said
    asked = ("inputs", "dimensions", "task", "title")
    return foreign.whole if all(getattr(request, name) == said.get(name) for name in asked) else None


def _relay(whole: Whole, model_id: str) -> Call:
    """As it was written, but for the names of models in it: they have to be the one in the path."""
    name, body = f"models/{model_id}", whole.body
    entries = body.get("requests")
    if entries is None:
        path = f"/{place(model_id)}:embedContent"
        named = body if body.get("model", name) == name else {**body, "model": name}
    else:
        path = f"/{place(model_id)}:batchEmbedContents"
        listed = entries if isinstance(entries, list) else [entries]
        right = all(entry.get("model") == name for entry in listed)
        named = body if right else {**body, "requests": [{**entry, "model": name} for entry in listed]}
    written = whole.written if named is body else b""
    return Call(path, named, context={"relayed": True}, written=written)


class _Reader:
    """The vectors of `count` texts, in order; shorter ones than the model's own are made one long. `relays`:
    the payload itself is handed on, as it came."""

    def __init__(self, count: int, traits: Embedding, target: Target, *, relays: bool) -> None:
        self._relays = relays
        self._count = count
        self._traits = traits
        self._target = target
        self._read = 0

    def feed(self, payload: Json) -> list[Event]:
        if payload.get("error") or not ("embedding" in payload or "embeddings" in payload):
            raise error.error_in(payload, self._target)
        events: list[Event] = [Native(payload)] if self._relays else []
        for entry in dicts_of(payload.get("embeddings") or [payload.get("embedding")]):
            if not self._relays:
                events.append(Vector(self._vector(entry.get("values")), self._read))
            self._read += 1
        counts = dict_of(payload.get("usageMetadata"))
        if counts.get("promptTokenCount"):
            events.append(_counted(counts))
        return events

    def flush(self) -> list[Event]:
        return []

    def close(self, complete: bool = True) -> list[Event]:
        if self._read != self._count:
            raise UpstreamError(
                ErrorClass.INTERNAL,
                f"The upstream answered {self._count} texts with {self._read} vectors.",
                code="upstream_malformed_response",
            )
        return []

    def _vector(self, values: Any) -> array[float]:
        try:
            vector = array("d", values)
            length = hypot(*vector) if len(vector) != self._traits.size and not self._traits.unit else 1.0
        except (TypeError, OverflowError):
            vector, length = array("d"), 1.0
        if not vector:
            raise UpstreamError(
                ErrorClass.INTERNAL,
                "The upstream answered with something that is no vector.",
                code="upstream_malformed_response",
            )
        return vector if length in (0.0, 1.0) else array("d", [value / length for value in vector])


def _counted(counts: Mapping[str, Any]) -> Usage:
    return read_usage({name: value for name, value in counts.items() if name != "totalTokenCount"})


def _said(text: str | tuple[int, ...], request: EmbedRequest) -> str:
    """The text with its task in front of it."""
    if request.task == _TITLED:
        return f"title: {request.title or 'none'} | text: {text}"
    words = _WORDS.get(request.task or "")
    return f"task: {words} | query: {text}" if words else str(text)
