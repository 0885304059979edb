"""What stands at an address: an ASGI callable around a handler, where no error of a request may escape."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Literal, Protocol

from proxy.errors import RequestError, StoppingError
from proxy.fronts.base import Refusing
from proxy.fronts.dialects import Dialect, spoken
from proxy.fronts.openai.commons import COMMONS
from proxy.serve import callers, origin
from proxy.serve.exchange import Exchange, Receive, Scope, Send
from proxy.serve.house import House

Handler = Callable[[Exchange, House], Awaitable[None]]
Needs = Literal["nothing", "key", "admin"]

# What may stand before a path. SDK users type them by mistake; the first is the one that we speak of.
PREFIXES = ("/v1", "", "/openai/v1", "/openai")

# Asked every few seconds by whoever watches us: what they hear is in no log, but who is refused is.
_WATCHED = frozenset({"/livez", "/readyz", "/health", "/healthz", "/metrics"})


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table of routes. `path` is Starlette's pattern, before which any of the `prefixes` may
    stand. `front` says in its dialect what went wrong there, None where several dialects share the address.
    `bounded`: it is refused while too much is in flight. `key_in_query`: the credential may stand in the
    address."""

    method: str
    path: str
    handler: Handler
    needs: Needs = "key"
    front: Refusing | None = COMMONS
    bounded: bool = False
    prefixes: tuple[str, ...] = PREFIXES
    key_in_query: bool = False


class Home(Protocol):
    """Has the house of now: a reload swaps it."""

    house: House | None


class Endpoint:
    """One row's, at all its spellings."""

    __slots__ = ("_bounded", "_dialects", "_front", "_handler", "_home", "_key_in_query", "_needs", "_path")

    def __init__(self, row: Row, home: Home, dialects: Sequence[Dialect]) -> None:
        self._dialects = dialects
        self._bounded = row.bounded
        self._front = row.front
        self._path = row.path
        self._handler = row.handler
        self._needs = row.needs
        self._key_in_query = row.key_in_query
        self._home = home

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        house = self._home.house
        assert house is not None
        exchange = Exchange(scope, receive, send)
        load = house.services.load
        try:
            if self._needs != "nothing":
                if self._key_in_query:
                    callers.take_from_query(exchange)
                caller = house.plan.keys.identify(exchange.headers) or await callers.stored(exchange, house)
                exchange.caller = caller
                if caller is house.plan.keys.open_caller:
                    origin.check(exchange, house.plan.config.server.cors)
                if self._needs == "admin" and not caller.admin:
                    raise _admin_only(house)
                if house.services.traces is not None:
                    house.services.traces.begin(exchange, self._path)
            if self._bounded:
                exchange.held = load.enter(exchange.fields.get(b"content-length"))
                exchange.load = load
            await self._handler(exchange, house)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            if exchange.gone:
                exchange.facts["client"] = "gone"
            else:  # nobody else ends a request's task but the server that stops
                await self._refuse(exchange, house, StoppingError())
        except Exception as error:  # the one place where nothing may escape: the client gets an answer
            await self._refuse(exchange, house, error)
        finally:
            exchange.close()
            if exchange.load is not None:
                load.leave(exchange.held, begun=exchange.begun)
            if exchange.allowed is not None:
                exchange.allowed.close(gone=exchange.gone)
            _log(exchange, house, self._path)

    async def _refuse(self, exchange: Exchange, house: House, error: Exception) -> None:
        if _lacks_descriptors(error) and not exchange.facts.get("attempts"):  # else it may have been bought
            error = house.services.load.without_descriptors()
        house.note_failure(exchange, error)
        if exchange.started:
            return  # the server cuts the connection, which is all that can be said now
        front = self._front or dialect_of(exchange, self._dialects).refusing
        status, headers, body = front.refusal(error, exchange.request_id, exchange.parsed)
        await exchange.respond(status, [body], headers)


def _lacks_descriptors(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)


def dialect_of(exchange: Exchange, dialects: Sequence[Dialect]) -> Dialect:
    """Which of them the client speaks."""
    return spoken(dialects, exchange.scope["path"], exchange.fields, exchange.query())


def _admin_only(house: House) -> RequestError:
    advice = "" if house.plan.config.auth.admin else " There is none: set auth.admin in the file."
    return RequestError(f"This address is for the admin key.{advice}", status=403, code="admin_only")


def _log(exchange: Exchange, house: House, path: str) -> None:
    took_s = perf_counter() - exchange.began
    status = exchange.status or (499 if exchange.gone else 0)
    services = house.services
    services.metrics.request(path, status, took_s)
    if services.traces is not None:
        services.traces.end(exchange, status)
    if path in _WATCHED and status not in (401, 403):
        return
    services.log.write(
        "request",
        id=exchange.request_id,
        method=exchange.scope["method"],
        path=exchange.scope["path"],
        status=status,
        ms=round(took_s * 1000),
        key=exchange.caller.name if exchange.caller else None,
        **exchange.facts,
    )
