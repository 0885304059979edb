"""Shorthand for tests of the Gemini wire's requests: messages in, upstream call out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.types import (
    Call,
    ChatRequest,
    FunctionCall,
    Json,
    MediaPart,
    Message,
    Part,
    Slice,
    Target,
    TextPart,
)
from proxy.wires.gemini import request as gemini

PNG = Slice(b"iVBORw0KGgo=")  # the eight bytes every PNG begins with
JPEG = Slice(b"/9j/4AAQSkZJRg==")
SENTINEL = "skip_thought_signature_validator"


def call(
    model: str,
    *messages: Message,
    options: Mapping[str, Any] | None = None,
    repairs: frozenset[str] = frozenset(),
    **fields: Any,
) -> Call:
    numbered = tuple(
        Message(**{name: getattr(one, name) for name in Message.__slots__} | {"index": index})
        for index, one in enumerate(messages)
    )
    request = ChatRequest("client-name", numbered, **fields)
    return gemini.build(request, Target("google", model, options=options or {}), repairs)


def body(model: str, *messages: Message, **fields: Any) -> Json:
    return call(model, *messages, **fields).body


def contents(model: str, *messages: Message, **fields: Any) -> list[Json]:
    found: list[Json] = call(model, *messages, **fields).body["contents"]
    return found


def config(model: str, **fields: Any) -> Json:
    found: Json = call(model, user("Hi"), **fields).body.get("generationConfig", {})
    return found


def parts(*given: str | Part) -> tuple[Part, ...]:
    return tuple(TextPart(one) if isinstance(one, str) else one for one in given)


def user(*given: str | Part, **fields: Any) -> Message:
    return Message("user", parts(*given), **fields)


def system(*given: str | Part, **fields: Any) -> Message:
    return Message("system", parts(*given), **fields)


def assistant(*given: str | Part, **fields: Any) -> Message:
    return Message("assistant", parts(*given), **fields)


def tool(call_id: str | None, *given: str | Part, name: str | None = None) -> Message:
    return Message("tool", parts(*given), tool_call_id=call_id, name=name)


def calls(*given: tuple[str, str, Json] | tuple[str, str, Json, str]) -> tuple[FunctionCall, ...]:
    return tuple(FunctionCall(*one) for one in given)


def picture(data: Slice = PNG, **fields: Any) -> MediaPart:
    return MediaPart("image", data, **fields)
