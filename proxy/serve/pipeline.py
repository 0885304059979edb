"""One request's path to the upstream: route, inline media, restore signatures, build, send, read events.

Falls back to the next key or target as long as nothing was handed on and nothing can have been bought.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from proxy.errors import UpstreamError
from proxy.memory.signatures import SignatureRecorder
from proxy.routing.attempts import Attempt, Attempts
from proxy.serve import adapt, media
from proxy.serve.house import House
from proxy.serve.run import Run, within
from proxy.types import ChatRequest, Event, ImageRequest
from proxy.upstream import Account

_SAME_TARGET_PAUSE_S = 0.25


class _Tries:
    """The attempts of one request: which is on, and what follows a failure."""

    __slots__ = ("_attempts", "_house", "_paid", "_run", "attempt", "deadline")

    def __init__(self, house: House, request: ChatRequest | ImageRequest, run: Run) -> None:
        candidates = run.candidates
        limit = run.route.attempts if run.fallback else 1
        paid = isinstance(request, ImageRequest) or candidates[0].jobs
        total_s = max(one.deadlines.total_s for one in candidates)
        self._house = house
        self._run = run
        self._paid = paid
        self._attempts = Attempts(candidates, limit, paid=paid)
        # A chat that is late is asked again by the client's SDK; a picture would be bought again.
        allowed_s = min(run.patience_s, total_s) if paid else total_s
        self.deadline = asyncio.get_running_loop().time() + allowed_s
        self._begin(self._attempts.first())

    def _begin(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self._run.attempts += 1
        self._run.target = attempt.target.name

    async def after(self, error: UpstreamError, *, handed_on: bool) -> None:
        """Make the next attempt the current one, or raise the error when it is final."""
        attempt = self.attempt
        error = error.without(attempt.account.secrets).changed(
            provider=error.provider or attempt.target.provider, by_piece=error.by_piece or self._paid
        )
        if handed_on:
            raise error
        repair = None if attempt.candidate.jobs else attempt.candidate.wire.repair(error)
        following = self._attempts.failed(attempt, error, repair)
        if following is None or asyncio.get_running_loop().time() >= self.deadline:
            raise error
        self._house.log.attempt_failed(attempt.target.name, error)
        if following == attempt:
            await asyncio.sleep(min(error.retry_after_s or _SAME_TARGET_PAUSE_S, 2.0))
        self._begin(following)


async def whole(house: House, request: ChatRequest | ImageRequest, run: Run) -> list[Event]:
    """All events of the reply.

    Raises `UpstreamError` when every attempt failed, `RequestError` when the request cannot be carried.
    """
    tries = _Tries(house, request, run)
    while True:
        try:
            batches = _attempt(house, request, run, tries.attempt, tries.deadline)
            return [event async for batch in batches for event in batch]
        except UpstreamError as error:
            await tries.after(error, handed_on=False)


async def batches(
    house: House, request: ChatRequest | ImageRequest, run: Run
) -> AsyncGenerator[list[Event], None]:
    """The reply's events as they come, one batch per upstream read. Raises as `whole` does."""
    tries = _Tries(house, request, run)
    while True:
        handed_on = False
        try:
            async with aclosing(_attempt(house, request, run, tries.attempt, tries.deadline)) as attempt:
                async for batch in attempt:
                    handed_on = True
                    yield batch
                return
        except UpstreamError as error:
            await tries.after(error, handed_on=handed_on)


def _attempt(
    house: House, request: ChatRequest | ImageRequest, run: Run, attempt: Attempt, deadline: float
) -> AsyncGenerator[list[Event], None]:
    if attempt.candidate.jobs:
        from proxy.serve import jobs  # most servers of chats never need it

        wanted = request if isinstance(request, ImageRequest) else adapt.to_image(request)
        return jobs.ordered(house, wanted, run, attempt, deadline)
    return _chat(
        house, request if isinstance(request, ChatRequest) else adapt.to_chat(request), run, attempt, deadline
    )


async def _chat(
    house: House, request: ChatRequest, run: Run, attempt: Attempt, deadline: float
) -> AsyncGenerator[list[Event], None]:
    target, account, wire = attempt.target, attempt.account, attempt.candidate.wire
    issuer, owner = account.base_url, run.caller.name  # signatures are valid at the host that made them
    request = await media.inline(
        house,
        request,
        run.fetched,
        keeps=lambda url: wire.keeps_url(url, target),
        reads=lambda mime: wire.reads(mime, target),
    )
    # After the pictures: one that we stored is known by its bytes, not by its address.
    restored = house.signatures.restore(request, issuer, owner)
    call = wire.build(restored, target, attempt.repairs)
    run.note_dropped((*request.dropped, *call.dropped))
    deadlines = within(attempt.candidate.deadlines, deadline)
    recorder = SignatureRecorder(house.signatures, issuer, owner)
    reader = wire.reader(restored, target, call)
    reply = await house.upstream.send(call, account, deadlines)
    try:
        if reply.status >= 400:
            error = wire.error(reply.status, reply.headers, await reply.read(1 << 20), target)
            if isinstance(error, UpstreamError):
                error = error.changed(bought=False)  # an HTTP error is a refusal: no answer was sold
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
                yield await _here(house, batch, account)
            if fault is not None:
                raise fault
        batch = reader.close(reply.complete)
        recorder.watch(batch)
        if batch:
            yield await _here(house, batch, account)
    finally:
        recorder.close()
        await reply.close()


async def _here(house: House, batch: list[Event], account: Account) -> list[Event]:
    """The batch with what a relay gave by address fetched while it is there; nearly always as it is."""
    for event in batch:
        if media.by_address(event):
            return list(await asyncio.gather(*(media.here(house, event, account) for event in batch)))
    return batch
