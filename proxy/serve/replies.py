"""Replies that are kept: shown, listed, called off and forgotten, in the words of the front that made them.

Another key's are not there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial

from proxy.errors import RequestError
from proxy.fronts import checks
from proxy.fronts.base import KeepingFront
from proxy.serve import shelf as shelves
from proxy.serve.endpoint import Row
from proxy.serve.exchange import Exchange
from proxy.serve.house import House
from proxy.serve.links import public_base
from proxy.types import Json

_LOOK_S = 0.5  # between looks at a reply that another process makes


def rows(path: str, front: KeepingFront) -> tuple[Row, ...]:
    """The addresses below that of an endpoint whose replies are kept."""
    one = f"{path}/{{id}}"
    return (
        Row("GET", one, partial(show, front=front), front=front),
        Row("DELETE", one, partial(forget, front=front), front=front),
        Row("POST", f"{one}/cancel", partial(cancel, front=front), front=front),
        Row("GET", f"{one}/input_items", partial(inputs, front=front), front=front),
    )


async def show(exchange: Exchange, house: House, front: KeepingFront) -> None:
    query = exchange.query()
    if query.get("stream", "").lower() in ("true", "1"):
        await _resume(exchange, house, front, query.get("starting_after"))
        return
    told = await known(exchange, house, front, _asked_for(exchange, front))
    await exchange.respond(200, front.shown(told, query), shelves.headers(told))


async def inputs(exchange: Exchange, house: House, front: KeepingFront) -> None:
    identity, shelf = _asked_for(exchange, front), house.services.shelf
    row = (await shelf.find(_key(exchange), {identity: True})).get(identity)
    if row is None:
        raise shelves.unknown(identity)
    context = await shelf.read(row, "context", public_base(exchange, house))
    await exchange.respond(200, front.listed(context, exchange.query()))


async def forget(exchange: Exchange, house: House, front: KeepingFront) -> None:
    """What is still being made is called off first."""
    identity = _asked_for(exchange, front)
    told = await known(exchange, house, front, identity, end=front.cancelled)
    if not front.is_over(told):
        await _call_off(exchange, house, front, identity)
    if not await house.services.shelf.forget(_key(exchange), identity):
        raise shelves.unknown(identity)
    await exchange.respond(200, [front.forgotten(identity)])


async def cancel(exchange: Exchange, house: House, front: KeepingFront) -> None:
    """The second time changes nothing. Raises a 400 for what its client waits for."""
    identity = _asked_for(exchange, front)
    told = await known(exchange, house, front, identity, end=front.cancelled)
    if not front.may_cancel(told):
        raise RequestError(
            "Only a reply that is made in the background can be cancelled.", code="not_cancellable"
        )
    if not front.is_over(told):
        told = await _call_off(exchange, house, front, identity)
    await exchange.respond(200, front.shown(told, {}))


async def _call_off(exchange: Exchange, house: House, front: KeepingFront, identity: str) -> Json:
    making = house.services.shelf.making.get(identity)
    if making is not None:
        await making.stop(called_off=True)
        return await known(exchange, house, front, identity)
    from proxy.store import replies

    await house.services.shelf.changing(replies.ask_cancel, _key(exchange), identity)
    while True:
        told = await known(exchange, house, front, identity, end=front.cancelled)
        if front.is_over(told):
            return told
        await asyncio.sleep(_LOOK_S)


async def known(
    exchange: Exchange,
    house: House,
    front: KeepingFront,
    identity: str,
    end: Callable[[Json], Json] | None = None,
) -> Json:
    """What is told of the reply now. One whose process is gone goes on here, or with `end` comes to that.
    Raises a 404 when this key has none of that name."""
    shelf = house.services.shelf
    making = shelf.making.get(identity)
    row = (await shelf.find(_key(exchange), {identity: False})).get(identity)
    if row is None:
        raise shelves.unknown(identity)
    if making is not None:
        told = making.kept().told
        if front.is_over(told):
            await making.ended()
        return told
    told = await shelf.read(row, "told", None)
    if row["running"] and row["alive_until"] < time.time():
        from proxy.serve import later

        assert exchange.caller is not None
        return await later.taken_over(house, front, exchange.caller, exchange.request_id, row, told, end)
    return told


async def _resume(exchange: Exchange, house: House, front: KeepingFront, after: str | None) -> None:
    from proxy.serve import later

    start = -1 if after is None else checks.numbered(after)
    if start is None:
        raise RequestError(
            "'starting_after' must be a number.", attribute="starting_after", code="invalid_value"
        )
    identity = _asked_for(exchange, front)
    told, events = await frames(exchange, house, front, identity)
    if events is None:
        raise _no_stream(identity)
    exchange.begin()

    async def wanted() -> AsyncGenerator[bytes, None]:
        async for frame in events:
            if front.number_of(frame) > start:
                yield frame

    heartbeat_s = house.plan.config.defaults.heartbeat
    await later.followed(exchange, heartbeat_s, b": keep-alive\n\n", wanted(), shelves.dropped(told))


async def frames(
    exchange: Exchange, house: House, front: KeepingFront, identity: str
) -> tuple[Json, AsyncGenerator[bytes, None] | None]:
    """What is told of the reply, and the events of its stream from the first; None where they are not
    kept."""
    shelf = house.services.shelf
    told = await known(exchange, house, front, identity)
    making = shelf.making.get(identity)
    if making is not None:
        whole = making.frames if making.frames is not None and making.frames.whole else None
        return told, None if whole is None else whole.follow()
    while not front.is_over(told):  # another process makes it
        await asyncio.sleep(_LOOK_S)
        told = await known(exchange, house, front, identity)
    row = (await shelf.find(_key(exchange), {identity: False})).get(identity)
    return told, None if row is None or row["events"] is None else _cut(row["events"])


async def told_again(
    exchange: Exchange, house: House, front: KeepingFront, identity: str
) -> AsyncGenerator[bytes, None]:
    """The events of its stream for who asks for it a second time; where they are not kept, those that tell it
    at once when it is over."""
    told, events = await frames(exchange, house, front, identity)
    if events is not None:
        async with aclosing(events):
            async for frame in events:
                yield frame
        return
    while not front.is_over(told):
        await asyncio.sleep(_LOOK_S)
        told = await known(exchange, house, front, identity)
    yield front.told_at_once(told)


async def _cut(events: bytes) -> AsyncGenerator[bytes, None]:
    for frame in events.split(b"\n\n"):
        if frame:
            yield frame + b"\n\n"


def _no_stream(identity: str) -> RequestError:
    return RequestError(
        f"Only the stream of a background reply can be taken up again; fetch {identity} without 'stream'.",
        attribute="stream",
        code="not_resumable",
    )


def _asked_for(exchange: Exchange, front: KeepingFront) -> str:
    """Raises a 404 for what is no reply."""
    identity: str = exchange.scope["path_params"]["id"]
    if not identity.startswith(front.prefix):
        raise shelves.unknown(identity)
    return identity


def _key(exchange: Exchange) -> str:
    assert exchange.caller is not None
    return exchange.caller.name
