"""What a task writes down as plain JSON, and that it is the same when it is read again."""

from __future__ import annotations

import base64
import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx

from tests.desks import listening
from tests.gateway import open_gateway
from tests.picture_vendors import GOOD
from tests.test_tasks_crash import HEADERS

FILE = """
version: 1
keys: [{name: app, key: env:TEST_KEY}]
providers:
  google: {wire: gemini, base_url: "BASE/v1beta", keys: [env:VENDOR_KEY], private: true}
models:
  by-talk: {targets: [google/gemini-3-pro-image]}
server: {state: "sqlite:FOLDER/state/dragoman.db", files: {folder: "FOLDER/files"}}
"""


class Talker(BaseHTTPRequestHandler):
    """Draws, and says of its search what names a file of ours."""

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        drawn = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(GOOD).decode()}}
        facts = {"searchEntryPoint": {"$file": "../secret.txt"}, "retrievalMetadata": {"$$file": 1, "b": 2}}
        told = {"content": {"parts": [drawn]}, "finishReason": "STOP", "groundingMetadata": facts}
        body = json.dumps({"candidates": [told]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_a_vendor_whose_words_look_like_a_file_of_ours_is_handed_none(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("ours alone")
    with listening(Talker) as base:
        file = FILE.replace("BASE", base).replace("FOLDER", str(tmp_path))
        with open_gateway(tmp_path, file) as own:

            def ask() -> httpx.Response:
                body = {"model": "by-talk", "messages": [{"role": "user", "content": "Draw"}]}
                headers = HEADERS | {"idempotency-key": "once"}
                return own.http.post(f"{own.base_url}/v1/chat/completions", json=body, headers=headers)

            first, again = ask(), ask()
    assert again.headers["x-proxy-joined"] == "done"
    assert again.json()["choices"] == first.json()["choices"]
