"""What the server tells of itself: what it is, models, liveness, readiness."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from proxy.codec import jsonio
from proxy.errors import ProxyError, RequestError
from proxy.fronts.dialects import Dialect, ListedModel
from proxy.routing.routes import Route
from proxy.serve import callers
from proxy.serve.endpoint import Row, dialect_of
from proxy.serve.exchange import Exchange
from proxy.serve.house import House


async def models(exchange: Exchange, house: House, dialects: Sequence[Dialect]) -> None:
    """In the words of the client's dialect, as everything here that tells of models."""
    assert exchange.caller is not None
    cards = [_card(route) for route in house.plan.routes.listed(exchange.caller)]
    reply = dialect_of(exchange, dialects).models
    await exchange.respond(200, [reply.listed(cards, exchange.query())])


async def model(exchange: Exchange, house: House, dialects: Sequence[Dialect]) -> None:
    assert exchange.caller is not None
    name = exchange.scope["path_params"]["name"].rstrip("/")
    route = house.plan.routes.resolve(name, exchange.caller)
    await exchange.respond(200, [dialect_of(exchange, dialects).models.single(_card(route))])


def _card(route: Route) -> ListedModel:
    """The price is that of the first target, as it holds now."""
    first = route.order()[0]
    tariff = first.prices.at() if first.prices is not None else None
    extra = route.card if tariff is None else {**route.card, "price": tariff.card}
    speaks = first.chat or first.jobs
    assert speaks is not None
    able = speaks.abilities(first.target)
    return ListedModel(route.name, first.target.provider, abilities=able, extra=extra)


async def index(exchange: Exchange, house: House, addresses: Sequence[str]) -> None:
    """What a person sees who opens the address: what this is, and all that can be asked."""
    await exchange.respond(
        200,
        jsonio.dumps(
            {
                "service": "dragoman",
                "status": "ok",
                "api": "/v1",
                "docs": "README.md and docs/ of the distribution",
                "addresses": addresses,
            }
        ),
    )


def listed(rows: Iterable[Row]) -> list[str]:
    """The addresses of rows as people write them, each with its first prefix where it is one of a dialect."""
    return [
        f"{row.method} {row.prefixes[0] if row.needs == 'key' else ''}{row.path.replace(':path}', '}')}"
        for row in rows
        if getattr(row.handler, "func", row.handler) not in (absent, no_socket, no_verb)
    ]


async def no_verb(exchange: Exchange, house: House, verbs: Sequence[str]) -> None:
    """What nobody can ask of a model; `verbs` are what can be asked."""
    verb = exchange.scope["path_params"]["verb"][:100]
    raise RequestError(
        f"There is no {verb} here; what can be asked of a model is {', '.join(verbs)}.",
        status=404,
        code="unknown_url",
    )


async def absent(exchange: Exchange, house: House, advice: str) -> None:
    """What clients may ask for and is not here; what fits its address by chance, or nearly, is no help."""
    raise RequestError(
        f"There is no {exchange.scope['method']} {exchange.scope['path'][:200]} here. {advice}",
        status=404,
        code="unknown_url",
    )


async def no_socket(exchange: Exchange, house: House) -> None:
    """Of an address that is only posted to. Codex asks for a WebSocket first: after a 426 it goes on at once,
    after anything else with seven tries, or not at all."""
    if b"sec-websocket-key" in exchange.fields:  # what else asked for it, HTTP has overlooked
        raise RequestError(
            "There are no WebSockets here; POST the request.",
            status=426,
            code="upgrade_required",
            headers={"upgrade": "HTTP/1.1"},
        )
    raise RequestError(
        f"GET is not possible at {exchange.scope['path']}; use POST.",
        status=405,
        code="method_not_allowed",
        headers={"allow": "POST"},
    )


async def livez(exchange: Exchange, house: House) -> None:
    await exchange.respond(200, jsonio.dumps({"status": "ok"}))


async def readyz(exchange: Exchange, house: House) -> None:
    """What is off or rests, and why, is told only to callers with a known key."""
    reply: dict[str, object] = {"status": "ok"}
    try:
        await callers.anyone(exchange, house)
    except ProxyError:
        pass
    else:
        reply["providers"] = house.plan.routes.provider_states(house.services.breakers)
        if house.services.callers.away is not None:
            reply["keys"] = f"away: {house.services.callers.away}; keys that are known go on"
        if house.services.limiter.away is not None:
            reply["limits"] = f"away: {house.services.limiter.away}; each machine counts by itself"
    if house.services.leaving:
        reply["status"] = "stopping"
    await exchange.respond(503 if house.services.leaving else 200, jsonio.dumps(reply))
