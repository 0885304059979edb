"""What a key used and what it was charged: by day and model, row by row, and as chat UIs ask for it.

A key sees its own; the admin sees all of them, and where requests went. Pages are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from proxy.codec import jsonio
from proxy.errors import RequestError
from proxy.fronts import checks
from proxy.keys import Budget, ClientKey
from proxy.ledger.balances import span
from proxy.ledger.entries import DAY_S
from proxy.ledger.prices import ZERO, plain
from proxy.serve.endpoint import Row
from proxy.serve.exchange import Exchange
from proxy.serve.house import House
from proxy.types import Json

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from proxy.ledger.views import Into, Wanted

T = TypeVar("T")

_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z")
_OWN_GROUPS = ("day", "model", "operation", "currency")
_ADMIN_GROUPS = ("day", "key", "model", "target", "operation", "currency")
_USUAL_DAYS = 30
_USUAL_LIMIT = 100
_MOST_LIMIT = 1000
_UNLIMITED = 100_000_000.0  # what gateways of this market say of a key without a budget


async def grouped(exchange: Exchange, house: House) -> None:
    from proxy.ledger import views  # SQLAlchemy: loaded by those who ask

    query = exchange.query()
    wanted = replace(_wanted(exchange, query), into=_into(query, house))
    found = await _read(house, partial(views.sums, wanted=wanted))
    totals = await _read(house, partial(views.totals, wanted=wanted))
    more = len(found) > wanted.limit
    await _reply(
        exchange,
        {
            "object": "list",
            "from": views.written(wanted.since),
            "to": views.written(wanted.until),
            "group_by": list(wanted.groups),
            "data": found[: wanted.limit],
            "totals": totals,
            **(
                {"left_out": await _read(house, partial(views.left_out, wanted=wanted))}
                if wanted.into
                else {}
            ),
            "has_more": more,
            "next": wanted.after + wanted.limit if more else None,
        },
    )


async def requests(exchange: Exchange, house: House) -> None:
    from proxy.ledger import views

    assert exchange.caller is not None
    wanted = _wanted(exchange, exchange.query())
    found = await _read(house, partial(views.rows, wanted=wanted, admin=exchange.caller.admin))
    more = len(found) > wanted.limit
    page = found[: wanted.limit]
    await _reply(
        exchange,
        {
            "object": "list",
            "from": views.written(wanted.since),
            "to": views.written(wanted.until),
            "data": page,
            "has_more": more,
            "next": page[-1]["id"] if more else None,
        },
    )


async def drift(exchange: Exchange, house: House) -> None:
    """Where vendors take something else than our prices say."""
    from proxy.ledger import drift

    wanted = _wanted(exchange, exchange.query())
    found = await _read(house, partial(drift.report, wanted=wanted, rates=house.services.balances.rates))
    more = len(found) > wanted.limit
    body = {"object": "list", "data": found[: wanted.limit], "has_more": more}
    await _reply(exchange, {**body, "next": wanted.after + wanted.limit if more else None})


async def subscription(exchange: Exchange, house: House) -> None:
    """In the shape of OpenAI's old billing page: a limit in money, very high for a key without a budget. The
    limit is in the budget's currency, whatever the members are called."""
    caller = exchange.caller
    assert caller is not None
    budget = caller.budget
    limit = _UNLIMITED if budget is None else float(budget.amount)
    await _reply(
        exchange,
        {
            "object": "billing_subscription",
            "has_payment_method": True,
            "soft_limit_usd": limit,
            "hard_limit_usd": limit,
            "system_hard_limit_usd": limit,
            "access_until": int(caller.expires_at or 0),
            "budget": None if budget is None else await _told(house, caller, budget),
        },
    )


async def _told(house: House, caller: ClientKey, budget: Budget) -> Json:
    """`resets_at` is in seconds since 1970. Raises a 503 where the store is away and nobody ever knew."""
    balances = house.services.balances
    spent = await balances.spent(caller, budget)
    until = span(budget.period, balances.clock()).until
    return {
        "amount": plain(budget.amount),
        "currency": budget.currency,
        "period": budget.period,
        "spent": plain(spent),
        "left": plain(max(ZERO, budget.amount - spent)),
        "resets_at": None if until is None else int(until),
    }


async def billing(exchange: Exchange, house: House) -> None:
    """In the shape of the same page: hundredths of the currency in which the key asked most, which stands
    beside them."""
    from proxy.ledger import views

    query = exchange.query()
    dates = {"from": query.get("start_date", ""), "to": query.get("end_date", "")}
    wanted = _wanted(exchange, {**dates, "limit": str(_MOST_LIMIT), "group_by": "day,model"})
    totals = await _read(house, partial(views.totals, wanted=wanted))
    most = max(totals, key=lambda row: row["requests"], default=None)
    currency = most["currency"] if most else "USD"
    days: dict[str, list[dict[str, Any]]] = {}
    for row in await _read(house, partial(views.sums, wanted=wanted)):
        if row["currency"] == currency:
            days.setdefault(row["day"], []).append(
                {"name": row["model"], "cost": _hundredths(row["charged"])}
            )
    await _reply(
        exchange,
        {
            "object": "list",
            "currency": currency,
            "total_usage": _hundredths(most["charged"]) if most else 0.0,
            "daily_costs": [
                {"timestamp": _seconds(day), "line_items": items} for day, items in sorted(days.items())
            ],
        },
    )


ROWS = (
    Row("GET", "/usage", grouped),
    Row("GET", "/usage/requests", requests),
    Row("GET", "/dashboard/billing/subscription", subscription),
    Row("GET", "/dashboard/billing/usage", billing),
    Row("GET", "/admin/usage", grouped, needs="admin"),
    Row("GET", "/admin/usage/requests", requests, needs="admin"),
    Row("GET", "/admin/usage/drift", drift, needs="admin"),
)


def _wanted(exchange: Exchange, query: dict[str, str]) -> Wanted:
    """What the address asks for. Raises `RequestError` that names the parameter."""
    from proxy.ledger.views import Wanted

    caller = exchange.caller
    assert caller is not None
    today = int(datetime.now(UTC).timestamp()) // DAY_S
    until = _day(query, "to", today)
    since = _day(query, "from", max(0, until - _USUAL_DAYS + 1))
    if since > until:
        raise RequestError("`from` is after `to`.", attribute="from", code="invalid_value")
    return Wanted(
        since,
        until,
        key=query.get("key") if caller.admin else caller.name,
        groups=_groups(query.get("group_by", "day,model"), _ADMIN_GROUPS if caller.admin else _OWN_GROUPS),
        limit=_number(query, "limit", _USUAL_LIMIT, 1, _MOST_LIMIT),
        after=_number(query, "after", 0, 0, (1 << 63) - 1),
    )


def _into(query: dict[str, str], house: House) -> Into | None:
    """The one currency that all is told in, where one is asked for."""
    from proxy.ledger.views import Into

    currency, rates = query.get("currency"), house.services.balances.rates
    if currency is None:
        return None
    if currency not in rates.worth:
        known = ", ".join(sorted(rates.worth)) or "none"
        message = f"{currency[:20]!r} has no rate in the file; there are: {known}."
        raise RequestError(message, attribute="currency", code="invalid_value")
    return Into(currency, rates)


def _groups(said: str, known: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name for name in said.split(",") if name))
    for name in names:
        if name not in known:
            message = f"{name[:40]!r} is nothing to group by; there are {', '.join(known)}."
            raise RequestError(message, attribute="group_by", code="invalid_value")
    return names


def _day(query: dict[str, str], name: str, usual: int) -> int:
    """Days from 1970. Seconds from 1970 are taken too, as OpenAI's usage pages have them."""
    from proxy.ledger.views import day_of

    said = query.get(name, "")
    if not said:
        return usual
    if said.isascii() and said.isdecimal() and len(said) <= 11:
        return int(said) // DAY_S
    try:
        if _DAY.match(said[:10]) and said[10:11] in ("", "T", " "):
            return day_of(date.fromisoformat(said[:10]))
    except ValueError:
        pass
    raise RequestError(f"{name} must be a day such as 2026-11-26.", attribute=name, code="invalid_value")


def _number(query: dict[str, str], name: str, usual: int, least: int, most: int) -> int:
    said = query.get(name, "")
    if not said:
        return usual
    number = checks.numbered(said, least, most)
    if number is not None:
        return number
    message = f"{name} must be a whole number from {least} to {most}."
    raise RequestError(message, attribute=name, code="invalid_value")


async def _read(house: House, work: Callable[[Connection], list[T]]) -> list[T]:
    """Raises a 503 where the store is away: nothing is known then, and that is not nothing."""
    from sqlalchemy.exc import SQLAlchemyError

    database = house.services.database
    if not database.may_exist():
        return []
    try:
        return await database.read(work)
    except (SQLAlchemyError, OSError) as error:
        raise RequestError(
            "The ledger cannot be read now; try again later.", status=503, code="store_unavailable"
        ) from error


def _hundredths(amount: str | None) -> float:
    return float(amount or 0) * 100


def _seconds(day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()


async def _reply(exchange: Exchange, body: Any) -> None:
    await exchange.respond(200, jsonio.dumps(body))
