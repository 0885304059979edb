"""`embedContent` and `batchEmbedContents`: reading them, and rendering vectors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from proxy.fronts import checks, faults, vectors
from proxy.fronts.base import Header, Piece
from proxy.fronts.gemini import contents, error_reply
from proxy.fronts.gemini.reading import Reading, integer, listed, member, members, word
from proxy.fronts.gemini.request import DIALECT
from proxy.types import EmbedRequest, Event, Foreign, Json, Native, TextPart, Whole

_NO_TASK = "TASK_TYPE_UNSPECIFIED"
_ESTIMATED = ((b"x-proxy-estimated", b"input_tokens"),)


def parse(body: Any, model: str, *, several: bool, written: bytes) -> EmbedRequest:
    """One text for each content, whatever its parts (E-003). Raises `RequestError` that names the field."""
    reading = Reading()
    entries = [checks.mapping(body, "body")]
    if several:
        entries = listed(member(body, "requests") or [], "requests")
        if not entries:
            raise checks.missing("requests")
    inputs: list[str] = []
    for index, entry in enumerate(entries):
        path = f"requests[{index}]." if several else ""
        inputs.append(_text(entry, path, reading))
        wishes = _wishes(entry, path, reading)
        if not index:
            reading.request.update(wishes)
        for name in wishes.keys() | reading.request.keys():
            if wishes.get(name) != reading.request.get(name):  # one wish holds for all elsewhere
                reading.strange(f"{path}{_SPELLED[name]}", wishes.get(name) or reading.request[name])
    reading.request["inputs"] = tuple(inputs)
    foreign = Foreign(DIALECT, reading.foreign, whole=Whole(body, written, reading.request))
    return EmbedRequest(model, foreign=foreign, **reading.request)


def _text(entry: Json, path: str, reading: Reading) -> str:
    content = checks.mapping(member(entry, "content"), f"{path}content")
    parts = contents.parts_of(content, f"{path}content", reading)
    for part in parts:
        if not isinstance(part, TextPart):
            reading.strange(f"{path}content.parts", part)
    text = "\n".join(part.text for part in parts if isinstance(part, TextPart))
    return checks.required_string(text, f"{path}content.parts")


def _wishes(entry: Json, path: str, reading: Reading) -> Json:
    found: Json = {}
    for name, written, value in members(entry):
        where = f"{path}{written}"
        if name == "outputDimensionality":
            found["dimensions"] = checks.integer(1)(integer(value, where), where)
        elif name == "taskType" and word(value) != _NO_TASK:
            found["task"] = checks.string(value, where).lower()
        elif name == "title":
            found["title"] = checks.string(value, where)
        elif name not in ("content", "model", "taskType"):
            reading.strange(where, value)
    return found


_SPELLED = {"dimensions": "outputDimensionality", "task": "taskType", "title": "title"}


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
