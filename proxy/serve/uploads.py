"""Files that a client uploads to speak of them later: kept for a while, for its key alone."""

from __future__ import annotations

import asyncio
import time

import orjson

from proxy.fronts.openai import files_reply
from proxy.serve.body import read
from proxy.serve.endpoint import Row
from proxy.serve.exchange import Exchange
from proxy.serve.house import House
from proxy.store.uploads import FullError, Upload
from proxy.types import Json

_MOST = 10_000


async def create(exchange: Exchange, house: House) -> None:
    body, _ = await read(exchange, house.plan.config.server.body_limit)
    purpose, file = files_reply.read(body)
    try:
        added = await asyncio.to_thread(
            house.services.uploads.add,
            _key(exchange),
            purpose,
            file.filename,
            file.mime,
            file.data,
            time.time(),
        )
    except FullError:
        raise files_reply.full() from None
    await exchange.respond(200, [orjson.dumps(_told(added))])


async def listed(exchange: Exchange, house: House) -> None:
    query = exchange.query()
    found = await asyncio.to_thread(house.services.uploads.listed, _key(exchange))
    if (purpose := query.get("purpose")) is not None:
        found = [one for one in found if one.purpose == purpose]
    if query.get("order") == "asc":
        found.reverse()
    ids = [one.id for one in found]
    start = ids.index(query["after"]) + 1 if query.get("after") in ids else 0
    limit = query.get("limit", "")
    most = min(int(limit), _MOST) if limit.isdecimal() and len(limit) < 9 else _MOST
    page = [_told(one) for one in found[start : start + most]]
    await exchange.respond(200, [files_reply.listed(page, more=start + most < len(found))])


async def one(exchange: Exchange, house: House) -> None:
    id = _id(exchange)
    found = await asyncio.to_thread(house.services.uploads.find, _key(exchange), id)
    if found is None:
        raise files_reply.missing(id)
    await exchange.respond(200, [orjson.dumps(_told(found))])


async def content(exchange: Exchange, house: House) -> None:
    """Browsers shall save it, not show it: it may hold script."""
    id = _id(exchange)
    found = await asyncio.to_thread(house.services.uploads.read, _key(exchange), id)
    if found is None:
        raise files_reply.missing(id)
    headers = [
        (b"content-type", b"application/octet-stream"),
        (b"content-disposition", b"attachment"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await exchange.respond(200, [found[1]], headers)


async def delete(exchange: Exchange, house: House) -> None:
    id = _id(exchange)
    if not await asyncio.to_thread(house.services.uploads.remove, _key(exchange), id):
        raise files_reply.missing(id)
    await exchange.respond(200, [files_reply.deleted(id)])


ROWS = (
    Row("POST", "/files", create, front=None, bounded=True),
    Row("GET", "/files", listed, front=None),
    Row("GET", "/files/file-{id}", one, front=None),
    Row("GET", "/files/file-{id}/content", content, front=None),
    Row("DELETE", "/files/file-{id}", delete, front=None),
)


def _key(exchange: Exchange) -> str:
    assert exchange.caller is not None
    return exchange.caller.name


def _id(exchange: Exchange) -> str:
    return f"file-{exchange.scope['path_params']['id']}"


def _told(one: Upload) -> Json:
    return files_reply.members(one.id, one.filename, one.purpose, one.size, one.created, one.expires)
