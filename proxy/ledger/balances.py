"""What keys with a budget have spent: read from the ledger once, then kept by the rows this process books.

Others book too, so of a sum that is asked for what is new is read every few seconds, beside the requests, and
now and then all of it. With it comes what open tasks have yet to order whose money this process does not
keep itself. Only keys with a budget have a balance here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from proxy.errors import ProxyError
from proxy.keys import Budget, ClientKey, Period
from proxy.ledger.entries import DAY_S, LONGEST, Entry
from proxy.ledger.prices import ZERO
from proxy.ledger.rates import Rates
from proxy.logs import Log
from proxy.store.database import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection

_EVERY_S = 3.0  # what is new is read
_WHOLE_EVERY_S = 300.0  # all of it
_LATE_S = 3600.0  # a row may come into the store after its time; after more it counts when all is read
_MOST_DAYS = 7  # for rows that wait for the store
_OLD_S = 15.0  # a sum that nobody asked for so long is waited for
_PATIENCE_S = 2.0  # with the store; then what is known holds
_FIRST_PATIENCE_S = 10.0  # where nothing is known: it may have to connect, and to make its tables
_SHARE = 50  # of the time at most one part is spent on reading one key's sum
_ADDING = ("settle", "hold")
_MARGIN_S = 1.0  # how far the machine's clock may be set back meanwhile
_MOST_PENDING = 2000  # rows of a key; more wait only for a store that is away, and the oldest are summed up

RowId = tuple[str, int, int, str]


class Span(NamedTuple):
    """A period: from its first second to that of the next, None where there is none."""

    since: float
    until: float | None


def span(period: Period, now: float) -> Span:
    """The period that is on, in UTC."""
    if period == "total":
        return Span(0.0, None)
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return Span(day.timestamp(), day.timestamp() + DAY_S)
    first = day.replace(day=1)
    following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return Span(first.timestamp(), following.timestamp())


class _Mark(NamedTuple):
    """Rows with an id up to `through` come to these `totals`, by currency. `seen` is the last id that was
    there. On PostgreSQL the next reading moves the mark there, and not this one: of transactions side by side
    one with an earlier id may end later. `whole_at` is when all was read."""

    through: int
    totals: Mapping[str, Decimal]
    seen: int
    currencies: Sequence[str]
    whole_at: float

    def holds(self, now: float, currencies: Sequence[str]) -> bool:
        return self.currencies == currencies and 0 <= now - self.whole_at < _WHOLE_EVERY_S


class _Sum(NamedTuple):
    """What the store tells: `there` are the rows among the total that may be pending, and `wanted` is what
    open tasks have yet to order, by request."""

    total: Decimal
    wanted: dict[str, Decimal]
    there: set[RowId]
    took_s: float
    mark: _Mark | None


@dataclass(slots=True)
class _Balance:
    """`known` is what the store has told, None before it did; `pending` are rows of ours that were not in it,
    each with its time and what it adds, and `own` is their sum. `reserved` is wanted by requests that are on
    here and have not ordered yet. `since` are those that were on here since the store was asked last, with
    what has to be in its answer of each."""

    span: Span
    known: Decimal | None = None
    mark: _Mark | None = None
    pending: dict[RowId, tuple[float, Decimal]] = field(default_factory=dict)
    own: Decimal = ZERO
    reserved: Decimal = ZERO
    wishes: dict[str, Decimal] = field(default_factory=dict)  # by request
    since: dict[str, Decimal] = field(default_factory=dict)
    read_at: float = 0.0
    took_s: float = 0.0
    reading: asyncio.Task[None] | None = None

    def wish(self, request_id: str, amount: Decimal) -> None:
        self.reserved += amount - self.wishes.get(request_id, ZERO)
        self.wishes[request_id] = amount
        self.since[request_id] = ZERO

    def end_wish(self, request_id: str) -> Decimal:
        """What is left of it."""
        wished = self.wishes.pop(request_id)
        self.reserved -= wished
        return wished

    def leave(self, request_id: str) -> None:
        """Its wish stands in the store from now on, also where that was asked before."""
        wished = self.since[request_id] = self.end_wish(request_id)
        if self.known is not None:
            self.known += wished

    def add(self, entry: Entry, amount: Decimal) -> None:
        if len(self.pending) >= _MOST_PENDING:
            _, oldest = self.pending.pop(next(iter(self.pending)))
            self.own -= oldest
            if self.known is not None:
                self.known += oldest
        row = entry.request_id, entry.call, entry.attempt, entry.kind
        self.pending[row] = entry.at, amount
        self.own += amount

    def learn(self, found: _Sum) -> None:
        wanted = sum((found.wanted | self.since).values(), ZERO)
        self.known, self.took_s, self.mark = found.total + wanted, found.took_s, found.mark
        self.pending = {row: told for row, told in self.pending.items() if row not in found.there}
        self.own = sum((amount for _, amount in self.pending.values()), ZERO)

    def begin(self, new: Span) -> None:
        """Another period: what was spent in the last one is over, what is wanted is not."""
        self.span, self.known, self.mark, self.reading = new, None, None, None
        self.pending = {row: told for row, told in self.pending.items() if told[0] >= new.since}
        self.own = sum((amount for _, amount in self.pending.values()), ZERO)


class Balances:
    """`clock` tells seconds since 1970. `away` tells why sums cannot be read, None while they can. `rates`
    are those of the file: what was paid in another currency counts by what it is worth now."""

    def __init__(
        self,
        database: Database,
        log: Log,
        clock: Callable[[], float] = time.time,
        rates: Rates | None = None,
    ) -> None:
        self._database = database
        self._log = log
        self._balances: dict[tuple[str, str, Period], _Balance] = {}
        self._reserving: dict[str, _Balance] = {}  # by request
        self._entrusted: set[str] = set()  # requests that others release
        self.clock = clock
        self.rates = rates or Rates()
        self.away: str | None = None

    async def spent(self, caller: ClientKey, budget: Budget) -> Decimal:
        """What the key was charged in this period, what is held for it, and what its requests still want.

        Raises a 503 where nobody ever knew, and the store is away.
        """
        now = self.clock()
        balance = self._of(caller, budget, now)
        age_s, pause_s = now - balance.read_at, _SHARE * balance.took_s
        if balance.known is None or not 0 <= age_s < max(_EVERY_S, pause_s):
            reading = self._reading(caller, budget, balance)
            if balance.known is None:
                await asyncio.wait((reading,), timeout=_FIRST_PATIENCE_S)
            elif not 0 <= age_s < max(_OLD_S, 2 * pause_s):
                await asyncio.wait((reading,), timeout=_PATIENCE_S)
            balance = self._of(caller, budget, self.clock())  # another period may have begun meanwhile
            if balance.known is None:
                raise _unknown()
        return balance.known + balance.own + balance.reserved

    def reserve(self, caller: ClientKey, budget: Budget, request_id: str, amount: Decimal) -> None:
        """Keep this for what the request will order, until its holds take its place or it is over."""
        balance = self._reserving[request_id] = self._of(caller, budget, self.clock())
        balance.wish(request_id, amount)

    def release(self, request_id: str) -> None:
        """What it reserved, if anything."""
        if request_id not in self._entrusted and (balance := self._reserving.pop(request_id, None)):
            balance.end_wish(request_id)

    def entrust(self, request_id: str) -> Callable[[], None]:
        """The request goes on also without its client: only the function that is returned releases it."""
        self._entrusted.add(request_id)

        def release() -> None:
            self._entrusted.discard(request_id)
            self.release(request_id)

        return release

    def leave(self, request_id: str) -> None:
        """The request waits in its row for whoever takes it: what it reserved is counted by that."""
        self._entrusted.discard(request_id)
        if balance := self._reserving.pop(request_id, None):
            balance.leave(request_id)

    def wished(self, request_id: str) -> Decimal:
        """What it still wants of what it reserved."""
        balance = self._reserving.get(request_id)
        return ZERO if balance is None else balance.wishes[request_id]

    def note(self, caller: ClientKey, budget: Budget, entry: Entry) -> None:
        """A row was booked for a key that has a budget. It adds what is charged or held; a hold that ends is
        taken off."""
        amount = entry.amount if entry.kind in _ADDING and entry.amount is not None else ZERO
        if entry.released is not None:
            amount -= entry.released
        if entry.currency != budget.currency:
            amount = self.rates.convert(amount, entry.currency, budget.currency) or ZERO
        if not amount:
            return
        balance = self._of(caller, budget, self.clock())
        is_of_order = entry.kind in ("hold", "refund")  # what came to nothing may be ordered again
        if is_of_order and (wished := balance.wishes.get(entry.request_id)) is not None:
            balance.wish(entry.request_id, max(ZERO, wished - amount))
        if entry.at >= balance.span.since:
            balance.add(entry, amount)

    def close(self) -> None:
        for balance in self._balances.values():
            if balance.reading is not None:
                balance.reading.cancel()

    def _of(self, caller: ClientKey, budget: Budget, now: float) -> _Balance:
        place = caller.name[:LONGEST], budget.currency, budget.period
        balance = self._balances.get(place)
        if balance is None:
            balance = self._balances[place] = _Balance(span(budget.period, now))
            return balance
        since, until = balance.span
        if now < since or (until is not None and now >= until):
            balance.begin(span(budget.period, now))
        return balance

    def _reading(self, caller: ClientKey, budget: Budget, balance: _Balance) -> asyncio.Task[None]:
        """One at a time of a key; all that wait, wait for the same one."""
        if balance.reading is None:
            balance.reading = asyncio.create_task(self._look(caller, budget, balance))
        return balance.reading

    async def _look(self, caller: ClientKey, budget: Budget, balance: _Balance) -> None:
        began, during, rates = self.clock(), balance.span, self.rates
        balance.since = dict.fromkeys(balance.wishes, ZERO)
        # Rows that are booked from here on are later than this, those that are pending are not earlier.
        horizon = min((at for at, _ in balance.pending.values()), default=began)
        horizon = min(horizon, began) - _MARGIN_S
        days: Sequence[int] = range(int(during.since // DAY_S), int(began // DAY_S) + 2)
        new = days[-1] - int(min(horizon, began - _LATE_S) // DAY_S)
        mark, currencies = balance.mark, rates.all_into(budget.currency)
        if mark is None or not mark.holds(began, currencies) or new >= _MOST_DAYS:
            mark = _Mark(0, {}, 0, currencies, began)
        elif mark.through:
            days = days[-1 - new :]
        try:
            found = await self._sum(caller.name[:LONGEST], budget.currency, rates, mark, days, horizon)
        except Exception as error:  # whatever a driver raises: what is known must go on to hold
            if self.away is None:
                self._log.write("budgets_away", kind=type(error).__name__)
            self.away = type(error).__name__
        else:
            if self.away is not None:
                self._log.write("budgets_back")
            self.away = None
            if balance.span == during:
                balance.learn(found)
        if balance.span == during:
            balance.read_at, balance.reading = began, None

    async def _sum(
        self, key: str, into: str, rates: Rates, mark: _Mark, days: Sequence[int], horizon: float
    ) -> _Sum:
        if not self._database.may_exist():
            return _Sum(ZERO, {}, set(), 0.0, None)
        return await self._database.read(partial(_summed, key, into, rates, mark, days, horizon))


def _summed(
    key: str,
    into: str,
    rates: Rates,
    mark: _Mark,
    days: Sequence[int],
    horizon: float,
    connection: Connection,
) -> _Sum:
    """In the reader's thread; without the time that it takes to connect, and to wait for others."""
    from proxy.ledger import views  # SQLAlchemy: loaded by those who have a budget

    began = time.perf_counter()
    found = views.spent(connection, key, mark.currencies, days, horizon, mark.through, mark.seen)
    early = _plus(mark.totals, found.early)
    whole = _plus(early, found.late)
    total = _worth(rates, whole, into)
    wanted = {
        request_id: max(ZERO, _worth(rates, one.wanted, into) - _worth(rates, one.held, into))
        for request_id, one in found.open.items()
    }
    if connection.dialect.name == "sqlite":  # which has one writer
        new = mark._replace(through=found.last, totals=whole, seen=found.last)
    else:
        new = mark._replace(through=mark.seen, totals=early, seen=found.last)
    return _Sum(total, wanted, found.there, time.perf_counter() - began, new)


def _worth(rates: Rates, amounts: Mapping[str, Decimal], into: str) -> Decimal:
    worth = (rates.convert(amount, name, into) for name, amount in amounts.items())
    return sum((amount for amount in worth if amount is not None), ZERO)


def _plus(one: Mapping[str, Decimal], other: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return {name: one.get(name, ZERO) + other.get(name, ZERO) for name in (*one, *other)}


def _unknown() -> ProxyError:
    return ProxyError(
        "What this key has spent cannot be read just now, so nothing is bought for it.",
        status=503,
        code="budget_unavailable",
        headers={"retry-after": "1"},
    )
