"""A fast upstream: canned replies on a bare asyncio protocol, over TLS 1.3 where a certificate is given.

`POST .../models/{behaviour}:generateContent` speaks Gemini's wire and answers one small reply;
`:streamGenerateContent` streams. The model's name says how, with or without `gemini-` before it:
`2.5-flash`, `paced-COUNT` (one chunk each 10 ms), `burst-COUNT` (as fast as it can), `slow-COUNT` (one chunk
each 100 ms), `picture-KB`, `tool` (calls one), `refused-STATUS`, `cut` (ends within its reply). A chunk's
text is the time it was sent, to tell its age. `POST /base64-KB/jobs` and `POST /address-KB/jobs` take orders
for pictures, which `GET .../jobs/{the same word}` brings at once; an address is `GET /files/KB`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
import time
from functools import cache
from typing import cast

from proxy.simulators.pictures import png

_PATH = re.compile(rb"^POST \S*/models/(?:gemini-)?(?:2\.5-)?([a-z]+)(?:-(\d+))?:(stream)?", re.I)
_JOBS = re.compile(rb"^POST \S*/((?:base64|address)-\d+)/jobs ")
_PAUSE_S = {b"paced": 0.01, b"slow": 0.1, b"burst": 0.0}
_USAGE = {"promptTokenCount": 9, "candidatesTokenCount": 12, "thoughtsTokenCount": 30, "totalTokenCount": 51}


def _reply(part: dict[str, object], finish: str | None) -> bytes:
    candidate: dict[str, object] = {"content": {"parts": [part], "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return json.dumps(
        {"candidates": [candidate], "usageMetadata": _USAGE, "modelVersion": "bench", "responseId": "abc123"}
    ).encode()


def _http(body: bytes, kind: str = "application/json; charset=UTF-8", status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


_TEXT = "The shelf is the one by the door, and yes, there is one for children. " * 12
_CALL: dict[str, object] = {
    "functionCall": {"name": "search_catalogue_3", "args": {"query": "maps", "shelf": 14}}
}
_WHOLE_REPLY = _http(_reply({"text": _TEXT}, "STOP"))
_TOOL_REPLY = _http(_reply(_CALL, "STOP"))
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@cache
def _file(size_kb: int) -> bytes:
    return png(64, 64, "bench", size_kb << 10)


@cache
def _picture(size_kb: int) -> bytes:
    """A whole reply with one picture of so many kilobytes."""
    data = base64.b64encode(_file(size_kb)).decode()
    return _http(_reply({"inlineData": {"mimeType": "image/png", "data": data}}, "STOP"))


@cache
def _refusal(status: int) -> bytes:
    body = json.dumps({"error": {"code": status, "message": "Refused, as asked.", "status": "UNAVAILABLE"}})
    return _http(body.encode(), status=f"{status} Refused")


@cache
def _job(behaviour: str, host: str) -> bytes:
    kind, _, size_kb = behaviour.partition("-")
    is_inside = kind == "base64"
    picture = (
        base64.b64encode(_file(int(size_kb))).decode() if is_inside else f"http://{host}/files/{size_kb}"
    )
    return _http(json.dumps({"state": "done", "picture": picture}).encode())


def _chunk(finish: str | None = None, part: dict[str, object] | None = None) -> bytes:
    event = b"data: " + _reply(part or {"text": f"{time.monotonic():.6f} "}, finish) + b"\r\n\r\n"
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
        if found is None:
            self.transport.write(self.elsewhere(head))
            return
        behaviour, number, is_stream = found[1].lower(), int(found[2] or 0), bool(found[3])
        if behaviour == b"picture":
            self.transport.write(_picture(number))
        elif behaviour == b"refused":
            self.transport.write(_refusal(number))
        elif behaviour == b"cut":
            self.transport.write(_STREAM_HEAD + _chunk() if is_stream else _WHOLE_REPLY[:-100])
            self.transport.close()
        elif is_stream:
            asyncio.get_running_loop().create_task(self.stream(behaviour, number or 10))
        else:
            self.transport.write(_TOOL_REPLY if behaviour == b"tool" else _WHOLE_REPLY)

    def elsewhere(self, head: bytes) -> bytes:
        path = head.split(b" ", 2)[1]
        name = path.decode().rpartition("/")[2]
        if b"/files/" in path:
            return _http(_file(int(name)), "image/png")
        if order := _JOBS.match(head):
            return _http(b'{"state":"new","id":"%b"}' % order[1])
        host = re.search(rb"host: *(\S+)", head, re.I)
        return _job(name, host[1].decode() if host else "")

    async def stream(self, behaviour: bytes, count: int) -> None:
        self.transport.write(_STREAM_HEAD)
        pause_s = _PAUSE_S.get(behaviour, 0.0)
        fixed = _chunk()
        for number in range(count - 1):
            if pause_s:
                await asyncio.sleep(pause_s)
                if self.transport.is_closing():
                    return
                self.transport.write(_chunk())
            elif number % 50 == 0:
                await self.resumed.wait()
                await asyncio.sleep(0)
                self.transport.write(fixed * min(50, count - 1 - number))
        self.transport.write(_chunk("STOP", _CALL if behaviour == b"tool" else None) + b"0\r\n\r\n")


async def main(port: int, certificate: str | None) -> None:
    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.minimum_version = ssl.TLSVersion.TLSv1_3
        tls.load_cert_chain(certificate)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", port, backlog=1024, ssl=tls)
    await server.serve_forever()


if __name__ == "__main__":
    import sys

    import uvloop

    uvloop.run(main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
