"""One HTTP/1.1 connection to a vendor, and the answer that comes over it. The bytes are read by httptools
(llhttp, which uvicorn reads requests with).

A client library would do; the best of them, aiohttp, costs about 50 us more for each call, and 0.1 s to
import.
"""

from __future__ import annotations

import asyncio
import math
import select
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from time import monotonic
from typing import Any, cast

import httptools

from proxy.codec.gunzip import Gunzip, GunzipError

_HEAD_BYTES = 131_072
_FIELDS = 1000
AHEAD_BYTES = 1 << 15  # what may wait to be read before the vendor is held back
_GZIP = frozenset({"gzip", "x-gzip"})
_SWITCHING = 101


class LineError(ConnectionError):
    """A connection that failed with nothing of the system's to say why."""


class ClosedError(LineError):
    """It ended before the answer did."""


class BrokenHttpError(LineError):
    """What came is not HTTP as we read it."""


class Answer:
    """Status and headers (names in lower case), then the body as it comes. A fault comes after the bytes that
    came before it. `is_over` once everything came and was read. `drop` it when no more is wanted."""

    __slots__ = (
        "_chunks", "_fault", "_line", "_loop", "_over", "_packed", "_size", "_unpacked", "_waiting", "begun",
        "headers", "is_over", "status",
    )  # fmt: skip

    def __init__(self, line: Line, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.begun = False  # status and headers are here
        self.is_over = False
        self._line: Line | None = line  # None once the connection is another's, or nobody's
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._over = False
        self._fault: BaseException | None = None
        self._packed: Gunzip | None = None
        self._unpacked: Iterable[bytes] = ()
        self._waiting: asyncio.Future[None] | None = None

    def more(self) -> asyncio.Future[None]:
        """Done when something has come, or nothing more can: to be waited for until the answer has `begun`.
        Raises `OSError`."""
        if self._fault is not None:
            raise self._fault
        waiting = self._waiting = self._loop.create_future()
        return waiting

    async def read(self, most: int) -> bytes:
        """The next bytes, at most so many unless they were compressed; none at the end. Raises `OSError`."""
        if self._packed is not None:
            return await self._unpack()
        chunks = self._chunks
        while not chunks:
            if self._fault is not None:
                raise self._fault
            if self._over:
                return b""
            waiting = self._waiting = self._loop.create_future()
            await waiting
        if self._size <= most:
            taken = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            chunks.clear()
            self._size = 0
            self.is_over = self._over
        else:
            taken = b"".join(self._first(most))
        if self._line is not None and self._line.held_back and self._size < AHEAD_BYTES:
            self._line.listen()
        return taken

    def drop(self) -> None:
        """Close the connection at once, unless it is free already."""
        line, self._line = self._line, None
        if line is not None:
            line.abort()

    @property
    def stopped(self) -> bool:
        """Nothing more can come, or what came says that not all is well."""
        return self._fault is not None or (self.begun and self.status >= 300)

    async def _unpack(self) -> bytes:
        packed = self._packed
        assert packed is not None
        self.is_over = False
        try:
            while True:
                for piece in self._unpacked:
                    return piece
                self._packed = None
                chunk = await self.read(AHEAD_BYTES)
                self._packed = packed
                self.is_over = False  # what was read is still packed
                if not chunk:
                    packed.close()
                    self.is_over = True
                    return b""
                self._unpacked = packed.feed(chunk)
        except GunzipError as error:
            self._packed = None
            self._fault = ClosedError(f"gzip: {error}")
            raise self._fault from None

    def _first(self, most: int) -> Iterator[bytes]:
        while most:
            chunk = self._chunks.popleft()
            if len(chunk) > most:
                self._chunks.appendleft(chunk[most:])
                chunk = chunk[:most]
            most -= len(chunk)
            self._size -= len(chunk)
            yield chunk

    # --- told by the line

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        packing = headers.get("content-encoding", "identity").strip().lower()
        if packing in _GZIP:
            self._packed = Gunzip()
        elif packing != "identity":
            raise BrokenHttpError("a compression nobody asked for")
        self.status, self.headers, self.begun = status, headers, True

    def take(self, chunks: list[bytes]) -> int:
        """How many bytes wait to be read now, with those of `chunks`, which holds one at least."""
        # In one piece: hundreds of small ones that wait for a reader that has stopped would stay for good, in
        # memory that is too scattered to be given back.
        taken = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._chunks.append(taken)
        self._size += len(taken)
        chunks.clear()
        return self._size

    def end(self, fault: BaseException | None = None) -> None:
        self._over = fault is None
        self._fault = fault
        self._line = None
        self.is_over = self._over and not self._chunks and self._packed is None

    def wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)


class Line(asyncio.Protocol):
    """A connection, for one call at a time. `freed` is called with it whenever a call is over and another may
    follow, `lost` once when it is closed."""

    __slots__ = (
        "_answer", "_bodies", "_drained", "_ended", "_fields", "_free", "_full", "_head_bytes", "_interim",
        "_length", "_loop", "_lost", "_parser", "_sent", "_transport", "held_back", "kept_until", "on_body",
        "on_header",
    )  # fmt: skip

    def __init__(self, freed: Callable[[Line], None], lost: Callable[[Line], None]) -> None:
        self._free = freed
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        # What the parser finds goes into these without a call of ours.
        self._fields: dict[bytes, bytes] = {}
        self.on_header = self._fields.__setitem__
        self._bodies: list[bytes] = []
        self.on_body = self._bodies.append
        self._parser: Any = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._head_bytes = 0
        self._interim = False
        self._length = False  # the answer says itself where it ends
        self._sent = False  # the whole request
        self._ended = False  # by the vendor, with nothing amiss
        self.held_back = False  # the vendor, until what came is read
        self._full = False
        self._drained: asyncio.Future[None] | None = None
        self.kept_until = math.inf  # when the vendor closes it, as it said

    # --- a call

    @property
    def is_lost(self) -> bool:
        return self._transport is None

    def is_quiet(self) -> bool:
        """An idle connection that is open, on which nothing came, not even its end: what the loop has not
        come to read yet is asked of the system."""
        transport = self._transport
        if transport is None or transport.is_closing() or monotonic() >= self.kept_until:
            return False
        sock = transport.get_extra_info("socket")
        if not hasattr(select, "poll"):
            return not select.select([sock], [], [], 0)[0]
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return not poll.poll(0)

    def ask(self, request: bytes, *, whole: bool) -> Answer:
        """Send a request, or the first bytes of one whose rest is `pour`ed."""
        assert self._transport is not None
        assert self._answer is None
        answer = self._answer = Answer(self, self._loop)
        self._head_bytes = 0
        self._sent = whole
        self._transport.write(request)
        return answer

    async def pour(self, part: bytes | memoryview, *, last: bool) -> bool:
        """Write a part of the request's body; False when it is no use to send more."""
        answer, transport = self._answer, self._transport
        if transport is None or answer is None or answer.stopped:
            return False
        self._sent = last
        transport.write(part)
        if self._full:
            self._drained = self._loop.create_future()
            try:
                await self._drained
            finally:
                self._drained = None
        return True

    def listen(self) -> None:
        """What waited has been read."""
        self.held_back = False
        if self._transport is not None:
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once, also when the vendor does not read what is still to be sent."""
        if self._transport is not None:
            self._transport.abort()

    # --- told by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = self._parser = None
        answer, self._answer = self._answer, None
        self._resume()
        if answer is not None:
            whole = self._ended and answer.begun and not self._length
            answer.end(None if whole else exc or ClosedError("closed"))
            answer.wake()
        self._lost(self)

    def eof_received(self) -> None:
        self._ended = True

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:  # nobody asked
            self.abort()
            return
        if not answer.begun:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
            if len(self._fields) > _FIELDS or (not answer.begun and self._head_bytes > _HEAD_BYTES):
                raise BrokenHttpError("too large a head")
        except Exception as fault:
            self._break(answer, fault)
        if self._bodies and answer.take(self._bodies) > AHEAD_BYTES and not self.held_back:
            self._hold_back()
        if self._drained is not None and answer.stopped:
            self._resume()
        answer.wake()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._resume()

    # --- told by the parser

    def on_message_begin(self) -> None:
        if self._answer is None:
            raise BrokenHttpError("more than was asked for")
        self._fields.clear()  # also of an interim answer's, and of trailers

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            if status == _SWITCHING:
                raise BrokenHttpError("another protocol")
            self._interim = True
            return
        headers: dict[str, str] = {}
        for name, value in self._fields.items():
            headers[name.decode("latin-1").lower()] = value.decode("utf-8", "replace")
        self._length = "content-length" in headers or "transfer-encoding" in headers
        assert self._answer is not None
        self._answer.begin(status, headers)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
            return
        answer, self._answer = self._answer, None
        transport = self._transport
        assert answer is not None
        assert transport is not None
        if self._bodies:
            answer.take(self._bodies)
        answer.end()
        if self._sent and self._parser.should_keep_alive() and not transport.get_write_buffer_size():
            if self.held_back:
                self.listen()
            self._free(self)
        else:
            transport.abort()

    # --- the rest

    def _break(self, answer: Answer, fault: Exception) -> None:
        """What came is no HTTP, or more than was asked for. An answer that is whole stays so."""
        if self._answer is not None:
            self._answer = None
            if self._bodies:
                answer.take(self._bodies)
            cause = fault.__context__ or fault  # the parser hands on what its callbacks raise
            if isinstance(cause, httptools.HttpParserError):
                cause = BrokenHttpError(str(cause)[:100])
            answer.end(cause)
        self.abort()

    def _hold_back(self) -> None:
        """More waits than anybody reads. Of an answer that is whole, nothing more comes."""
        if self._answer is not None and self._transport is not None:
            self.held_back = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        """Whoever waits to write need not wait longer."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
