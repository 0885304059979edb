"""A streamed reply, of events mostly: pings while the upstream is silent, one write per upstream read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from proxy.fronts.base import EVENTS
from proxy.serve.exchange import Exchange, Header

_HEADERS: tuple[Header, ...] = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
_COMMENT = b": keep-alive\n\n"


class EventStream:
    """The reply of a streamed request. The status line waits for the first write or the first comment.

    `interval_s` is how long it may be silent, 0 for as long as it likes; `ping` is said then, in the words of
    the client's dialect. `content_type` is what its pieces make up. `head` gives what the head tells beside
    its own, asked when the head really goes.

    One timer per stream: it looks at the last write instead of being set again at every chunk. A frame is
    never cut by a ping: a frame waits until a ping that has begun is out, and a ping never begins in a frame.
    """

    __slots__ = (
        "_busy",
        "_content_type",
        "_exchange",
        "_head",
        "_interval_s",
        "_last",
        "_loop",
        "_ping",
        "_pulse",
        "_timer",
    )

    def __init__(
        self,
        exchange: Exchange,
        interval_s: float,
        head: Callable[[], Iterable[Header]] = tuple,
        *,
        ping: bytes = _COMMENT,
        content_type: bytes = EVENTS,
    ) -> None:
        self._exchange = exchange
        self._interval_s = interval_s
        self._head = head
        self._ping = ping
        self._content_type = content_type
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._busy = False
        self._pulse: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        if interval_s > 0:
            self._timer = self._loop.call_later(interval_s, self._look)

    def _look(self) -> None:
        if self._busy or self._pulse is not None:  # what is being said keeps the client company
            self._timer = self._loop.call_later(self._interval_s, self._look)
            return
        wait_s = self._last + self._interval_s - self._loop.time()
        if wait_s > 0:
            self._timer = self._loop.call_later(max(wait_s, self._interval_s / 10), self._look)
            return
        self._pulse = self._loop.create_task(self._beat())
        self._timer = self._loop.call_later(self._interval_s, self._look)

    async def _beat(self) -> None:
        try:
            await self._put((self._ping,))
        except Exception:  # the next frame meets the same fault, in the task that can answer for it
            self._stop_timer()
        finally:
            self._pulse = None

    async def write(self, data: bytes | Iterable[bytes | memoryview]) -> None:
        if self._pulse is not None:
            await asyncio.wait((self._pulse,))
        self._busy = True
        try:
            await self._put((data,) if isinstance(data, bytes) else data)
        finally:
            self._busy = False

    async def _put(self, pieces: Iterable[bytes | memoryview]) -> None:
        try:
            if not self._exchange.status:
                await self._exchange.start(200, self._named)
            await self._exchange.write(pieces)
        finally:
            self._last = self._loop.time()

    def _named(self) -> Iterable[Header]:
        return ((b"content-type", self._content_type), *_HEADERS, *self._head())

    async def end(self) -> None:
        self.stop()
        await self.write(())
        await self._exchange.end()

    def stop(self) -> None:
        """No more pings."""
        self._stop_timer()
        if self._pulse is not None:
            self._pulse.cancel()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
