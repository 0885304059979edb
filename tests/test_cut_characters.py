"""A character whose two halves an upstream sends in two pieces is whole in every dialect."""

from __future__ import annotations

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
  google: {targets: [google/gemini-3-flash-preview]}
  lan: {targets: [lan/local]}
"""
TOOL = {"name": "look", "description": "look"}
SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}}
ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": [{"type": "function", "function": {**TOOL, "parameters": SCHEMA}}],
    },
    "/v1/responses": {
        "input": "Hi",
        "reasoning": {"summary": "auto"},
        "store": False,
        "tools": [{"type": "function", **TOOL, "parameters": SCHEMA}],
    },
    "/v1/messages": {
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 2000,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tools": [{**TOOL, "input_schema": SCHEMA}],
    },
    "/v1beta/models/MODEL:streamGenerateContent?alt=sse": {
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "generationConfig": {"thinkingConfig": {"includeThoughts": True}},
        "tools": [{"functionDeclarations": [{**TOOL, "parameters": SCHEMA}]}],
    },
}


def chunk(delta: str, finish: str = "null") -> str:
    return f'{{"id":"c","choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]}}'


def candidate(part: str, more: str = "") -> str:
    return f'{{"candidates":[{{"index":0,"content":{{"role":"model","parts":[{part}]}}{more}}}]}}'


CALL = (
    '{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"look","arguments":"%s"}}]}'
)
MORE = '{"tool_calls":[{"index":0,"function":{"arguments":"%s"}}]}'
STREAMS = {
    "lan": [
        chunk('{"role":"assistant","reasoning_content":"Hm \\ud83e"}'),
        chunk('{"reasoning_content":"\\udd14."}'),
        chunk('{"content":"Hi \\ud83d"}'),
        chunk('{"content":"\\ude00,"}'),
        chunk(CALL % '{\\"q\\":\\"a \\ud83c'),
        chunk(MORE % '\\udf0d\\"}'),
        chunk("{}", '"tool_calls"'),
        "[DONE]",
    ],
    "google": [
        candidate('{"text":"Hm \\ud83e","thought":true}'),
        candidate('{"text":"\\udd14.","thought":true}'),
        candidate('{"text":"Hi \\ud83d"}'),
        candidate('{"text":"\\ude00,"}'),
        candidate(
            '{"functionCall":{"name":"look","args":{"q":"a \\ud83c\\udf0d"}}}', ',"finishReason":"STOP"'
        ),
    ],
}


@pytest.mark.parametrize("path", ASKED)
@pytest.mark.parametrize("model", STREAMS)
def test_a_character_that_is_cut_in_two_is_whole(tmp_path: Path, model: str, path: str) -> None:
    stream = "".join(f"data: {event}\n\n" for event in STREAMS[model]).encode("ascii")

    def answers(connection: socket.socket) -> None:
        read_request(connection)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n"
        connection.sendall(head % len(stream) + stream)

    with vendor(answers) as address, open_gateway(tmp_path, FILE.replace("ADDRESS", address)) as gateway:
        body = ASKED[path] if "MODEL" in path else {**ASKED[path], "model": model, "stream": True}
        headers = {"authorization": f"Bearer {KEY}", "x-goog-api-key": KEY}
        url = gateway.base_url + path.replace("MODEL", model)
        reply = gateway.http.post(url, json=body, headers=headers)
    assert reply.status_code == 200, reply.text
    assert [mark for mark in ("🤔.", "😀,", "🌍") if mark not in reply.text] == []
    assert "\ufffd" not in reply.text
