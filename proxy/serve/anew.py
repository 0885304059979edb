"""Work that another process had begun: its request read anew, from what was written down of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from proxy.fronts.base import Asked, Form, Front
from proxy.keys import ClientKey
from proxy.serve import body as bodies
from proxy.serve import intake
from proxy.serve.answer import Work
from proxy.serve.house import House
from proxy.types import Json

_AGENT = b"user-agent"
_AGENT_BYTES = 300  # fronts know a client by no more


def how(asked: Asked) -> Json:
    """How a request shall go, and for which client, besides what its body says: JSON."""
    agent = asked.headers.get(_AGENT, b"")[:_AGENT_BYTES].decode("latin-1")
    return {"strict": asked.strict, "fallback": asked.fallback, "path": dict(asked.path), "agent": agent}


async def work(
    house: House, front: Front, caller: ClientKey, request_id: str, written: bytes, told: Mapping[str, Any]
) -> Work:
    """The request as it was parsed when it came: `written` is its body, `told` what `how` told. Raises
    `ProxyError`."""
    body = await asyncio.to_thread(bodies.read_again, written)
    recall = getattr(front, "goes_on_from", None)
    asked = Asked(
        request_id,
        caller,
        {_AGENT: told.get("agent", "").encode("latin-1")},
        path=told.get("path", {}),
        strict=told["strict"],
        fallback=told["fallback"],
        is_stored=house.services.files.is_stored,
        earlier=await intake.recalled(house, caller, recall, body),
    )
    return await asyncio.to_thread(_read, house, front, asked, body)


def _read(house: House, front: Front, asked: Asked, body: Json | Form) -> Work:
    route = house.plan.routes.resolve(front.model(body, asked.path), asked.caller, front.kind)
    taken = intake.read(house, front, route, body, asked)
    return Work(house, asked, taken.route, taken.parsed, taken.route.order(), painter=taken.painter)
