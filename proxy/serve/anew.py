"""Work that another process had begun: its request read anew, from what was written down of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from proxy.fronts.base import Asked, Form, Front
from proxy.keys import ClientKey
from proxy.routing.routes import Route
from proxy.serve import body as bodies
from proxy.serve import chores
from proxy.serve.answer import Work
from proxy.serve.house import House
from proxy.types import Json


def how(asked: Asked) -> Json:
    """How a request shall go, besides what its body says: JSON."""
    return {"strict": asked.strict, "fallback": asked.fallback, "path": dict(asked.path)}


async def work(
    house: House, front: Front, caller: ClientKey, request_id: str, written: bytes, told: Mapping[str, Any]
) -> Work:
    """The request as it was parsed when it came: `written` is its body, `told` what `how` told. Raises
    `ProxyError`."""
    body = await asyncio.to_thread(bodies.read_again, written)
    recall = getattr(front, "goes_on_from", None)
    earlier: Mapping[str, Json] = {}
    if recall is not None:
        from proxy.serve import shelf

        earlier = await shelf.recalled(house, caller.name, recall(body))
    asked = Asked(
        request_id,
        caller,
        path=told.get("path", {}),
        strict=told["strict"],
        fallback=told["fallback"],
        is_stored=house.services.files.is_stored,
        earlier=earlier,
    )
    return await asyncio.to_thread(_read, house, front, asked, body)


def _read(house: House, front: Front, asked: Asked, body: Json | Form) -> Work:
    route = house.plan.routes.resolve(front.model(body, asked.path), asked.caller, front.kind)
    parsed = front.parse(body, asked)
    handed = chores.handed(house.plan.routes, route, front, parsed) if route.chores is not None else None
    if handed is not None:
        route, parsed = handed.route, handed.parsed
    parsed = route.defaults.under(parsed)
    painter: Route | None = None
    if parsed.aside is not None:
        from proxy.serve import aside

        parsed, painter = aside.settled(house, asked.caller, route, parsed)
    return Work(house, asked, route, parsed, route.order(), painter=painter)
