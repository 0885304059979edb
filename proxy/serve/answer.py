"""The one loop: whatever a client speaks and whatever it wants, a request is answered here.

*Parse, route; for each call and target: inline media, build, send, read events; render the events.* Knows no
dialect.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from proxy.errors import StoppingError
from proxy.fronts.base import (
    Asked,
    Facts,
    Front,
    Header,
    KeepingFront,
    KeptRenderer,
    Parsed,
    Recall,
    Renderer,
)
from proxy.routing.attempts import Candidate
from proxy.routing.routes import Route
from proxy.serve import admission, bill, fan_out, intake, lost, output, tries
from proxy.serve.body import LARGE, read
from proxy.serve.chores import Handed
from proxy.serve.endpoint import Row
from proxy.serve.exchange import Exchange
from proxy.serve.fan_out import SideBySide
from proxy.serve.head import listed
from proxy.serve.house import House
from proxy.serve.links import Links
from proxy.serve.speakers import speaker_of
from proxy.serve.stream import EventStream
from proxy.serve.told import MOST_NAMED, Charge, Told, merged
from proxy.types import Event, Image, ImageRequest, Request, Usage

if TYPE_CHECKING:
    from proxy.serve.keeping import Watch
    from proxy.serve.record import Kept, Record

# Calls side by side for one request: of what is sold by the piece, and of chats.
_PIECES_AT_ONCE = 4
_CHATS_AT_ONCE = 16
_MANY_EVENTS = 64  # thousands of vectors take more than a second, and all others wait
_TIMING = b"upstream;dur=%.1f, total;dur=%.1f"  # milliseconds


def answered(path: str, front: Front, *, verbatim: bool = False, **row: Any) -> Row:
    """The route of an endpoint that a front speaks; `row` is what else a `Row` has. `verbatim`: the front is
    given the body as it came too."""
    recall = getattr(front, "goes_on_from", None)
    handler = partial(answer, front=front, endpoint=path, verbatim=verbatim, recall=recall)
    return Row("POST", path, handler, front=front, bounded=True, **row)


async def answer(
    exchange: Exchange,
    house: House,
    front: Front,
    endpoint: str,
    *,
    verbatim: bool = False,
    recall: Recall | None = None,
) -> None:
    """`recall` tells which earlier replies a body goes on from, where a front can be told of such."""
    plan, caller = house.plan, exchange.caller
    assert caller is not None
    body, written = await read(exchange, plan.config.server.body_limit)
    route = intake.routed(exchange, house, front, caller, body)
    headers = exchange.fields
    asked = Asked(
        exchange.request_id,
        caller,
        headers,
        exchange.query() if exchange.scope.get("query_string") else {},
        exchange.scope.get("path_params") or {},
        written if verbatim else b"",
        strict=headers.get(b"x-proxy-strict") in lost.YES,
        fallback=headers.get(b"x-proxy-no-fallback") not in lost.YES,
        image_outputs=(route.image_output, plan.config.defaults.image_output),
        has_address=plan.config.server.public_url is not None,
        is_stored=house.services.files.is_stored,
        earlier=await intake.recalled(house, caller, recall, body),
        large=len(written) > LARGE,
    )
    taken = (
        await asyncio.to_thread(intake.read, house, front, route, body, asked)
        if asked.large
        else intake.read(house, front, route, body, asked)
    )
    exchange.parsed = parsed = taken.parsed
    if (handed := taken.handed) is not None:
        exchange.facts.update(model=handed.route.name, chore=handed.name)
        exchange.answered_by = handed.route.name
    if parsed.dropped and asked.strict:
        raise lost.refusal(parsed.dropped)
    route = taken.route
    requests = (parsed.request, *parsed.beside)
    budget, joins = caller.budget, None
    keeps = route.draws or isinstance(parsed.request, ImageRequest)
    if caller.limits is not None or budget is not None:
        if keeps or parsed.later:
            from proxy.serve import joining

            joins = await joining.begun_before(exchange, house, endpoint, body, later=parsed.later)
        if joins is None:  # else all of it was counted when it began
            route = await admission.admit(exchange, house, route, requests)
    work = Work(house, asked, route, parsed, route.order(), painter=taken.painter)
    watch: Watch | None = None
    try:
        if parsed.later:
            from proxy.serve import later

            await later.accepted(exchange, work, cast(KeepingFront, front), endpoint, body, joins)
            return
        if keeps:
            from proxy.serve import keeping  # most servers of chats never need it

            watch = await keeping.begun(exchange, work, front, endpoint, body, joins)
            if exchange.started:
                budget = None  # the task has it
                return
        del body, written, requests
        answering = _Answering(exchange, front, work, handed, watch)
        try:
            await (answering.streamed() if parsed.request.stream else answering.whole())
        except asyncio.CancelledError:
            if exchange.gone:
                raise
            raise answering.stopped() from None
        finally:
            answering.note_facts()
    finally:
        if budget is not None:
            house.services.balances.release(asked.request_id)


@dataclass(slots=True)
class Work:
    """The calls of one request at its targets, and what they told; knows of no client's connection. `record`
    is what a task has of them, None for what is not kept. `painter` draws what the model asks for by a call
    (`aside`)."""

    house: House
    asked: Asked
    route: Route
    parsed: Parsed[Any, Any]
    candidates: tuple[Candidate, ...]
    record: Record | None = None
    painter: Route | None = None
    tolds: list[Told] = field(default_factory=list)

    def calls(self) -> list[Request]:
        """As many as the target that makes the fewest at once needs: a fallback may have to make them all."""
        request, beside = self.parsed.request, self.parsed.beside
        if beside:
            return [replace(one, n=1) for one in (request, *beside) for _ in range(one.n)]
        if request.n == 1:
            return [request]
        shares = (speaker_of(one, request).shares() for one in self.candidates)
        return fan_out.split(request, max(shares, key=len))

    def by_piece(self) -> bool:
        return any(speaker_of(one, self.parsed.request).by_piece() for one in self.candidates)

    def tries(self, call: Request, number: int = 0, kept: Kept | None = None) -> tries.Tries:
        told = Told(output.ours(call) if isinstance(call, ImageRequest) else frozenset())
        told.number = number
        if kept is not None:
            told.order = kept.vendor_order
        self.tolds.append(told)
        return tries.Tries(self.house, call, self.asked, self.route, self.candidates, told, kept)

    def batches(self) -> AsyncGenerator[list[Event], None]:
        """All calls' events, with pictures in the wanted format."""
        calls = self.calls()
        if len(calls) == 1:
            if self.painter is not None:
                from proxy.serve import aside

                return aside.drawn(self._batches(calls, 0), self, self.painter)
            return self._batches(calls, 0)
        by_piece = self.by_piece()
        return SideBySide(
            len(calls),
            lambda number: self._batches(calls, number),
            at_once=_PIECES_AT_ONCE if by_piece else _CHATS_AT_ONCE,
            tolerant=by_piece,
        ).batches()

    async def _batches(self, calls: list[Request], number: int) -> AsyncGenerator[list[Event], None]:
        """One call's events; all at once where the reply goes out whole."""
        call = calls[number]
        kept = None if self.record is None else self.record.call(number, len(calls))
        if kept is not None and (made := await kept.made()) is not None:
            self.tolds.append(made.told)
            yield made.events
            return
        on = self.tries(call, number, kept)
        seen: list[Event] = []
        if not self.parsed.request.stream:
            seen = await self._finished(await tries.whole(on, self.house), call, on.told)
            yield seen
        else:
            async with aclosing(tries.batches(on, self.house)) as batches:
                async for batch in batches:
                    if isinstance(call, ImageRequest) and Image in map(type, batch):
                        batch = await self._finished(batch, call, on.told)
                    if kept is not None:
                        seen += batch
                    yield batch
        if kept is not None:
            await kept.made_now(seen, on.told)

    async def _finished(self, batch: list[Event], call: Request, told: Told) -> list[Event]:
        return await output.finished(batch, call, told) if isinstance(call, ImageRequest) else batch


class _Answering:
    """One request on its way: its work or, where that is kept, the watch of it; and the reply."""

    __slots__ = (
        "_complete",
        "_exchange",
        "_front",
        "_handed",
        "_house",
        "_links",
        "_parsed",
        "_renderer",
        "_tolds",
        "_watch",
        "_work",
    )

    def __init__(
        self, exchange: Exchange, front: Front, work: Work, handed: Handed | None, watch: Watch | None
    ) -> None:
        self._exchange = exchange
        self._house = work.house
        self._front = front
        self._work = work
        self._handed = handed
        self._watch = watch
        self._parsed = parsed = work.parsed
        # The renderer is given nothing that knows this object: a cycle would keep the request's pictures.
        stored = None if watch is None else watch.stored
        self._links = Links(exchange, work.house, stored) if parsed.links else None
        self._tolds: list[Told] = work.tolds if watch is None else watch.tolds
        self._complete = False
        link = None if self._links is None else self._links.of
        cost = partial(cost_of, self._tolds) if work.route.priced else None
        self._renderer: Renderer = front.renderer(parsed, Facts(int(time.time()), link, cost))
        exchange.told = self.head

    async def whole(self) -> None:
        work = self._work
        parsed = self._parsed
        is_one_call = parsed.request.n == 1 and not parsed.beside and work.painter is None
        if self._watch is None and is_one_call:
            events = await tries.whole(work.tries(work.parsed.request), self._house)
            if parsed.links and Image in map(type, events):
                await self._linked(events)
        else:
            async with aclosing(self._batches()) as batches:
                events = [event async for batch in batches for event in batch]
        render = self._renderer.whole
        takes_long = len(events) >= _MANY_EVENTS or work.asked.large
        pieces = await asyncio.to_thread(render, events) if takes_long else render(events)
        del events
        if self._parsed.keeps:
            await self._keep()
        self._complete = True
        kind = (b"content-type", self._parsed.answers_as)
        await self._exchange.respond(200, pieces, (kind, *self._renderer.headers))

    async def streamed(self) -> None:
        exchange, renderer = self._exchange, self._renderer
        stream = EventStream(
            exchange,
            self._house.plan.config.defaults.heartbeat if renderer.ping else 0.0,
            ping=renderer.ping,
            content_type=self._parsed.streams_as,
        )
        try:
            async with aclosing(self._batches()) as batches:
                async for batch in batches:
                    if frames := renderer.feed(batch):
                        await stream.write(frames)
            last = renderer.finish()
            if self._parsed.keeps:
                await self._keep()
            await stream.write(last)
        except Exception as fault:  # what has begun as a stream must end as one, also when the fault is ours
            if not exchange.started:
                raise
            await self._broken_off(stream, fault)
        except asyncio.CancelledError:  # by the server that stops, or because the client is gone
            if exchange.gone or not exchange.started:
                raise
            await self._broken_off(stream, self.stopped())
        finally:
            stream.stop()
        await stream.end()

    async def _broken_off(self, stream: EventStream, error: Exception) -> None:
        self._house.note_failure(self._exchange, error)
        last = self._renderer.error(error, self._exchange.request_id)
        if self._parsed.keeps:
            await self._keep()
        await stream.write(last)

    async def _keep(self) -> None:
        """Before the client has all of it, for it may come back at once."""
        kept = cast(KeptRenderer, self._renderer).kept()
        await self._house.services.shelf.keep(self._house, self._work.asked.caller.name, kept)

    def stopped(self) -> StoppingError:
        """What the client is told when the server ends first: whether its SDK may send the request again."""
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
        asked = any(told.attempts for told in self._tolds)
        can_join = self._watch is not None and self._watch.can_join
        return StoppingError(bought=asked and not can_join and self._work.by_piece())

    def _batches(self) -> AsyncGenerator[list[Event], None]:
        """The events of all calls, their pictures at an address where the client asked for that."""
        started = self._work.batches() if self._watch is None else self._watch.batches()
        return self._linking(started) if self._parsed.links else started

    async def _linking(self, started: AsyncGenerator[list[Event], None]) -> AsyncGenerator[list[Event], None]:
        async with aclosing(started) as batches:
            async for batch in batches:
                if Image in map(type, batch):
                    await self._linked(batch)
                yield batch

    async def _linked(self, batch: list[Event]) -> None:
        if self._links is not None:
            await self._links.keep(batch)

    # --- what is told ------------------------------------------------------------------------------

    def head(self) -> list[Header]:
        """What the reply's head says of how it was made; asked for when the head really goes."""
        if not self._tolds:
            return [] if self._watch is None else self._watch.headers()
        told = self._tolds[0] if len(self._tolds) == 1 else merged(self._tolds)
        total_s = perf_counter() - self._exchange.began
        headers: list[Header] = [(b"server-timing", _TIMING % (told.upstream_s * 1000, total_s * 1000))]
        if self._exchange.allowed is not None:
            headers += self._exchange.allowed.headers
        if self._watch is not None:
            headers += self._watch.headers()
        if (handed := self._handed) is not None:
            headers.append((b"x-proxy-chore", f"{handed.name}; model={handed.route.name}".encode()))
        dropped = self._parsed.dropped[:MOST_NAMED]
        if told.dropped:
            dropped = (*dropped, *self._front.spelled(told.dropped, self._parsed))
        if dropped:
            headers.append((b"x-proxy-dropped", listed(dict.fromkeys(dropped))))
        if self._complete and self._work.route.priced and (costs := bill.total(self._tolds)):
            headers.append((b"x-proxy-cost", bill.header(costs)))
        if told.size:
            headers.append((b"x-proxy-size", told.size.encode("utf-8", "replace")))
        if (told.lost or isinstance(self._parsed.request, ImageRequest)) and (
            wanted := self._wanted(told)
        ) > told.images:
            headers.append((b"x-proxy-partial", b"%d/%d" % (told.images, wanted)))
        return headers

    def _wanted(self, told: Told) -> int:
        """How many pictures were ordered, as far as that is known: of a stream more may come."""
        request = self._parsed.request
        if self._complete and isinstance(request, ImageRequest):
            return request.n
        return told.images + told.lost

    def note_facts(self) -> None:
        """For the access log, and for what the caller may still have: of what is joined all was counted."""
        if self._watch is not None and self._watch.joined is not None:
            self._exchange.facts["joined"] = self._watch.joined
            if self._exchange.allowed is not None:
                self._exchange.allowed.told = Told(usage=Usage())
            return
        if not self._tolds:
            return
        told = self._tolds[0] if len(self._tolds) == 1 else merged(self._tolds)
        facts = self._exchange.facts
        facts.update(target=told.target, attempts=told.attempts)
        if self._exchange.allowed is not None:
            # What is drawn beside the words has been counted by itself.
            self._exchange.allowed.told = told if self._work.painter is None else self._tolds[0]
        if told.usage is not None:
            facts.update(prompt_tokens=told.usage.prompt, completion_tokens=told.usage.completion)
        if told.images:
            facts["images"] = told.images


def cost_of(tolds: list[Told]) -> Charge | None:
    """One sum, where there is one."""
    if len(tolds) == 1:
        return tolds[0].charge
    costs = bill.total(tolds)
    return costs[0] if len(costs) == 1 else None
