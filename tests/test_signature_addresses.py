"""The signature of a picture that a vendor gives by address, and the client sends back as bytes alone."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from proxy.simulators import pictures
from tests.gateway import open_gateway
from tests.vendor_socket import read_request, vendor

FILE = """
version: 1
keys: [{name: app, key: env:TEST_KEY}]
providers:
  google: {wire: gemini, base_url: "ADDRESS/v1beta", keys: [env:VENDOR_KEY], private: true}
models:
  painter: {targets: [google/gemini-3-pro-image-preview]}
"""
PNG = pictures.png(64, 64, "fox")


def _signed(address: str) -> bytes:
    part = {"fileData": {"mimeType": "image/png", "fileUri": address}, "thoughtSignature": "c2lnbmVk"}
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
    return json.dumps({"candidates": [candidate], "responseId": "r"}).encode()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_picture_by_address_is_known_by_its_bytes_afterwards(tmp_path: Path, stream: bool) -> None:
    asked: list[dict[str, Any]] = []

    def draws(connection: socket.socket) -> None:
        while True:
            head, _, body = read_request(connection).partition(b"\r\n\r\n")
            if body:
                asked.append(json.loads(body))
                said = _signed(f"http://127.0.0.1:{connection.getsockname()[1]}/fox.png")
                if b"alt=sse" in head:
                    said = b"data: " + said + b"\n\n"
                kind = b"text/event-stream" if b"alt=sse" in head else b"application/json"
            else:
                said, kind = PNG, b"image/png"
            size = len(said)
            connection.sendall(
                b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (kind, size, said)
            )

    with vendor(draws) as address, open_gateway(tmp_path, FILE.replace("ADDRESS", address)) as gateway:
        turns: list[Any] = [{"role": "user", "content": "A fox"}]
        extra = {"image_output": "images"}
        made: Any = gateway.client().chat.completions.create(
            model="painter", messages=turns, extra_body=extra, stream=stream
        )
        if stream:
            deltas = [chunk.choices[0].delta for chunk in made if chunk.choices]
            (image,) = [image for delta in deltas for image in getattr(delta, "images", None) or ()]
        else:
            (image,) = made.choices[0].message.images
        turns += [
            {
                "role": "assistant",
                "content": [{"type": "image_url", "image_url": {"url": image["image_url"]["url"]}}],
            },
            {"role": "user", "content": "Now blue"},
        ]
        gateway.client().chat.completions.create(model="painter", messages=turns, extra_body=extra)
    (part,) = asked[1]["contents"][1]["parts"]
    assert part["thoughtSignature"] == "c2lnbmVk"
    assert part["inlineData"]["mimeType"] == "image/png"
