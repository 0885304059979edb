"""What the benchmark's clients send: the same conversations in every dialect."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from bench.load import BOUNDARY

_SYSTEM = (
    "You are the assistant of a small library. Answer briefly, name the shelf, and say so when unsure. " * 2
)
_FIRST = "Where do I find books about the history of maps, and are any of them fit for children of ten? " * 2
_ANSWER = (
    "Shelf 14, second row from the window. 'Maps for Small Hands' is meant for readers from eight on. " * 2
)
_LAST = "Thank you. And is there anything about how sailors found their way before there were good clocks? "
_STORY = (_FIRST, _ANSWER, _LAST)
_TEMPERATURE, _MOST = 0.7, 400


def _tool(number: int) -> dict[str, Any]:
    properties = {
        "query": {"type": "string", "description": "What to look for, in the reader's own words."},
        "shelf": {"type": "integer", "minimum": 1, "maximum": 40},
        "language": {"type": "string", "enum": ["en", "de", "fr", "uk", "zh"]},
        "tags": {"type": "array", "items": {"type": "string"}},
    }
    return {
        "name": f"search_catalogue_{number}",
        "description": "Searches one of the catalogues of the library and returns at most ten titles.",
        "parameters": {"type": "object", "properties": properties, "required": ["query"]},
    }


_TOOLS = [_tool(number) for number in range(8)]
_TURNS = [("user" if number % 2 == 0 else "assistant", _STORY[number % 2]) for number in range(18)]
_CHAT = [("user", _FIRST), ("assistant", _ANSWER), ("user", _LAST)]
_AGENT = [*_TURNS, ("user", _LAST)]


@cache
def chat(model: str, *, agent: bool = False, stream: bool = False) -> bytes:
    """Four messages and two settings (0.8 KB), or twenty messages and eight tools."""
    turns = _AGENT if agent else _CHAT
    messages = [{"role": "system", "content": _SYSTEM}]
    messages += [{"role": role, "content": text} for role, text in turns]
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "temperature": _TEMPERATURE,
        "max_tokens": _MOST,
    }
    if agent:
        body["tools"] = [{"type": "function", "function": tool} for tool in _TOOLS]
    return json.dumps(body | ({"stream": True} if stream else {})).encode()


@cache
def responses(model: str) -> bytes:
    items = [{"role": role, "content": text} for role, text in _CHAT]
    body = {"model": model, "instructions": _SYSTEM, "input": items, "store": False}
    return json.dumps(body | {"temperature": _TEMPERATURE, "max_output_tokens": _MOST}).encode()


@cache
def messages(model: str) -> bytes:
    turns = [{"role": role, "content": text} for role, text in _CHAT]
    body = {"model": model, "system": _SYSTEM, "messages": turns, "max_tokens": _MOST}
    return json.dumps(body | {"temperature": _TEMPERATURE}).encode()


@cache
def native() -> bytes:
    roles = {"user": "user", "assistant": "model"}
    contents = [{"role": roles[role], "parts": [{"text": text}]} for role, text in _CHAT]
    config = {"temperature": _TEMPERATURE, "maxOutputTokens": _MOST}
    system = {"parts": [{"text": _SYSTEM}]}
    return json.dumps(
        {"contents": contents, "systemInstruction": system, "generationConfig": config}
    ).encode()


@cache
def with_picture(model: str, size_kb: int) -> bytes:
    """A chat with a picture of so many kilobytes inside."""
    data = "iVBORw0KGgo" + "A" * ((size_kb << 10) * 4 // 3 // 4 * 4 - 11)
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    return json.dumps({"model": model, "messages": [{"role": "user", "content": [part]}]}).encode()


@cache
def history(model: str, size_kb: int) -> bytes:
    """A chat in which two pictures of so many kilobytes were drawn."""
    drawn = json.loads(with_picture(model, size_kb))["messages"][0]["content"]
    turns = [
        {"role": "user", "content": "A map of a harbour"},
        {"role": "assistant", "content": "Here it is.", "images": drawn},
        {"role": "user", "content": "And at night?"},
        {"role": "assistant", "content": "Here it is.", "images": drawn},
        {"role": "user", "content": "With ships."},
    ]
    return json.dumps({"model": model, "messages": turns}).encode()


@cache
def edit(model: str, size_kb: int) -> bytes:
    """A form with a picture of so many kilobytes."""
    line = b"--%b\r\ncontent-disposition: form-data; name=" % BOUNDARY
    fields = {b"model": model.encode(), b"prompt": b"With ships."}
    picture = b"\x89PNG\r\n\x1a\n" + bytes(size_kb << 10)
    return b"".join(
        (
            *(b'%b"%b"\r\n\r\n%b\r\n' % (line, name, value) for name, value in fields.items()),
            b'%b"image"; filename="harbour.png"\r\ncontent-type: image/png\r\n\r\n' % line,
            picture,
            b"\r\n--%b--\r\n" % BOUNDARY,
        )
    )


@cache
def image(model: str, response_format: str = "b64_json") -> bytes:
    order = {"model": model, "prompt": "A map of a harbour", "response_format": response_format}
    return json.dumps(order).encode()
