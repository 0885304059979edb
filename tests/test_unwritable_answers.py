"""An answer that JSON libraries cannot write is the vendor's fault, whole and streamed, and never a 500."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.gateway import KEY, open_gateway
from tests.vendor_socket import read_request, vendor

FILE = """
version: 1
keys: [{name: app, key: env:TEST_KEY}]
providers:
  google: {wire: gemini, base_url: "ADDRESS/v1beta", keys: [env:VENDOR_KEY], private: true}
  lan: {wire: openai, base_url: "ADDRESS/v1", keys: [env:VENDOR_KEY], private: true}
models:
  flash: {targets: [google/gemini-3-flash-preview]}
  vectors: {targets: [google/gemini-embedding-001]}
  judge: {targets: [lan/judge]}
"""


def deep(levels: int) -> Any:
    return json.loads("[" * levels + "]" * levels)


def payload(first: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": [{"text": "Hi"}]}, "index": 0}
    if not first:
        candidate |= {"finishReason": "STOP", "groundingMetadata": {"webSearchQueries": deep(300)}}
    return {"candidates": [candidate], "responseId": "r"}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_answer_nested_hundreds_deep(tmp_path: Path, stream: bool) -> None:
    def answers(connection: socket.socket) -> None:
        while True:
            read_request(connection)
            events = [f"data: {json.dumps(payload(first))}\n\n" for first in (True, False)]
            body = ("".join(events) if stream else json.dumps(payload(False))).encode()
            kind = b"text/event-stream" if stream else b"application/json"
            head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
            connection.sendall(head % (kind, len(body)) + body)

    with vendor(answers) as address, open_gateway(tmp_path, FILE.replace("ADDRESS", address)) as gateway:
        body = {"model": "flash", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
        headers = {"authorization": f"Bearer {KEY}"}
        reply = gateway.http.post(f"{gateway.base_url}/v1/chat/completions", json=body, headers=headers)
    if stream:
        assert reply.status_code == 200
        (error,) = [json.loads(line[6:]) for line in reply.text.splitlines() if '"error"' in line]
        assert "data: [DONE]" not in reply.text
    else:
        assert reply.status_code == 502
        error = reply.json()
    assert error["error"]["code"] == "upstream_malformed_response"


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        pytest.param(
            "models/vectors:embedContent",
            {"content": {"parts": [{"text": "Hi"}]}},
            {"embedding": {"values": [0.5]}, "more": deep(300)},
            id="vectors handed on",
        ),
        pytest.param(
            "moderations",
            {"model": "judge", "input": "Hi"},
            {"results": [{"flagged": False, "categories": deep(300)}]},
            id="verdicts",
        ),
        pytest.param(
            "moderations",
            {"model": "judge", "input": "Hi"},
            {"results": [{"flagged": False, "category_scores": {"hate": [["x\ud800"], deep(300)]}}]},
            id="half a character beside",
        ),
    ],
)
def test_what_else_is_handed_on_as_it_came(tmp_path: Path, path: str, body: Any, answer: Any) -> None:
    def answers(connection: socket.socket) -> None:
        while True:
            read_request(connection)
            told = json.dumps(answer).encode()
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            connection.sendall(head % len(told) + told)

    with vendor(answers) as address, open_gateway(tmp_path, FILE.replace("ADDRESS", address)) as gateway:
        headers = {"authorization": f"Bearer {KEY}"}
        reply = gateway.http.post(f"{gateway.base_url}/v1/{path}", json=body, headers=headers)
    assert reply.status_code == 502
    assert "The answer of the upstream cannot be handed on" in reply.json()["error"]["message"]
