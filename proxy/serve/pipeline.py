"""One request's path to the upstream: route, restore signatures, inline media, build, send, read events.

Falls back to the next key or target as long as nothing was handed on and nothing can have been bought.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from proxy.errors import RequestError, UpstreamError
from proxy.keys import ClientKey
from proxy.routing import Route
from proxy.serve import media
from proxy.serve.house import House
from proxy.signatures import SignatureRecorder
from proxy.types import Call, ChatRequest, Event, Usage
from proxy.upstream.retry import Attempt, Attempts
from proxy.wires import wire_for

_SAME_TARGET_PAUSE_S = 0.25


@dataclass(slots=True)
class Run:
    """How a request goes: filled while it runs, read by headers and the access log."""

    route: Route
    caller: ClientKey
    strict: bool = False
    fallback: bool = True
    target: str | None = None
    attempts: int = 0
    dropped: tuple[str, ...] = ()
    usage: Usage | None = None
    fetched: dict[str, media.Picture] = field(default_factory=dict)


async def events(
    house: House, request: ChatRequest, run: Run, *, whole: bool
) -> AsyncGenerator[list[Event], None]:
    """Yield the reply's events in batches, one per upstream read, or all at once with `whole`.

    Raises `UpstreamError` when every attempt failed, `RequestError` when the request cannot be carried.
    """
    candidates = run.route.order()
    attempts = Attempts(candidates, run.route.attempts if run.fallback else 1)
    attempt: Attempt | None = attempts.first()
    deadline = asyncio.get_running_loop().time() + max(one.deadlines.total_s for one in candidates)
    while attempt is not None:
        run.attempts += 1
        run.target = attempt.target.name
        handed_on = False
        try:
            async with aclosing(_attempt(house, request, run, attempt, deadline)) as batches:
                if whole:
                    collected = [event async for batch in batches for event in batch]
                    handed_on = True
                    yield collected
                    return
                async for batch in batches:
                    handed_on = True
                    yield batch
                return
        except UpstreamError as error:
            error.provider = error.provider or attempt.target.provider
            if handed_on:
                raise
            following = attempts.failed(attempt, error, wire_for(attempt.target).repair(error))
            if following is None or asyncio.get_running_loop().time() >= deadline:
                raise
            house.log.attempt_failed(attempt.target.name, error)
            if following == attempt:
                await asyncio.sleep(min(error.retry_after_s or _SAME_TARGET_PAUSE_S, 2.0))
            attempt = following


async def _attempt(
    house: House, request: ChatRequest, run: Run, attempt: Attempt, deadline: float
) -> AsyncGenerator[list[Event], None]:
    target, account = attempt.target, attempt.account
    wire = wire_for(target)
    issuer, owner = account.base_url, run.caller.name  # signatures are valid at the host that made them
    restored = house.signatures.restore(request, issuer, owner)
    restored = await media.inline(
        house.fetcher, restored, run.fetched, lambda url: wire.keeps_url(url, target)
    )
    call = wire.build(restored, target, attempt.repairs)
    _note_dropped(run, call)
    remaining_s = deadline - asyncio.get_running_loop().time()
    allowed = attempt.candidate.deadlines
    deadlines = replace(allowed, total_s=max(0.001, min(allowed.total_s, remaining_s)))
    recorder = SignatureRecorder(house.signatures, issuer, owner)
    reader = wire.reader(restored, target, call)
    reply = await house.upstream.send(call, account, deadlines)
    try:
        if reply.status >= 400:
            error = wire.error(reply.status, reply.headers, await reply.read(1 << 20), target)
            if isinstance(error, UpstreamError):
                error.bought = False  # an HTTP error is a refusal: no answer was sold
            raise error
        async for payloads in reply.payloads():
            batch: list[Event] = []
            fault: UpstreamError | None = None
            try:
                for payload in payloads:
                    batch += reader.feed(payload)
            except UpstreamError as error:
                fault = error  # what came before it in the same read is handed on first
            if batch:
                recorder.watch(batch)
                yield batch
            if fault is not None:
                raise fault
        batch = reader.close()
        recorder.watch(batch)
        if batch:
            yield batch
    finally:
        recorder.close()
        await reply.close()


def _note_dropped(run: Run, call: Call) -> None:
    run.dropped = call.dropped
    if run.strict and call.dropped:
        names = ", ".join(call.dropped)
        raise RequestError(
            f"This model cannot carry: {names}. Leave it out, or do without x-proxy-strict.",
            param=call.dropped[0],
            code="unsupported_parameter",
        )
