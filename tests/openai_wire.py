"""What the tests of the OpenAI wire share: payloads in, events out."""

from __future__ import annotations

from typing import Any

from proxy.types import (
    Call,
    ChatRequest,
    Event,
    Image,
    Json,
    Message,
    Reasoning,
    Target,
    Text,
    TextPart,
    ToolCall,
)
from proxy.wires.openai import OpenAIChatWire
from proxy.wires.openai.reader import ChatReader

HELLO = ChatRequest("alias", (Message("user", (TextPart("Hi"),)),))


def reader(
    *,
    request: ChatRequest = HELLO,
    stream: bool = True,
    model: str = "m",
    body: Json | None = None,
    options: Json | None = None,
) -> ChatReader:
    target = Target("relay", model, "openai", options=options or {})
    found = OpenAIChatWire().reader(request, target, Call("/chat/completions", body or {}, stream=stream))
    assert isinstance(found, ChatReader)
    return found


def events(*payloads: Any, **settings: Any) -> list[Event]:
    """Every event of a reply."""
    reading = reader(**settings)
    return [event for payload in payloads for event in reading.feed(payload)] + reading.close()


def delta(finish: str | None = None, index: int = 0, **fields: Any) -> Json:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "m-1",
        "choices": [{"index": index, "delta": fields, "finish_reason": finish}],
    }


def whole(finish: str | None = "stop", **message: Any) -> Json:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "m-1",
        "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}],
    }


def text(found: list[Event], choice: int = 0) -> str:
    return "".join(event.text for event in found if isinstance(event, Text) and event.choice == choice)


def reasoning(found: list[Event], choice: int = 0) -> str:
    return "".join(event.text for event in found if isinstance(event, Reasoning) and event.choice == choice)


def calls(found: list[Event], choice: int = 0) -> list[tuple[str, str, str]]:
    """(id, name, arguments) of each call, in order; checks that indexes count up."""
    out: dict[int, tuple[str, str, str]] = {}
    for event in found:
        if isinstance(event, ToolCall) and event.choice == choice:
            assert event.index in out or event.index == len(out)
            before = out.get(event.index, (event.id, event.name, ""))
            assert before[:2] == (event.id, event.name)
            out[event.index] = (event.id, event.name, before[2] + event.arguments)
    return list(out.values())


def pictures(found: list[Event]) -> list[tuple[str, str]]:
    return [(event.mime, str(event.data or event.url)) for event in found if isinstance(event, Image)]
