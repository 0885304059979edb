"""A fast upstream that speaks Gemini's wire: canned replies on a bare asyncio protocol.

`POST .../models/{behaviour}:generateContent` answers one small reply; `:streamGenerateContent` streams. The
model's name says how: `chat`, `paced-COUNT` (one chunk each 10 ms), `burst-COUNT` (as fast as it can),
`slow-COUNT` (one chunk each 100 ms), `picture-MB`. A chunk's text is the time it was sent, to tell its age.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import cast

_PATH = re.compile(rb"^POST \S*/models/([a-z]+)(?:-(\d+))?:(stream)?", re.I)
_PAUSE_S = {b"paced": 0.01, b"slow": 0.1, b"burst": 0.0}
_USAGE = {"promptTokenCount": 9, "candidatesTokenCount": 12, "thoughtsTokenCount": 30, "totalTokenCount": 51}


def _reply(text: str, finish: str | None) -> bytes:
    candidate: dict[str, object] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return json.dumps(
        {"candidates": [candidate], "usageMetadata": _USAGE, "modelVersion": "bench", "responseId": "abc123"}
    ).encode()


_WHOLE = _reply("A short answer of the usual kind, one sentence long.", "STOP")
_WHOLE_REPLY = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=UTF-8\r\ncontent-length: %d\r\n\r\n%b"
    % (len(_WHOLE), _WHOLE)
)
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _picture(size_mb: int) -> bytes:
    """A whole reply with one picture of so many decoded megabytes."""
    data = "iVBORw0KGgo" + "A" * (size_mb * (1 << 20) * 4 // 3 - 11)
    part = {"inlineData": {"mimeType": "image/png", "data": data}}
    candidate = {"content": {"parts": [part], "role": "model"}, "finishReason": "STOP", "index": 0}
    body = json.dumps({"candidates": [candidate], "usageMetadata": _USAGE, "responseId": "abc123"}).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


_PICTURES: dict[int, bytes] = {}


def _chunk(finish: str | None = None) -> bytes:
    event = b"data: " + _reply(f"{time.monotonic():.6f} ", finish) + b"\r\n\r\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.pending = b""
        self.head = b""
        self.body_left = 0
        self.resumed = asyncio.Event()
        self.resumed.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it

    def pause_writing(self) -> None:
        self.resumed.clear()

    def resume_writing(self) -> None:
        self.resumed.set()

    def data_received(self, data: bytes) -> None:
        """Bodies are counted and thrown away: a request of megabytes must cost nothing here."""
        while data:
            if self.body_left:
                skipped = min(self.body_left, len(data))
                self.body_left -= skipped
                data = data[skipped:]
                if self.body_left:
                    return
                self.answer(self.head)
                continue
            self.pending += data
            self.head, blank, data = self.pending.partition(b"\r\n\r\n")
            if not blank:
                return
            self.pending = b""
            self.body_left = self.body_size(self.head)
            if not self.body_left:
                self.answer(self.head)

    def body_size(self, head: bytes) -> int:
        length = re.search(rb"content-length: *(\d+)", head, re.I)
        return int(length[1]) if length else 0

    def answer(self, head: bytes) -> None:
        found = _PATH.match(head)
        if found is not None and found[1].lower() == b"picture":
            size_mb = int(found[2] or 8)
            _PICTURES.setdefault(size_mb, b"") or _PICTURES.update({size_mb: _picture(size_mb)})
            self.transport.write(_PICTURES[size_mb])
            return
        if found is None or not found[3]:
            self.transport.write(_WHOLE_REPLY)
            return
        asyncio.get_running_loop().create_task(self.stream(found[1].lower(), int(found[2] or 10)))

    async def stream(self, behaviour: bytes, count: int) -> None:
        self.transport.write(_STREAM_HEAD)
        pause_s = _PAUSE_S.get(behaviour, 0.0)
        fixed = _chunk()
        for number in range(count - 1):
            if pause_s:
                await asyncio.sleep(pause_s)
                self.transport.write(_chunk())
            elif number % 50 == 0:
                await self.resumed.wait()
                await asyncio.sleep(0)
                self.transport.write(fixed * min(50, count - 1 - number))
        self.transport.write(_chunk("STOP") + b"0\r\n\r\n")


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    import sys

    import uvloop

    uvloop.run(main(int(sys.argv[1])))
