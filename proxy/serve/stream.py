"""Server-sent events to the client: comments while the upstream is silent, one write per upstream read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from proxy.serve.exchange import Exchange, Header

_HEADERS: list[Header] = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
_COMMENT = b": keep-alive\n\n"


class EventStream:
    """The reply of a streamed request. The status line waits for the first write or the first comment.

    One timer per stream: it looks at the last write instead of being set again at every chunk.
    """

    __slots__ = ("_busy", "_exchange", "_interval_s", "_last", "_loop", "_pulse", "_timer")

    def __init__(self, exchange: Exchange, interval_s: float) -> None:
        self._exchange = exchange
        self._interval_s = interval_s
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._busy = False
        self._pulse: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(interval_s, self._look)

    def _look(self) -> None:
        wait_s = self._last + self._interval_s - self._loop.time()
        if wait_s > 0 or self._busy:
            self._timer = self._loop.call_later(max(wait_s, self._interval_s / 10), self._look)
            return
        self._pulse = self._loop.create_task(self._comment())
        self._timer = self._loop.call_later(self._interval_s, self._look)

    async def _comment(self) -> None:
        await self.write(_COMMENT)

    async def write(self, data: bytes | Iterable[bytes | memoryview]) -> None:
        self._busy = True
        try:
            if not self._exchange.started:
                await self._exchange.start(200, _HEADERS)
            await self._exchange.write((data,) if isinstance(data, bytes) else data)
        finally:
            self._last = self._loop.time()
            self._busy = False

    async def end(self) -> None:
        self.stop()
        if not self._exchange.started:
            await self._exchange.start(200, _HEADERS)
        await self._exchange.end()

    def stop(self) -> None:
        """No more comments."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pulse is not None and not self._pulse.done():
            self._pulse.cancel()
