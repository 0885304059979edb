"""Whether a key with a budget can pay for a request: judged before anything is bought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from proxy.errors import BudgetError, RequestError
from proxy.keys import Budget, ClientKey
from proxy.ledger.balances import span
from proxy.ledger.prices import ZERO, Tariff, plain
from proxy.ledger.rates import Rates
from proxy.routing.attempts import Candidate
from proxy.routing.routes import Route
from proxy.serve import bill
from proxy.serve.house import House
from proxy.serve.speakers import speaker_of
from proxy.types import ChatRequest, Request

_PERIODS = {"day": " a day", "month": " a month", "total": ""}


async def admit(
    house: House,
    caller: ClientKey,
    budget: Budget,
    route: Route,
    requests: Sequence[Request],
    request_id: str,
) -> Route:
    """The route without the targets that this money cannot pay. What the requests, which one reply answers,
    will order by the piece is reserved until `Balances.release`.

    Raises `RequestError` where no target is left, `BudgetError` where the money does not suffice, and a 503
    where nobody knows.
    """
    balances = house.services.balances
    if route.currency != budget.currency:
        route = _payable(route, budget.currency, balances.rates, balances.clock())
    wanted = ZERO
    if route.draws or not isinstance(requests[0], ChatRequest):
        now, rates = balances.clock(), balances.rates
        wanted = sum((_dearest(route, one, budget.currency, rates, now) for one in requests), ZERO)
    left = budget.amount - await balances.spent(caller, budget)
    if left <= ZERO or wanted > left:
        raise _refusal(budget, left, wanted, balances.clock())
    if wanted:
        balances.reserve(caller, budget, request_id, wanted)
    return route


def _dearest(route: Route, request: Request, currency: str, rates: Rates, now: float) -> Decimal:
    """What it costs at the dearest target."""
    prices = (_price(one, request, now) for one in route.targets or route.fallback)
    return max((rates.convert(*each, currency) or ZERO for each in prices), default=ZERO)


def _payable(route: Route, currency: str, rates: Rates, now: float) -> Route:
    known = rates.all_into(currency)
    targets = tuple([one for one in route.targets if _pays(one, known, now)])
    fallback = tuple([one for one in route.fallback if _pays(one, known, now)])
    if len(targets) == len(route.targets) and len(fallback) == len(route.fallback):
        return route
    if not targets and not fallback:
        raise RequestError(
            f"The budget of this key is in {currency}, and the model {route.name!r} has no price in it. "
            "Such a key can use only models that have one.",
            status=403,
            code="model_outside_budget",
            attribute="model",
        )
    return replace(route, targets=targets, fallback=fallback)


def _pays(one: Candidate, currencies: Sequence[str], now: float) -> bool:
    """Whether what it costs can be told in one of these."""
    tariff = _tariff(one, now)
    return tariff is not None and tariff.currency in currencies


def _tariff(one: Candidate, now: float) -> Tariff | None:
    return None if one.prices is None else one.prices.at(now)


def _price(one: Candidate, request: Request, now: float) -> tuple[Decimal, str]:
    """Of what is sold by the piece, and its currency; what a chat costs is known at its end."""
    tariff = _tariff(one, now)
    if tariff is None or not speaker_of(one, request).by_piece():
        return ZERO, one.currency
    return bill.expected(tariff, request), tariff.currency


def _refusal(budget: Budget, left: Decimal, wanted: Decimal, now: float) -> BudgetError:
    currency = budget.currency
    may = f"this key may spend {plain(budget.amount)} {currency}{_PERIODS[budget.period]}"
    if left > 0:
        had = f"{plain(left)} {currency} are left, and this request needs {plain(wanted)} {currency}"
    else:
        had = "nothing is left"
    message = f"You exceeded your current quota: {may}, and {had}."
    if wanted > budget.amount:
        return BudgetError(message, None)
    until = span(budget.period, now).until
    if until is None:
        return BudgetError(f"{message} Ask whoever gave you the key.", None)
    return BudgetError(f"{message} The next period begins at {_moment(until)}.", until - now)


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
