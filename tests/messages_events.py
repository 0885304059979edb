"""Streams of Messages as tests read them: decoded, and held against the rules of their order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

_DELTAS = {
    "text": {"text_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "redacted_thinking": set(),
    "tool_use": {"input_json_delta"},
    "server_tool_use": {"input_json_delta"},
    "web_search_tool_result": set(),
}


def decoded(frames: bytes) -> list[dict[str, Any]]:
    """Every event; each has its line `event:`, which says what `type` says (M-070). Comments are left out."""
    found = []
    for frame in frames.decode().split("\n\n"):
        lines = [line for line in frame.split("\n") if line and not line.startswith(":")]
        if not lines:
            continue
        name, data = lines
        event = orjson.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        found.append(event)
    return found


def checked(events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The message that a whole stream makes, put together as the SDKs do, if its order is right
    (M-070..M-077). One that broke has `error`."""
    message: dict[str, Any] = {}
    block: dict[str, Any] | None = None
    pieces: list[str] = []
    ended = ""
    for event in events:
        kind = event["type"]
        assert ended not in ("message_stop", "error"), f"{kind} behind the end"
        if kind == "ping":
            continue
        if kind == "error":
            assert event["error"]["type"]
            assert event["error"]["message"]
            message["error"], ended = event["error"], "error"
            continue
        if kind == "message_start":
            assert not message, "it begins once"
            message = event["message"]
            assert (message["type"], message["role"], message["content"]) == ("message", "assistant", [])
            assert message["stop_reason"] is None
            assert {"input_tokens", "output_tokens"} <= message["usage"].keys()
            continue
        assert message, f"{kind} before the begin"
        if kind == "content_block_start":
            assert block is None, "blocks do not overlap"
            assert not ended
            assert event["index"] == len(message["content"])
            block, pieces = event["content_block"], []
            assert block["type"] in _DELTAS
            assert not any(block.get(member) for member in ("input", "text", "thinking", "signature"))
            message["content"].append(block)
        elif kind == "content_block_delta" and event["delta"]["type"] == "citations_delta":
            cited = message["content"][event["index"]]  # what it is of may be over
            assert cited["type"] == "text"
            cited.setdefault("citations", []).append(event["delta"]["citation"])
        elif kind == "content_block_delta":
            assert block is not None
            assert event["index"] == len(message["content"]) - 1
            delta = event["delta"]
            assert delta["type"] in _DELTAS[block["type"]]
            assert not block.get("signature"), "the signature is the last of its block"
            _grown(block, delta, pieces)
        elif kind == "content_block_stop":
            assert block is not None
            assert event["index"] == len(message["content"]) - 1
            if "input" in block:
                block["input"] = orjson.loads("".join(pieces))
                assert isinstance(block["input"], dict)
            if block["type"] == "thinking":
                assert block["signature"], "without a signature clients throw it away"
            block = None
        elif kind == "message_delta":
            assert block is None
            assert not ended
            message |= event["delta"]
            message["usage"] |= event["usage"]
            ended = kind
        else:
            assert (kind, ended) == ("message_stop", "message_delta")
            ended = kind
    assert ended in ("message_stop", "error"), "a stream that only stops is asked for again (M-076)"
    return message


def _grown(block: dict[str, Any], delta: dict[str, Any], pieces: list[str]) -> None:
    match delta["type"]:
        case "text_delta":
            assert delta["text"]
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "signature_delta":
            block["signature"] += delta["signature"]
        case "input_json_delta":
            pieces.append(delta["partial_json"])
