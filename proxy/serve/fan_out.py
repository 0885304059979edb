"""Several calls side by side for one request, merged into one reply: call k's events become choice k.

Usage is summed and comes last; `Started` comes once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import ChatRequest, EmbedRequest, Event, ImageRequest, Request, Started, Usage

Batches = AsyncGenerator[list[Event], None]

# Of several failures the one that tells the client most.
_TELLING = (ErrorClass.BLOCKED, ErrorClass.BAD_REQUEST)


def split(request: Request, shares: Sequence[int]) -> list[Request]:
    """One request for each call. A seed of pictures counts on, else all calls would make the same."""
    if len(shares) == 1:
        return [request]
    calls: list[Request] = []
    done = 0
    for share in shares:
        calls.append(_part(request, done, share))
        done += share
    return calls


def _part(request: Request, done: int, share: int) -> Request:
    if isinstance(request, EmbedRequest):
        return replace(request, inputs=request.inputs[done : done + share])
    if isinstance(request, ImageRequest):
        return replace(request, n=share, seed=None if request.seed is None else request.seed + done)
    if isinstance(request, ChatRequest):
        return replace(request, n=share)
    return request


class SideBySide:
    """`count` calls, `at_once` of them at a time. `tolerant`: what they make is sold by the piece, so a call
    that fails does not take the others' with it; a refusal keeps what was not ordered yet from being ordered.
    Else the first failure ends all of them."""

    def __init__(self, count: int, start: Callable[[int], Batches], *, at_once: int, tolerant: bool) -> None:
        self._count = count
        self._start = start
        self._free = asyncio.Semaphore(at_once)
        self._tolerant = tolerant
        self._queue: asyncio.Queue[tuple[int, list[Event] | None]] = asyncio.Queue(maxsize=count * 2)
        self._failures: list[Exception] = []
        self._refused = False

    async def batches(self) -> Batches:
        pumps = [asyncio.create_task(self._pump(choice)) for choice in range(self._count)]
        usages: dict[int, Usage] = {}
        began = False
        running, made = self._count, False
        try:
            while running:
                choice, batch = await self._queue.get()
                if batch is None:
                    running -= 1
                    if self._failures and not self._tolerant:
                        raise self._telling()
                    continue
                mine: list[Event] = []
                for event in batch:
                    if isinstance(event, Usage):
                        usages[choice] = event
                    elif not isinstance(event, Started):
                        mine.append(event if choice == event.choice else replace(event, choice=choice))
                    elif not began:
                        began = True
                        mine.append(event)
                if mine:
                    made = True
                    yield mine
            if self._failures and not made:
                raise self._telling()
            if usages:
                yield [Usage.sum(list(usages.values()))]
        finally:
            self._failures.clear()  # they know frames that know this
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, choice: int) -> None:
        try:
            async with self._free:
                if not self._refused:
                    async with aclosing(self._start(choice)) as batches:
                        async for batch in batches:
                            await self._queue.put((choice, batch))
        except Exception as error:  # handed to the reader, which raises it
            self._refused = self._refused or (
                isinstance(error, UpstreamError) and error.error_class is ErrorClass.BLOCKED
            )
            self._failures.append(error)
        await self._queue.put((choice, None))

    def _telling(self) -> Exception:
        for wanted in _TELLING:
            for error in self._failures:
                if isinstance(error, UpstreamError) and error.error_class is wanted:
                    return error
        return self._failures[0]
