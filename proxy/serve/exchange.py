"""One HTTP request and its reply on bare ASGI: body in with a limit, reply out in slices, hang-ups noticed.

Knows nothing of chat or pictures. Request and Response objects are left out on purpose: they cost 40 us a
request on the hot path.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from random import getrandbits
from time import perf_counter
from typing import Any

from proxy.codec.spool import forget
from proxy.errors import RequestError
from proxy.fronts.openai import error_reply
from proxy.keys import ClientKey

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

HANG_UP = "dragoman.hang_up"  # set by serve/protocol.py; other servers have no such word

_WRITE_BYTES = 256 * 1024  # a piece larger than this is written in slices, so that backpressure works
_JSON = (b"content-type", b"application/json")
_MAX_CLIENT_REQUEST_ID = 128


class Exchange:
    """A request being answered. `facts` collects what the access log tells (never prompts or secrets)."""

    __slots__ = (
        "_fields",
        "_receive",
        "_send",
        "_watcher",
        "began",
        "caller",
        "dropped",
        "facts",
        "gone",
        "headers",
        "reply_headers",
        "request_id",
        "scope",
        "status",
        "words",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.headers: list[Header] = scope["headers"]
        self._fields = dict(self.headers)
        self._receive = receive
        self._send = send
        self._watcher: asyncio.Task[Any] | None = None
        self.began = perf_counter()
        self.request_id = f"req_{getrandbits(96):024x}"
        self.caller: ClientKey | None = None
        self.status = 0
        self.gone = False
        self.facts: dict[str, Any] = {}
        self.reply_headers: list[Header] = []
        self.dropped: tuple[str, ...] = ()
        self.words: error_reply.Words = error_reply.CHAT_WORDS

    def header(self, name: bytes) -> str | None:
        value = self._fields.get(name)
        return None if value is None else value.decode("latin-1")

    def query(self, name: str) -> str | None:
        raw: bytes = self.scope.get("query_string", b"")
        if not raw:
            return None
        from urllib.parse import parse_qs

        return parse_qs(raw.decode("latin-1")).get(name, [None])[0]

    @property
    def started(self) -> bool:
        """True once a status line was sent."""
        return self.status != 0

    @property
    def elapsed_ms(self) -> int:
        return round((perf_counter() - self.began) * 1000)

    async def body(self, limit: int) -> bytes:
        """Read the whole body. Raises a 413 above `limit` bytes, counted after decompression."""
        declared = self.header(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > limit:
            raise too_large(limit)
        inflate = self._inflater(limit)
        message = await self._receive()
        if not message.get("more_body") and inflate is None:
            return bytes(message.get("body", b""))
        chunks: list[bytes] = []
        size = 0
        while True:
            if message["type"] == "http.disconnect":
                self.gone = True
                raise asyncio.CancelledError
            chunk = message.get("body", b"")
            if inflate is not None:
                chunk = inflate(chunk)
            size += len(chunk)
            if size > limit:
                raise too_large(limit)
            chunks.append(chunk)
            if not message.get("more_body"):
                return b"".join(chunks)
            message = await self._receive()

    def _inflater(self, limit: int) -> Callable[[bytes], bytes] | None:
        encoding = (self.header(b"content-encoding") or "identity").strip().lower()
        if encoding == "identity":
            return None
        if encoding != "gzip":
            raise RequestError(
                f"The content encoding {encoding[:40]!r} is not supported; send gzip or none.", status=415
            )
        decompressor = zlib.decompressobj(wbits=31)

        def inflate(chunk: bytes) -> bytes:
            try:
                return decompressor.decompress(chunk, limit + 1)
            except zlib.error as exc:
                raise RequestError("The request body is not valid gzip.") from exc

        return inflate

    def watch(self) -> None:
        """From now on a client that hangs up cancels the running task; `gone` tells why."""
        task = asyncio.current_task()
        assert task is not None
        if HANG_UP in self.scope:
            self.scope[HANG_UP] = lambda: self._leave(task)
            return
        self._watcher = asyncio.ensure_future(self._receive())
        self._watcher.add_done_callback(lambda done: self._hung_up(done, task))

    def _leave(self, task: asyncio.Task[Any]) -> None:
        if not self.gone:
            self.gone = True
            task.cancel()

    def _hung_up(self, watcher: asyncio.Task[Any], task: asyncio.Task[Any]) -> None:
        if not watcher.cancelled() and watcher.exception() is None:
            self._leave(task)

    def unwatch(self) -> None:
        if HANG_UP in self.scope:
            self.scope[HANG_UP] = None
        if self._watcher is not None and not self._watcher.done():
            self._watcher.cancel()

    async def start(self, status: int, headers: Iterable[Header]) -> None:
        self.status = status
        own: list[Header] = [
            (b"x-request-id", self.request_id.encode()),
            (b"openai-processing-ms", str(self.elapsed_ms).encode()),
            *self.reply_headers,
        ]
        client_id = self.header(b"x-client-request-id")
        if (
            client_id
            and len(client_id) <= _MAX_CLIENT_REQUEST_ID
            and client_id.isascii()
            and client_id.isprintable()
        ):
            own.append((b"x-client-request-id", client_id.encode()))
        if self.dropped:
            own.append((b"x-proxy-dropped", ", ".join(self.dropped).encode("ascii", "replace")))
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, *own]})

    async def write(self, pieces: Iterable[bytes | memoryview]) -> None:
        """Send a part of the body; large pieces go out in slices."""
        for piece in pieces:
            if len(piece) <= _WRITE_BYTES:
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
                continue
            view = memoryview(piece)
            for position in range(0, len(view), _WRITE_BYTES):
                body = view[position : position + _WRITE_BYTES]
                await self._send({"type": "http.response.body", "body": body, "more_body": True})
                forget(view)

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def respond(
        self, status: int, pieces: list[bytes | memoryview], headers: Iterable[Header] = (_JSON,)
    ) -> None:
        """Send a whole reply."""
        size = str(sum(map(len, pieces))).encode()
        await self.start(status, [*headers, (b"content-length", size)])
        if len(pieces) == 1 and len(pieces[0]) <= _WRITE_BYTES:
            await self._send({"type": "http.response.body", "body": pieces[0], "more_body": False})
            return
        await self.write(pieces)
        await self.end()


def too_large(limit: int) -> RequestError:
    return RequestError(
        f"The request body is larger than {limit} bytes.", status=413, code="request_too_large"
    )
