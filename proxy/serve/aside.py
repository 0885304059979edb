"""Pictures that a model of words lets another model draw: a function that is answered here.

The model is told of a function; where it calls it, a picture model of the file draws, and the client is shown
the picture in place of the call. Only where a client asks for such a tool.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from proxy.errors import ProxyError
from proxy.fronts.base import Aside, Parsed
from proxy.keys import ClientKey
from proxy.routing.routes import Route
from proxy.serve import allowed, budgets, tries
from proxy.serve.house import House
from proxy.serve.speakers import speaker_of
from proxy.serve.told import Told
from proxy.types import Event, Finish, FunctionTool, Image, ImageOptions, ImageRequest, ToolCall, ToolChoice

if TYPE_CHECKING:
    from proxy.serve.answer import Work

_ABOUT = "Draws a picture and shows it to the user. Call it whenever the user wants a picture."
_PARAMETERS = {
    "type": "object",
    "properties": {"prompt": {"type": "string", "description": "what the picture shows, in every detail"}},
    "required": ["prompt"],
}


def settled(
    house: House, caller: ClientKey, route: Route, parsed: Parsed[Any, Any]
) -> tuple[Parsed[Any, Any], Route | None]:
    """The request with the function, and who draws. A model that draws itself needs none; where nobody draws,
    or the client has a function of the same name, the tool is named as dropped."""
    aside = parsed.aside
    assert aside is not None
    request = parsed.request
    if any(speaker_of(one, request).by_piece() for one in (*route.targets, *route.fallback)):
        return parsed, None
    painter = _painter(house, caller, aside)
    names = {tool.name for tool in request.tools if isinstance(tool, FunctionTool)}
    if painter is None or aside.name in names:
        dropped = (*parsed.dropped, aside.where)
        return replace(parsed, request=replace(request, image=None), dropped=dropped), None
    tools = (*request.tools, FunctionTool(aside.name, _ABOUT, _PARAMETERS))
    choice = ToolChoice("required", (aside.name,)) if aside.forced else request.tool_choice
    changed = replace(request, tools=tools, tool_choice=choice, image=None)
    return replace(parsed, request=changed), painter


def _painter(house: House, caller: ClientKey, aside: Aside) -> Route | None:
    """The model that the tool names, if there is one, else the file's for pictures, else the file's entry
    for the usual one."""
    routes = house.plan.routes
    named, usual = (name and routes.entry(name) for name in (aside.model, aside.usual))
    for found in (named, routes.catch_all.get("pictures"), usual):
        if found and found.draws and (found.targets or found.fallback):
            return found if caller.may_use(found.name) else None
    return None


async def drawn(
    batches: AsyncGenerator[list[Event], None], work: Work, painter: Route
) -> AsyncGenerator[list[Event], None]:
    """The events with pictures in place of the calls that ask for them."""
    aside = work.parsed.aside
    assert aside is not None
    orders: dict[int, list[str]] = {}
    async with aclosing(batches) as coming:
        async for batch in coming:
            kept: list[Event] = []
            for event in batch:
                if isinstance(event, ToolCall) and (event.name == aside.name or event.index in orders):
                    orders.setdefault(event.index, []).append(event.arguments)
                    continue
                if isinstance(event, Finish) and orders:
                    if kept:
                        yield kept
                        kept = []
                    async with aclosing(_pictures(work, painter, aside, orders)) as pictures:
                        async for found in pictures:
                            yield found
                kept.append(event)
            if kept:
                yield kept


async def _pictures(
    work: Work, painter: Route, aside: Aside, orders: dict[int, list[str]]
) -> AsyncGenerator[list[Event], None]:
    """One after the other. What cannot be had does not take with it those that are paid; where there are
    none, its error is raised."""
    failure: ProxyError | None = None
    made = failed = 0
    try:
        for pieces in orders.values():
            try:
                found = await _draw(work, painter, aside, "".join(pieces))
            except ProxyError as error:
                failure = failure or error
                failed += 1
                continue
            made += 1
            yield found
        if failure is not None and not made:
            raise failure
        work.tolds[0].lost += failed
    finally:
        failure = None  # it knows frames that know it


async def _draw(work: Work, painter: Route, aside: Aside, arguments: str) -> list[Event]:
    """One picture, bought as any other: with the key's limits and budget, and refused as any other."""
    house, asked, caller = work.house, work.asked, work.asked.caller
    if work.parsed.request.stream or asked.unhurried is not None:
        asked = asked.patient()
    request = ImageRequest(painter.name, _prompt(arguments), image=aside.image or ImageOptions())
    counted = None
    if caller.limits is not None:
        counted = await allowed.admit(house, caller, caller.limits, painter, (request,))
    told = Told(number=len(work.tolds))  # a call of its own in the ledger
    work.tolds.append(told)
    try:
        if caller.budget is not None:
            painter = await budgets.admit(
                house, caller, caller.budget, painter, (request,), work.asked.request_id
            )
        on = tries.Tries(house, request, asked, painter, painter.order(), told)
        seen = await tries.whole(on, house)
    except Exception as error:
        if counted is not None:
            counted.failed(error)
        raise
    finally:
        house.services.balances.release(work.asked.request_id)
        if counted is not None:
            counted.told = told
            counted.close(gone=False)
    return [event for event in seen if isinstance(event, Image)]


def _prompt(arguments: str) -> str:
    try:
        found = orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        return arguments
    said = found.get("prompt") if isinstance(found, dict) else None
    return said if isinstance(said, str) and said else arguments
