"""Renders vectors, as numbers or as base64."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable

import orjson
import pybase64

from proxy.fronts import vectors
from proxy.fronts.base import Facts, Piece
from proxy.fronts.openai.embeddings.shape import EmbeddingShape
from proxy.fronts.openai.replies import reply_parts
from proxy.fronts.openai.unstreamed import Unstreamed
from proxy.types import Event, Json, Usage

_ESTIMATED = ((b"x-proxy-estimated", b"prompt_tokens"),)


class EmbeddingsRenderer(Unstreamed):
    def __init__(self, shape: EmbeddingShape, facts: Facts) -> None:
        super().__init__()
        self._shape = shape
        self._cost = facts.cost

    def whole(self, events: Iterable[Event]) -> list[Piece]:
        found, counted = vectors.collected(events)
        if counted.estimated:
            self.headers = _ESTIMATED
        written = _as_base64 if self._shape.encoding == "base64" else _as_numbers
        pieces: list[Piece] = [b'{"object":"list","data":[']
        for index, vector in enumerate(found):
            head = b'{"object":"embedding","index":%d,"embedding":' % index
            pieces += (b"," + head if index else head, written(vector.values), b"}")
        tail = orjson.dumps({"model": self._shape.model, "usage": self._usage(counted)})
        pieces += (b"],", tail[1:])
        return pieces

    def _usage(self, counted: Usage) -> Json:
        found: Json = {"prompt_tokens": counted.prompt, "total_tokens": counted.prompt}
        if self._cost is not None and (told := reply_parts.money(self._cost)) is not None:
            found["cost"], found["cost_currency"] = told
        return found


def _as_numbers(values: array[float]) -> bytes:
    return orjson.dumps(values.tolist())


def _as_base64(values: array[float]) -> bytes:
    """Floats of four bytes, the low one first (E-002)."""
    return b'"' + pybase64.b64encode(struct.pack(f"<{len(values)}f", *values)) + b'"'
