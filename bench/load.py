"""A lean HTTP client for the benchmark: one connection, one request at a time, times of every read."""

from __future__ import annotations

import asyncio
import json
import re
import time

_SENT_AT = re.compile(rb'"content":"(\d+\.\d+) "')


class Client:
    """Keeps one connection to `port` open."""

    def __init__(self, port: int, key: str) -> None:
        self.port = port
        self.key = key
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def send(self, model: str, *, stream: bool = False, picture_mb: int = 0) -> None:
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22)
        message: dict[str, object] = {"role": "user", "content": "Tell me something short, please."}
        if picture_mb:
            data = "iVBORw0KGgo" + "A" * (picture_mb * (1 << 20) * 4 // 3 // 4 * 4 - 11)
            message["content"] = [
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
            ]
        body = json.dumps(
            {"model": model, "messages": [message], "stream": stream, "temperature": 0.5}
        ).encode()
        self.writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b" % (self.key.encode(), len(body), body)
        )

    async def whole(self, model: str, picture_mb: int = 0) -> float:
        """Send a small request; return the seconds until its reply was complete."""
        began = time.perf_counter()
        await self.send(model, picture_mb=picture_mb)
        assert self.reader is not None
        head = await self.reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError((head + await self.reader.read(2000)).decode())
        length = re.search(rb"content-length: *(\d+)", head, re.I)
        if length is None:
            await self.chunks()
        else:
            await self.skip(int(length[1]))
        return time.perf_counter() - began

    async def skip(self, size: int) -> None:
        assert self.reader is not None
        while size > 0:
            size -= len(await self.reader.read(min(size, 1 << 20)))

    async def chunks(self) -> None:
        """A body of unknown length, in chunks."""
        assert self.reader is not None
        while size := int(await self.reader.readline(), 16):
            await self.skip(size + 2)
        await self.reader.readline()

    async def stream(self, model: str) -> tuple[float, list[float]]:
        """Read a stream to its end; return the seconds to its first byte and the ages of its chunks."""
        began = time.perf_counter()
        await self.send(model, stream=True)
        assert self.reader is not None
        await self.reader.readuntil(b"\r\n\r\n")
        first = 0.0
        ages: list[float] = []
        tail = b""
        while True:
            data = await self.reader.read(1 << 18)
            if not data:
                raise RuntimeError("the stream was cut")
            first = first or time.perf_counter() - began
            now = time.monotonic()
            ages += [now - float(sent) for sent in _SENT_AT.findall(data)]
            tail = (tail + data)[-64:]
            if b"[DONE]" in tail and tail.endswith(b"0\r\n\r\n"):
                return first, ages

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
