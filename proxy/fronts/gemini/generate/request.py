"""Reads the body of a generateContent request into a `ChatRequest`.

Patient with what only Google understands, for it may well go there; such fields are kept by their paths.
"""

from __future__ import annotations

from typing import Any

from proxy.fronts import checks
from proxy.fronts.gemini import contents
from proxy.fronts.gemini.generate import generation, tools
from proxy.fronts.gemini.reading import DIALECT, Reading, member, members
from proxy.types import ChatRequest, Foreign, Json, Whole

_READ_APART = frozenset({"contents", "systemInstruction", "model"})


def parse(body: Any, model: str, *, stream: bool, written: bytes = b"") -> ChatRequest:
    """`written` are the body's own bytes. Raises `RequestError` that names the field."""
    if not isinstance(body, dict):
        raise checks.no_object(body)
    reading = Reading()
    request = reading.request
    request["messages"] = contents.parse(body, reading)
    for name, spelled, value in members(body):
        if name == "generationConfig":
            generation.read(value, reading)
        elif name == "tools":
            request["tools"] = tools.parse(value, reading)
        elif name == "toolConfig":
            if (choice := tools.parse_choice(value, reading)) is not None:
                request["tool_choice"] = choice
        elif name in _OTHERS:
            attribute, check = _OTHERS[name]
            request[attribute] = check(value, spelled)
        elif name not in _READ_APART:
            reading.strange(spelled, value)
    foreign = Foreign(DIALECT, reading.foreign, whole=Whole(body, written, request))
    return ChatRequest(model, stream=stream, foreign=foreign, **request)


def is_bare(body: Json) -> bool:
    """Whether the answer shall be one word of an enumeration; of a body that was read."""
    config = member(body, generation.PLACE)
    return config is not None and member(config, "responseMimeType") == generation.ENUM


def counted(body: Any) -> Json:
    """The request whose tokens are to be counted: it may stand inside of the body, or be the body."""
    whole = checks.mapping(body, "body")
    for name, written, value in members(whole):
        if name == "generateContentRequest":
            return checks.mapping(value, written)
    return whole


def _settings(value: Any, path: str) -> list[Json]:
    return checks.objects(value, path)


def _tier(value: Any, path: str) -> str:
    return checks.string(value, path).lower()


_OTHERS = {
    "safetySettings": ("safety_settings", _settings),
    "cachedContent": ("cached_content", checks.string),
    "serviceTier": ("service_tier", _tier),
    "store": ("store", checks.boolean),
}
