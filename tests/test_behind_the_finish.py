"""What comes behind the end of an answer, or does not come, takes nothing from the answer: it was paid."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.gateway import KEY, Gateway, open_gateway
from tests.vendor_socket import read_request, vendor

FILE = """
version: 1
keys: [{name: app, key: env:TEST_KEY}]
providers:
  google: {wire: gemini, base_url: "ADDRESS/v1beta", keys: [env:VENDOR_KEY], private: true}
  lan: {wire: openai, base_url: "ADDRESS/v1", keys: [env:VENDOR_KEY], private: true}
models:
  google: {targets: [google/gemini-2.5-flash]}
  lan: {targets: [lan/local]}
"""
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LINE = b"%x\r\n%b\r\n"

PARTS = {
    "google": [
        '{"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"Courts"}]}}]}',
        '{"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"."}]},"finishReason":"STOP"}],'
        '"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":2,"totalTokenCount":11}}',
    ],
    "lan": [
        '{"id":"c","choices":[{"index":0,"delta":{"content":"Courts"},"finish_reason":null}]}',
        '{"id":"c","choices":[{"index":0,"delta":{"content":"."},"finish_reason":"stop"}]}',
    ],
}
# What follows, and whether the answer is ended as HTTP wants it.
BEHIND = {
    "cut": (b"", False),
    "no JSON": (b"data: {broken\n\n", True),
    "no JSON before the end": (b"data: {broken\n\ndata: [DONE]\n\n", True),
    "an error": (b'data: {"error":{"code":500,"message":"Late.","status":"INTERNAL"}}\n\n', True),
}


def events(model: str, parts: slice = slice(None)) -> bytes:
    return b"".join(b"data: %b\n\n" % part.encode() for part in PARTS[model][parts])


def answered(folder: Path, model: str, sent: bytes, *, ended: bool, body: dict[str, Any]) -> tuple[Any, int]:
    """The reply's JSON, or of a stream its frames; and how often the vendor was asked."""
    asked: list[bytes] = []

    def answers(connection: socket.socket) -> None:
        asked.append(read_request(connection))
        connection.sendall(HEAD + LINE % (len(sent), sent) + (b"0\r\n\r\n" if ended else b""))

    with vendor(answers) as address, open_gateway(folder, FILE.replace("ADDRESS", address)) as gateway:
        return _asked(gateway, model, body), len(asked)


def _asked(gateway: Gateway, model: str, body: dict[str, Any]) -> Any:
    url, headers = f"{gateway.base_url}/v1/chat/completions", {"authorization": f"Bearer {KEY}"}
    reply = gateway.http.post(url, json={"model": model, **CHAT, **body}, headers=headers)
    if not body.get("stream"):
        return {"status": reply.status_code, **reply.json()}
    frames = [line.removeprefix("data: ") for line in reply.text.splitlines() if line]
    return [frame if frame == "[DONE]" else json.loads(frame) for frame in frames]


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_an_answer_that_has_ended_is_whole_whatever_comes_behind(
    tmp_path: Path, behind: str, stream: bool
) -> None:
    more, ended = BEHIND[behind]
    reply, orders = answered(tmp_path, "lan", events("lan") + more, ended=ended, body={"stream": stream})
    if stream:
        assert reply[-1] == "[DONE]", reply
        choices = [choice for frame in reply[:-1] for choice in frame["choices"]]
        assert "".join(choice["delta"].get("content") or "" for choice in choices) == "Courts."
    else:
        assert reply["status"] == 200, reply
        choices = reply["choices"]
        assert choices[0]["message"]["content"] == "Courts."
    assert (choices[-1]["finish_reason"], orders) == ("stop", 1)


@pytest.mark.parametrize(
    ("model", "parts", "n"),
    [
        pytest.param("lan", slice(1), 1, id="no finish"),
        pytest.param("lan", slice(None), 2, id="one of two choices"),
        pytest.param("google", slice(1), 1, id="no finish of Google's"),
        pytest.param("google", slice(None), 1, id="a STOP, which may stand in every chunk"),
    ],
)
def test_an_answer_that_may_lack_something_is_not_whole(
    tmp_path: Path, model: str, parts: slice, n: int
) -> None:
    sent = events(model, parts)
    reply, orders = answered(tmp_path, model, sent, ended=False, body={"stream": True, "n": n})
    assert reply[-1]["error"]["code"] == "upstream_stream_truncated"
    choices = [choice for frame in reply[:-1] for choice in frame["choices"]]
    assert (choices[-1]["delta"]["content"], orders) == ("Courts" if parts.stop else ".", 1)
