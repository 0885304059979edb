"""A reply that is made while nobody waits for it: by a task of the process, whose client comes back for it.

Its row says that it is being made, and is renewed. One that is not any more was lost with its process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import cast

from proxy.errors import ProxyError, RequestError, StoppingError
from proxy.fronts.base import Facts, KeepingFront, Kept, KeptRenderer, Piece
from proxy.serve.answer import Work, cost_of
from proxy.serve.exchange import Exchange
from proxy.serve.shelf import Shelf
from proxy.serve.stream import EventStream
from proxy.serve.told import Told

LEASE_S = 15.0

_LOOK_S = 1.0  # between looks at whether it shall be called off
_AT_ONCE = 256
_FRAMES_BYTES = 16 << 20  # of a stream's events, that it can be taken up again


class Making:
    """One reply in the making. `frames` are its stream's, from the first; None when there are too many of
    them, or it was not asked for as a stream."""

    def __init__(
        self, shelf: Shelf, work: Work, front: KeepingFront, renderer: KeptRenderer, key: str
    ) -> None:
        self._shelf = shelf
        self._work = work
        self._front = front
        self._key = key
        self._called_off = False
        self.renderer = renderer
        self.identity = renderer.kept().id
        self.frames: list[bytes] | None = [] if work.parsed.request.stream else None
        self.over = False
        self._bytes = 0
        self._more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Its row is there when this returns. Raises a 400 for what cannot be kept."""
        kept, until = self.renderer.kept(), time.time() + LEASE_S
        if not await self._shelf.keep(self._work.house, self._key, kept, alive_until=until):
            raise RequestError(
                "This is too large, or too deeply nested, to be made in the background: wait for the reply.",
                attribute="background",
                code="not_keepable",
            )
        self._shelf.making[self.identity] = self
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self, *, called_off: bool = False) -> None:
        """End it, and wait until that is written."""
        assert self._task is not None
        self._called_off = self._called_off or called_off
        self._task.cancel()
        await asyncio.wait([self._task])

    async def follow(self) -> AsyncGenerator[bytes, None]:
        """The frames from the first, as they come."""
        at = 0
        while True:
            frames = self.frames or []
            while at < len(frames):
                yield frames[at]
                at += 1
            if self.over:
                return
            await self._more.wait()

    async def _run(self) -> None:
        looking = asyncio.get_running_loop().create_task(self._look())
        kept = None
        try:
            await self._make()
        except asyncio.CancelledError:
            if self._called_off:
                told = self.renderer.kept()
                kept = Kept(told.id, self._front.cancelled(told.told), told.context)
            else:
                self._tell(self.renderer.error(StoppingError(), self._work.asked.request_id))
        except Exception as error:
            if not isinstance(error, ProxyError):
                self._work.house.services.log.crash(self._work.asked.request_id, error)
            self._tell(self.renderer.error(error, self._work.asked.request_id))
        finally:
            looking.cancel()
            self._shelf.making.pop(self.identity, None)
        events = None if self.frames is None else b"".join(self.frames)
        await self._shelf.keep(self._work.house, self._key, kept or self.renderer.kept(), events=events)
        self.over = True
        self._wake()

    async def _make(self) -> None:
        self._tell(
            self.renderer.feed(())
        )  # the client learns its id, and that it is made, before a word of it
        async with aclosing(self._work.batches()) as batches:
            async for batch in batches:
                self._tell(self.renderer.feed(batch))
        self._tell(self.renderer.finish())

    async def _look(self) -> None:
        """Renew the row, and see whether another process was asked to call it off."""
        from proxy.store import replies

        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                gone = await self._shelf.changing(replies.alive, [self.identity], time.time() + LEASE_S)
            except ProxyError:
                continue  # the store is away for now
            if gone and self._task is not None:
                self._called_off = True
                self._task.cancel()
                return

    def _tell(self, pieces: bytes | list[Piece]) -> None:
        if self.frames is None or not pieces:
            return
        frames = pieces if isinstance(pieces, bytes) else b"".join(pieces)
        self._bytes += len(frames)
        if self._bytes > _FRAMES_BYTES:
            self.frames = None
        else:
            self.frames += (frame + b"\n\n" for frame in frames.split(b"\n\n") if frame)
        self._wake()

    def _wake(self) -> None:
        more, self._more = self._more, asyncio.Event()
        more.set()


async def accepted(exchange: Exchange, work: Work, front: KeepingFront) -> None:
    """Begin the reply, and answer with its id or, where a stream was asked for, with its events."""
    house, parsed, caller = work.house, work.parsed, exchange.caller
    assert caller is not None
    shelf = house.services.shelf
    if len(shelf.making) >= _AT_ONCE:
        raise ProxyError(
            "Too many replies are being made in the background; come back in a moment.",
            status=503,
            code="overloaded",
            headers={"retry-after": "2"},
        )
    cost = partial(cost_of, work.tolds) if work.route.priced else None
    renderer = cast(KeptRenderer, front.renderer(parsed, Facts(int(time.time()), cost=cost)))
    told = renderer.queued()
    making = Making(shelf, work, front, renderer, caller.name)
    await making.start()
    exchange.facts["reply"] = making.identity
    if exchange.allowed is not None:
        exchange.allowed.told = Told()
    if parsed.request.stream:
        await followed(exchange, work.house.plan.config.defaults.heartbeat, renderer.ping, making.follow())
        return
    await exchange.respond(200, told)


async def followed(
    exchange: Exchange, heartbeat_s: float, ping: bytes, frames: AsyncGenerator[bytes, None]
) -> None:
    stream = EventStream(exchange, heartbeat_s, ping=ping)
    try:
        async with aclosing(frames) as coming:
            async for frame in coming:
                await stream.write(frame)
        await stream.write(b"")
    finally:
        stream.stop()
    await stream.end()
