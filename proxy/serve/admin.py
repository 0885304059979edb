"""`/admin/keys`: client keys made, listed, revoked and rotated while the server runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from proxy.codec import jsonio
from proxy.errors import ProxyError, RequestError
from proxy.fronts import checks
from proxy.serve.body import read_json
from proxy.serve.exchange import Exchange
from proxy.serve.house import House

if TYPE_CHECKING:
    from sqlalchemy import Connection, RowMapping

T = TypeVar("T")

_BODY_BYTES = 64 * 1024
_PAGE = 100
_LONGEST_PAGE = 1000
_SECRET_HEADERS = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


async def create(exchange: Exchange, house: House) -> None:
    from proxy.config.models import NewKey
    from proxy.config.requests import read
    from proxy.store import client_keys

    new = read(NewKey, await _body(exchange))
    names = house.plan.keys.names
    made = await _done(house, partial(client_keys.create, new=new, taken=names, now=time.time()))
    await _tell_secret(exchange, house, 201, *made)


async def rotate(exchange: Exchange, house: House) -> None:
    from proxy.config.models import Rotation
    from proxy.config.requests import read
    from proxy.store import client_keys

    keep_s = read(Rotation, await _body(exchange)).keep
    work = partial(client_keys.rotate, identity=_named(exchange), keep_s=keep_s, now=time.time())
    await _tell_secret(exchange, house, 200, *await _done(house, work))


async def revoke(exchange: Exchange, house: House) -> None:
    from proxy.store import client_keys

    await _body(exchange)
    row = await _done(house, partial(client_keys.revoke, identity=_named(exchange), now=time.time()))
    await house.services.callers.refresh()
    await exchange.respond(200, jsonio.dumps(client_keys.shown(row, time.time())))


async def one(exchange: Exchange, house: House) -> None:
    from proxy.store import client_keys

    row = await _done(house, partial(client_keys.one, identity=_named(exchange)))
    await exchange.respond(200, jsonio.dumps(client_keys.shown(row, time.time())))


async def listed(exchange: Exchange, house: House) -> None:
    from proxy.store import client_keys

    query = exchange.query()
    most = _count(query.get("limit"))
    rows = await _done(house, partial(client_keys.page, after=query.get("after"), most=most + 1))
    data = [client_keys.shown(row, time.time()) for row in rows[:most]]
    reply = {
        "object": "list",
        "data": data,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(rows) > most,
    }
    await exchange.respond(200, jsonio.dumps(reply))


async def _tell_secret(exchange: Exchange, house: House, status: int, row: RowMapping, secret: str) -> None:
    from proxy.store import client_keys

    await house.services.callers.refresh()
    shown = {**client_keys.shown(row, time.time()), "key": secret}
    await exchange.respond(status, jsonio.dumps(shown), _SECRET_HEADERS)


async def _done(house: House, work: Callable[[Connection], T]) -> T:
    """Raises a 503 where the store cannot be reached."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return await house.services.database.run(work)
    except SQLAlchemyError as error:
        house.services.log.write("store_failed", kind=type(error).__name__)
        raise ProxyError(
            "The store cannot be reached just now.",
            status=503,
            code="store_unavailable",
            headers={"retry-after": "1"},
        ) from None  # the driver's words may hold what was to be written


async def _body(exchange: Exchange) -> dict[str, Any]:
    raw = await exchange.body(_BODY_BYTES)
    return read_json(raw) if raw else {}


def _named(exchange: Exchange) -> str:
    return str(exchange.scope["path_params"]["id"]).replace("\0", "\ufffd")  # see `Exchange.query`


def _count(said: str | None) -> int:
    if said is None:
        return _PAGE
    count = checks.numbered(said, 1, _LONGEST_PAGE)
    if count is None:
        raise RequestError(f"limit must be a number from 1 to {_LONGEST_PAGE}.", attribute="limit")
    return count
