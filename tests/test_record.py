"""What is known of a task, step by step in its row."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import orjson
import pytest
import sqlalchemy as sa

from proxy.errors import ErrorClass, RequestError, UpstreamError
from proxy.ledger.entries import Watch
from proxy.routing.attempts import Attempt
from proxy.serve.keeper import Keeper
from proxy.serve.record import (
    Kept,
    LostLeaseError,
    Record,
    StoreAwayError,
    UncertainError,
    plain_error,
)
from proxy.serve.told import Told, Try
from proxy.store import tables, tasks
from proxy.store.files import FileStore
from proxy.tasks.engine import Job
from proxy.types import (
    Image,
    Slice,
    Text,
)
from tests.picture_vendors import GOOD
from tests.test_keeper import AWAY, ROW, stored
from tests.test_ledger import ROW as BOOKED

PICTURE = Slice(base64.b64encode(GOOD))


class Shaky:
    """A store that is `away` for so many writes."""

    def __init__(self, database: Any) -> None:
        self.database = database
        self.read = database.read
        self.away = 0

    async def run(self, work: Callable[[Any], Any]) -> Any:
        if self.away:
            self.away -= 1
            await asyncio.sleep(0)
            raise AWAY
        return await self.database.run(work)


class Scene(NamedTuple):
    """A record whose row is in the store; `booked` is what its ledger was given at once."""

    keeper: Keeper
    record: Record
    store: Shaky
    booked: list[Any]

    @property
    def call(self) -> Kept:
        return self.record.call(0, 1)

    async def orders(self) -> Any:
        """As they stand in the row."""
        return orjson.loads((await self.keeper.row("task_1"))["orders"])

    async def rows(self) -> int:
        """Of the ledger."""
        counting = sa.select(sa.func.count()).select_from(tables.ledger)
        found: int = await self.keeper.do(lambda connection: connection.execute(counting).scalar_one())
        return found

    async def lose(self) -> None:
        """To another process."""
        theirs = sa.update(tables.tasks).values(epoch=2)
        await self.keeper.do(lambda connection: connection.execute(theirs).rowcount)


@asynccontextmanager
async def recorded(orders: Any = None, *, is_kept: bool = True) -> AsyncIterator[Scene]:
    async with stored() as (keeper, _):
        row = {**ROW, "owner": keeper.owner, "orders": json.dumps(orders or {})}
        await keeper.do(tasks.open_or_join, row, 60.0, None)
        booked: list[Any] = []
        services: Any = keeper.services
        services.ledger = SimpleNamespace(add=lambda entry, *, at_once: booked.append((entry, at_once)))
        services.database = store = Shaky(services.database)
        record = Record(keeper, row, is_kept=is_kept, tried_before=300_000)
        yield Scene(keeper, record, store, booked)


ACCEPTED: Any = {"state": "accepted", "target": "a/b", "account": "k2", "attempt": 3, "task": {"id": "t1"}}


@pytest.mark.anyio
async def test_a_task_begins_with_nothing_ordered_and_nothing_to_be_told() -> None:
    async with recorded() as scene:
        record = Record(scene.keeper, ROW, is_kept=True)
        assert (record.cancelling, record.repeatable, record.is_behind) == (False, False, False)
        assert (record.can_cancel, record.is_ordered, record.is_uncertain) == (True, False, False)
        assert record.tried_before == 0


@pytest.mark.anyio
async def test_what_is_booked_is_written_once_with_the_next_step() -> None:
    async with recorded() as scene:
        scene.record.book(BOOKED)
        assert (await scene.rows(), scene.booked) == (0, [])
        await scene.record.put(0, ACCEPTED)
        assert (await scene.rows(), await scene.orders()) == (1, {"0": ACCEPTED})
        scene.call.book(BOOKED._replace(attempt=2))
        await scene.record.put(0, None)
        assert (await scene.rows(), await scene.orders(), scene.booked) == (2, {}, [])


@pytest.mark.anyio
async def test_what_is_in_memory_alone_is_booked_at_once_and_written_nowhere() -> None:
    async with recorded(is_kept=False) as scene:
        scene.record.book(BOOKED)
        await scene.record.put(0, ACCEPTED)
        assert (scene.booked, await scene.rows(), await scene.orders()) == ([(BOOKED, True)], 0, {})
        assert scene.record.orders == {"0": ACCEPTED}


@pytest.mark.anyio
async def test_what_cannot_be_written_is_not_begun_and_its_money_is_booked_elsewhere() -> None:
    async with recorded({"0": ACCEPTED}) as scene:
        scene.record.book(BOOKED)
        scene.record.is_behind = True
        scene.store.away = 1
        with pytest.raises(StoreAwayError) as caught:
            await scene.record.put(1, {"state": "intended"}, insist=False)
        assert (caught.value.status, caught.value.code) == (503, "store_unavailable")
        assert scene.record.orders == await scene.orders() == {"0": ACCEPTED}
        assert (scene.booked, scene.record.is_behind) == ([(BOOKED, True)], True)
        await scene.record.write({})
        assert (await scene.rows(), scene.record.is_behind) == (0, False)


@pytest.mark.anyio
async def test_what_cannot_be_written_takes_nothing_of_another_call_back() -> None:
    async with recorded() as scene:
        scene.store.away = 1
        refused, _ = await asyncio.gather(
            scene.record.put(1, {"state": "intended"}, insist=False),
            scene.record.put(0, ACCEPTED),
            return_exceptions=True,
        )
        assert isinstance(refused, StoreAwayError)
        assert scene.record.orders == await scene.orders() == {"0": ACCEPTED}


@pytest.mark.anyio
async def test_what_is_booked_with_a_write_that_is_broken_off_comes_with_the_next() -> None:
    """A client leaves while the store is busy; the write has waited in its queue, and is done no more."""
    async with recorded() as scene:
        busy, goes_on = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def work(_: Any) -> None:
            loop.call_soon_threadsafe(busy.set)
            goes_on.wait(10)

        before = asyncio.create_task(scene.keeper.do(work))
        await busy.wait()
        scene.record.book(BOOKED)
        writing = asyncio.create_task(scene.record.put(0, ACCEPTED))
        await asyncio.sleep(0)
        writing.cancel()
        goes_on.set()
        await before
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert await scene.rows() == 0
        await scene.record.end("cancelled")
        assert (await scene.rows(), scene.booked) == (1, [])


@pytest.mark.anyio
@pytest.mark.parametrize("step", ["put", "end"])
async def test_what_has_happened_is_written_when_the_store_is_back(step: str) -> None:
    async with recorded() as scene:
        scene.record.book(BOOKED)
        scene.store.away = 1
        await (scene.record.put(0, ACCEPTED) if step == "put" else scene.record.end("completed"))
        row = await scene.keeper.row("task_1")
        assert (await scene.rows(), scene.booked) == (1, [])
    if step == "put":
        assert (row["state"], json.loads(row["orders"])) == ("running", {"0": ACCEPTED})
    else:
        assert (row["state"], row["orders"]) == ("completed", "{}")


@pytest.mark.anyio
async def test_who_has_lost_a_task_is_at_its_end() -> None:
    async with recorded() as scene:
        await scene.lose()
        scene.record.book(BOOKED)
        with pytest.raises(LostLeaseError):
            await scene.record.put(0, ACCEPTED)
        with pytest.raises(LostLeaseError):
            await scene.record.end("completed")
        assert (await scene.rows(), scene.booked, await scene.orders()) == (0, [], {})
    assert issubclass(LostLeaseError, asyncio.CancelledError)


@pytest.mark.anyio
async def test_the_end_keeps_of_an_order_what_is_not_in_its_result() -> None:
    order = {**ACCEPTED, "events": [], "facts": {}, "told": {}}
    async with recorded({"0": order}) as scene:
        await scene.record.end("failed", error="{}")
        row = await scene.keeper.row("task_1")
        assert (row["state"], row["error"], json.loads(row["orders"])) == ("failed", "{}", {"0": ACCEPTED})


@pytest.mark.anyio
async def test_a_picture_that_cannot_be_stored_is_told_and_missing(tmp_path: Path) -> None:
    async with recorded() as scene:
        scene.keeper.services.files = FileStore(tmp_path)
        broken = Image("image/png", Slice(b"no!"))
        plain = await scene.record.save([Text("Hi"), broken])
        assert plain == [
            {"kind": "Text", "text": "Hi"},
            {"kind": "Image", "mime": "image/png", "data": {"$file": None}},
        ]
        assert (scene.record.load(plain), scene.record.stored(broken)) == ([Text("Hi")], None)


@pytest.mark.anyio
async def test_what_is_in_memory_goes_into_the_store_once() -> None:
    answers = [False, True]

    async def insert() -> bool:
        return answers.pop(0)

    async with recorded(is_kept=False) as scene:
        await scene.record.keep(insert)
        assert not scene.record.is_kept
        await scene.record.keep(insert)
        await scene.record.keep(insert)
        assert scene.record.is_kept


def test_what_clients_are_told_of_an_order_that_nobody_knows_of_or_can_write_down() -> None:
    assert vars(UncertainError()) == {
        "message": "It is not known whether the vendor took this order: the server ended while it was being "
        "sent. It is not ordered again by itself; the operator is told.",
        "status": 502,
        "code": "uncertain_outcome",
        "headers": {"x-should-retry": "false"},
    }
    assert vars(StoreAwayError()) == {
        "message": "The store of tasks cannot be reached, so nothing was ordered. Try again in a moment.",
        "status": 503,
        "code": "store_unavailable",
        "headers": {"retry-after": "2"},
    }


# --- what an earlier process has left


def test_an_order_has_the_same_id_in_every_process() -> None:
    keeper: Any = None
    record = Record(keeper, ROW, is_kept=True)
    ids = [record.call(number, 2).vendor_order for number in (0, 1)]
    assert ids == ["2bfe26f8-d214-4066-a121-4c0e96ac42c9", "05102957-aee4-4cc0-a8c8-bdec38f8da48"]
    begun_anew = Record(keeper, {**ROW, "request_id": "req_2", "epoch": 2}, is_kept=True)
    assert begun_anew.call(0, 2).vendor_order not in ids


INTENDED = {**ACCEPTED, "state": "intended"}
ASKS = {**INTENDED, "asks": True}
FAILED = {"state": "failed", "error": {"class": "blocked", "message": "No", "bought": True}}
DONE = {
    "state": "done",
    "events": [{"kind": "Text", "text": "Hi"}],
    "facts": {"target": "a/b", "dropped": [], "size": "", "images": 0, "lost": 0, "charge": None},
}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("order", "came", "is_unheard"),
    [
        (None, None, False),
        (ACCEPTED, None, False),
        (ASKS, None, True),
        (INTENDED, UncertainError(), True),
        (FAILED, UpstreamError(ErrorClass.BLOCKED, "No", bought=True), False),
        (DONE, ([Text("Hi")], Told(target="a/b")), False),
    ],
    ids=["nothing", "accepted", "can be asked for", "intended", "failed", "done"],
)
async def test_what_a_call_has_come_to_is_told_to_the_next_process(
    order: Any, came: Any, is_unheard: bool
) -> None:
    async with recorded({} if order is None else {"0": order}) as scene:
        assert scene.call.is_unheard is is_unheard
        if not isinstance(came, Exception):
            assert await scene.call.made() == came
            return
        with pytest.raises(type(came)) as caught:
            await scene.call.made()
        assert vars(caught.value) == vars(came)


def candidate(name: str, *accounts: str) -> Any:
    keys = SimpleNamespace(accounts=tuple(SimpleNamespace(identity=one) for one in accounts))
    return SimpleNamespace(target=SimpleNamespace(name=name), keys=keys)


@pytest.mark.anyio
async def test_an_order_goes_on_with_the_key_that_ordered_it() -> None:
    others, own = candidate("c/d", "k1", "k2"), candidate("a/b", "k1", "k2")
    async with recorded({"0": ACCEPTED}) as scene:
        assert scene.call.tried_before == 300_000
        attempt = Attempt(own, 1, own.target, own.keys.accounts[1])
        assert scene.call.resumed([others, own]) == (attempt, 3)
        for candidates in ([others], [candidate("a/b", "k1")], []):
            with pytest.raises(UncertainError):
                scene.call.resumed(candidates)
        assert scene.record.call(1, 2).resumed([own]) is None


@pytest.mark.anyio
async def test_a_job_is_taken_up_where_it_was() -> None:
    async with recorded({"0": ACCEPTED, "1": ACCEPTED | {"told": {"state": "RUNNING"}}}) as scene:
        assert scene.record.call(0, 3).taken() == Job({"id": "t1"})
        assert scene.record.call(1, 3).taken() == Job({"id": "t1"}, state="RUNNING")
        assert scene.record.call(2, 3).taken() is None


# --- what happens now


def trying(call: Kept, **facts: Any) -> Any:
    account, target = SimpleNamespace(identity="k2"), SimpleNamespace(name="a/b")
    one = SimpleNamespace(
        attempt=SimpleNamespace(target=target, account=account), number=3, told=Told(**facts)
    )
    call.trying(one)  # type: ignore[arg-type]
    return one


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("context", "more"),
    [({}, {}), ({"task": {"id": "ours"}}, {"task": {"id": "ours"}, "asks": True})],
    ids=["the vendor counts", "ours"],
)
async def test_an_order_is_written_before_it_is_sent(context: Any, more: Any) -> None:
    async with recorded() as scene:
        call = scene.call
        one = trying(call)
        one.told.dropped = ("seed",)
        engine = SimpleNamespace(can_ask=lambda task: task == {"id": "ours"})
        await call.intended(SimpleNamespace(call=SimpleNamespace(context=context), engine=engine))  # type: ignore[arg-type]
        tried = {"target": "a/b", "account": "k2", "attempt": 3, "dropped": ["seed"]}
        assert await scene.orders() == {"0": {"state": "intended", **tried, **more}}
        assert (scene.record.is_ordered, scene.record.is_uncertain) == (False, True)
        await call.accepted(None, {"id": "t1"})
        assert scene.record.is_ordered
        assert await scene.orders() == {"0": {"state": "accepted", **tried, "task": {"id": "t1"}}}
        assert not scene.record.is_uncertain


@pytest.mark.anyio
async def test_what_is_still_being_sent_is_not_ordered_until_it_went_out() -> None:
    async with recorded() as scene:
        call = scene.call
        trying(call)
        await call.intended()
        assert (scene.record.is_ordered, scene.record.on_their_way) == (False, {"0"})
        scene.record.cancelling = True
        assert call.may_call_off()
        with pytest.raises(asyncio.CancelledError):
            call.goes_out()
        call.over()
        assert not scene.record.is_ordered  # it was broken off
        scene.record.withdraw()
        assert (scene.record.orders, scene.record.on_their_way) == ({}, set())
        with pytest.raises(asyncio.CancelledError):
            call.goes_out()
        scene.record.cancelling = False
        await call.intended()
        call.over()
        assert (scene.record.is_ordered, scene.record.on_their_way) == (True, set())


@pytest.mark.anyio
async def test_a_store_that_is_away_has_nothing_ordered() -> None:
    async with recorded() as scene:
        call = scene.call
        trying(call)
        scene.store.away = 1
        with pytest.raises(StoreAwayError):
            await call.intended()
        assert (scene.record.orders, scene.record.on_their_way) == ({}, set())


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("is_kept", "left_s", "after_s"), [(False, 60.0, 65), (False, -9.0, 5), (True, 60.0, None)]
)
async def test_an_order_in_memory_is_asked_about_when_its_request_should_have_been_over(
    is_kept: bool, left_s: float, after_s: float | None
) -> None:
    target, asked = (
        SimpleNamespace(name="a/b"),
        SimpleNamespace(request_id="req_1", caller=SimpleNamespace(name="app")),
    )
    sold: Any = SimpleNamespace(sold_as="wan", target=target, currency="CNY")
    async with recorded(is_kept=is_kept) as scene:
        call, deadline = scene.call, asyncio.get_running_loop().time() + left_s
        attempt: Any = SimpleNamespace(candidate=sold, target=target, account=SimpleNamespace(identity="k2"))
        one = Try(3, attempt, asked, Told(), deadline, True, "image", False, kept=call, size="1K")  # type: ignore[arg-type]
        call.trying(one)
        await call.accepted(None, {"id": "t1"})
        if after_s is None:
            assert scene.booked == []
            return
        ((entry, at_once),) = scene.booked
        assert (entry.kind, entry.request_id, entry.attempt, at_once) == ("watch", "req_1", 3, True)
        assert entry.watch == Watch("k2", {"id": "t1"}, "1K", pytest.approx(after_s, abs=0.5))


@pytest.mark.anyio
async def test_what_a_vendor_was_not_told_is_known_to_who_goes_on() -> None:
    async with recorded({"0": ACCEPTED | {"dropped": ["seed"]}}) as scene:
        call = scene.call
        assert trying(call).told.dropped == ("seed",)
        await call.accepted(None, {"id": "t1"})
        assert await scene.orders() == {"0": ACCEPTED | {"dropped": ["seed"]}}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("order", "watch"),
    [
        (None, None),
        (ACCEPTED, Watch("k2", {"id": "t1"}, "1K", 1.0)),
        (ASKS, Watch("k2", {"id": "t1"}, "1K", 1.0)),
        (INTENDED, None),
        (DONE, None),
    ],
    ids=["nothing", "accepted", "can be asked for", "intended", "done"],
)
async def test_an_order_is_watched_where_its_vendor_can_be_asked(order: Any, watch: Any) -> None:
    async with recorded({} if order is None else {"0": order}) as scene:
        assert scene.call.watch("1K") == watch


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("progress", "share"), [(None, 0.0), (0.25, 0.25), (1.0, 1.0), (2, 0.02), (40, 0.4), (250, 1.0)]
)
async def test_how_far_a_vendor_is_is_news_once(progress: Any, share: float) -> None:
    wire: Any = SimpleNamespace(cancel=lambda task, state: "call" if state == "QUEUED" else None)
    async with recorded({"0": ACCEPTED, "1": INTENDED}) as scene:
        call, job = scene.call, Job({"id": "t1"}, "QUEUED", progress, 8.0)
        call.noted(wire, job)
        told = {"state": "QUEUED", "share": share, "estimate_s": 8.0, "can_cancel": True}
        assert (scene.record.orders["0"]["told"], scene.record.is_behind) == (told, True)
        await scene.record.write({})
        call.noted(wire, job)
        assert not scene.record.is_behind
        call.noted(wire, Job({"id": "t1"}, "RUNNING", progress, 8.0))
        assert (scene.record.orders["0"]["told"]["can_cancel"], scene.record.is_behind) == (False, True)
        scene.record.call(1, 2).noted(wire, job)
        scene.record.call(2, 3).noted(wire, job)
        assert scene.record.orders.keys() == {"0", "1"}
        assert scene.record.orders["1"] == INTENDED


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (UpstreamError(ErrorClass.BLOCKED, "No"), "failed"),
        (UpstreamError(ErrorClass.BLOCKED, "No", bought=False), None),
        (RequestError("No"), None),
    ],
    ids=["bought", "not bought", "not asked"],
)
async def test_a_try_that_bought_something_stays_known(error: Exception, kept: str | None) -> None:
    async with recorded({"0": ACCEPTED}) as scene:
        call = scene.call
        trying(call)
        await call.refused(error)
        if kept is None:
            assert await scene.orders() == {}
            await scene.lose()
            await call.refused(error)  # there is nothing to be written
            return
        tried = {"target": "a/b", "account": "k2", "attempt": 3}
        assert await scene.orders() == {"0": {"state": "failed", **tried, "error": plain_error(error)}}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("of", "is_kept", "in_memory", "in_the_row"),
    [
        (1, True, "all", "nothing"),
        (2, True, "all", "all"),
        (2, False, "all", "nothing"),
        (1, False, "brief", "nothing"),
    ],
    ids=["its end is the task's", "one of two", "one of two in memory", "in memory"],
)
async def test_what_a_call_made_is_written_unless_the_task_ends_with_it(
    tmp_path: Path, of: int, is_kept: bool, in_memory: str, in_the_row: str
) -> None:
    async with recorded(is_kept=is_kept) as scene:
        scene.keeper.services.files = files = FileStore(tmp_path)
        call, picture = scene.record.call(0, of), Image("image/png", PICTURE)
        trying(call)
        assert scene.record.stored(picture) is None
        await call.made_now([picture], Told(target="a/b", images=1))
        made = list(files.identities())
        brief = {"state": "done", "target": "a/b", "account": "k2", "attempt": 3}
        assert len(made) == (in_memory == "all")
        whole = brief
        if made:
            events = [{"kind": "Image", "mime": "image/png", "data": {"$file": made[0]}}]
            facts = {"target": "a/b", "dropped": [], "size": "", "images": 1, "lost": 0, "charge": None}
            whole = {**brief, "events": events, "facts": facts}
            assert (scene.record.orders, scene.record.stored(picture)) == ({"0": whole}, made[0])
            await call.made_now([picture], Told(target="a/b", images=1))
            assert list(files.identities()) == made  # it is stored once
            again = await scene.record.call(0, of).made()
            assert again is not None
            (drawn,) = again.events
            assert (drawn, scene.record.stored(drawn)) == (picture, made[0])
            files.remove(made[0])
            assert scene.record.load(whole["events"]) == []
        assert scene.record.orders == {"0": whole}
        assert ((await scene.orders()) != {}) is (in_the_row == "all")
