"""What a vendor sends as a picture and is none: an error with its code on every way, never a success."""

from __future__ import annotations

import base64
import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.simulators.pictures import png
from tests.gateway import KEY, open_gateway
from tests.vendor_socket import read_request, vendor

FILE = """
version: 1
keys: [{name: app, key: env:TEST_KEY}]
providers:
  google: {wire: gemini, base_url: "ADDRESS/v1beta", keys: [env:VENDOR_KEY], private: true}
  relay: {wire: openai, base_url: "ADDRESS/v1", keys: [env:VENDOR_KEY], private: true}
models:
  native: {targets: [google/gemini-3-pro-image]}
  relay: {targets: [relay/nano-banana]}
  drawing: {targets: [relay.image/gpt-image-1]}
"""
PNG = png(64, 64, "whole")
NO_PICTURES = {
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "page": b"<!doctype html><html><body>Bad gateway</body></html>",
    "json": b'{"error": "quota"}',
    "sound": b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(40),
    "torn": PNG[:-20],
    "torn jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(400),
}


def reply_of(path: str, pictures: list[bytes], stream: bool) -> tuple[str, str]:
    """Content type and body, as the vendor of that path would give it."""
    data = [base64.b64encode(picture).decode() for picture in pictures]
    if "generateContent" in path or "streamGenerateContent" in path:
        parts = [{"inlineData": {"mimeType": "image/png", "data": one}} for one in data]
        told: Any = {
            "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1290, "totalTokenCount": 1293},
        }
    elif "images" in path:
        return "application/json", json.dumps({"created": 1, "data": [{"b64_json": one} for one in data]})
    else:
        images = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{one}"}} for one in data]
        message = {"role": "assistant", "content": "Here", "images": images}
        choice = {"index": 0, "delta" if stream else "message": message, "finish_reason": "stop"}
        told = {"id": "x", "model": "m", "choices": [choice], "created": 1}
    if not stream:
        return "application/json", json.dumps(told)
    return "text/event-stream", f"data: {json.dumps(told)}\n\ndata: [DONE]\n\n"


def asked(tmp_path: Path, pictures: list[bytes], model: str, way: str) -> tuple[httpx.Response, int]:
    """The client's reply, and how many orders the vendor had."""
    orders = 0

    def answers(connection: socket.socket) -> None:
        nonlocal orders
        while True:
            request = read_request(connection)
            orders += 1
            path = request.split(b" ", 2)[1].decode()
            streamed = "stream" in path or b'"stream":true' in request
            kind, body = reply_of(path, pictures, streamed)
            head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body.encode())

    body: dict[str, Any] = {"model": model, "stream": way.startswith("streamed")}
    if way.endswith("chat"):
        path, body["messages"] = "/v1/chat/completions", [{"role": "user", "content": "A cat"}]
    else:
        path, body["prompt"], body["n"] = "/v1/images/generations", "A cat", len(pictures)
    with vendor(answers) as address, open_gateway(tmp_path, FILE.replace("ADDRESS", address)) as gateway:
        headers = {"authorization": f"Bearer {KEY}"}
        reply = gateway.http.post(f"{gateway.base_url}{path}", json=body, headers=headers)
    return reply, orders


def error_of(reply: httpx.Response) -> dict[str, Any]:
    if reply.headers["content-type"] == "application/json":
        assert reply.status_code == 502
        assert reply.headers["x-should-retry"] == "false"
        return dict(reply.json()["error"])
    lines = [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: {")]
    (error,) = [line["error"] for line in lines if "error" in line]
    return dict(error)


WAYS = [
    ("native", "whole chat"),
    ("native", "streamed chat"),
    ("native", "whole images"),
    ("native", "streamed images"),
    ("relay", "whole chat"),
    ("relay", "streamed chat"),
    ("drawing", "whole images"),
]


@pytest.mark.parametrize("kind", NO_PICTURES)
@pytest.mark.parametrize(("model", "way"), WAYS)
def test_what_is_no_picture_is_an_error_and_is_not_ordered_again(
    tmp_path: Path, kind: str, model: str, way: str
) -> None:
    reply, orders = asked(tmp_path, [NO_PICTURES[kind]], model, way)
    of_a_job = model == "drawing" and not kind.startswith("torn")  # a profile looks for pictures in a reply
    assert error_of(reply)["code"] == ("no_image_generated" if of_a_job else "upstream_invalid_image")
    assert base64.b64encode(NO_PICTURES[kind])[:60] not in reply.content
    assert orders == 1


@pytest.mark.parametrize(("model", "way"), [("native", "whole chat"), ("drawing", "whole images")])
def test_a_picture_beside_one_that_is_none_is_delivered(tmp_path: Path, model: str, way: str) -> None:
    reply, orders = asked(tmp_path, [NO_PICTURES["page"], PNG], model, way)
    assert reply.status_code == 200
    assert base64.b64encode(PNG) in reply.content
    assert base64.b64encode(NO_PICTURES["page"]) not in reply.content
    assert reply.headers["x-proxy-partial"] == "1/2"
    assert orders == 1


def test_what_only_begins_like_a_picture_is_the_clients_to_judge(tmp_path: Path) -> None:
    """It was paid for, and there is nothing to tell its end by."""
    odd = b"\x89PNG\r\n\x1a\n" + bytes(60)
    reply, _ = asked(tmp_path, [odd], "native", "whole images")
    assert reply.status_code == 200
    assert base64.b64encode(odd) in reply.content
