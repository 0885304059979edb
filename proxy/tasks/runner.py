"""Owns vendor jobs: each runs in a task of its own, and whoever asked for it only watches.

`Journal` is where a store learns of the order before it is sent, of the vendor's number, and of the end. An
order of which it heard no end was cut off with the process: the vendor may be at work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from proxy.errors import UpstreamError
from proxy.tasks.engine import Engine, Job
from proxy.types import Call
from proxy.wires.declared import Done

T = TypeVar("T")

_SUBMITS_AT_ONCE = 8  # with their pictures in memory
_SLOT_S = 5.0  # a vendor that takes jobs has taken one by then


class Journal(Protocol):
    """What must be known of a job whatever happens to this process. What it raises stops the job there."""

    async def intended(self, order: Order[Any]) -> None:
        """It is about to be ordered."""
        ...

    async def accepted(self, order: Order[Any], task: Mapping[str, Any]) -> None:
        """The vendor took it; `task` is all that is needed to ask for it."""
        ...

    async def done(self, order: Order[Any], result: Any) -> None:
        """It is over and paid, and `result` is what `delivered` made of it."""
        ...

    async def failed(self, order: Order[Any], error: Exception) -> None:
        """It is over without a result; whether it was paid the error tells."""
        ...

    async def abandoned(
        self, order: Order[Any], task: Mapping[str, Any], state: str | None, *, asked: bool
    ) -> None:
        """Nobody waits for it any more; `asked`: the vendor was asked to call it off. `task` is empty where
        the order went out and the vendor's number never came."""
        ...

    def unknown_state(self, order: Order[Any], word: str) -> None:
        """The vendor used a word that its profile does not know."""
        ...


class Slot:
    """A place among the submits that are under way. It is free again when the vendor has answered, or is so
    slow that it is drawing already."""

    def __init__(self, free: asyncio.Semaphore) -> None:
        self._free: asyncio.Semaphore | None = free
        self._timer = asyncio.get_running_loop().call_later(_SLOT_S, self.leave)

    def leave(self) -> None:
        self._timer.cancel()
        free, self._free = self._free, None
        if free is not None:
            free.release()


@dataclass(frozen=True, slots=True)
class Order(Generic[T]):
    """One job to be done: at which target, by which engine, and what becomes of its result (`delivered`: the
    pictures are fetched while their addresses live). `taken` is what a vendor took of it before, in another
    process. `may_call_off`: whether a watcher that leaves has the job called off; asked when it does.
    `call` is None where there is nothing to submit. `slot` is left when it was submitted.
    """

    target: str
    engine: Engine
    call: Call | None
    deadline: float
    delivered: Callable[[Done], Awaitable[T]]
    taken: Job | None = None
    journal: Journal | None = None
    slot: Slot | None = None
    may_call_off: Callable[[], bool] = field(default=lambda: True)


class Runner:
    """All jobs of this process. `journal` hears of all of them, and an order's own of that one before."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._submitting = asyncio.Semaphore(_SUBMITS_AT_ONCE)
        self._running: set[asyncio.Task[Any]] = set()  # the loop keeps only weak references to tasks

    async def slot(self) -> Slot:
        """Wait for a place among those that submit. Polls need none."""
        await self._submitting.acquire()
        return Slot(self._submitting)

    async def run(self, order: Order[T]) -> T:
        """Start the job and watch it. A watcher that is cancelled leaves the job to the runner, which stops
        it and calls it off where the order and the vendor let it.

        Raises what the job raises: `UpstreamError`, and what the order's journal raises.
        """
        job = _Running(order, self._journals(order))
        task = self._started(job.run())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.done():  # else `close` has ended it, and nobody has left
                task.cancel()  # at once: what is not sent by now is not sent
                self._started(self._left(job, task))
            raise
        finally:
            # It knows its error, whose traceback knows this frame: a cycle that would keep the pictures.
            del task

    def _journals(self, order: Order[Any]) -> tuple[Journal, ...]:
        return (self._journal,) if order.journal is None else (order.journal, self._journal)

    async def close(self) -> None:
        """End what is running; jobs that a vendor took stay with the vendor, and in the journal."""
        while running := list(self._running):
            for task in running:
                task.cancel()
            await asyncio.wait(running)

    def _started(self, work: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # seen: its watcher may be gone

    async def _left(self, job: _Running[Any], task: asyncio.Task[Any]) -> None:
        await asyncio.wait([task])
        if job.may_call_off:
            await job.called_off()


class _Running(Generic[T]):
    """A job on its way."""

    def __init__(self, order: Order[T], journals: tuple[Journal, ...]) -> None:
        self._order = order
        self._journals = journals
        self._job: Job | None = None  # what the vendor took
        self._told = False  # the journals know how it ended

    @property
    def may_call_off(self) -> bool:
        return self._order.may_call_off()

    async def run(self) -> T:
        try:
            return await self._run()
        finally:
            self._leave()

    async def _run(self) -> T:
        if self._order.taken is None:
            for journal in self._journals:
                await journal.intended(self._order)
        try:
            result = await self._result()
        except Exception as error:
            if self._job is None or self._job.over:
                self._told = True
                for journal in self._journals:
                    await journal.failed(self._order, error)
            else:  # given up here, and going on at the vendor
                await self.called_off()
            raise
        self._told = True
        for journal in self._journals:
            await journal.done(self._order, result)
        return result

    async def _result(self) -> T:
        order = self._order
        outcome = order.taken or await self._submitted()
        if isinstance(outcome, Job):
            outcome = await self._waited(outcome)
        return await order.delivered(outcome)

    async def _submitted(self) -> Job | Done:
        assert self._order.call is not None
        try:
            return await self._order.engine.submit(self._order.call)
        except UpstreamError as error:
            job = self._order.engine.unheard(self._order.call, error)
            if job is None or not await self._is_taken(job):
                raise
            return job
        finally:
            self._leave()

    async def _is_taken(self, job: Job) -> bool:
        """Whether the vendor says, while somebody waits, that it has the order whose answer was lost."""
        try:
            async with asyncio.timeout_at(self._order.deadline):
                return await self._order.engine.is_taken(job)
        except (UpstreamError, TimeoutError):
            return False

    def _leave(self) -> None:
        if self._order.slot is not None:
            self._order.slot.leave()

    async def _waited(self, job: Job) -> Done:
        """Written down before the first poll: its cost can be found again whatever happens (V-052)."""
        self._job = job
        if self._order.taken is None:
            for journal in self._journals:
                await journal.accepted(self._order, job.task)
        try:
            return await self._order.engine.wait(job, self._order.deadline)
        finally:
            for word in job.unknown_states:
                for journal in self._journals:
                    journal.unknown_state(self._order, word)

    async def called_off(self) -> None:
        """Nobody wants it any more. At the vendor it is called off unless it has ended there."""
        if self._told:
            return
        job = self._job or Job({})
        asked = self._job is not None and not job.over and await self._order.engine.cancel(job)
        self._told = True
        for journal in self._journals:
            await journal.abandoned(self._order, job.task, job.state, asked=asked)
