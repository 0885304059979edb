"""Reads the body of an `embedContent` or a `batchEmbedContents` into an `EmbedRequest`."""

from __future__ import annotations

from typing import Any

from proxy.fronts import checks
from proxy.fronts.gemini import contents
from proxy.fronts.gemini.reading import DIALECT, Reading, integer, listed, member, members, word
from proxy.types import EmbedRequest, Foreign, Json, TextPart, Whole

_OF_BATCH = frozenset({"requests", "model"})
_NO_TASK = "TASK_TYPE_UNSPECIFIED"


def parse(body: Any, model: str, *, several: bool, written: bytes) -> EmbedRequest:
    """One text for each content, whatever its parts (E-003). Raises `RequestError` that names the field."""
    reading = Reading()
    entries = [checks.mapping(body, "body")]
    if several:
        for name, spelt, value in members(entries[0]):
            if name not in _OF_BATCH:
                reading.strange(spelt, value)
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
    """Empty for pictures and sound alone, of which newer models make vectors too."""
    content = checks.mapping(member(entry, "content"), f"{path}content")
    parts = contents.parts_of(content, f"{path}content", reading)
    others = [part for part in parts if not isinstance(part, TextPart)]
    reading.strange(f"{path}content.parts", others)
    text = "\n".join(part.text for part in parts if isinstance(part, TextPart))
    return text if others else checks.required_string(text, f"{path}content.parts")


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
