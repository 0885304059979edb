"""`/v1/tasks`: what a key has running and what has become of it. Another key's tasks are not there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from proxy.codec import jsonio
from proxy.errors import RequestError
from proxy.fronts import checks
from proxy.fronts.openai import task_reply
from proxy.fronts.openai.task_reply import TaskView
from proxy.serve import bill, lost
from proxy.serve.exchange import Exchange, Header
from proxy.serve.house import House
from proxy.serve.links import public_base
from proxy.serve.stream import EventStream

if TYPE_CHECKING:
    from proxy.serve.running import Running

_ID = re.compile(r"task_[0-9a-f]{32}\Z")
_JSON: Header = (b"content-type", b"application/json")
_PAGE = 20
_MOST_PER_PAGE = 100
_STATES = {
    "pending": ("pending",),
    "processing": ("running", "uncertain", "parked"),
    "completed": ("completed",),
    "failed": ("failed",),
    "cancelled": ("cancelled",),
}
_LOOK_S = 0.5  # between looks of a client that listens to a task's events
_SOONEST_S, _LATEST_S = 1, 10  # when to look again, where the vendor's estimate says something else


async def accepted(exchange: Exchange, house: House, row: Mapping[str, Any], running: Running | None) -> None:
    """The reply to a request that is not waited for: 202 until its task is over."""
    view = seen(row, house, public_base(exchange, house), running)
    headers: list[Header] = [
        *_head(view),
        (b"location", f"/v1/tasks/{view.id}".encode()),
        (b"preference-applied", b"respond-async"),
        (b"x-proxy-task", view.id.encode()),
    ]
    if not view.is_over:
        wait_s = min(max(view.estimated_s or 0, _SOONEST_S), _LATEST_S)
        headers.append((b"retry-after", b"%d" % wait_s))
    await exchange.respond(200 if view.is_over else 202, jsonio.dumps(task_reply.shown(view)), headers)


async def one(exchange: Exchange, house: House) -> None:
    view = await _view(exchange, house)
    await exchange.respond(200, jsonio.dumps(task_reply.shown(view)), _head(view))


async def listed(exchange: Exchange, house: House) -> None:
    """A page, the newest first: `limit`, `after` (the last id of the page before), `status`."""
    query = exchange.query()
    most = _limit(query.get("limit"))
    after, status = query.get("after"), query.get("status")
    if after is not None and not _ID.match(after):
        raise RequestError("'after' must be the id of a task.", attribute="after", code="invalid_value")
    if status is not None and status not in _STATES:
        raise RequestError(
            f"'status' must be one of {', '.join(_STATES)}.", attribute="status", code="invalid_value"
        )
    rows: list[dict[str, Any]] = []
    if house.services.database.may_exist():
        from proxy.store import tasks

        states = _STATES[status] if status is not None else ()
        key = _caller(exchange)
        rows = await house.services.keeper.asking(tasks.page, key, states, after, most + 1)
    base, running = public_base(exchange, house), _running(house)
    views = [seen(row, house, base, running.get(row["id"])) for row in rows[:most]]
    await exchange.respond(200, jsonio.dumps(task_reply.page(views, has_more=len(rows) > most)))


async def cancel(exchange: Exchange, house: House) -> None:
    """Call a task off. Raises a 409 when it is over, or at work at a vendor that cannot be stopped."""
    from proxy.store import tasks

    keeper = house.services.keeper
    view = await _view(exchange, house)
    running = keeper.running.get(view.id)
    if running is not None and running.record.cancelling:  # somebody was quicker
        await running.ended()
        view = await _view(exchange, house)
    if view.status != "cancelled":
        if not view.can_cancel:
            raise RequestError(
                f"The task is {view.status} and cannot be cancelled"
                + ("." if view.is_over else ": the vendor does not call off what it has begun."),
                status=409,
                code="task_not_cancellable",
            )
        if running is not None:
            await keeper.called_off(running)
        else:
            await keeper.changing(tasks.ask_cancel, view.id, _caller(exchange))
        view = await _view(exchange, house)
    await exchange.respond(200, jsonio.dumps(task_reply.shown(view)), _head(view))


async def events(exchange: Exchange, house: House) -> None:
    """Server-sent events: the task's object each time that it has changed, until it is over."""
    view = await _view(exchange, house)
    exchange.begin()
    named = lost.headers(view.dropped)
    stream = EventStream(exchange, house.plan.config.defaults.heartbeat, lambda: named)
    try:
        told = None
        with house.services.wakes.of(view.id) as woken:
            while True:
                if view != told:
                    await stream.write(_event(view))
                    told = view
                if view.is_over:
                    break
                await woken(_LOOK_S)
                view = await _view(exchange, house)
    finally:
        stream.stop()
    await stream.end()


def _head(view: TaskView) -> list[Header]:
    return [_JSON, *lost.headers(view.dropped)]


def _event(view: TaskView) -> bytes:
    body = b"".join(jsonio.dumps(task_reply.shown(view)))
    return b"event: task.%b\ndata: %b\n\n" % (view.status.encode(), body)


async def _view(exchange: Exchange, house: House) -> TaskView:
    """The task in the path. Raises a 404 when the caller has none of that name."""
    from proxy.serve.keeper import unknown_task

    identity = exchange.scope["path_params"]["id"]
    if not _ID.match(identity) or not house.services.database.may_exist():
        raise unknown_task()
    from proxy.store import tasks

    row = await house.services.keeper.asking(tasks.get, identity, _caller(exchange))
    if row is None:
        raise unknown_task()
    return seen(row, house, public_base(exchange, house), _running(house).get(identity))


def _caller(exchange: Exchange) -> str | None:
    """Whose tasks are shown; the admin sees all."""
    assert exchange.caller is not None
    return None if exchange.caller.admin else exchange.caller.name


def _running(house: House) -> Mapping[str, Running]:
    return house.services.keeper.running


def _limit(said: str | None) -> int:
    if said is None:
        return _PAGE
    limit = checks.numbered(said, 1, _MOST_PER_PAGE)
    if limit is None:
        raise RequestError(
            f"'limit' must be a number from 1 to {_MOST_PER_PAGE}.", attribute="limit", code="invalid_value"
        )
    return limit


def seen(row: Mapping[str, Any], house: House, base: str | None, running: Running | None) -> TaskView:
    """A row as its client sees it; `running` is what works at it in this process."""
    from proxy.serve.record import can_cancel, files_of, read_error, read_told, read_usage

    orders = orjson.loads(row["orders"])
    over = row["ended_at"] is not None
    if running is not None:
        orders = running.record.orders  # more than is written
    told = [order["told"] for order in orders.values() if "told" in order]
    shares = [
        1.0 if order["state"] == "done" else order.get("told", {}).get("share", 0.0)
        for order in orders.values()
    ]
    estimates = [one["estimate_s"] for one in told if one["estimate_s"]]
    result = orjson.loads(row["result"]) if row["result"] else None
    pictures: list[str] = []
    if result is not None:
        addresses = map(house.services.files.address, files_of(result["events"]))
        pictures = [f"{base or ''}{address}" for address in addresses]
    costs = [] if result is None else bill.total([read_told(told) for told in result["tolds"]])
    asked = orjson.loads(row["asked"])
    reserved = asked.get("reserved")
    held = row["state"] in ("uncertain", "parked")
    waiting = row["state"] in ("pending", "running") and not orders
    return TaskView(
        id=row["id"],
        kind="chat" if row["endpoint"].startswith("/chat") else "image",
        model=row["model"],
        created=int(row["created_at"]),
        status=row["state"] if over else "pending" if waiting else "processing",
        progress=sum(shares) / len(shares) if shares else 0.0,
        can_cancel=not over and not held and can_cancel(orders),
        estimated_s=max(estimates) if estimates else None,
        uncertain=held,
        pictures=pictures,
        usage=read_usage(result["events"]) if result is not None else None,
        reserved=None if reserved is None else (Decimal(reserved[0]), reserved[1]),
        cost=costs[0] if len(costs) == 1 else None,
        error=read_error(orjson.loads(row["error"])) if row["error"] else None,
        dropped=asked.get("dropped", ()) if running is None else running.lost(),
    )
