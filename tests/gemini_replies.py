"""Builds Gemini replies for tests and reads them."""

from typing import Any

from proxy.types import Call, ChatRequest, Event, Finish, Message, Target, TextPart
from proxy.wires.gemini.reader import GeminiReader

PNG = "iVBORw0KGgo="
REQUEST = ChatRequest("m", (Message("user", (TextPart("Hi"),)),))
TARGET = Target("google", "gemini-3-flash-preview")
PAINTER = Target("google", "gemini-3-pro-image")


def read(
    *payloads: Any,
    request: ChatRequest = REQUEST,
    target: Target = TARGET,
    stream: bool | None = None,
    body: dict[str, Any] | None = None,
    names: dict[str, str] | None = None,
) -> list[Event]:
    """All events of a reply; a stream when there are several payloads."""
    stream = len(payloads) > 1 if stream is None else stream
    reader = GeminiReader(
        request, target, Call("/", body or {}, stream=stream, context={"names": names or {}})
    )
    return [event for payload in payloads for event in reader.feed(payload)] + reader.close()


def reply(*parts: dict[str, Any], **candidate: Any) -> dict[str, Any]:
    candidate.setdefault("finishReason", "STOP")
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, **candidate}]}


def chunk(*parts: dict[str, Any], **candidate: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, **candidate}]}


def call(name: str, **more: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, **more}}


def only(events: list[Event], *kinds: type) -> list[Event]:
    return [event for event in events if type(event) in kinds]


def end(events: list[Event]) -> Finish:
    [finish] = [event for event in events if type(event) is Finish]
    assert events[-1] is finish
    return finish
