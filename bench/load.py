"""A lean HTTP client for the benchmark: one connection, one request at a time, times of every read."""

from __future__ import annotations

import asyncio
import re
import time

_SENT_AT = re.compile(rb'"content":"(\d+\.\d+) "')
BOUNDARY = b"bench"
_FORM = b"multipart/form-data; boundary=" + BOUNDARY


class Client:
    """Keeps one connection to `port` open."""

    def __init__(self, port: int, headers: dict[str, str]) -> None:
        self.port = port
        self.head = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
        self.received = 0  # bytes of the last reply's body
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def send(self, path: str, body: bytes) -> asyncio.StreamReader:
        if self.reader is None or self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 22)
        self.writer.write(
            b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: %b\r\n%bcontent-length: %d\r\n\r\n%b"
            % (path.encode(), _FORM if body[:2] == b"--" else b"application/json", self.head, len(body), body)
        )
        return self.reader

    async def whole(self, path: str, body: bytes) -> float:
        """Send a request; return the seconds until its reply was complete."""
        began = time.perf_counter()
        reader = await self.send(path, body)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError((head + await reader.read(2000)).decode())
        length = re.search(rb"content-length: *(\d+)", head, re.I)
        self.received = 0
        if length is None:
            await self.chunks(reader)
        else:
            await self.skip(reader, int(length[1]))
        return time.perf_counter() - began

    async def status(self, path: str, body: bytes) -> int:
        """Send a request, read its reply of known length, and return its status."""
        reader = await self.send(path, body)
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.I)
        await self.skip(reader, int(length[1]) if length else 0)
        return int(head[9:12])

    async def skip(self, reader: asyncio.StreamReader, size: int) -> None:
        self.received += size
        while size > 0:
            data = await reader.read(min(size, 1 << 20))
            if not data:
                raise RuntimeError("the reply was cut")
            size -= len(data)

    async def chunks(self, reader: asyncio.StreamReader) -> None:
        """A body of unknown length, in chunks."""
        while size := int(await reader.readline(), 16):
            await self.skip(reader, size + 2)
        await reader.readline()

    async def stream(self, path: str, body: bytes) -> tuple[float, list[float]]:
        """Read a stream to its end; return the seconds to its first byte and the ages of its chunks."""
        began = time.perf_counter()
        reader = await self.send(path, body)
        await reader.readuntil(b"\r\n\r\n")
        first = 0.0
        ages: list[float] = []
        tail = b""
        while True:
            data = await reader.read(1 << 18)
            if not data:
                raise RuntimeError("the stream was cut")
            first = first or time.perf_counter() - began
            now = time.monotonic()
            ages += [now - float(sent) for sent in _SENT_AT.findall(data)]
            tail = (tail + data)[-64:]
            if tail.endswith(b"\r\n0\r\n\r\n"):
                return first, ages

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.reader = self.writer = None
