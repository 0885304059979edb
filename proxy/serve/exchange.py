"""One HTTP request and its reply on bare ASGI: body in with a limit, reply out in slices, hang-ups noticed.

Knows nothing of chat or pictures. Request and Response objects are left out on purpose: they cost 40 us a
request on the hot path.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, MutableMapping
from random import getrandbits
from time import perf_counter, time
from typing import TYPE_CHECKING, Any

from proxy.codec.gunzip import Gunzip, GunzipError
from proxy.codec.spool import forget
from proxy.errors import RequestError
from proxy.fronts.base import Parsed
from proxy.keys import ClientKey
from proxy.serve import head
from proxy.serve.load import Load

if TYPE_CHECKING:
    from proxy.serve.allowed import Allowed

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = head.Header
Headers = Iterable[Header] | Callable[[], Iterable[Header]]  # a callable is asked when the head really goes

HANG_UP = "dragoman.hang_up"  # set by serve/protocol.py; other servers have no such word
GONE = object()  # stands there when the client left before anybody asked
BROKEN = "dragoman.broken"  # set by serve/protocol.py: why no more of the body can be read, a `ProxyError`

WIRE = "dragoman.wire"  # set by serve/protocol.py: writes its `lines` behind the server's own of a head

_WRITE_BYTES = 256 * 1024  # a piece larger than this is written in slices, so that backpressure works
_JSON = (b"content-type", b"application/json")
_MAX_CLIENT_REQUEST_ID = 128


def new_id() -> str:
    """Of a request: its time in milliseconds, then chance. Those of one moment sort together, so that their
    rows in the ledger stand together too."""
    return f"req_{int(time() * 1000):012x}{getrandbits(48):012x}"


class Exchange:
    """A request being answered. `facts` collects what the access log tells (never prompts or secrets).

    `fields` are its headers by name, in lower case; the last of those with the same. `parsed` is what a front
    made of it, for the spelling of errors. `answered_by` is the model's name where the client wrote another.
    `told` gives what the head says of how the reply was made, asked when it really goes. `allowed` is what
    was counted of a caller's limits, None without any. `held` are the bytes that it counts for in `load`,
    which is None where nothing is counted, and `begun` says that it counts as a request there. `status` is 0
    until the head is out. `gone` says that the client hung up: then the request's task is cancelled.
    """

    __slots__ = (
        "_read",
        "_receive",
        "_send",
        "_watcher",
        "allowed",
        "answered_by",
        "began",
        "begun",
        "caller",
        "facts",
        "fields",
        "gone",
        "headers",
        "held",
        "load",
        "parsed",
        "request_id",
        "scope",
        "status",
        "told",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.headers: list[Header] = scope["headers"]
        self.fields: dict[bytes, bytes] = dict(self.headers)
        self._receive = receive
        self._send = send
        self._read = False
        self._watcher: asyncio.Task[Any] | None = None
        self.began = perf_counter()
        self.request_id = new_id()
        self.caller: ClientKey | None = None
        self.allowed: Allowed | None = None
        self.answered_by: str | None = None
        self.held = 0
        self.begun = False
        self.load: Load | None = None
        self.status = 0
        self.gone = False
        self.facts: dict[str, Any] = {}
        self.parsed: Parsed[Any, Any] | None = None
        self.told: Callable[[], Iterable[Header]] = tuple

    def header(self, name: bytes) -> str | None:
        value = self.fields.get(name)
        return None if value is None else value.decode("latin-1")

    def query(self) -> dict[str, str]:
        """What the address says behind its question mark; of a name that stands twice, the first. What no
        text of PostgreSQL can hold, and so nothing is called, becomes U+FFFD."""
        from urllib.parse import parse_qs

        raw: bytes = self.scope.get("query_string", b"")
        found = parse_qs(raw.decode("latin-1"))
        return {name: values[0].replace("\0", "\ufffd") for name, values in found.items()}

    @property
    def started(self) -> bool:
        """True once a status line was sent."""
        return self.status != 0

    # --- the request's body

    async def body(self, limit: int) -> bytes:
        """Read the whole body. Raises a 413 above `limit` bytes, counted after decompression."""
        begun = None
        if b"content-encoding" not in self.fields:
            begun = raw, more = await self._next(limit)
            if not more and len(raw) <= limit:
                if len(raw) > self.held and self.load is not None:
                    self.held = self.load.grow(self.held, len(raw))
                return raw
        return b"".join([chunk async for chunk in self.chunks(limit, begun)])

    async def chunks(
        self, limit: int, begun: tuple[bytes, bool] | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes, decompressed; `begun` is what was read of it already. Raises a 413 when
        what came, or what it is decompressed to, is more than `limit` bytes; a 503 when it is more than it
        said, and more than there is room for."""
        gunzip = self._gunzip()
        raw, more = begun or await self._next(limit)
        came = size = 0
        while True:
            came += len(raw)
            for chunk in (raw,) if gunzip is None else _unpacked(gunzip, raw, last=not more):
                size += len(chunk)
                if size > limit:
                    raise too_large(limit)
                if size > self.held and self.load is not None:
                    self.held = self.load.grow(self.held, size)
                yield chunk
            if came > limit:
                raise too_large(limit)
            if not more:
                return
            raw, more = await self._next(limit)

    async def _next(self, limit: int) -> tuple[bytes, bool]:
        """The next bytes of the body, and whether more will follow. A client that left ends the task.

        Raises a 413 before anything is read when the client says itself that it is more than `limit` bytes.
        """
        declared = self.fields.get(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > limit:
            raise too_large(limit)
        self._read = True
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.gone = True
            raise asyncio.CancelledError
        if BROKEN in self.scope:
            raise self.scope[BROKEN]
        return message.get("body", b""), message.get("more_body", False)

    def _gunzip(self) -> Gunzip | None:
        """For the encodings the client named, in one header or several (RFC 9110, 8.4)."""
        named = b",".join(value for name, value in self.headers if name == b"content-encoding")
        codings = [coding.strip().lower() for coding in named.decode("latin-1").split(",")]
        codings = [coding for coding in codings if coding not in ("", "identity")]
        if not codings:
            return None
        if codings in (["gzip"], ["x-gzip"]):
            return Gunzip()
        shown = ", ".join(codings)[:40]
        raise RequestError(
            f"The content encoding {shown!r} is not supported; send gzip or none.",
            status=415,
            code="unsupported_encoding",
            headers={"accept-encoding": "gzip"},
        )

    # --- the work

    def begin(self) -> None:
        """The request is all here. From now on a client that hangs up cancels the running task; `gone` tells
        why. Raises a 503 when there is too much to do."""
        if self.load is not None:
            self.load.begin()
            self.begun = True
        task = asyncio.current_task()
        assert task is not None
        if HANG_UP in self.scope:
            if self.scope[HANG_UP] is GONE:
                self.gone = True
                raise asyncio.CancelledError
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

    def close(self) -> None:
        """The request is over. What told of it knows the exchange: a cycle that would keep its pictures."""
        self.told = tuple
        if HANG_UP in self.scope:
            self.scope[HANG_UP] = None
        if self._watcher is not None and not self._watcher.done():
            self._watcher.cancel()

    # --- the reply

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head. What clients or vendors said may stand in its values: see `head.written`."""
        named = list(headers() if callable(headers) else headers)
        identity = self.request_id.encode()
        own: list[Header] = [
            (b"x-request-id", identity),
            (b"request-id", identity),  # which Anthropic's SDKs read
            (b"openai-processing-ms", b"%d" % round((perf_counter() - self.began) * 1000)),
            *self.told(),
        ]
        if self.answered_by is not None:
            own.append((b"x-proxy-model", self.answered_by.encode("utf-8", "replace")))
        client_id = self.fields.get(b"x-client-request-id")
        if client_id and len(client_id) <= _MAX_CLIENT_REQUEST_ID and head.is_plain(client_id):
            own.append((b"x-client-request-id", client_id))
        if b"expect" in self.fields and not self._read:  # nobody knows whether the body still comes
            named.append((b"connection", b"close"))  # (RFC 9110, 10.1.1)
        if not 200 <= status <= 599:  # a vendor's word that HTTP does not know as the end of a request
            status = 502
        if (wire := self.scope.get(WIRE)) is not None:  # uvicorn looks at each line with two patterns
            named, wire.lines = head.parted(named, own)
        else:
            named = head.written(named + own)
        await self._send({"type": "http.response.start", "status": status, "headers": named})
        self.status = status

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
        self, status: int, pieces: list[bytes | memoryview], headers: Headers = (_JSON,)
    ) -> None:
        """Send a whole reply."""
        named = headers() if callable(headers) else headers
        size = str(sum(map(len, pieces))).encode()
        await self.start(status, [*named, (b"content-length", size)])
        if len(pieces) == 1 and len(pieces[0]) <= _WRITE_BYTES:
            await self._send({"type": "http.response.body", "body": pieces[0], "more_body": False})
            return
        await self.write(pieces)
        await self.end()


def _unpacked(gunzip: Gunzip, raw: bytes, *, last: bool) -> Iterable[bytes]:
    try:
        yield from gunzip.feed(raw)
        if last:
            gunzip.close()
    except GunzipError as error:
        raise RequestError(
            f"The request body is not valid gzip: {error}.", code="invalid_encoding"
        ) from error


def too_large(limit: int) -> RequestError:
    return RequestError(
        f"The request body is larger than {limit} bytes.", status=413, code="request_too_large"
    )
