"""A picture job as a reply: order, wait, fetch, and hand the pictures on as events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

from proxy.errors import ErrorClass, UpstreamError
from proxy.routing.attempts import Attempt
from proxy.serve import media
from proxy.serve.house import House
from proxy.serve.run import Run, within
from proxy.tasks.engine import Engine, Job
from proxy.types import Event, Finish, ImageRequest, Started, Text, Usage
from proxy.upstream import Account
from proxy.wires.declared import DeclaredWire, Done

_calling_off: set[asyncio.Task[None]] = set()  # the loop keeps only weak references to tasks


async def ordered(
    house: House, request: ImageRequest, run: Run, attempt: Attempt, deadline: float
) -> AsyncGenerator[list[Event], None]:
    """Yield one batch, when the pictures are here. A client that leaves calls the job off where it can be."""
    target, candidate = attempt.target, attempt.candidate
    wire: DeclaredWire = candidate.wire
    request = await media.inline_references(
        house, request, run.fetched, lambda url: wire.keeps_url(url, target)
    )
    call = wire.submit(request, target)
    run.note_dropped(call.dropped)
    run.size = call.context.get("size")
    deadlines = within(candidate.deadlines, deadline)
    engine = Engine(
        house.upstream,
        wire,
        attempt.account,
        deadlines,
        every_s=candidate.every_s,
        give_up_s=candidate.give_up_s,
        on_progress=run.on_progress,
    )
    outcome = await engine.submit(call)
    if isinstance(outcome, Job):
        outcome = await _waited(house, engine, outcome, target.name, deadline)
    run.failed_items += len(outcome.item_errors)
    yield await _events(house, outcome, attempt.account)


async def _waited(house: House, engine: Engine, job: Job, target: str, deadline: float) -> Done:
    """Written down before the first poll, so that its cost can be found again whatever happens (V-052)."""
    house.log.write("job_accepted", target=target, task=dict(job.task))
    try:
        return await engine.wait(job, deadline)
    except (asyncio.CancelledError, UpstreamError) as error:
        over = isinstance(error, UpstreamError) and error.error_class is not ErrorClass.TIMEOUT
        if not over:
            task = asyncio.create_task(_called_off(house, engine, job, target))
            _calling_off.add(task)
            task.add_done_callback(_calling_off.discard)
        raise
    finally:
        for word in job.unknown_states:
            house.log.write("unknown_state", target=target, state=word)


async def _called_off(house: House, engine: Engine, job: Job, target: str) -> None:
    asked = await engine.cancel(job)
    house.log.write("job_abandoned", target=target, task=dict(job.task), cancel_asked=asked, state=job.state)


async def _events(house: House, done: Done, account: Account) -> list[Event]:
    images = await asyncio.gather(*(media.here(house, image, account) for image in done.images))
    usage = done.usage or Usage()
    vendor = usage.vendor
    if done.billing.cost is not None:
        vendor = {**(vendor or {}), "cost": str(done.billing.cost), "unit": done.billing.unit}
    text = [Text(done.text)] if done.text else []
    counted = replace(usage, images=usage.images or len(images), vendor=vendor)
    return [Started(), *text, *images, counted, Finish("stop")]
