"""The keeper by itself: how it writes while the store is away, whose lease it writes under, and what a
request at work tells those who watch it."""

from __future__ import annotations

import asyncio
import base64
import selectors
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from proxy.errors import ErrorClass, ProxyError, RequestError, StoppingError, UpstreamError
from proxy.keys import Budget, ClientKey
from proxy.ledger.balances import Balances
from proxy.serve import body as bodies
from proxy.serve.joining import Repeats
from proxy.serve.keeper import Keeper
from proxy.serve.record import Record, StoreAwayError, UncertainError
from proxy.serve.running import Running
from proxy.serve.told import Told
from proxy.store import tables, tasks
from proxy.store.database import Database
from proxy.store.files import FileStore
from proxy.store.wakes import CALLBACK, CANCEL, FREE, Wakes
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
BUDGET = Budget(Decimal(2), "USD", "total")
NO_REPEAT = Repeats(None, by_sdk=False, is_retry=False)
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
    services: Any = SimpleNamespace(log=log, database=database, balances=Balances(database, log))  # type: ignore[arg-type]
    keeper = Keeper(services)
    keeper._rules = SimpleNamespace(lease=60.0)  # type: ignore[assignment]
    await database.open()
    yield keeper, log
    await database.close()


async def beside(keeper: Keeper) -> None:
    """Until all is over that nobody waits for."""
    while keeper._background:
        await asyncio.wait(keeper._background)


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


async def at_work(
    keeper: Keeper, work: Work, orders: str = "{}", *, is_kept: bool = True, has_begun: bool = True
) -> Running:
    row = {**ROW, "owner": keeper.owner, "orders": orders, "asked": '{"dropped":["style"]}'}
    if is_kept:
        await keeper.do(tasks.open_or_join, row, 60.0, None)
    running = Running(Record(keeper, row, is_kept=is_kept), work, None, lambda _: None)  # type: ignore[arg-type]
    running.start()
    if has_begun:
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
        running.call_off(repeatable=repeatable)
        error = await failure(running)
        row = await keeper.row("task_1")
    assert (type(error), error.status, error.code) == (UpstreamError, 409, "task_cancelled")
    assert (error.message, error.may_repeat) == ("The task was cancelled.", False)
    assert not error.bought
    assert (row["state"], row["repeatable"]) == ("cancelled", repeatable)
    assert row["orders"] == '{"1":{"state":"accepted"}}'


@pytest.mark.anyio
async def test_what_is_called_off_before_it_has_begun_is_over_and_cancelled() -> None:
    async with stored() as (keeper, _):
        running = await at_work(keeper, Work(None), has_begun=False)
        async with asyncio.timeout(10):
            await keeper.called_off(running)
        row = await keeper.row("task_1")
    assert (row["state"], row["orders"]) == ("cancelled", "{}")


@pytest.mark.anyio
async def test_who_watches_what_is_stopped_before_it_has_begun_hears_of_it() -> None:
    async with stored() as (keeper, _):
        running = await at_work(keeper, Work(None), has_begun=False)
        await running.stop()
        assert type(await failure(running)) is StoppingError


@pytest.mark.anyio
async def test_who_leaves_when_all_is_made_does_not_keep_its_end_from_being_written(tmp_path: Path) -> None:
    picture = Image("image/png", Slice(base64.b64encode(GOOD)))
    async with stored() as (keeper, _):
        keeper.services.files = FileStore(tmp_path)
        running = await at_work(keeper, Work([picture]))
        async with running.record._turn:  # another write is under way
            while not running.record._turn._waiters:  # noqa: ASYNC110 - its end is the next that is written
                await asyncio.sleep(0)
            running.call_off(repeatable=True)
        assert [batch async for batch in running.follow(10)] == [[picture]]
        row = await keeper.row("task_1")
    assert (row["state"], running.record.cancelling) == ("completed", False)


@pytest.mark.anyio
async def test_a_process_that_ends_writes_down_first_what_has_come_to_its_end(tmp_path: Path) -> None:
    async with stored() as (keeper, _):
        keeper.services.files = FileStore(tmp_path)
        work = Work([Image("image/png", Slice(base64.b64encode(GOOD)))])
        running = keeper.running["task_1"] = await at_work(keeper, work)
        async with running.record._turn:  # another write is under way
            while not running.record._turn._waiters:  # noqa: ASYNC110 - its end is the next that is written
                await asyncio.sleep(0)
            closing = asyncio.create_task(keeper.close())
            for _ in range(9):
                await asyncio.sleep(0)
        await closing
        row = await keeper.row("task_1")
    assert row["state"] == "completed"


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
async def test_a_picture_that_nobody_can_come_back_for_is_not_stored(tmp_path: Path) -> None:
    picture = Image("image/png", Slice(base64.b64encode(GOOD)))
    async with stored() as (keeper, _):
        keeper.services.files = FileStore(tmp_path)
        running = await at_work(keeper, Work([picture]), is_kept=False)
        assert [batch async for batch in running.follow()] == [[picture]]
        assert running.record.stored(picture) is None


@pytest.mark.anyio
async def test_what_is_stopped_while_a_picture_is_stored_has_stopped_its_work() -> None:
    storing, go = threading.Event(), threading.Event()

    def save(_: Any) -> str:
        storing.set()
        go.wait(10)
        return "a"

    async with stored() as (keeper, _):
        keeper.services.files = SimpleNamespace(save=save)  # type: ignore[assignment]
        work = Work([Image("image/png", Slice(b"AAAA"))], None)
        running = await at_work(keeper, work)
        await asyncio.to_thread(storing.wait, 10)
        await running.stop()
        assert work.is_closed
        go.set()


@pytest.mark.parametrize(
    ("foretold", "tried", "named"),
    [
        ('{"dropped":["style"]}', [], ["style"]),
        ('{"dropped":["style"]}', ["seed"], ["user", "Seed"]),
        ("{}", [], ["user"]),
        ("{}", ["seed"], ["user", "Seed"]),
    ],
)
def test_what_is_lost_is_foretold_until_a_target_was_asked(foretold: str, tried: Any, named: Any) -> None:
    keeper, _ = alone()
    work: Any = SimpleNamespace(tolds=[Told(dropped=tuple(tried))], parsed=SimpleNamespace(dropped=("user",)))
    front: Any = SimpleNamespace(spelled=lambda names, _: [name.title() for name in names])
    record = Record(keeper, {**ROW, "asked": foretold}, is_kept=False)
    assert list(Running(record, work, front, lambda _: None).lost()) == named


@pytest.mark.anyio
async def test_who_waits_no_longer_stops_to_watch() -> None:
    async with stored() as (keeper, _):
        running = await at_work(keeper, Work([Text("Hi")], None), is_kept=False)
        watched = running.follow(0.01)
        assert await anext(watched) == [Text("Hi")]
        with pytest.raises(TimeoutError):
            await anext(watched)
        await running.stop()


# --- what is always going on


_LOOKS = {
    "callbacks": "tasks.callback_due <=",
    "late orders": "FROM watches",
    "leases": "UPDATE tasks SET lease_until=? WHERE",
    "free tasks": "tasks.lease_until IS NULL OR",
    "reserved": "tasks.id IN",
    "old tasks": "DELETE FROM tasks",
}
ALL = ["callbacks", "late orders", "free tasks"]


@contextmanager
def looks(keeper: Keeper) -> Iterator[list[str]]:
    """What its store is asked for; another server may be at work in this process."""
    seen: list[str] = []
    own = keeper.services.database

    def executing(connection: sa.Connection, _: Any, statement: str, *__: Any) -> None:
        if connection.engine is own._engine:
            seen.extend(name for name, words in _LOOKS.items() if words in statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", executing)
    try:
        yield seen
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", executing)


def house_of(keeper: Keeper, *, lease: float = 60.0, at_once: int = 2) -> Any:
    services: Any = keeper.services
    services.wakes = Wakes(lambda: None)
    rules = SimpleNamespace(lease=lease, at_once=at_once, keep=3600.0)
    return SimpleNamespace(plan=SimpleNamespace(config=SimpleNamespace(tasks=rules)), services=services)


def held_up(keeper: Keeper, count: int) -> None:
    """As many as this are at work here."""
    for number in range(count):
        row = {**ROW, "id": f"own {number}"}
        work: Any = SimpleNamespace(asked=SimpleNamespace(unhurried=None))
        running = Running(Record(keeper, row, is_kept=False), work, None, lambda _: None)  # type: ignore[arg-type]
        keeper.running[row["id"]] = running


@pytest.mark.anyio
async def test_the_first_look_is_for_everything_and_the_next_waits_a_third_of_a_lease() -> None:
    async with stored() as (keeper, _):
        house, found = house_of(keeper, lease=60.0), []
        for passed_s in (0.0, 15.0, 6.0, 0.0, 500.0, 120.0):
            keeper._renewed -= passed_s
            keeper._swept -= passed_s
            with looks(keeper) as seen:
                await keeper.tick(house, {})
            found.append(seen)
    assert found == [[*ALL, "old tasks"], [], ALL, [], ALL, [*ALL, "old tasks"]]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("told", "at_work", "looked_for"),
    [
        ("", 0, []),
        ("task_1", 0, []),
        (CALLBACK, 0, ["callbacks"]),
        (CALLBACK, 2, ["callbacks"]),
        (FREE, 1, ALL),
        (FREE, 2, []),
        (CANCEL, 1, ALL),
        (CANCEL, 2, ["callbacks", "late orders"]),
    ],
)
async def test_what_was_told_of_is_looked_for_at_once(told: str, at_work: int, looked_for: list[str]) -> None:
    async with stored() as (keeper, _):
        house = house_of(keeper)
        await keeper.tick(house, {})
        held_up(keeper, at_work)
        keeper.services.wakes.heard(told)
        with looks(keeper) as seen:
            await keeper.tick(house, {})
        assert seen == looked_for
        with looks(keeper) as seen:
            await keeper.tick(house, {})
        assert seen == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("at_once", "callback_url", "looked_for"),
    [
        (1, None, ALL),
        (1, "https://app.example", ALL),
        (2, "https://app.example", ["callbacks"]),
        (2, None, []),
    ],
)
async def test_the_end_of_a_task_is_looked_at_for_its_callback_and_its_place(
    at_once: int, callback_url: str | None, looked_for: list[str]
) -> None:
    async with stored() as (keeper, _):
        house = house_of(keeper, at_once=at_once)
        await keeper.tick(house, {})
        held_up(keeper, 1)
        ((name, running),) = keeper.running.items()
        running.record.row = {**running.record.row, "callback_url": callback_url}
        keeper._ended(running)
        assert name not in keeper.running
        for expected in (looked_for, []):
            with looks(keeper) as seen:
                await keeper.tick(house, {})
            assert seen == expected


@pytest.mark.anyio
async def test_an_order_that_was_given_up_is_looked_at_when_its_time_has_come() -> None:
    async with stored() as (keeper, _):
        house = house_of(keeper)
        await keeper.tick(house, {})
        keeper._late_at = time.monotonic() + 60
        for passed_s, expected in ((0, []), (60, ["late orders"]), (0, [])):
            keeper._late_at -= passed_s
            with looks(keeper) as seen:
                await keeper.tick(house, {})
            assert seen == expected


@pytest.mark.anyio
async def test_a_store_that_was_away_is_told_of_again_after_a_look_that_went_well() -> None:
    async with stored() as (keeper, log):
        house = house_of(keeper)
        keeper.note_away(AWAY)
        await keeper.tick(house, {})
        keeper.note_away(AWAY)
        assert len(log.lines) == 2


@pytest.mark.anyio
async def test_what_was_told_of_no_more_is_forgotten_by_its_age() -> None:
    async with stored() as (keeper, _):
        house = house_of(keeper)
        for name, age_s in (("task_1", 3500.0), ("task_2", 3700.0)):
            over = {**ROW, "id": name, "state": "completed", "ended_at": time.time() - age_s}
            await keeper.do(tasks.open_or_join, over, 60.0, None)
        await keeper.tick(house, {})
        assert (await keeper.row("task_1"))["id"] == "task_1"
        with pytest.raises(ProxyError):
            await keeper.row("task_2")


# --- who leaves


@contextmanager
def busy_store(keeper: Keeper) -> Iterator[None]:
    """All that is to be written waits until the block ends."""
    go = threading.Event()
    busy = asyncio.ensure_future(keeper.do(lambda _: go.wait(10)))
    try:
        yield
    finally:
        go.set()
    assert busy is not None


async def left_while_written(
    keeper: Keeper, house: Any, row: dict[str, Any], go_on: Callable[[Any], object] | None = None
) -> None:
    opening = asyncio.ensure_future(keeper.opened(house, row, go_on, NO_REPEAT, insist=True))
    await asyncio.sleep(0.01)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening


@pytest.mark.anyio
async def test_who_leaves_while_its_row_is_written_leaves_nothing_to_join() -> None:
    async with stored() as (keeper, _):
        house, row = house_of(keeper), {**ROW, "owner": keeper.owner, "idempotency": "a key"}
        with busy_store(keeper):
            await left_while_written(keeper, house, row)
            other = {**row, "digest": b"other"}
            await asyncio.wait_for(keeper._left.over(other), 5)
            again = asyncio.ensure_future(keeper.opened(house, row, None, NO_REPEAT, insist=True))
            await asyncio.sleep(0)
        found = await again
        assert found is not None
        assert (found[0]["id"], found[0]["epoch"], found[1]) == ("task_1", 2, True)
        assert (len(keeper.opening), len(keeper._left), keeper._background) == (0, 0, set())


@pytest.mark.anyio
async def test_what_was_left_while_it_was_written_is_cancelled() -> None:
    async with stored() as (keeper, _):
        house, row = house_of(keeper), {**ROW, "owner": keeper.owner, "idempotency": "a key"}
        with busy_store(keeper):
            await left_while_written(keeper, house, row)
        await beside(keeper)
        found = await keeper.row("task_1")
        assert (found["state"], found["repeatable"]) == ("cancelled", True)
        assert '"code":"task_cancelled"' in found["error"]


@pytest.mark.anyio
@pytest.mark.parametrize("joins", [False, True])
async def test_who_leaves_while_its_row_is_written_keeps_its_money_until_nothing_is_open(joins: bool) -> None:
    async with stored() as (keeper, _):
        balances, caller = keeper.services.balances, ClientKey("app")
        house, row = house_of(keeper), {**ROW, "owner": keeper.owner, "idempotency": "a key"}
        assert await balances.spent(caller, BUDGET) == 0
        if joins:
            await keeper.do(tasks.open_or_join, row, 60.0, None)
        balances.reserve(caller, BUDGET, "req_1", Decimal("0.8"))
        with busy_store(keeper):
            await left_while_written(keeper, house, {**row, "id": "task_2"})
            balances.release("req_1")  # the end of its request here
            assert await balances.spent(caller, BUDGET) == Decimal("0.8")
        await beside(keeper)
        assert await balances.spent(caller, BUDGET) == 0
        assert keeper._reserved == {}


@pytest.mark.anyio
async def test_who_leaves_while_its_row_is_written_and_goes_on_has_its_money_reserved() -> None:
    async with stored() as (keeper, _):
        balances, caller = keeper.services.balances, ClientKey("app")
        house, row = house_of(keeper), {**ROW, "state": "pending"}
        assert await balances.spent(caller, BUDGET) == 0
        balances.reserve(caller, BUDGET, "req_1", Decimal("0.8"))
        with busy_store(keeper):
            await left_while_written(keeper, house, row, lambda row: keeper.waits(row["request_id"]))
            balances.release("req_1")
        await beside(keeper)
        assert await balances.spent(caller, BUDGET) == Decimal("0.8")
        assert keeper._reserved == {}


@pytest.mark.anyio
async def test_who_would_have_joined_and_leaves_calls_nothing_off() -> None:
    async with stored() as (keeper, _):
        house, row = house_of(keeper), {**ROW, "owner": keeper.owner, "idempotency": "a key"}
        await keeper.do(tasks.open_or_join, row, 60.0, None)
        with busy_store(keeper):
            await left_while_written(keeper, house, {**row, "id": "task_2"})
        await beside(keeper)
        assert (await keeper.row("task_1"))["state"] == "running"


@pytest.mark.anyio
@pytest.mark.parametrize("insist", [True, False])
async def test_where_no_row_can_be_written_only_who_insists_is_refused(insist: bool) -> None:
    async with stored() as (keeper, log):
        house = house_of(keeper)
        await keeper.do(lambda connection: connection.execute(sa.text("DROP TABLE tasks")))
        row = {**ROW, "owner": keeper.owner}
        if insist:
            with pytest.raises(StoreAwayError):
                await keeper.opened(house, row, None, NO_REPEAT, insist=True)
        else:
            assert await keeper.opened(house, row, None, NO_REPEAT, insist=False) is None
        assert log.lines == [("store_away", {"error": "OperationalError"})]


@pytest.mark.anyio
async def test_what_its_client_left_is_kept_when_the_store_is_back() -> None:
    async with stored() as (keeper, log):
        await keeper.do(lambda connection: connection.execute(sa.text("ALTER TABLE tasks RENAME TO away")))
        running = await at_work(keeper, Work(None), ACCEPTED, is_kept=False)
        running.record.row = {**running.record.row, "body": {"prompt": "x"}}
        running.record.orders["0"]["attempt"] = 1
        keeping = asyncio.ensure_future(keeper._kept_from_now(running))
        while not log.lines:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.001)
        await keeper.do(lambda connection: connection.execute(sa.text("ALTER TABLE away RENAME TO tasks")))
        await keeping
        assert running.record.is_kept
        found = await keeper.row("task_1")
        assert found["orders"] == '{"0":{"state":"accepted","attempt":1}}'
        body = await keeper.do(lambda connection: connection.execute(sa.select(tables.tasks.c.body)).scalar())
        assert bodies.read_again(body) == {"prompt": "x"}
        await running.stop()


@pytest.mark.parametrize(
    ("orders", "ends_at", "waited_s"),
    [
        (INTENDED, None, 5.0),
        (INTENDED, 0.2, 0.2),
        (ACCEPTED, None, 0.0),
        ("{}", None, 0.0),
    ],
    ids=["no answer", "an answer", "ordered", "not ordered"],
)
def test_what_is_being_ordered_may_hear_the_vendors_number_before_it_is_called_off(
    orders: str, ends_at: float | None, waited_s: float
) -> None:
    async def work(now: Callable[[], float]) -> float:
        keeper, _ = alone()
        running = await at_work(keeper, Work(None), orders, is_kept=False)
        if ends_at is not None:
            answered = {"state": "accepted"}
            asyncio.get_running_loop().call_later(ends_at, running.record.orders.update, {"0": answered})
        began = now()
        await keeper.called_off(running)
        return now() - began

    assert jumping(work) == pytest.approx(waited_s, abs=0.06)


def test_what_is_over_is_not_waited_for() -> None:
    async def work(now: Callable[[], float]) -> float:
        keeper, _ = alone()
        running = await at_work(keeper, Work(UncertainError()), INTENDED, is_kept=False)
        await running.ended()
        began = now()
        await keeper._answered([running])
        return now() - began

    assert jumping(work) == 0


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("policy", "orders", "changes", "becomes"),
    [
        ("cancel", ACCEPTED, {}, "called off"),
        ("cancel", "{}", {}, "called off"),
        ("finish_if_paid", "{}", {}, "called off"),
        ("finish_if_paid", ACCEPTED, {}, "kept"),
        ("finish", "{}", {}, "kept"),
        ("finish", ACCEPTED, {}, "kept"),
        ("cancel", "{}", {"waits": False}, "as it was"),
        ("finish", "{}", {"waits": False}, "as it was"),
    ],
)
async def test_the_rule_of_the_provider_says_what_becomes_of_what_was_left(
    policy: str, orders: str, changes: Any, becomes: str
) -> None:
    async with stored() as (keeper, _):
        running = await at_work(keeper, Work(None), orders, is_kept=False)
        running.record.row = {**running.record.row, "waits": True, "body": {"prompt": "x"}, **changes}
        asked_last = Told(target="wan.image/m")
        running.work.tolds = [Told(target="other/m"), asked_last, Told()]
        other = SimpleNamespace(on_disconnect="cancel" if policy == "finish" else "finish")
        config = SimpleNamespace(providers={"wan": SimpleNamespace(on_disconnect=policy), "other": other})
        first = SimpleNamespace(target=SimpleNamespace(name="other/m"))
        work: Any = running.work
        work.house = SimpleNamespace(plan=SimpleNamespace(config=config))
        work.candidates = (first,)
        keeper.left(running)
        assert bool(running._task.cancelling()) is (becomes == "called off")  # at once: nothing goes out now
        await beside(keeper)
        assert (running.over, running.record.is_kept) == (becomes == "called off", becomes == "kept")
        if running.over:
            assert (await failure(running)).code == "task_cancelled"
        await running.stop()
        keeper.left(running)  # nothing becomes of what is over
        assert not keeper._background


@pytest.mark.anyio
async def test_what_has_asked_nobody_yet_goes_by_whom_it_would_ask_first() -> None:
    async with stored() as (keeper, _):
        running = await at_work(keeper, Work(None), is_kept=False)
        running.record.row = {**running.record.row, "waits": True}
        providers = {"wan": SimpleNamespace(on_disconnect="cancel")}
        work: Any = running.work
        work.house = SimpleNamespace(plan=SimpleNamespace(config=SimpleNamespace(providers=providers)))
        work.candidates = (SimpleNamespace(target=SimpleNamespace(name="wan/m")),)
        keeper.left(running)
        await beside(keeper)
        assert (await failure(running)).code == "task_cancelled"


@pytest.mark.anyio
async def test_what_goes_wrong_beside_is_told_and_forgotten() -> None:
    async def fails(error: BaseException | None) -> None:
        if error is not None:
            raise error

    faults: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    async with stored() as (keeper, log):
        for error in (None, asyncio.CancelledError(), AWAY):
            await asyncio.wait([keeper._spawn(fails(error))])
        await asyncio.sleep(0)
        assert faults == []
        assert log.lines == [("store_away", {"error": "OperationalError"})]
        assert keeper._background == set()


# --- leases


@pytest.mark.anyio
async def test_what_is_anothers_is_stopped_and_the_rest_goes_on() -> None:
    async with stored() as (keeper, _):
        house = house_of(keeper, at_once=9)
        ours, stolen, theirs, unkept = [
            Running(
                Record(keeper, {**ROW, "id": name, "owner": keeper.owner}, is_kept=is_kept),
                Work(None),  # type: ignore[arg-type]
                None,  # type: ignore[arg-type]
                keeper._ended,
            )
            for name, is_kept in (("task_1", True), ("task_2", True), ("task_3", True), ("own", False))
        ]
        for each in (ours, stolen, theirs, unkept):
            each.work.asked = SimpleNamespace(unhurried=None)  # type: ignore[assignment]
            keeper.running[each.record.identity] = each
            each.start()
        for each in (ours, stolen, theirs):
            await keeper.do(tasks.open_or_join, each.record.row, 60.0, None)
        table = tables.tasks
        await keeper.do(
            lambda connection: connection.execute(
                sa.update(table).where(table.c.id == "task_2").values(epoch=2)
            )
        )
        await keeper.do(
            lambda connection: connection.execute(
                sa.update(table).where(table.c.id == "task_3").values(owner="another", lease_until=2e10)
            )
        )
        await keeper.tick(house, {})
        await stolen.ended()
        await theirs.ended()
        assert sorted(keeper.running) == ["own", "task_1"]
        for each in (ours, unkept):
            assert not each.over
            await each.stop()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("told", "cancel_asked", "is_cancelling", "state"),
    [
        ({"can_cancel": True}, True, False, "cancelled"),
        ({"can_cancel": False}, True, False, "running"),
        ({"can_cancel": True}, False, False, "running"),
        ({"can_cancel": True}, True, True, "running"),
    ],
    ids=["at its vendor", "nobody can", "nobody asked", "it is already"],
)
async def test_what_a_client_wants_called_off_is_where_its_vendor_can(
    told: Any, cancel_asked: bool, is_cancelling: bool, state: str
) -> None:
    async with stored() as (keeper, _):
        house = house_of(keeper, at_once=9)
        running = await at_work(keeper, Work(None), '{"0":{"state":"accepted"}}')
        running.work.asked = SimpleNamespace(unhurried=None)  # type: ignore[assignment]
        running.record.orders["0"]["told"] = told
        running.record.is_behind, running.record.cancelling = True, is_cancelling
        keeper.running["task_1"] = running
        values = {"cancel_asked": cancel_asked}
        await keeper.do(
            lambda connection: connection.execute(sa.update(tables.tasks).values(**values)).rowcount
        )
        await keeper.tick(house, {})
        await beside(keeper)
        row = await keeper.row("task_1")
        assert (row["state"], row["repeatable"]) == (state, False)
        if state == "running":  # what its vendor told is written beside
            assert ('"told"' in row["orders"], running.record.is_behind) == (True, False)
            await running.stop()


@pytest.mark.anyio
async def test_news_that_cannot_be_written_wait() -> None:
    async with stored() as (keeper, _):
        running = await at_work(keeper, Work(None), ACCEPTED)
        running.record.is_behind = True
        await keeper.do(lambda connection: connection.execute(sa.text("ALTER TABLE tasks RENAME TO away")))
        await keeper._caught_up(running.record)
        assert running.record.is_behind
        await keeper.do(lambda connection: connection.execute(sa.text("ALTER TABLE away RENAME TO tasks")))
        await keeper.do(lambda connection: connection.execute(sa.update(tables.tasks).values(epoch=2)))
        await keeper._caught_up(running.record)
        assert not running.over
        await running.stop()


# --- what another process has left


def gone(*_: Any) -> str:
    raise RequestError("There is no such model.", status=404, code="model_not_found")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("left", "state", "repeatable"),
    [
        ({"state": "pending", "orders": "{}"}, "failed", True),
        ({"orders": '{"0":{"state":"accepted","attempt":1}}'}, "parked", False),
        ({"tries": 3}, "parked", False),
    ],
    ids=["not ordered", "ordered", "it ended three"],
)
async def test_what_can_be_read_no_more_fails_unless_it_was_ordered(
    left: Any, state: str, repeatable: bool
) -> None:
    async with stored() as (keeper, log):
        house = house_of(keeper)
        keeper.services.files = SimpleNamespace(is_stored=None)  # type: ignore[assignment]
        body = bodies.written({"model": "gone"})
        told = '{"strict":false,"fallback":true}'
        row = {**ROW, "owner": "the dead", "body": body, "asked": told, "tries": 1, **left}
        await keeper.do(tasks.open_or_join, row, -1.0, None)
        house.plan.routes = SimpleNamespace(resolve=None)
        front: Any = SimpleNamespace(model=gone, kind="image")
        await keeper.tick(house, {"/images/generations": front})
        found = await keeper.row("task_1")
        assert (found["state"], found["repeatable"], found["owner"]) == (state, repeatable, None)
        assert ("model_not_found" in (found["error"] or "")) is (state == "failed")
        over = {"state": "parked", "tries": 3} if "tries" in left else {"state": "running", "tries": 2}
        seen = {"task": "task_1", **over, "was": "the dead"}
        assert log.lines == [("task_taken_over", seen)]
        assert keeper.running == {}


# --- the end of the process


def test_the_end_of_a_process_waits_a_little_for_what_is_beside_and_for_vendors() -> None:
    async def work(now: Callable[[], float]) -> tuple[list[int], bool]:
        keeper, times = alone()[0], []
        for running in (None, await at_work(keeper, Work(None), INTENDED, is_kept=False)):
            for_ever = keeper._spawn(asyncio.Event().wait())  # type: ignore[arg-type]
            if running is not None:
                keeper.running["task_1"] = running
            began = now()
            await keeper.close()
            await asyncio.wait([for_ever])
            times.append(round(now() - began))
        return times, for_ever.cancelled()

    assert jumping(work) == ([5, 10], True)


@pytest.mark.anyio
async def test_the_end_of_a_process_closes_what_calls_back_and_leaves_what_is_kept_among_others() -> None:
    async with stored() as (keeper, _):
        closed = []

        async def close() -> None:
            closed.append(1)

        keeper._poster = SimpleNamespace(close=close)  # type: ignore[assignment]
        keeper.running["own"] = await at_work(keeper, Work(None), is_kept=False)
        keeper.running["task_1"] = await at_work(keeper, Work(None), ACCEPTED)
        await keeper.close()
        assert closed == [1]
        assert (await keeper.row("task_1"))["owner"] is None


@pytest.mark.anyio
async def test_a_process_that_ends_leaves_what_is_kept_to_the_next_at_once() -> None:
    async with stored() as (keeper, _):
        house = house_of(keeper)
        await keeper.tick(house, {})
        running = await at_work(keeper, Work(None), ACCEPTED)
        keeper.running["task_1"] = running
        done = asyncio.Event()

        async def soon() -> None:
            await asyncio.sleep(0.02)
            done.set()

        keeper._spawn(soon())
        await keeper.close()
        assert (running.over, done.is_set()) == (True, True)
        row = await keeper.row("task_1")
        assert (row["owner"], row["tries"], row["state"]) == (None, 0, "running")


@pytest.mark.anyio
@pytest.mark.parametrize("is_kept", [True, False])
async def test_the_end_of_a_process_asks_the_store_for_what_it_keeps_alone(is_kept: bool) -> None:
    async with stored() as (keeper, log):
        running = await at_work(keeper, Work(None), ACCEPTED, is_kept=is_kept)
        keeper.running["task_1"] = running
        await keeper.do(lambda connection: connection.execute(sa.text("DROP TABLE tasks")))
        await keeper.close()
        assert running.over
        assert log.lines == [("store_away", {"error": "OperationalError"})] * is_kept
