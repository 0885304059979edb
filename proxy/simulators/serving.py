"""Carries replies to the client at the pace their directives ask, and notices a client that goes away."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from proxy.simulators.exchange import Exchange, Log, Reply, json_reply, query_of

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Handler = Callable[[Exchange], "Reply | Awaitable[Reply]"]

_FOREVER_S = 3600.0
_SPLIT_PIECES = 400  # small pieces at the start of a frame; the rest of a picture follows in one


class Closed(Exception):
    """The connection is to be closed where it stands."""


class Vendor:
    """An ASGI application around one simulator's `handle(exchange) -> Reply`."""

    def __init__(self, name: str, handle: Handler, log: Log) -> None:
        self.name = name
        self.handle = handle
        self.log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(
            self.name,
            scope["method"],
            scope["path"].removeprefix(scope.get("root_path", "")),
            query_of(scope["query_string"]),
            {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        )
        self.log.add(exchange)
        try:
            if not await _read(exchange, receive):
                return
            self.log.keep(exchange)
            await self._answer(exchange, scope, receive, send)
        finally:
            exchange.raw = b""
            exchange.ended_ms = exchange.elapsed_ms()

    async def _answer(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        work = asyncio.ensure_future(self._work(exchange, send))
        watch = asyncio.ensure_future(receive())
        try:
            await asyncio.wait((work, watch), return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and not exchange.complete:
                exchange.hung_up_ms = exchange.elapsed_ms()
                return
            await work
        except Closed:
            # Before the status line uvicorn would answer 500 for us; ask its connection to close instead.
            if exchange.status is None and (abort := scope.get("state", {}).get("abort")) is not None:
                abort()
                await watch
        finally:
            for task in (work, watch):
                task.cancel()
            await asyncio.gather(work, watch, return_exceptions=True)
            del work, watch, task  # what a task raised holds this frame

    async def _work(self, exchange: Exchange, send: Send) -> None:
        try:
            answer = self.handle(exchange)
            reply = await answer if inspect.isawaitable(answer) else answer
        except Exception as error:  # A fault of ours must be seen in the log, not taken for the vendor's.
            exchange.notes["crash"] = "".join(traceback.format_exception(error))
            reply = json_reply({"error": f"the simulator crashed: {error!r}"}, 500)
        exchange.raw = b""
        await _send(exchange, reply, send)


async def _read(exchange: Exchange, receive: Receive) -> bool:
    pieces = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            exchange.hung_up_ms = exchange.elapsed_ms()
            return False
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    exchange.raw = b"".join(pieces)
    return True


async def _send(exchange: Exchange, reply: Reply, send: Send) -> None:
    pace = reply.pace
    if pace.slow_s:
        await asyncio.sleep(pace.slow_s)
    if pace.drop:
        raise Closed
    exchange.status, exchange.first_byte_ms = reply.status, exchange.elapsed_ms()
    headers = {"content-type": reply.content_type, **reply.headers}
    frames = list(reply.frames)
    if not reply.streamed:
        headers["content-length"] = str(sum(map(len, frames)))
        frames = list(_halves(b"".join(frames), pace.cut_after, pace.stall_after))
    await send(
        {
            "type": "http.response.start",
            "status": reply.status,
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
        }
    )
    for frame in frames:
        if pace.cut_after == exchange.frames:
            raise Closed
        if pace.stall_after == exchange.frames:
            # The head goes out with the first body message only; say something empty first.
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            await asyncio.sleep(_FOREVER_S)
        if exchange.frames and pace.gap_s:
            await asyncio.sleep(pace.gap_s)
        for piece in _pieces(frame, pace.split_bytes):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            if pace.split_bytes:
                await asyncio.sleep(0.001)
        exchange.frames += 1
    if pace.cut_after is not None and pace.cut_after >= exchange.frames:
        raise Closed
    if pace.stall_after is not None and pace.stall_after >= exchange.frames:
        await asyncio.sleep(_FOREVER_S)
    exchange.complete = True
    await send({"type": "http.response.body", "body": b""})


def _halves(body: bytes, *stops: int | None) -> Iterator[bytes]:
    """A whole reply is one frame, or two where it is to stop between them."""
    if any(stop is not None for stop in stops) and len(body) > 1:
        yield body[: len(body) // 2]
        yield body[len(body) // 2 :]
    else:
        yield body


def _pieces(frame: bytes, size: int) -> Iterator[bytes]:
    if size < 1:
        yield frame
        return
    border = min(len(frame), size * _SPLIT_PIECES)
    for start in range(0, border, size):
        yield frame[start : start + size if start + size < border else border]
    if border < len(frame):
        yield frame[border:]


def control(log: Log) -> Handler:
    """`GET log[?vendor=&after=]`, `GET counters`, `GET ledger[?vendor=]`, `POST reset`."""

    def handle(exchange: Exchange) -> Reply:
        verb = exchange.method, exchange.path
        if verb == ("GET", "/log"):
            rows = log.exchanges(exchange.query.get("vendor"), int(exchange.query.get("after", "0")))
            return json_reply({"requests": [row.shown() for row in rows], "counters": dict(log.counts)})
        if verb == ("GET", "/counters"):
            return json_reply(dict(log.counts))
        if verb == ("GET", "/ledger"):
            return json_reply(log.ledger.shown(exchange.query.get("vendor")))
        if verb == ("POST", "/reset"):
            log.reset()
            return json_reply({"reset": True})
        return json_reply(
            {"error": "GET /_sim/log, /_sim/counters or /_sim/ledger, or POST /_sim/reset"}, 404
        )

    return handle
