"""Everything we ask of aiohttp for calls to vendors: sessions, request bodies, and the door where its errors
become ours.

Imported by the first call only, for aiohttp takes 0.1 s to import.
"""

from __future__ import annotations

import functools
import math
import select
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from time import monotonic
from typing import Any, NoReturn, cast

import aiohttp
import pybase64
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, StreamWriter
from aiohttp.payload import Payload
from yarl import URL

from proxy.codec.spill import forget
from proxy.errors import ErrorClass, UpstreamError
from proxy.types import Slice
from proxy.upstream import unreachable
from proxy.upstream.guard import PrivateAddressError, is_public
from proxy.upstream.sse import PayloadError

# Below common servers' own limits (nginx 75 s, cloud load balancers 60 s), so that they seldom close first.
_KEEPALIVE_S = 30.0
_HEADER_BYTES = 131_072
_PIECE_BYTES = 131_072

# What aiohttp, the loop and the system raise when a connection fails in any way.
FAULTS = (aiohttp.ClientError, HttpProcessingError, OSError)
BROKEN = (*FAULTS, PayloadError)  # and what is wrong with what it brings
# These are raised before a byte is sent. TLS and DNS errors are connector errors too.
_BEFORE_SENDING = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)

Piece = bytes | memoryview | Slice  # the last: the bytes that its base64 stands for


@dataclass(slots=True)
class Progress:
    """How far one call went, for the error class. `sells`: the vendor may charge once it has it all. Of the
    `address` only host and port are ever told: a path may hold an account or a signature."""

    provider: str
    sells: bool
    address: str = ""
    started: bool = False  # a byte may have been sent
    finished: bool = False  # all of it may have been sent
    answered: bool = False  # the answer's headers came
    expired: str | None = None  # the phase that took too long


class Body(Payload):
    """A request body in pieces, that notes how far it went.

    aiohttp sends the headers together with the first piece, so nothing at all was sent before the body is
    asked to write, and the vendor cannot have a whole request before the last piece is written.
    """

    _autoclose = True

    def __init__(self, pieces: Sequence[Piece], progress: Progress) -> None:
        super().__init__(pieces, content_type="application/json")
        size = 0
        for piece in pieces:
            size += _decoded_size(piece) if isinstance(piece, Slice) else len(piece)
        self._size = size
        self._progress = progress
        self._writer: StreamWriter | None = None

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(chain.from_iterable(map(_parts, self._value))).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        assert isinstance(writer, StreamWriter)
        self._writer = writer
        progress = self._progress
        if progress.expired is not None:
            raise ConnectionAbortedError
        progress.started = True
        last: bytes | memoryview = b""
        for piece in self._pieces():
            if last:
                await writer.write(last)
            last = piece
        progress.finished = True
        await writer.write(last)

    def _pieces(self) -> Iterable[bytes | memoryview]:
        if self._size is not None and self._size <= _PIECE_BYTES and len(self._value) == 1:
            [piece] = self._value
            if isinstance(piece, bytes):
                return (piece,)
        # One write of many megabytes is copied again and again in the transport's buffer: 22 ms for 10 MB.
        parts = chain.from_iterable(map(_parts, self._value))
        return parts if self._size is None or self._size > _PIECE_BYTES else [b"".join(parts)]

    def keep_alive_for(self, seconds: float) -> None:
        """The vendor said how long it keeps the connection open."""
        if self._writer is not None:
            cast(Line, self._writer.protocol).stale_at = monotonic() + seconds - 1

    def expire(self, phase: str) -> None:
        """The vendor takes too long to answer. What takes too long to open, aiohttp ends itself."""
        self._progress.expired = phase
        self.abort()

    def abort(self) -> None:
        """Close the connection at once, also when the vendor does not read what is still to be sent."""
        if self._writer is not None and self._writer.transport is not None:
            self._writer.transport.abort()


def _decoded_size(piece: Slice) -> int:
    return len(piece.raw) // 4 * 3 - bytes(piece.raw[-2:]).count(b"=")


def _parts(piece: Piece) -> Iterator[bytes | memoryview]:
    """A piece in parts small enough to be written at once; base64 decoded part by part."""
    view = piece.raw if isinstance(piece, Slice) else memoryview(piece)
    for at in range(0, len(view), _PIECE_BYTES):
        part = view[at : at + _PIECE_BYTES]
        yield pybase64.b64decode(part, validate=True) if isinstance(piece, Slice) else part
    forget(view)


class Line(ResponseHandler):
    """A connection. `stale_at` is when it must not be used again, None while it was never used."""

    stale_at: float | None = None

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        """Break off the answer too when its framing is broken; aiohttp 3.14 leaves its reader waiting."""
        payload = self._payload
        super().set_exception(exc, exc if exc_cause is None else exc_cause)
        if payload is not None and not payload.is_eof() and isinstance(exc, HttpProcessingError):
            payload.set_exception(exc)


class Connector(aiohttp.TCPConnector):
    """Never hands out an idle connection on which the server has closed, or said anything, in the meantime.

    What is in flight at this very moment cannot be known; a request lost that way is reported as possibly
    served, never sent again.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        factory: Any = functools.partial(Line, loop=self._loop)
        self._factory = factory

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Connection:
        while True:
            connection = await super().connect(req, traces, timeout)
            line = connection.protocol
            assert isinstance(line, Line)
            if line.stale_at is None:
                line.stale_at = math.inf
                return connection
            if not line.should_close and monotonic() < line.stale_at and _is_quiet(connection):
                return connection
            connection.close()


def _is_quiet(connection: Connection) -> bool:
    """True if nothing waits to be read; on an idle connection that would be its end."""
    sock = connection.transport.get_extra_info("socket") if connection.transport is not None else None
    if sock is None:
        return False
    if not hasattr(select, "poll"):
        return not select.select([sock], [], [], 0)[0]
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return not poll.poll(0)


def _guarded_socket(address: Any) -> socket.socket:
    """Open a socket for an address that is public; the last moment at which it can be judged."""
    family, kind, protocol, _, place = address
    if not is_public(place[0]):
        raise PrivateAddressError("the address is not public")
    return socket.socket(family, kind, protocol)


def open_session(*, private: bool, connections: int) -> aiohttp.ClientSession:
    """Open a session for vendors in private networks, or for all others; inside the running loop.

    It knows no cookies, no proxies and no credentials of the environment, so nothing passes between callers.
    """
    connector = Connector(
        limit=connections,
        keepalive_timeout=_KEEPALIVE_S,
        socket_factory=None if private else _guarded_socket,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"user-agent": "dragoman", "accept-encoding": "identity"},
        trust_env=False,
        requote_redirect_url=False,
        max_line_size=_HEADER_BYTES,
        max_field_size=_HEADER_BYTES,
        read_bufsize=1 << 16,
    )


def fail(fault: Exception, progress: Progress) -> NoReturn:
    """The door: what a connection raises (`BROKEN`) leaves as `UpstreamError`, naming the provider."""
    error = explain(fault, progress)
    cause = _without_secrets(fault)
    drop_frames(cause)
    try:
        raise error from cause
    finally:
        error.__context__ = None
        del error, cause, fault  # else the error's traceback holds this frame, and this frame it


def drop_frames(fault: BaseException | None) -> None:
    """Take the tracebacks off a fault and off what led to it: their frames hold what was sent and read."""
    seen: set[int] = set()  # aiohttp makes a fault its own cause
    while fault is not None and id(fault) not in seen:
        seen.add(id(fault))
        fault.__traceback__ = None
        fault = fault.__cause__ or fault.__context__


def explain(fault: Exception, progress: Progress) -> UpstreamError:
    """Our error for a fault, by how far the call went."""
    name = progress.provider
    bought = progress.finished and progress.sells
    if isinstance(fault, PayloadError):
        return _internal(progress, str(fault), fault.code, between=": ")
    if progress.expired is not None and progress.started:
        said = _TOO_SLOW[progress.expired]
        return UpstreamError(ErrorClass.TIMEOUT, f"{name!r} {said}", provider=name, bought=bought, why=said)
    if isinstance(fault, _BEFORE_SENDING) or not progress.started:
        if isinstance(os_error(fault), PrivateAddressError):
            said = _PRIVATE
        else:
            said = f"could not be reached: {unreachable.why(fault, progress.address)}"
        return UpstreamError(ErrorClass.CONNECT, f"{name!r} {said}", provider=name, why=said)
    if progress.answered:
        return _internal(progress, "broke off its answer", "upstream_stream_truncated")
    if isinstance(fault, aiohttp.ClientResponseError):
        return _internal(progress, "answered in broken HTTP", "upstream_invalid_response")
    return _internal(progress, "closed the connection without an answer", "upstream_unreachable")


_PRIVATE = "has an address in a private network; the provider's setting `private: true` allows that"
_TOO_SLOW = {
    "first_byte": "did not begin to answer in time",
    "idle": "fell silent in the middle of its answer",
    "total": "did not finish its answer in time",
}


def _internal(progress: Progress, said: str, code: str, *, between: str = " ") -> UpstreamError:
    return UpstreamError(
        ErrorClass.INTERNAL,
        f"{progress.provider!r}{between}{said}",
        provider=progress.provider,
        code=code,
        why=said,
        bought=progress.finished and progress.sells,
    )


def os_error(fault: Exception) -> OSError | None:
    return fault.os_error if isinstance(fault, aiohttp.ClientConnectorError) else None


def _without_secrets(fault: Exception) -> Exception:
    """aiohttp keeps the request's headers or its address, and so the key, in some of its errors."""
    if isinstance(fault, aiohttp.ClientResponseError):
        return ValueError(f"{type(fault).__name__}: {fault.message}")
    if isinstance(fault, aiohttp.InvalidURL):
        return ValueError(type(fault).__name__)
    return fault


def with_query(url: URL, query: str) -> URL:
    """Add what opens the door; what stands there already is not written anew, for it may be signed."""
    joined = f"{url.with_fragment(None)}{'&' if url.raw_query_string else '?'}{query}"
    return URL(joined, encoded=True)
