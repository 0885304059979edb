"""Conversations that clients keep: begun, changed, added to, shown and forgotten, in the words of a front.

They stand on the shelf of replies, by key and for a time, which begins anew with each change.
"""

from __future__ import annotations

import time
from functools import partial

from proxy.errors import RequestError
from proxy.fronts.base import TalkFront
from proxy.serve import shelf as shelves
from proxy.serve.body import read
from proxy.serve.endpoint import Row
from proxy.serve.exchange import Exchange
from proxy.serve.house import House
from proxy.serve.links import public_base
from proxy.types import Json


def rows(path: str, front: TalkFront) -> tuple[Row, ...]:
    one, items = f"{path}/{{id}}", f"{path}/{{id}}/items"
    handlers = (
        ("POST", path, begin),
        ("GET", one, show),
        ("POST", one, change),
        ("DELETE", one, forget),
        ("GET", items, listed),
        ("POST", items, add),
        ("GET", f"{items}/{{item}}", item),
        ("DELETE", f"{items}/{{item}}", drop),
    )
    return tuple(
        Row(method, where, partial(handler, front=front), front=front, bounded=method == "POST")
        for method, where, handler in handlers
    )


async def begin(exchange: Exchange, house: House, front: TalkFront) -> None:
    kept = front.begun(await _body(exchange, house), time.time())
    if not await house.services.shelf.keep(house, _key(exchange), kept):
        raise _full()
    await exchange.respond(200, front.shown(kept.told))


async def show(exchange: Exchange, house: House, front: TalkFront) -> None:
    row = await _row(exchange, house, front, whole=False)
    await exchange.respond(200, front.shown(await house.services.shelf.read(row, "told", None)))


async def change(exchange: Exchange, house: House, front: TalkFront) -> None:
    body = await _body(exchange, house)

    def changed(told: Json, context: Json) -> tuple[Json, Json]:
        return front.changed(told, body), context

    found = await house.services.shelf.change(house, _key(exchange), _id(exchange, front), changed)
    if found is None:
        raise shelves.unknown(_id(exchange, front))
    await exchange.respond(200, front.shown(found[0]))


async def forget(exchange: Exchange, house: House, front: TalkFront) -> None:
    """What was built on it stays."""
    if not await house.services.shelf.forget(_key(exchange), _id(exchange, front)):
        raise shelves.unknown(_id(exchange, front))
    await exchange.respond(200, [front.forgotten(_id(exchange, front))])


async def listed(exchange: Exchange, house: House, front: TalkFront) -> None:
    items = await _items(exchange, house, front)
    await exchange.respond(200, front.listed(items, exchange.query()))


async def add(exchange: Exchange, house: House, front: TalkFront) -> None:
    items = front.added(await _body(exchange, house))
    shelf = house.services.shelf
    more = await shelf.written(items)
    if (await _row(exchange, house, front, whole=False))["size"] > shelves.MOST_BYTES:
        raise _full()
    if (
        await shelf.change(house, _key(exchange), _id(exchange, front), partial(shelves.with_more, more))
        is None
    ):
        raise shelves.unknown(_id(exchange, front))
    await exchange.respond(200, front.listed(items, {"order": "asc"}))


async def item(exchange: Exchange, house: House, front: TalkFront) -> None:
    wanted = exchange.scope["path_params"]["item"]
    found = next((one for one in await _items(exchange, house, front) if one.get("id") == wanted), None)
    if found is None:
        raise shelves.unknown(wanted)
    await exchange.respond(200, front.item(found))


async def drop(exchange: Exchange, house: House, front: TalkFront) -> None:
    wanted = exchange.scope["path_params"]["item"]

    def without(told: Json, context: Json) -> tuple[Json, Json]:
        left = [one for one in context["items"] if one.get("id") != wanted]
        if len(left) == len(context["items"]):
            raise shelves.unknown(wanted)
        return told, {**context, "items": left}

    found = await house.services.shelf.change(house, _key(exchange), _id(exchange, front), without)
    if found is None:
        raise shelves.unknown(_id(exchange, front))
    await exchange.respond(200, front.shown(found[0]))


async def _body(exchange: Exchange, house: House) -> object:
    return (await read(exchange, house.plan.config.server.body_limit))[0]


async def _row(exchange: Exchange, house: House, front: TalkFront, *, whole: bool) -> shelves.Row:
    identity = _id(exchange, front)
    row = (await house.services.shelf.find(_key(exchange), {identity: whole})).get(identity)
    if row is None:
        raise shelves.unknown(identity)
    return row


async def _items(exchange: Exchange, house: House, front: TalkFront) -> list[Json]:
    row = await _row(exchange, house, front, whole=True)
    context = await house.services.shelf.read(row, "context", public_base(exchange, house))
    found: list[Json] = context["items"]
    return found


def _full() -> RequestError:
    return RequestError(
        f"A conversation holds {shelves.MOST_BYTES >> 20} MB, pictures not counted: begin another.",
        status=413,
        code="context_too_large",
    )


def _key(exchange: Exchange) -> str:
    assert exchange.caller is not None
    return exchange.caller.name


def _id(exchange: Exchange, front: TalkFront) -> str:
    """Raises a 404 for what is no conversation."""
    identity: str = exchange.scope["path_params"]["id"]
    if not identity.startswith(front.prefix):
        raise shelves.unknown(identity)
    return identity
