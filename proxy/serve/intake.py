"""From a body to what shall be done: the model it means, what it goes on from, and the request in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.fronts.base import Asked, Front, Parsed, Recall
from proxy.keys import ClientKey
from proxy.routing.routes import Route
from proxy.serve import chores
from proxy.serve.chores import Handed
from proxy.serve.exchange import Exchange
from proxy.serve.house import House
from proxy.types import Json
from proxy.types.values import dataclass


@dataclass(frozen=True, slots=True)
class Intake:
    """A request, and who answers it. `handed`: it is a chore, and goes elsewhere. `painter` draws what the
    model asks for by a call (`aside`)."""

    route: Route
    parsed: Parsed[Any, Any]
    handed: Handed | None = None
    painter: Route | None = None


def routed(exchange: Exchange, house: House, front: Front, caller: ClientKey, body: Any) -> Route:
    """Who is asked for. Raises what `Front.model` and `Routes.resolve` raise."""
    name = front.model(body, exchange.scope.get("path_params") or {})
    route = house.plan.routes.resolve(name, caller, front.kind)
    exchange.facts["model"] = route.name
    if route.name != name:
        exchange.answered_by = route.name
    return route


async def recalled(house: House, caller: ClientKey, recall: Recall | None, body: Any) -> Mapping[str, Json]:
    """The earlier replies that a body goes on from, where its dialect knows such."""
    if recall is None or not (named := recall(body)):
        return {}
    from proxy.serve import shelf

    return await shelf.recalled(house, caller.name, named)


def read(house: House, front: Front, route: Route, body: Any, asked: Asked) -> Intake:
    """The request in a body, with what its model's entry adds. Raises `RequestError`."""
    parsed = front.parse(body, asked)
    handed = chores.handed(house.plan.routes, route, front, parsed) if route.chores is not None else None
    if handed is not None:
        route, parsed = handed.route, handed.parsed
    if route.defaults.written:
        parsed = route.defaults.under(parsed)
    if parsed.aside is None:
        return Intake(route, parsed, handed)
    from proxy.serve import aside

    parsed, painter = aside.settled(house, asked.caller, route, parsed)
    return Intake(route, parsed, handed, painter)
