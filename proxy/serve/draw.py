"""A target that takes jobs: the runner orders, waits and fetches, the pictures are handed on as events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from proxy.errors import RequestError, UpstreamError
from proxy.serve import bill, media
from proxy.serve.house import House
from proxy.serve.told import Try
from proxy.tasks import runner
from proxy.tasks.engine import Engine, Job
from proxy.types import Call, Event, Finish, ImageRequest, Started, Target, Text, Usage, left_out
from proxy.wires.declared import DeclaredWire, Done

if TYPE_CHECKING:
    from proxy.serve.record import Kept


class Draw:
    """A `Speaker` over a wire that takes jobs."""

    __slots__ = ("_every_s", "_give_up_s", "_request", "_target", "_wire")

    def __init__(
        self,
        wire: DeclaredWire,
        request: ImageRequest,
        target: Target,
        every_s: float | None = None,
        give_up_s: float | None = None,
    ) -> None:
        self._wire = wire
        self._request = request
        self._target = target
        self._every_s = every_s
        self._give_up_s = give_up_s

    def unable(self) -> RequestError | None:
        return self._wire.unable(self._request, self._target)

    def by_piece(self) -> bool:
        return True

    def shares(self) -> tuple[int, ...]:
        return self._wire.shares(self._request.n, self._target)

    def unread(self) -> tuple[str, ...]:
        return left_out(self._request, self._wire.carries)

    def preview(self) -> Call:
        return self._wire.submit(self._request, self._target)

    def repair(self, error: UpstreamError) -> str | None:
        return self._wire.repair(error, self._request, self._target)

    async def events(self, one: Try, house: House) -> AsyncGenerator[list[Event], None]:
        """Yield one batch when the pictures are here, and before it what shows them on their way."""
        wire, account, kept = self._wire, one.attempt.account, one.kept
        services = house.services
        coming: asyncio.Queue[Sequence[Event]] = asyncio.Queue(maxsize=1)  # pictures are big
        deadlines = one.deadlines()
        engine = Engine(
            services.upstream,
            wire,
            account,
            deadlines,
            every_s=self._every_s,
            give_up_s=self._give_up_s,
            on_progress=services.on_progress if kept is None else partial(kept.noted, wire),
            on_partials=coming.put if self._request.partial_images else None,
            on_sent=one.goes_out,
        )
        taken = None if kept is None else await _taken(engine, kept)
        call = await self._prepared(one, house, engine) if taken is None else None

        async def delivered(done: Done) -> list[Event]:
            arriving = media.Arriving(house, account, one.told, done.keyed, deadlines)
            arriving.lost(len(done.item_errors))
            if done.billing.unread:
                services.charge_unread(self._target.name, done.billing.unread)
            one.usage = bill.counted(done)  # what it took is known, also where the pictures cannot be had
            events = await arriving.fetched(_events(done, one.usage))
            arriving.close()
            return events

        slot = await services.runner.slot() if call is not None and wire.has_tasks(self._target) else None
        one.sent = call is None
        order = runner.Order(self._target.name, engine, call, one.deadline, delivered, slot=slot)
        if kept is not None:
            order = replace(order, taken=taken, journal=kept, may_call_off=kept.may_call_off)
        running = services.runner.run(order)
        if not self._request.partial_images:
            yield await running
            return
        async with aclosing(_with_partials(coming, running)) as batches:
            async for batch in batches:
                yield batch

    async def _prepared(self, one: Try, house: House, engine: Engine) -> Call:
        """The order, with all that has to be at hand for it. Raises `RequestError`."""
        wire, target = self._wire, self._target
        request = await media.inline_references(
            house, self._request, one.asked, wire, target, one.attempt.account
        )
        call = self._order(request, one)
        one.told.note(call.dropped, call.size, one.asked)
        if uploads := wire.uploads(request, target):
            call = self._order(request, one, await engine.uploaded(uploads))
        return call

    def _order(self, request: ImageRequest, one: Try, uploaded: Sequence[str] | None = None) -> Call:
        """The call that buys. Its id stays the same when the same order has to be given again."""
        told, target = one.told, self._target
        told.order = told.order or str(uuid4())
        return self._wire.submit(request, target, one.attempt.repairs, uploaded=uploaded, order=told.order)


async def _taken(engine: Engine, kept: Kept) -> Job | None:
    """What the vendor has of the order already. Of one that an earlier process sent and heard nothing of it
    is asked; where it did not get that it may be sent, and is known again if both arrive. Raises
    `UncertainError`."""
    from proxy.serve.record import UncertainError

    job = kept.taken()
    if job is None or not kept.is_unheard:
        return job
    try:
        is_taken = await engine.is_taken(job)
    except UpstreamError:
        raise UncertainError from None
    if not is_taken:
        return None
    await kept.accepted(None, job.task)
    return job


async def _with_partials(
    coming: asyncio.Queue[Sequence[Event]], running: Coroutine[Any, Any, list[Event]]
) -> AsyncGenerator[list[Event], None]:
    """What comes through the queue while the job runs, then its result. Whoever leaves ends the watch, and
    learns then whether the order went out."""
    job = asyncio.create_task(running)
    try:
        while not job.done() or not coming.empty():
            taken = asyncio.create_task(coming.get())
            try:
                await asyncio.wait((job, taken), return_when=asyncio.FIRST_COMPLETED)
            finally:
                taken.cancel()  # what it was about to take stays in the queue
            if taken.done():
                yield [*taken.result()]
        yield await job
    finally:
        job.cancel()  # also of one that has failed: nobody asks why, and the loop shall not complain
        await asyncio.wait([job])
        del job  # it knows its error, whose traceback knows this frame


def _events(done: Done, counted: Usage) -> list[Event]:
    text = [Text(done.text)] if done.text else []
    return [Started(), *text, *done.images, counted, Finish("stop")]
