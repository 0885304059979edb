"""Whether a caller may have what it asks for: its limits and its money, before anything is bought."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.routing.routes import Route
from proxy.serve import allowed, budgets
from proxy.serve.exchange import Exchange
from proxy.serve.house import House
from proxy.types import Request


async def admit(exchange: Exchange, house: House, route: Route, requests: Sequence[Request]) -> Route:
    """Count the request, unless it was counted, and look for its money; the route without the targets that
    cannot be paid. Raises what `allowed.admit` and `budgets.admit` raise."""
    caller = exchange.caller
    assert caller is not None
    if caller.limits is not None and exchange.allowed is None:
        exchange.allowed = await allowed.admit(house, caller, caller.limits, route, requests)
    if caller.budget is not None:
        route = await budgets.admit(house, caller, caller.budget, route, requests, exchange.request_id)
    return route
