"""Renders vectors as the reply of an `embedContent` or a `batchEmbedContents`."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from proxy.fronts import faults, vectors
from proxy.fronts.base import Header, Piece
from proxy.fronts.gemini import error_reply
from proxy.types import Event, Json, Native

_ESTIMATED = ((b"x-proxy-estimated", b"input_tokens"),)


class EmbeddingsRenderer:
    """Where the upstream speaks the dialect too, its own payload is the reply."""

    ping = b""

    def __init__(self, *, several: bool) -> None:
        self.headers: tuple[Header, ...] = ()
        self._several = several

    def whole(self, events: Iterable[Event]) -> list[Piece]:
        events = list(events)
        for event in events:
            if isinstance(event, Native):
                return faults.dumped(event.payload)
        found, counted = vectors.collected(events)
        if counted.estimated:
            self.headers = _ESTIMATED
        told = [{"values": vector.values.tolist()} for vector in found]
        body: Json = {"embeddings": told} if self._several else {"embedding": told[0]}
        return [orjson.dumps({**body, "usageMetadata": {"promptTokenCount": counted.prompt}})]

    def feed(self, events: Iterable[Event]) -> bytes:
        return b""

    def finish(self) -> bytes:
        return b""

    def error(self, error: BaseException, request_id: str) -> bytes:
        return orjson.dumps({"error": error_reply.members(error)})
