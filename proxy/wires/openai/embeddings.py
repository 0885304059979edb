"""Vectors of servers that speak OpenAI: `/embeddings`."""

from __future__ import annotations

from array import array
from sys import byteorder
from typing import Any, Final

import pybase64

from proxy.errors import ErrorClass, RequestError, UpstreamError
from proxy.types import Call, EmbedRequest, Event, Json, Slice, Target, Usage, Vector
from proxy.wires import refusals
from proxy.wires.openai import error, usage
from proxy.wires.openai.request import foreign

_MOST = 2048  # inputs of a call, at OpenAI


class OpenAIEmbeddings:
    """Implements `types.Operation`."""

    carries: Final = frozenset({"model", "inputs", "dimensions", "user", "foreign"})

    def build(self, request: EmbedRequest, target: Target, repairs: frozenset[str] = frozenset()) -> Call:
        dropped: list[str] = []
        body: Json = {
            **foreign(request.foreign, target.options, dropped),
            "model": target.model,
            "input": list(request.inputs),
            "encoding_format": "float",  # all servers know it, and some know nothing else
        }
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        if request.user is not None:
            body["user"] = request.user
        return Call("/embeddings", body, dropped=tuple(dropped))

    def reader(self, request: EmbedRequest, target: Target, call: Call) -> _Reader:
        return _Reader(len(request.inputs), target)

    def unable(self, request: EmbedRequest, target: Target) -> RequestError | None:
        if "" not in request.inputs:
            return None
        return RequestError(
            "This model embeds nothing but texts.", attribute="inputs", code="unsupported_value"
        )

    def shares(self, request: EmbedRequest, target: Target) -> tuple[int, ...]:
        whole, rest = divmod(len(request.inputs), _MOST)
        return (_MOST,) * whole + ((rest,) if rest else ())


class _Reader:
    def __init__(self, count: int, target: Target) -> None:
        self._count = count
        self._target = target
        self._seen: set[int] = set()

    def feed(self, payload: Json) -> list[Event]:
        if refusals.is_refusal(payload, "data"):
            raise error.error_in(payload, self._target)
        events: list[Event] = []
        entries = payload.get("data")
        for position, entry in enumerate(entries if isinstance(entries, list) else ()):
            index = entry.get("index", position) if isinstance(entry, dict) else -1
            if type(index) is not int or not 0 <= index < self._count or index in self._seen:
                raise _malformed(f"The upstream answered {self._count} texts with a vector of another.")
            self._seen.add(index)
            events.append(Vector(_vector(entry.get("embedding")), index))
        counts = payload.get("usage")
        counted = usage.read(counts if isinstance(counts, dict) else {})
        read = counted.prompt + counted.completion  # some servers tell the total alone
        if read:
            events.append(Usage(read, vendor=counted.vendor))
        return events

    def flush(self) -> list[Event]:
        return []

    def close(self, complete: bool = True) -> list[Event]:
        if len(self._seen) != self._count:
            raise _malformed(f"The upstream answered {self._count} texts with {len(self._seen)} vectors.")
        return []


def _vector(values: Any) -> array[float]:
    """Numbers, or the base64 of floats of four bytes that some servers send whatever they are asked."""
    try:
        vector = _decoded(str(values)) if isinstance(values, str | Slice) else array("d", values)
    except (TypeError, ValueError, OverflowError):
        vector = array("d")
    if not vector:
        raise _malformed("The upstream answered with something that is no vector.")
    return vector


def _decoded(text: str) -> array[float]:
    singles = array("f", pybase64.b64decode(text, validate=True))
    if byteorder == "big":
        singles.byteswap()
    return array("d", singles)


def _malformed(message: str) -> UpstreamError:
    return UpstreamError(ErrorClass.INTERNAL, message, code="upstream_malformed_response")
