"""The one loop: whatever a client speaks and whatever it wants, a request is answered here.

*Parse, route; for each call and target: inline media, build, send, read events; render the events.* Knows no
dialect.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import partial
from time import perf_counter
from typing import Any

from proxy.errors import RequestError, StoppingError
from proxy.fronts.base import Asked, Facts, Front, Header, Parsed, Renderer
from proxy.routing.attempts import Candidate
from proxy.routing.routes import Route
from proxy.serve import allowed, bill, budgets, chores, fan_out, output, tries
from proxy.serve.body import read
from proxy.serve.chores import Handed
from proxy.serve.endpoint import Row
from proxy.serve.exchange import Exchange
from proxy.serve.fan_out import SideBySide
from proxy.serve.head import listed
from proxy.serve.house import House
from proxy.serve.links import Links
from proxy.serve.speakers import Request, speaker_of
from proxy.serve.stream import EventStream
from proxy.serve.told import Charge, Told, merged
from proxy.types import Event, Image, ImageRequest

# Calls side by side for one request: of what is sold by the piece, and of chats.
_PIECES_AT_ONCE = 4
_CHATS_AT_ONCE = 16
_TIMING = b"upstream;dur=%.1f, total;dur=%.1f"  # milliseconds
_YES = frozenset((b"true", b"True", b"TRUE", b"1"))  # as programs write it
_JSON: Header = (b"content-type", b"application/json")


def answered(path: str, front: Front) -> Row:
    """The route of an endpoint that a front speaks."""
    return Row("POST", path, partial(answer, front=front), front=front, bounded=True)


async def answer(exchange: Exchange, house: House, front: Front) -> None:
    plan, caller = house.plan, exchange.caller
    assert caller is not None
    body = await read(exchange, plan.config.server.body_limit)
    path: Mapping[str, str] = exchange.scope.get("path_params") or {}
    name = front.model(body, path)
    route = plan.routes.resolve(name, caller, front.kind)
    exchange.facts["model"] = route.name
    if route.name != name:
        exchange.answered_by = route.name
    headers = exchange.fields
    asked = Asked(
        exchange.request_id,
        caller,
        headers,
        exchange.query() if exchange.scope.get("query_string") else {},
        strict=headers.get(b"x-proxy-strict") in _YES,
        fallback=headers.get(b"x-proxy-no-fallback") not in _YES,
        image_outputs=(route.image_output, plan.config.defaults.image_output),
        has_address=plan.config.server.public_url is not None,
        is_stored=house.services.files.is_stored,
    )
    parsed = front.parse(body, asked)
    del body
    handed = chores.handed(plan.routes, route, front, parsed) if route.chores is not None else None
    if handed is not None:
        route, parsed = handed.route, handed.parsed
        exchange.facts.update(model=route.name, chore=handed.name)
        exchange.answered_by = route.name
    if route.defaults.written:
        parsed = route.defaults.under(parsed)
    exchange.parsed = parsed
    if parsed.dropped and asked.strict:
        raise RequestError(
            f"This cannot be carried: {', '.join(parsed.dropped)}. Leave it out, or x-proxy-strict.",
            param=parsed.dropped[0],
            code="unsupported_parameter",
        )
    if caller.limits is not None:
        exchange.allowed = await allowed.admit(house, caller, caller.limits, route, parsed.request)
    budget = caller.budget
    if budget is not None:
        route = await budgets.admit(house, caller, budget, route, parsed.request, asked.request_id)
    answering = _Answering(exchange, house, front, asked, route, parsed, handed)
    try:
        await (answering.streamed() if parsed.request.stream else answering.whole())
    except asyncio.CancelledError:
        if exchange.gone:
            raise
        raise answering.stopped() from None
    finally:
        answering.note_facts()
        if budget is not None:
            house.services.balances.release(caller, budget, asked.request_id)


class _Answering:
    """One request on its way: its calls, what they told, and the reply."""

    __slots__ = (
        "_asked",
        "_candidates",
        "_complete",
        "_exchange",
        "_finishes",
        "_front",
        "_handed",
        "_house",
        "_links",
        "_parsed",
        "_renderer",
        "_route",
        "_tolds",
    )

    def __init__(
        self,
        exchange: Exchange,
        house: House,
        front: Front,
        asked: Asked,
        route: Route,
        parsed: Parsed[Any, Any],
        handed: Handed | None,
    ) -> None:
        self._exchange = exchange
        self._house = house
        self._front = front
        self._asked = asked
        self._route = route
        self._handed = handed
        self._parsed = parsed
        self._candidates: tuple[Candidate, ...] = route.order()
        # The renderer is given nothing that knows this object: a cycle would keep the request's pictures.
        self._links = Links(exchange, house) if parsed.links else None
        self._finishes = parsed.links or isinstance(parsed.request, ImageRequest)
        self._tolds: list[Told] = []
        self._complete = False
        link = None if self._links is None else self._links.of
        # Neither knows this object, which knows the renderer: a cycle would keep the request's pictures.
        cost = partial(_cost_of, self._tolds) if route.priced else None
        self._renderer: Renderer = front.renderer(parsed, Facts(int(time.time()), link, cost))
        exchange.told = self.head

    async def whole(self) -> None:
        request = self._parsed.request
        calls = [request] if request.n == 1 else self._calls()
        if len(calls) == 1:
            told = self._new_told(calls[0])
            on = tries.Tries(self._house, calls[0], self._asked, self._route, self._candidates, told)
            events = await tries.whole(on, self._house)
            if self._finishes and Image in map(type, events):
                events = await self._finished(events, calls[0], told)
        else:
            async with aclosing(self._side_by_side(calls)) as batches:
                events = [event async for batch in batches for event in batch]
        pieces = self._renderer.whole(events)
        del events
        self._complete = True
        await self._exchange.respond(200, pieces, (_JSON, *self._renderer.headers))

    async def streamed(self) -> None:
        exchange, renderer = self._exchange, self._renderer
        stream = EventStream(exchange, self._house.plan.config.defaults.heartbeat, ping=renderer.ping)
        request = self._parsed.request
        calls = [request] if request.n == 1 else self._calls()
        started = self._batches(calls[0]) if len(calls) == 1 else self._side_by_side(calls)
        try:
            async with aclosing(started) as batches:
                async for batch in batches:
                    if frames := renderer.feed(batch):
                        await stream.write(frames)
            await stream.write(renderer.finish())
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
        await stream.write(self._renderer.error(error, self._exchange.request_id))

    def stopped(self) -> StoppingError:
        """What the client is told when the server ends first: whether its SDK may send the request again."""
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
        call = self._parsed.request
        asked = any(told.attempts for told in self._tolds)
        by_piece = any(speaker_of(one, call).by_piece() for one in self._candidates)
        return StoppingError(bought=asked and by_piece)

    # --- calls -------------------------------------------------------------------------------------

    def _calls(self) -> list[Request]:
        """As many as the target that makes the fewest at once needs: a fallback may have to make them all."""
        request = self._parsed.request
        shares = (speaker_of(one, request).shares() for one in self._candidates)
        return fan_out.split(request, max(shares, key=len))

    def _side_by_side(self, calls: list[Request]) -> AsyncGenerator[list[Event], None]:
        by_piece = any(speaker_of(one, calls[0]).by_piece() for one in self._candidates)
        return SideBySide(
            len(calls),
            lambda number: self._batches(calls[number]),
            at_once=_PIECES_AT_ONCE if by_piece else _CHATS_AT_ONCE,
            tolerant=by_piece,
        ).batches()

    async def _batches(self, call: Request) -> AsyncGenerator[list[Event], None]:
        """One call's events, ready to be rendered; all at once where the reply goes out whole."""
        told, house = self._new_told(call), self._house
        on = tries.Tries(house, call, self._asked, self._route, self._candidates, told)
        if not self._parsed.request.stream:
            yield await self._finished(await tries.whole(on, house), call, told)
            return
        async with aclosing(tries.batches(on, house)) as batches:
            async for batch in batches:
                has_pictures = self._finishes and Image in map(type, batch)
                yield await self._finished(batch, call, told) if has_pictures else batch

    def _new_told(self, call: Request) -> Told:
        told = Told(output.ours(call) if isinstance(call, ImageRequest) else frozenset())
        told.number = len(self._tolds)
        self._tolds.append(told)
        return told

    async def _finished(self, batch: list[Event], call: Request, told: Told) -> list[Event]:
        """Pictures in the wanted format and at an address, where the client asked for that."""
        if isinstance(call, ImageRequest):
            batch = await output.finished(batch, call, told)
        if self._links is not None:
            await self._links.keep(batch)
        return batch

    # --- what is told ------------------------------------------------------------------------------

    def head(self) -> list[Header]:
        """What the reply's head says of how it was made; asked for when the head really goes."""
        if not self._tolds:
            return []
        told = self._tolds[0] if len(self._tolds) == 1 else merged(self._tolds)
        total_s = perf_counter() - self._exchange.began
        headers: list[Header] = [(b"server-timing", _TIMING % (told.upstream_s * 1000, total_s * 1000))]
        if self._exchange.allowed is not None:
            headers += self._exchange.allowed.headers
        if (handed := self._handed) is not None:
            headers.append((b"x-proxy-chore", f"{handed.name}; model={handed.route.name}".encode()))
        dropped = self._parsed.dropped
        if told.dropped:
            dropped = (*dropped, *self._front.spelled(told.dropped, self._parsed))
        if dropped:
            headers.append((b"x-proxy-dropped", listed(dict.fromkeys(dropped))))
        if self._complete and self._route.priced and (costs := bill.total(self._tolds)):
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
        """For the access log."""
        if not self._tolds:
            return
        told = self._tolds[0] if len(self._tolds) == 1 else merged(self._tolds)
        facts = self._exchange.facts
        facts.update(target=told.target, attempts=told.attempts)
        if self._exchange.allowed is not None:
            self._exchange.allowed.told = told
        if told.usage is not None:
            facts.update(prompt_tokens=told.usage.prompt, completion_tokens=told.usage.completion)
        if told.images:
            facts["images"] = told.images


def _cost_of(tolds: list[Told]) -> Charge | None:
    """One sum, where there is one."""
    costs = bill.total(tolds)
    return costs[0] if len(costs) == 1 else None
