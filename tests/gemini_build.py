"""Shorthand for tests of the Gemini wire's requests: messages in, upstream call out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.types import (
    Call,
    CallPart,
    ChatRequest,
    Json,
    MediaPart,
    Message,
    Part,
    ResultPart,
    Slice,
    Target,
    TextPart,
    ThoughtPart,
    sign,
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


def assistant(
    *given: str | Part,
    calls: tuple[CallPart, ...] = (),
    reasoning: str | None = None,
    refusal: str | None = None,
    signature: str | None = None,
    **fields: Any,
) -> Message:
    """A message as the front of OpenAI's chat makes it: thoughts, content, refusal, calls."""
    thoughts = (ThoughtPart(reasoning),) if reasoning is not None else ()
    refusals = (TextPart(refusal, refusal=True),) if refusal is not None else ()
    said: tuple[Part, ...] = (*thoughts, *parts(*given), *refusals, *calls)
    return Message("assistant", sign(said, signature) if signature else said, **fields)


def tool(call_id: str | None, *given: str | TextPart | MediaPart, name: str | None = None) -> Message:
    return Message("user", (result(call_id, *given, name=name),))


def result(
    call_id: str | None, *given: str | TextPart | MediaPart, name: str | None = None, failed: bool = False
) -> ResultPart:
    shown = tuple(TextPart(one) if isinstance(one, str) else one for one in given)
    return ResultPart(call_id, name, shown, failed)


def calls(*given: tuple[str, str, Json] | tuple[str, str, Json, str]) -> tuple[CallPart, ...]:
    return tuple(CallPart(*one) for one in given)


def picture(data: Slice = PNG, **fields: Any) -> MediaPart:
    return MediaPart("image", data, **fields)
