"""How a request is written onto a connection: its first line and headers, and its body in pieces."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import pybase64
from yarl import URL

from proxy.codec.spill import forget
from proxy.types import Slice
from proxy.upstream.line import Answer, Line
from proxy.upstream.pool import Place
from proxy.upstream.transport import Progress

# One write of many megabytes is copied again and again in the transport's buffer: 22 ms for 10 MB.
_PIECE_BYTES = 131_072
_SMALL_BYTES = 16_384
_BREAKS = re.compile(r"[\r\n\0]")

Piece = bytes | memoryview | Slice  # the last: the bytes that its base64 stands for


class Way(NamedTuple):
    """Where a request goes: to whom we connect, and what its head says behind the method."""

    place: Place
    target: bytes


def way(url: URL) -> Way:
    """Raises `ValueError` for an address without a host, or that is not of HTTP."""
    host, port = url.raw_host, url.port
    if not host or port is None or url.scheme not in ("http", "https"):
        raise ValueError("its address is not one")
    target = f" {url.raw_path_qs} HTTP/1.1\r\nhost: {url.host_port_subcomponent}\r\nuser-agent: dragoman\r\n"
    return Way(Place(url.scheme == "https", host, port), target.encode("ascii"))


class Request(NamedTuple):
    """A request as it goes out: `start` is its head and, where it is not large, all of it; else `rest` are
    the pieces of its body."""

    place: Place
    start: bytes
    rest: Sequence[Piece] = ()


def lines(headers: Mapping[str, str]) -> bytes:
    """Headers as they are written. Raises `ValueError` for what cannot stand in a head."""
    found: list[bytes] = []
    for name, value in headers.items():
        if "\n" in value or "\r" in value or "\0" in value:
            raise ValueError("a header holds a line break")
        found.append(f"{name}: {value}\r\n".encode())
    return b"".join(found)


def written(method: str, way: Way, headers: bytes, pieces: Sequence[Piece] | None = None) -> Request:
    """`headers` are their `lines`; `pieces` are the body, None where there is none."""
    head: list[bytes | memoryview] = [method.encode("ascii"), way.target, headers]
    if pieces is None:
        head.append(b"\r\n")
        return Request(way.place, b"".join(head))
    size = 0
    for piece in pieces:
        size += _decoded_size(piece) if isinstance(piece, Slice) else len(piece)
    head.append(b"content-length: %d\r\n\r\n" % size)
    if size > _PIECE_BYTES:
        return Request(way.place, b"".join(head), pieces)
    for piece in pieces:
        if isinstance(piece, Slice):
            head.extend(_parts(piece))
        else:
            head.append(piece)
    return Request(way.place, b"".join(head))


def begin(line: Line, request: Request, progress: Progress) -> Answer:
    """Send a request, or of a large one the head; `progress` tells which."""
    progress.started = True
    progress.finished = whole = not request.rest
    return line.ask(request.start, whole=whole)


async def pour(
    line: Line, pieces: Sequence[Piece], progress: Progress, sent: Callable[[], None] | None = None
) -> None:
    """Send the body of a large request, until the vendor refuses without waiting for all of it. `sent` is
    called before the last of it."""
    waiting: bytes | memoryview = b""
    for part in _gathered(chain.from_iterable(map(_parts, pieces))):
        if waiting:
            if not await line.pour(waiting, last=False):
                return
            await asyncio.sleep(0)  # others shall not wait until all of it is written
        waiting = part
    if sent is not None:
        sent()
    progress.finished = True
    await line.pour(waiting, last=True)


def _gathered(parts: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """Small ones that follow each other are one: of a hundred thousand little pictures each would be a system
    call."""
    small: list[bytes | memoryview] = []
    size = 0
    for part in parts:
        if len(part) < _SMALL_BYTES:
            small.append(part)
            size += len(part)
            if size < _PIECE_BYTES:
                continue
        if small:
            yield b"".join(small)
            small, size = [], 0
        if len(part) >= _SMALL_BYTES:
            yield part
    if small:
        yield b"".join(small)


def _decoded_size(piece: Slice) -> int:
    return len(piece.raw) // 4 * 3 - bytes(piece.raw[-2:]).count(b"=")


def _parts(piece: Piece) -> Iterator[bytes | memoryview]:
    """A piece in parts small enough to be written at once; base64 decoded part by part."""
    view = piece.raw if isinstance(piece, Slice) else memoryview(piece)
    for at in range(0, len(view), _PIECE_BYTES):
        part = view[at : at + _PIECE_BYTES]
        yield pybase64.b64decode(part, validate=True) if isinstance(piece, Slice) else part
    forget(view)


def with_query(url: URL, query: str) -> URL:
    """Add what opens the door; what stands there already is not written anew, for it may be signed."""
    joined = f"{url.with_fragment(None)}{'&' if url.raw_query_string else '?'}{query}"
    return URL(joined, encoded=True)
