"""The runner that owns jobs: what a watcher sees, what the journal hears, and what stays when all is over."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from proxy.errors import ErrorClass, UpstreamError
from proxy.tasks.engine import Engine
from proxy.tasks.runner import Order, Runner
from proxy.types import Call
from proxy.upstream import Account, Deadlines
from proxy.wires.declared import Done
from tests.declared import PNG, asked, target, wire

pytestmark = pytest.mark.anyio

TAKEN = {"output": {"task_id": "t1", "task_status": "PENDING"}}
RUNNING = {"output": {"task_id": "t1", "task_status": "RUNNING"}}
STRANGE = {"output": {"task_id": "t1", "task_status": "DREAMING"}}
FAILED = {"output": {"task_id": "t1", "task_status": "FAILED", "message": "no"}}
MADE = {"output": {"task_id": "t1", "task_status": "SUCCEEDED", "results": [{"url": "https://x.example/a"}]}}
AT_ONCE = {"choices": [{"message": {"content": f"![a](data:image/png;base64,{PNG})"}}]}
GONE = UpstreamError(ErrorClass.CONNECT, "gone")


@dataclass
class Answer:
    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    async def value(self, limit: int) -> Any:
        return self.body

    async def close(self) -> None:
        pass


@dataclass
class Vendor:
    """Stands where `Upstream` stands: answers in turn, the last one again and again.

    `held` is what an answer waits for, by the number of the call; `reached` is set when it does.
    """

    answers: list[Any]
    told: list[str] = field(default_factory=list)
    held: dict[int, asyncio.Event] = field(default_factory=dict)
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    calls: int = 0

    async def send(self, call: Call, account: Account, deadlines: Deadlines, sent: Any = None) -> Any:
        number, self.calls = self.calls, self.calls + 1
        self.told.append(f"{call.method} {call.path}")
        if number in self.held:
            self.reached.set()
            await self.held[number].wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, UpstreamError):
            raise answer
        return Answer(answer)


class Journal:
    """Writes one line for each thing that it hears, into the list in which the vendor writes its calls."""

    def __init__(self, told: list[str]) -> None:
        self.told = told
        self.abandoned_one = asyncio.Event()
        self.intending = asyncio.Event()
        self.written = asyncio.Event()
        self.written.set()

    async def intended(self, order: Order[Any]) -> None:
        self.told.append("intended")
        self.intending.set()
        await self.written.wait()

    async def accepted(self, order: Order[Any], task: Mapping[str, Any]) -> None:
        self.told.append(f"accepted {task['id']}")

    async def done(self, order: Order[Any], result: Any) -> None:
        self.told.append(f"done {result}")

    async def failed(self, order: Order[Any], error: Exception) -> None:
        self.told.append(f"failed {error}")

    async def abandoned(
        self, order: Order[Any], task: Mapping[str, Any], state: str | None, *, asked: bool
    ) -> None:
        self.told.append(f"abandoned {task.get('id')} {state} {'asked' if asked else 'left'}")
        self.abandoned_one.set()

    def unknown_state(self, order: Order[Any], word: str) -> None:
        self.told.append(f"unknown {word}")


SUBMIT = "POST /api/v1/services/aigc/image-generation/generation"
POLL = "GET /api/v1/tasks/t1"
CANCEL = "POST /api/v1/tasks/t1/cancel"


@dataclass
class Scene:
    vendor: Vendor
    journal: Journal
    runner: Runner
    told: list[str]

    def order(self, delivered: Any = None, *, deadline: float = 1e9, give_up_s: float = 60.0) -> Order[Any]:
        speaks = wire("dashscope", "image")
        engine = Engine(
            self.vendor,  # type: ignore[arg-type]
            speaks,
            Account("dashscope", "http://127.0.0.1"),
            Deadlines(),
            every_s=0.001,
            give_up_s=give_up_s,
        )
        call = speaks.submit(asked(), target("dashscope", "wan2.7-image", "image"))
        return Order("dashscope/wan2.7-image", engine, call, deadline, delivered or counted)

    async def leave(self, order: Order[Any]) -> None:
        """Watch until the vendor holds its answer, then go."""
        watcher = asyncio.create_task(self.runner.run(order))
        await self.vendor.reached.wait()
        watcher.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watcher

    async def until_abandoned(self) -> None:
        async with asyncio.timeout(5):
            await self.journal.abandoned_one.wait()


def scene(*answers: Any, held: tuple[int, ...] = ()) -> Scene:
    vendor = Vendor(list(answers), held={number: asyncio.Event() for number in held})
    journal = Journal(vendor.told)
    return Scene(vendor, journal, Runner(journal), vendor.told)


@dataclass
class Pictures:
    """What can be watched by a weak reference."""

    done: Done


async def counted(done: Done) -> int:
    return len(done.images)


async def test_the_journal_hears_of_each_step_before_it_is_taken() -> None:
    """V-052"""
    own = scene(TAKEN, RUNNING, STRANGE, STRANGE, MADE)
    assert await own.runner.run(own.order()) == 1
    assert own.told == [
        "intended", SUBMIT, "accepted t1", POLL, POLL, POLL, POLL, "unknown DREAMING", "done 1",
    ]  # fmt: skip


async def test_a_job_runs_in_a_task_of_its_own() -> None:
    own, seen = scene(TAKEN, MADE), []

    async def delivered(done: Done) -> str:
        seen.append(asyncio.current_task())
        return "here"

    assert await own.runner.run(own.order(delivered)) == "here"
    assert seen != [asyncio.current_task()]


async def test_what_a_vendor_ended_badly_has_failed_and_is_not_called_off() -> None:
    own = scene(TAKEN, FAILED)
    with pytest.raises(UpstreamError) as caught:
        await own.runner.run(own.order())
    assert (caught.value.message, caught.value.bought) == ("no", True)
    assert own.told == ["intended", SUBMIT, "accepted t1", POLL, "failed no"]


async def test_an_order_that_never_left_has_failed() -> None:
    own = scene(GONE)
    with pytest.raises(UpstreamError):
        await own.runner.run(own.order())
    assert own.told == ["intended", SUBMIT, "failed gone"]


async def test_an_exception_of_the_delivery_reaches_the_watcher() -> None:
    own = scene(TAKEN, MADE)

    async def delivered(done: Done) -> None:
        raise ZeroDivisionError("no room")

    with pytest.raises(ZeroDivisionError, match="no room"):
        await own.runner.run(own.order(delivered))
    assert own.told[-2:] == [POLL, "failed no room"]


async def test_a_job_that_is_given_up_for_time_is_called_off() -> None:
    own = scene(TAKEN)
    with pytest.raises(UpstreamError) as caught:
        await own.runner.run(own.order(give_up_s=0.05))
    assert caught.value.error_class is ErrorClass.TIMEOUT
    assert own.told[-2:] == [CANCEL, "abandoned t1 PENDING asked"]
    assert own.told.count(CANCEL) == 1


async def test_a_job_that_cannot_be_asked_for_any_more_is_called_off() -> None:
    own = scene(TAKEN, *[GONE] * 5, TAKEN)
    with pytest.raises(UpstreamError):
        await own.runner.run(own.order())
    assert own.told[2:] == ["accepted t1", *[POLL] * 5, CANCEL, "abandoned t1 PENDING asked"]


@pytest.mark.parametrize(
    ("state", "end"),
    [(TAKEN, [CANCEL, "abandoned t1 PENDING asked"]), (RUNNING, ["abandoned t1 RUNNING left"])],
    ids=["the vendor can", "the vendor cannot"],
)
async def test_a_job_whose_watcher_leaves_is_called_off_where_the_vendor_can(state: Any, end: Any) -> None:
    """V-036: dashscope calls off what it has not begun"""
    own = scene(TAKEN, state, state, held=(2,))
    await own.leave(own.order())
    await own.until_abandoned()
    assert own.told == ["intended", SUBMIT, "accepted t1", POLL, POLL, *end]


async def test_nothing_is_ordered_for_a_watcher_that_leaves_as_it_is_written_down() -> None:
    own = scene(TAKEN)
    own.journal.written.clear()
    watcher = asyncio.create_task(own.runner.run(own.order()))
    await own.journal.intending.wait()
    watcher.cancel()
    own.journal.written.set()
    await own.until_abandoned()
    assert own.told == ["intended", "abandoned None None left"]


async def test_a_watcher_that_leaves_while_it_is_ordered_stops_the_order_and_is_told_of() -> None:
    """The vendor may have taken it all the same, and no number ever came."""
    own = scene(TAKEN, held=(0,))
    await own.leave(own.order())
    await own.until_abandoned()
    assert own.told == ["intended", SUBMIT, "abandoned None None left"]


async def test_a_watcher_that_leaves_while_pictures_are_fetched_calls_nothing_off() -> None:
    own, never = scene(TAKEN, MADE), asyncio.Event()

    async def delivered(done: Done) -> None:
        own.vendor.reached.set()
        await never.wait()

    await own.leave(own.order(delivered))
    await own.until_abandoned()
    assert own.told == ["intended", SUBMIT, "accepted t1", POLL, "abandoned t1 PENDING left"]


async def test_a_delivery_that_ends_although_its_watcher_left_is_done() -> None:
    own, never = scene(TAKEN, MADE), asyncio.Event()

    async def delivered(done: Done) -> str:
        own.vendor.reached.set()
        with contextlib.suppress(asyncio.CancelledError):
            await never.wait()
        return "stored"

    before = asyncio.all_tasks()
    await own.leave(own.order(delivered))
    await asyncio.wait(asyncio.all_tasks() - before, timeout=5)
    assert own.told[-2:] == [POLL, "done stored"]


async def test_a_job_that_fails_although_its_watcher_left_has_failed() -> None:
    own, never = scene(TAKEN, MADE), asyncio.Event()

    async def delivered(done: Done) -> str:
        own.vendor.reached.set()
        with contextlib.suppress(asyncio.CancelledError):
            await never.wait()
        raise ZeroDivisionError("no room")

    before = asyncio.all_tasks()
    await own.leave(own.order(delivered))
    await asyncio.wait(asyncio.all_tasks() - before, timeout=5)
    assert own.told[-2:] == [POLL, "failed no room"]


async def test_calling_off_that_fails_is_told_as_not_asked() -> None:
    own = scene(TAKEN, GONE, held=(1,))
    await own.leave(own.order())
    await own.until_abandoned()
    assert own.told[-2:] == [CANCEL, "abandoned t1 PENDING left"]


async def test_closing_ends_all_jobs_and_leaves_them_in_the_journal() -> None:
    """Nothing is said of their end: who opens the journal again asks the vendor for them."""
    own, before = scene(TAKEN, TAKEN, held=(1,)), len(asyncio.all_tasks())
    watcher = asyncio.create_task(own.runner.run(own.order()))
    await own.vendor.reached.wait()
    await own.runner.close()
    with pytest.raises(asyncio.CancelledError):
        await watcher
    await asyncio.sleep(0)
    assert own.told == ["intended", SUBMIT, "accepted t1", POLL]
    assert len(asyncio.all_tasks()) == before


async def test_nothing_is_left_of_two_hundred_jobs() -> None:
    """No task and no picture, however they ended; and without the collector."""
    before, refs = len(asyncio.all_tasks()), []
    gc.collect()
    gc.disable()
    try:
        for number in range(200):
            ending = (MADE, FAILED, MADE, RUNNING)[number % 4]
            own = scene(TAKEN, ending, ending, held=(2,) if ending is RUNNING else ())

            async def delivered(done: Done, failing: bool = number % 4 == 2) -> Pictures:
                pictures = Pictures(done)
                refs.append(weakref.ref(pictures))
                if failing:
                    raise ZeroDivisionError
                return pictures

            order = own.order(delivered)
            refs.append(weakref.ref(order.engine))
            if ending is RUNNING:
                await own.leave(order)
                await own.until_abandoned()
            else:
                with contextlib.suppress(UpstreamError, ZeroDivisionError):
                    await own.runner.run(order)
            del order, own, delivered
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        left = [ref() for ref in refs if ref() is not None]
        assert (len(left), len(refs), len(asyncio.all_tasks())) == (0, 300, before)
    finally:
        gc.enable()


async def test_eight_submits_are_under_way_at_most() -> None:
    runner = scene(MADE).runner
    slots = [await runner.slot() for _ in range(8)]
    ninth, tenth = asyncio.create_task(runner.slot()), asyncio.create_task(runner.slot())
    await asyncio.sleep(0)
    assert (ninth.done(), tenth.done()) == (False, False)
    slots[3].leave()
    slots[3].leave()  # a second time it makes no room
    slots.append(await ninth)
    await asyncio.sleep(0)
    assert not tenth.done()
    slots[0].leave()
    for slot in (*slots, await tenth):
        slot.leave()


async def test_a_submit_that_is_answered_makes_room_while_its_job_is_polled() -> None:
    own = scene(TAKEN, MADE, held=(1,))
    slots = [await own.runner.slot() for _ in range(8)]
    running = asyncio.create_task(own.runner.run(replace(own.order(), slot=slots[0])))
    await own.vendor.reached.wait()
    async with asyncio.timeout(5):
        ninth = await own.runner.slot()
    own.vendor.held[1].set()
    assert await running == 1
    for slot in (*slots, ninth):
        slot.leave()


async def test_a_submit_that_fails_makes_room() -> None:
    own = scene(GONE)
    slots = [await own.runner.slot() for _ in range(8)]
    with pytest.raises(UpstreamError):
        await own.runner.run(replace(own.order(), slot=slots[0]))
    async with asyncio.timeout(2):
        slots.append(await own.runner.slot())
    for slot in slots:
        slot.leave()
