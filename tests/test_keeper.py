"""The keeper by itself: how it writes while the store is away, whose lease it writes under, and what a
request at work tells those who watch it."""

from __future__ import annotations

import asyncio
import base64
import selectors
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from proxy.errors import ErrorClass, ProxyError, StoppingError, UpstreamError
from proxy.serve.keeper import Keeper, Running
from proxy.serve.record import Record, StoreAwayError, UncertainError
from proxy.store import tables, tasks
from proxy.store.database import Database
from proxy.store.files import FileStore
from proxy.types import Image, Slice, Text
from tests.picture_vendors import GOOD
from tests.test_ledger import ROW as BOOKED
from tests.test_store import TASK

ROW = {
    **TASK,
    "state": "running",
    "ended_at": None,
    "idempotency": None,
    "body": None,
    "owner": None,
    "result": None,
    "error": None,
    "repeatable": False,
    "callback_url": None,
    "callback_due": None,
}
AWAY = OperationalError("SELECT 1", {}, Exception("a client's words"))


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, Any]] = []

    def write(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))

    def crash(self, name: str, error: Exception) -> None:
        self.lines.append(("crash", (name, type(error).__name__)))


class Jumping(selectors.DefaultSelector):
    """Time passes at once here, as far as somebody sleeps."""

    ahead_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.ahead_s += timeout or 0.0
        return super().select(0)


def jumping(work: Callable[[Callable[[], float]], Awaitable[Any]]) -> Any:
    """What becomes of `work`, which is given a clock."""
    selector = Jumping()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.ahead_s  # type: ignore[method-assign]
    try:
        return loop.run_until_complete(work(loop.time))  # type: ignore[arg-type]
    finally:
        loop.close()


def alone() -> tuple[Keeper, Log]:
    """A keeper without a store."""
    log = Log()
    services: Any = SimpleNamespace(log=log)
    return Keeper(services), log


@asynccontextmanager
async def stored() -> AsyncIterator[tuple[Keeper, Log]]:
    database, log = Database("sqlite::memory:"), Log()
    services: Any = SimpleNamespace(log=log, database=database)
    keeper = Keeper(services)
    keeper._rules = SimpleNamespace(lease=60.0)  # type: ignore[assignment]
    await database.open()
    yield keeper, log
    await database.close()


# --- a store that is away


def test_what_must_not_be_lost_is_written_again_for_a_quarter_of_an_hour() -> None:
    async def work(now: Callable[[], float]) -> list[float]:
        keeper, at = alone()[0], []

        async def write() -> bool:
            at.append(round(now(), 1))
            raise AWAY

        with pytest.raises(StoreAwayError):
            await keeper.insisting(write, insist=True)
        return at

    at = jumping(work)
    assert (at[:7], at[-1], len(at)) == ([0.0, 0.1, 0.6, 1.6, 3.6, 8.6, 13.6], 978.6, 200)


@pytest.mark.parametrize("held", [True, False])
def test_what_was_written_at_last_is_told_as_it_was(held: bool) -> None:
    async def work(_: Any) -> bool:
        answers = iter([AWAY, AWAY, held])

        async def write() -> bool:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return await alone()[0].insisting(write, insist=True)

    assert jumping(work) is held


def test_what_need_not_be_written_is_tried_once() -> None:
    keeper, log = alone()
    tried = []

    async def write() -> bool:
        tried.append(1)
        raise AWAY

    with pytest.raises(StoreAwayError) as caught:
        asyncio.run(keeper.insisting(write, insist=False))
    assert (len(tried), caught.value.__suppress_context__) == (1, True)
    assert log.lines == [("store_away", {"error": "OperationalError"})]


def test_a_store_that_is_away_is_told_of_once_and_again_when_it_was_back() -> None:
    """Without its words, which quote a client's."""
    keeper, log = alone()
    answers = iter([AWAY, AWAY, True, AWAY, True])

    async def write() -> bool:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def work(_: Any) -> None:
        await keeper.insisting(write, insist=True)
        assert len(log.lines) == 1
        await keeper.insisting(write, insist=True)

    jumping(work)
    assert log.lines == [("store_away", {"error": "OperationalError"})] * 2


def test_another_fault_of_the_store_is_one_of_ours() -> None:
    keeper, log = alone()
    keeper.note_away(ValueError())
    assert log.lines == [("crash", ("tasks", "ValueError"))]


@pytest.mark.anyio
async def test_a_row_is_found_or_unknown_or_out_of_reach() -> None:
    async with stored() as (keeper, log):
        await keeper.do(tasks.open_or_join, ROW, 60.0, None)
        assert (await keeper.row("task_1"))["request_id"] == "req_1"
        with pytest.raises(ProxyError) as caught:
            await keeper.row("task_2")
        error = caught.value
        assert (error.status, error.code) == (404, "task_not_found")
        assert error.message == "There is no such task, or it is another key's."
        await keeper.do(lambda connection: connection.execute(sa.text("DROP TABLE tasks")))
        with pytest.raises(StoreAwayError) as away:
            await keeper.row("task_1")
        assert (away.value.status, away.value.headers) == (503, {"retry-after": "2"})
        with pytest.raises(StoreAwayError):
            await keeper.changing(tasks.ask_cancel, "task_1", None)
        assert log.lines == [("store_away", {"error": "OperationalError"})]


# --- whose lease it is


@pytest.mark.anyio
@pytest.mark.parametrize("theirs", [{"owner": "another"}, {"epoch": 2}])
async def test_what_another_process_has_taken_over_is_neither_written_nor_booked(theirs: Any) -> None:
    def booked(connection: sa.Connection) -> int:
        found: int = connection.execute(sa.select(sa.func.count()).select_from(tables.ledger)).scalar_one()
        return found

    async with stored() as (keeper, _):
        row = {**ROW, "owner": keeper.owner}
        await keeper.do(tasks.open_or_join, row, 60.0, None)
        assert await keeper.write(row, {"orders": '{"0": 1}'}, [BOOKED])
        assert await keeper.do(booked) == 1
        await keeper.do(
            lambda connection: connection.execute(sa.update(tables.tasks).values(**theirs)).rowcount
        )
        assert not await keeper.write(row, {"orders": '{"0": 2}'}, [BOOKED._replace(attempt=2)])
        assert await keeper.do(booked) == 1
        assert (await keeper.row("task_1"))["orders"] == '{"0": 1}'


# --- a request at work


class Work:
    """Hands on what it is given, raises what is an error, and waits for ever at None."""

    def __init__(self, *steps: Any) -> None:
        self.steps = steps
        self.tolds: list[Any] = []
        self.is_closed = False

    async def batches(self) -> AsyncGenerator[Any, None]:
        try:
            for step in self.steps:
                if step is None:
                    await asyncio.Event().wait()
                elif isinstance(step, Exception):
                    raise step
                else:
                    yield step
        finally:
            self.is_closed = True


async def at_work(keeper: Keeper, work: Work, orders: str = "{}", *, is_kept: bool = True) -> Running:
    row = {**ROW, "owner": keeper.owner, "orders": orders, "asked": '{"dropped":["style"]}'}
    if is_kept:
        await keeper.do(tasks.open_or_join, row, 60.0, None)
    running = Running(Record(keeper, row, is_kept=is_kept), work, None, lambda _: None)  # type: ignore[arg-type]
    running.start()
    await asyncio.sleep(0)
    return running


async def failure(running: Running) -> ProxyError:
    """What those are told who watch it to its end."""
    with pytest.raises(ProxyError) as caught:
        async for _ in running.follow(10):
            pass
    return caught.value


INTENDED = '{"0":{"state":"intended"}}'
ACCEPTED = '{"0":{"state":"accepted"}}'


@pytest.mark.anyio
async def test_a_fault_of_ours_fails_it_and_only_its_place_is_told() -> None:
    async with stored() as (keeper, log):
        running = await at_work(keeper, Work([Text("Hi")], ValueError("a client's words")))
        error = await failure(running)
        row = await keeper.row("task_1")
    assert (type(error), error.status, error.__cause__) == (ProxyError, 500, None)
    assert error.message == "The proxy could not complete this request because of an internal error."
    assert log.lines == [("crash", ("task_1", "ValueError"))]
    assert (row["state"], row["repeatable"], "internal error" in row["error"]) == ("failed", False, True)


@pytest.mark.anyio
@pytest.mark.parametrize("bought", [True, False])
async def test_what_failed_starts_anew_where_nothing_was_bought(bought: bool) -> None:
    refused = UpstreamError(ErrorClass.UNAVAILABLE, "Down", bought=bought)
    refused.__cause__ = ValueError()
    async with stored() as (keeper, log):
        running = await at_work(keeper, Work(refused))
        error = await failure(running)
        row = await keeper.row("task_1")
    assert (type(error), error.message, error.__cause__) == (UpstreamError, "Down", None)
    assert error is not refused
    assert (row["state"], row["repeatable"], log.lines) == ("failed", not bought, [])
    assert row["asked"] == '{"dropped":["style"]}'


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("orders", "last"),
    [
        ("{}", UncertainError()),
        (INTENDED, UpstreamError(ErrorClass.UNAVAILABLE, "Another call")),
        (INTENDED, [Text("All that came")]),
    ],
    ids=["its only call", "another failed", "the others came"],
)
async def test_what_nobody_heard_of_makes_it_uncertain(orders: str, last: Any) -> None:
    async with stored() as (keeper, _):
        running = await at_work(keeper, Work(last), orders)
        error = await failure(running)
        row = await keeper.row("task_1")
    assert (type(error), error.code) == (UncertainError, "uncertain_outcome")
    assert (row["state"], row["error"], row["owner"]) == ("uncertain", None, None)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("orders", "is_kept", "bought"),
    [(ACCEPTED, False, True), (ACCEPTED, True, False), ("{}", False, False)],
    ids=["ordered and in memory", "goes on elsewhere", "not ordered"],
)
async def test_what_the_end_of_the_process_cuts_off_may_be_sent_again_unless_it_is_bought(
    orders: str, is_kept: bool, bought: bool
) -> None:
    async with stored() as (keeper, _):
        work = Work([Text("Hi")], None)
        running = await at_work(keeper, work, orders, is_kept=is_kept)
        await running.stop()
        assert work.is_closed
        error = await failure(running)
        state = (await keeper.row("task_1"))["state"] if is_kept else "running"
    assert isinstance(error, StoppingError)
    assert (error.bought, error.may_repeat, state) == (bought, False if bought else None, "running")


@pytest.mark.anyio
async def test_who_watches_what_another_process_took_over_may_ask_again() -> None:
    async with stored() as (keeper, _):
        running = await at_work(keeper, Work([Text("Hi")], None), ACCEPTED)
        await keeper.do(lambda connection: connection.execute(sa.update(tables.tasks).values(epoch=2)))
        running.record.cancelling = True
        await running.stop()
        error = await failure(running)
        row = await keeper.row("task_1")
    assert (type(error), error.may_repeat, row["state"]) == (StoppingError, None, "running")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("repeatable", "orders"),
    [(True, '{"0":{"state":"intended"},"1":{"state":"accepted"}}'), (False, '{"1":{"state":"accepted"}}')],
)
async def test_what_is_called_off_says_so_and_forgets_what_was_on_its_way(
    repeatable: bool, orders: str
) -> None:
    async with stored() as (keeper, _):
        running = await at_work(keeper, Work(None), orders)
        running.record.on_their_way.add("0")
        await keeper.called_off(running, repeatable=repeatable)
        error = await failure(running)
        row = await keeper.row("task_1")
    assert (type(error), error.status, error.code) == (UpstreamError, 409, "task_cancelled")
    assert (error.message, error.may_repeat) == ("The task was cancelled.", False)
    assert (row["state"], row["repeatable"]) == ("cancelled", repeatable)
    assert row["orders"] == '{"1":{"state":"accepted"}}'


@pytest.mark.anyio
async def test_a_picture_is_stored_before_those_who_watch_have_it(tmp_path: Path) -> None:
    picture = Image("image/png", Slice(base64.b64encode(GOOD)))
    async with stored() as (keeper, _):
        keeper.services.files = FileStore(tmp_path)
        running = await at_work(keeper, Work([Text("Hi")], [picture], None))
        watched = running.follow()
        assert await anext(watched) == [Text("Hi")]
        assert await anext(watched) == [picture]
        assert running.record.stored(picture) is not None
        await running.stop()


@pytest.mark.anyio
async def test_who_waits_no_longer_stops_to_watch() -> None:
    async with stored() as (keeper, _):
        running = await at_work(keeper, Work([Text("Hi")], None), is_kept=False)
        watched = running.follow(0.01)
        assert await anext(watched) == [Text("Hi")]
        with pytest.raises(TimeoutError):
            await anext(watched)
        await running.stop()
