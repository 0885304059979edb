"""Files that a client uploads to speak of them later: kept for a while, for its key alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from proxy.fronts import uploads
from proxy.fronts.dialects import Dialect, FilesReply, ListedFile
from proxy.serve.body import read
from proxy.serve.endpoint import Row, dialect_of
from proxy.serve.exchange import Exchange
from proxy.serve.house import House
from proxy.store.uploads import FullError, Upload


def rows(dialects: Sequence[Dialect], **everybodys: Any) -> tuple[Row, ...]:
    """The addresses of files; each dialect is told of them in its own words."""
    spoken = partial(_spoken, dialects=dialects)
    return (
        Row("POST", "/files", partial(create, spoken=spoken), front=None, bounded=True),
        Row("GET", "/files", partial(listed, spoken=spoken), **everybodys),
        Row("GET", "/files/file-{id}", partial(one, spoken=spoken), **everybodys),
        Row("GET", "/files/file-{id}/content", content, front=None),
        Row("DELETE", "/files/file-{id}", partial(delete, spoken=spoken), **everybodys),
    )


def _spoken(exchange: Exchange, dialects: Sequence[Dialect]) -> FilesReply:
    return dialect_of(exchange, dialects).files


Spoken = Callable[[Exchange], FilesReply]


async def create(exchange: Exchange, house: House, spoken: Spoken) -> None:
    body, _ = await read(exchange, house.plan.config.server.body_limit)
    reply = spoken(exchange)
    purpose, file = uploads.read(body, reply.PURPOSE)
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
        raise uploads.full() from None
    await exchange.respond(200, [reply.single(_told(added))])


async def listed(exchange: Exchange, house: House, spoken: Spoken) -> None:
    found = await asyncio.to_thread(house.services.uploads.listed, _key(exchange))
    await exchange.respond(200, [spoken(exchange).listed([_told(one) for one in found], exchange.query())])


async def one(exchange: Exchange, house: House, spoken: Spoken) -> None:
    id = _id(exchange)
    found = await asyncio.to_thread(house.services.uploads.find, _key(exchange), id)
    if found is None:
        raise uploads.missing(id)
    await exchange.respond(200, [spoken(exchange).single(_told(found))])


async def content(exchange: Exchange, house: House) -> None:
    """Browsers shall save it, not show it: it may hold script."""
    id = _id(exchange)
    found = await asyncio.to_thread(house.services.uploads.read, _key(exchange), id)
    if found is None:
        raise uploads.missing(id)
    headers = [
        (b"content-type", b"application/octet-stream"),
        (b"content-disposition", b"attachment"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await exchange.respond(200, [found[1]], headers)


async def delete(exchange: Exchange, house: House, spoken: Spoken) -> None:
    id = _id(exchange)
    if not await asyncio.to_thread(house.services.uploads.remove, _key(exchange), id):
        raise uploads.missing(id)
    await exchange.respond(200, [spoken(exchange).deleted(id)])


def _key(exchange: Exchange) -> str:
    assert exchange.caller is not None
    return exchange.caller.name


def _id(exchange: Exchange) -> str:
    return f"file-{exchange.scope['path_params']['id']}"


def _told(one: Upload) -> ListedFile:
    return ListedFile(one.id, one.filename, one.mime, one.purpose, one.size, one.created, one.expires)
