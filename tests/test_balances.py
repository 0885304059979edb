"""What a key with a budget has spent: here and elsewhere; and periods that begin anew."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from proxy.errors import ProxyError
from proxy.keys import Budget, ClientKey, Period
from proxy.ledger import views
from proxy.ledger.balances import Balances, span
from proxy.ledger.entries import Entry, insert
from proxy.ledger.rates import Rates
from proxy.logs import Log
from proxy.store.database import Database
from proxy.store.tables import ledger, tasks
from tests.test_ledger import ROW
from tests.test_store import TASK

pytestmark = pytest.mark.anyio

APP = ClientKey("app")
MONTHLY = Budget(Decimal(20), "USD", "month")
ONE = ROW._replace(amount=Decimal(1))
HOLD = ONE._replace(kind="hold", outcome="ordered", amount=Decimal("0.4"))
REFUND = HOLD._replace(kind="refund", outcome="rate_limited", released=Decimal("0.4"))
SETTLE = ONE._replace(amount=Decimal("0.1"), released=Decimal("0.4"))


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


class Clock:
    """Stands still until it is set."""

    def __init__(self, now: float = ROW.at) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def opened(address: str, clock: Clock | None = None) -> AsyncIterator[tuple[Balances, Database]]:
    database = Database(address)
    balances = Balances(database, Log(), clock or Clock())
    yield balances, database
    balances.close()
    await database.close()


async def book(database: Database, *entries: Entry) -> None:
    await database.run(partial(insert, entries=entries))


async def until(balances: Balances, clock: Clock, budget: Budget, amount: str) -> None:
    """A sum that is old is read again beside the requests; PostgreSQL may not be all up to there at once."""
    async with asyncio.timeout(20):
        while await balances.spent(APP, budget) != Decimal(amount):
            clock.now += 0.02
            await asyncio.sleep(0.005)


# --- sums


async def test_what_is_charged_and_what_is_held_counts(store_address: str) -> None:
    async with opened(store_address) as (balances, database):
        await book(
            database,
            ONE,
            HOLD._replace(request_id="req_2"),
            SETTLE._replace(request_id="req_2"),
            HOLD._replace(request_id="req_3"),
            SETTLE._replace(request_id="req_3", kind="refund", amount=Decimal("0.4")),
            HOLD._replace(request_id="req_4"),
            HOLD._replace(request_id="req_4", kind="uncertain", amount=None),
            ONE._replace(request_id="req_5", key="other"),
            ONE._replace(request_id="req_6", currency="CNY"),
            ONE._replace(request_id="req_7", amount=None),
            ONE._replace(request_id="req_8", at=ROW.at - 40 * 86400),
        )
        assert await balances.spent(APP, MONTHLY) == Decimal("1.5")  # 1, 0.1, and 0.4 that nobody knows of
        assert await balances.spent(APP, Budget(Decimal(9), "USD", "total")) == Decimal("2.5")
        assert await balances.spent(APP, Budget(Decimal(9), "CNY", "day")) == 1


async def test_many_large_amounts_are_added_exactly(store_address: str) -> None:
    """Forty of nine million are more steps than a number of 64 bits has."""
    most = Decimal("8999999.000000000001")
    async with opened(store_address) as (balances, database):
        await book(database, *(ONE._replace(request_id=f"r{n}", amount=most) for n in range(40)))
        assert await balances.spent(APP, MONTHLY) == Decimal("359999960.000000000040")


async def test_a_row_of_this_process_counts_at_once_and_once(store_address: str) -> None:
    clock = Clock()
    async with opened(store_address, clock) as (balances, database):
        await book(database, ONE)
        assert await balances.spent(APP, MONTHLY) == 1
        mine = ONE._replace(request_id="req_2", at=clock.now + 1)
        balances.note(APP, MONTHLY, mine)
        assert await balances.spent(APP, MONTHLY) == 2
        clock.now += 100  # too old: it is read again, without the row, which is not there yet
        assert await balances.spent(APP, MONTHLY) == 2
        await book(database, mine)
        clock.now += 100
        assert await balances.spent(APP, MONTHLY) == 2
        clock.now += 100
        assert await balances.spent(APP, MONTHLY) == 2


async def test_a_row_that_arrives_while_the_sum_is_read_counts_once(store_address: str) -> None:
    """It was booked after the reading began, and may be in what that finds."""
    clock = Clock()
    async with opened(store_address, clock) as (balances, database):
        await book(database, ONE)
        reading = asyncio.create_task(balances.spent(APP, MONTHLY))
        await asyncio.sleep(0)
        mine = ONE._replace(request_id="req_2", at=clock.now)
        balances.note(APP, MONTHLY, mine)
        await book(database, mine)
        await reading
        clock.now += 100
        assert await balances.spent(APP, MONTHLY) == 2


async def test_what_others_booked_is_known_within_seconds(store_address: str) -> None:
    clock = Clock()
    async with opened(store_address, clock) as (balances, database):
        assert await balances.spent(APP, MONTHLY) == 0
        await book(database, ONE)
        clock.now += 2
        assert await balances.spent(APP, MONTHLY) == 0
        clock.now += 2  # read again, beside the request
        await until(balances, clock, MONTHLY, "1")
        await book(database, ONE._replace(request_id="req_2"))
        clock.now += 16  # too old to be used
        assert await balances.spent(APP, MONTHLY) == 2


async def test_what_was_read_is_not_read_again_for_minutes(store_address: str) -> None:
    clock = Clock()
    async with opened(store_address, clock) as (balances, database):
        long_ago, now = (
            ONE._replace(request_id=name, at=at) for name, at in (("a", ROW.at - 9e5), ("b", ROW.at))
        )
        await book(database, long_ago, now)
        budget = Budget(Decimal(20), "USD", "total")
        for count in range(2, 6):
            assert await balances.spent(APP, budget) == count
            await book(database, ONE._replace(request_id=f"r{count}", at=clock.now))
            clock.now += 60
        await database.run(lambda connection: connection.execute(sa.delete(ledger)))  # nobody does that
        known = 5 if database.is_local else 4  # PostgreSQL's last may not be all up to there
        assert await balances.spent(APP, budget) == known
        assert await balances.spent(APP, Budget(Decimal(20), "USD", "day")) == 0
        clock.now += 300
        assert await balances.spent(APP, budget) == 0


@pytest.mark.parametrize("store_address", ["postgresql"], indirect=True)
async def test_what_another_transaction_ends_later_with_an_earlier_id_counts(store_address: str) -> None:
    """At once where it is late by a reading, and else when all is read again. SQLite has one writer."""
    clock = Clock()
    async with opened(store_address, clock) as (balances, database):
        await book(database, ONE)
        for number in (50, 100):
            await numbered(database, number)
            assert await balances.spent(APP, MONTHLY) == (2 if number == 50 else 3)
            clock.now += 60
        await numbered(database, 99)
        assert await balances.spent(APP, MONTHLY) == 4
        await numbered(database, 49)
        clock.now += 60
        assert await balances.spent(APP, MONTHLY) == 4
        clock.now += 300
        assert await balances.spent(APP, MONTHLY) == 5


async def numbered(database: Database, number: int) -> None:
    """Book a row with this id."""
    await book(database, ONE._replace(request_id=f"id {number}"))
    there = ledger.c.request_id == f"id {number}"
    await database.run(
        lambda connection: connection.execute(sa.update(ledger).where(there).values(id=number + 1000))
    )


async def test_a_row_that_comes_days_late_counts_when_all_is_read(store_address: str) -> None:
    clock = Clock()
    async with opened(store_address, clock) as (balances, database):
        for number in range(4):
            await book(database, ONE._replace(request_id=f"r{number}"))
            assert await balances.spent(APP, MONTHLY) == number + 1
            clock.now += 60
        await book(database, ONE._replace(request_id="late", at=ROW.at - 5 * 86400))
        assert await balances.spent(APP, MONTHLY) == 4
        clock.now += 300
        assert await balances.spent(APP, MONTHLY) == 5


async def test_a_row_of_this_process_that_comes_days_late_counts_at_once_and_once(store_address: str) -> None:
    clock = Clock(seconds("2026-11-05T12:00:00"))
    async with opened(store_address, clock) as (balances, database):
        for number in range(4):
            await book(database, ONE._replace(request_id=f"r{number}", at=clock.now))
            assert await balances.spent(APP, MONTHLY) == number + 1
            clock.now += 60
        mine = ONE._replace(request_id="mine", at=clock.now)
        balances.note(APP, MONTHLY, mine)
        clock.now += 10 * 86400  # the store was away
        assert await balances.spent(APP, MONTHLY) == 5
        await book(database, mine)
        for _ in range(4):
            clock.now += 60
            assert await balances.spent(APP, MONTHLY) == 5


async def test_a_currency_that_has_a_worth_now_is_read_from_the_beginning(store_address: str) -> None:
    clock = Clock()
    async with opened(store_address, clock) as (balances, database):
        for number in range(4):
            await book(
                database,
                *(ONE._replace(request_id=f"{name}{number}", currency=name) for name in ("USD", "CNY")),
            )
            assert await balances.spent(APP, MONTHLY) == number + 1
            clock.now += 60
        balances.rates = Rates({"USD": Decimal(1), "CNY": Decimal("0.5")})
        assert await balances.spent(APP, MONTHLY) == 6


async def test_a_hold_takes_the_place_of_what_was_reserved(store_address: str) -> None:
    async with opened(store_address) as (balances, _):
        assert await balances.spent(APP, MONTHLY) == 0
        balances.reserve(APP, MONTHLY, "req_1", Decimal("0.8"))
        assert await balances.spent(APP, MONTHLY) == Decimal("0.8")
        balances.note(APP, MONTHLY, HOLD)  # one of two pictures
        assert await balances.spent(APP, MONTHLY) == Decimal("0.8")
        balances.note(APP, MONTHLY, SETTLE)
        assert await balances.spent(APP, MONTHLY) == Decimal("0.5")
        balances.release("req_1")
        balances.release("req_1")
        assert await balances.spent(APP, MONTHLY) == Decimal("0.1")


async def test_what_came_to_nothing_is_wanted_again_until_its_request_is_over(store_address: str) -> None:
    """Another target is asked, or the same when it is less busy."""
    async with opened(store_address) as (balances, _):
        assert await balances.spent(APP, MONTHLY) == 0
        balances.reserve(APP, MONTHLY, "req_1", Decimal("0.8"))
        for attempt in (1, 2):
            balances.note(APP, MONTHLY, HOLD._replace(attempt=attempt))
            assert await balances.spent(APP, MONTHLY) == Decimal("0.8")
            balances.note(APP, MONTHLY, REFUND._replace(attempt=attempt))
            assert await balances.spent(APP, MONTHLY) == Decimal("0.8")
        balances.release("req_1")
        balances.note(APP, MONTHLY, HOLD._replace(attempt=3))
        balances.note(APP, MONTHLY, REFUND._replace(attempt=3))
        assert await balances.spent(APP, MONTHLY) == 0


# --- what open tasks have yet to order


async def keep(database: Database, request_id: str, *wanted: str, **values: Any) -> None:
    """A task's row; `wanted` is an amount and a currency."""
    asked = orjson.dumps({"wanted": wanted} if wanted else {}).decode()
    row = {**TASK, "id": f"task of {request_id}", "request_id": request_id, "idempotency": None}
    await database.run(
        lambda connection: connection.execute(sa.insert(tasks).values(**{**row, "asked": asked, **values}))
    )


@contextlib.asynccontextmanager
async def asked_slowly(balances: Balances, database: Database) -> AsyncIterator[asyncio.Task[Decimal]]:
    """The sum, which the store tells when the block ends."""
    go = threading.Event()
    busy = asyncio.ensure_future(database.read(lambda _: go.wait(10)))
    reading = asyncio.create_task(balances.spent(APP, MONTHLY))
    for _ in range(5):  # until it waits for the store
        await asyncio.sleep(0)
    yield reading
    go.set()
    await busy


async def test_what_open_tasks_have_yet_to_order_counts_anywhere(store_address: str) -> None:
    async with opened(store_address) as (balances, database):
        balances.rates = Rates({"USD": Decimal(1), "CNY": Decimal("0.5")})
        await keep(database, "waits", "0.8", "USD", state="pending")
        await keep(database, "runs", "0.8", "USD", state="running")
        await book(database, HOLD._replace(request_id="runs"), SETTLE._replace(request_id="runs"))
        await keep(database, "is paid in CNY", "0.4", "USD", state="running")
        yuan = HOLD._replace(request_id="is paid in CNY", currency="CNY")
        await book(database, yuan, yuan._replace(call=2, amount=Decimal("0.1"), currency="USD"))
        await keep(database, "was refused twice", "0.4", "USD", state="running")
        for attempt in (1, 2):
            ends = (one._replace(request_id="was refused twice", attempt=attempt) for one in (HOLD, REFUND))
            await book(database, *ends)
        await keep(database, "wants it in CNY", "6", "CNY", state="pending")
        assert await balances.spent(APP, MONTHLY) == sum(
            map(Decimal, ("0.8", "0.1", "0.4", "0.3", "0.1", "0.4", "3"))  # in the order above
        )


async def test_what_others_want_and_what_is_over_or_held_does_not_count(store_address: str) -> None:
    async with opened(store_address) as (balances, database):
        await keep(database, "other", "0.8", "USD", state="pending", key="other")
        for state in ("completed", "failed", "cancelled"):
            await keep(database, state, "0.8", "USD", state=state, ended_at=ROW.at)
        await keep(database, "parked", "0.8", "USD", state="parked")
        await keep(database, "uncertain", "0.8", "USD", state="uncertain")
        await book(database, HOLD._replace(request_id="uncertain"))
        await keep(database, "without a budget", state="pending")
        await keep(database, "more than it wanted", "0.3", "USD", state="running")
        await book(database, HOLD._replace(request_id="more than it wanted"))
        await keep(database, "not worth anything", "0.8", "points", state="pending")
        assert await balances.spent(APP, MONTHLY) == Decimal("0.8")  # the two holds


async def test_a_task_at_work_here_counts_once(store_address: str) -> None:
    clock = Clock()
    async with opened(store_address, clock) as (balances, database):
        balances.reserve(APP, MONTHLY, "req_2", Decimal("0.8"))
        assert balances.wished("req_2") == Decimal("0.8")
        await keep(database, "req_2", "0.8", "USD", state="running")
        assert await balances.spent(APP, MONTHLY) == Decimal("0.8")
        hold = HOLD._replace(request_id="req_2")
        for call in (1, 2):  # all of it is ordered
            balances.note(APP, MONTHLY, hold._replace(call=call))
            clock.now += 100
            assert await balances.spent(APP, MONTHLY) == Decimal("0.8")
            await book(database, hold._replace(call=call))
            clock.now += 100
            assert await balances.spent(APP, MONTHLY) == Decimal("0.8")
        balances.release("req_2")
        assert await balances.spent(APP, MONTHLY) == Decimal("0.8")


async def test_a_task_that_comes_or_ends_here_while_the_store_is_asked_counts_once(
    store_address: str,
) -> None:
    clock = Clock()
    async with opened(store_address, clock) as (balances, database):
        balances.reserve(APP, MONTHLY, "ends", Decimal("0.8"))
        await keep(database, "ends", "0.8", "USD", state="running")
        async with asked_slowly(balances, database) as reading:
            balances.reserve(APP, MONTHLY, "comes", Decimal("0.4"))
            await keep(database, "comes", "0.4", "USD", state="running")
            balances.release("ends")
        assert await reading == Decimal("0.4")


async def test_a_task_that_waits_for_whoever_takes_it_counts_at_once_and_once(store_address: str) -> None:
    clock = Clock()
    async with opened(store_address, clock) as (balances, database):
        assert await balances.spent(APP, MONTHLY) == 0
        balances.reserve(APP, MONTHLY, "req_2", Decimal("0.8"))
        clock.now += 100
        async with asked_slowly(balances, database) as reading:  # and the answer is older than the row
            balances.entrust("req_2")
            balances.leave("req_2")
            balances.release("req_2")  # its client is gone
        assert await reading == Decimal("0.8")
        await keep(database, "req_2", "0.8", "USD", state="pending")
        await book(database, HOLD._replace(request_id="req_2"))  # by another, or by this process
        clock.now += 100
        assert await balances.spent(APP, MONTHLY) == Decimal("0.8")
        balances.leave("req_2")
        balances.leave("unknown")
        assert balances.wished("req_2") == 0
        await database.run(lambda connection: connection.execute(sa.delete(tasks)))
        clock.now += 100
        assert await balances.spent(APP, MONTHLY) == Decimal("0.4")


async def test_what_open_tasks_want_is_wanted_in_the_next_period_too(store_address: str) -> None:
    clock = Clock(seconds("2026-11-30T23:59:59"))
    async with opened(store_address, clock) as (balances, database):
        await keep(database, "req_2", "0.8", "USD", state="pending")
        await book(database, ONE._replace(at=clock.now))
        assert await balances.spent(APP, MONTHLY) == Decimal("1.8")
        clock.now += 2
        assert await balances.spent(APP, MONTHLY) == Decimal("0.8")


async def test_tasks_that_are_over_are_not_looked_through() -> None:
    """A busy key may have very many."""

    def plan(connection: sa.Connection) -> str:
        query = views._open_tasks("app").compile(connection, compile_kwargs={"literal_binds": True})
        return str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").all())

    async with opened("sqlite::memory:") as (_, database):
        assert "tasks_by_key_and_state (key=? AND state=?)" in await database.run(plan)


# --- money in another currency


async def test_what_was_paid_in_another_currency_counts_by_its_worth(store_address: str) -> None:
    rates = Rates({"USD": Decimal(1), "CNY": Decimal("0.14")})
    yuan, points = (ONE._replace(request_id=name, currency=name) for name in ("CNY", "points"))
    async with opened(store_address) as (balances, database):
        balances.rates = rates
        await book(database, ONE, yuan, points)
        assert await balances.spent(APP, MONTHLY) == Decimal("1.14")
        balances.note(APP, MONTHLY, yuan._replace(request_id="req_3"))
        balances.note(APP, MONTHLY, points._replace(request_id="req_4"))
        assert await balances.spent(APP, MONTHLY) == Decimal("1.28")
        balances.rates = Rates({"USD": Decimal(1), "CNY": Decimal("0.5")})
        balances.clock.now += 16  # type: ignore[attr-defined]
        assert await balances.spent(APP, MONTHLY) == Decimal("1.64")  # what is in the store, by the new rate


# --- periods


@pytest.mark.parametrize(
    ("period", "now", "since", "until"),
    [
        pytest.param("day", "2026-11-26T23:59:59", "2026-11-26", "2026-11-27", id="day"),
        pytest.param("month", "2026-11-26T12:00:00", "2026-11-01", "2026-12-01", id="month"),
        pytest.param("month", "2026-12-31T23:59:59", "2026-12-01", "2027-01-01", id="december"),
        pytest.param("month", "2028-02-29T00:00:00", "2028-02-01", "2028-03-01", id="leap day"),
        pytest.param("total", "2026-11-26T12:00:00", "1970-01-01", None, id="total"),
    ],
)
async def test_a_period_begins_at_midnight(period: Period, now: str, since: str, until: str | None) -> None:
    assert span(period, seconds(now)) == (seconds(since), None if until is None else seconds(until))


async def test_a_month_begins_anew(store_address: str) -> None:
    clock = Clock(seconds("2026-11-30T23:59:59"))
    async with opened(store_address, clock) as (balances, database):
        await book(database, ONE)
        assert await balances.spent(APP, MONTHLY) == 1
        balances.note(APP, MONTHLY, ONE._replace(request_id="req_2", at=clock.now))
        assert await balances.spent(APP, MONTHLY) == 2
        clock.now += 2
        assert await balances.spent(APP, MONTHLY) == 0
        assert await balances.spent(APP, Budget(Decimal(1), "USD", "total")) == 1


async def test_a_row_of_the_last_period_does_not_count_in_this_one(store_address: str) -> None:
    clock = Clock(seconds("2026-12-01T00:00:01"))
    async with opened(store_address, clock) as (balances, _):
        assert await balances.spent(APP, MONTHLY) == 0
        balances.note(APP, MONTHLY, ONE._replace(at=clock.now - 2))
        assert await balances.spent(APP, MONTHLY) == 0


# --- a store that is away


async def test_what_is_known_holds_while_the_store_is_away(tmp_path: Path) -> None:
    clock = Clock()
    database = Database(f"sqlite:{tmp_path}/here/dragoman.db")
    balances = Balances(database, Log(), clock)
    await book(database, ONE)
    assert await balances.spent(APP, MONTHLY) == 1
    database.release()
    (tmp_path / "here" / "dragoman.db").write_bytes(b"no database" * 1000)
    clock.now += 100
    assert await balances.spent(APP, MONTHLY) == 1
    assert balances.away == "DatabaseError"
    balances.note(APP, MONTHLY, ONE._replace(request_id="req_2", at=clock.now))
    assert await balances.spent(APP, MONTHLY) == 2
    await database.close()


async def test_what_nobody_ever_knew_is_no_balance() -> None:
    database = Database("postgresql://nobody@127.0.0.1:9/none")
    balances = Balances(database, Log())
    with pytest.raises(ProxyError) as caught:
        await balances.spent(APP, MONTHLY)
    assert (caught.value.status, caught.value.code) == (503, "budget_unavailable")
    await database.close()


async def test_a_store_without_a_file_is_left_alone(tmp_path: Path) -> None:
    async with opened(f"sqlite:{tmp_path}/none/dragoman.db") as (balances, _):
        assert await balances.spent(APP, MONTHLY) == 0
    assert not (tmp_path / "none").exists()


async def test_rows_that_wait_long_for_the_store_are_summed_up(tmp_path: Path) -> None:
    """What is kept of them is bounded, what they come to is not lost."""
    async with opened(f"sqlite:{tmp_path}/none/dragoman.db") as (balances, _):
        await balances.spent(APP, MONTHLY)
        for number in range(3000):
            balances.note(APP, MONTHLY, ONE._replace(request_id=f"r{number}"))
        assert await balances.spent(APP, MONTHLY) == 3000
