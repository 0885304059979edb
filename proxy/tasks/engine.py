"""The engine that waits for a vendor: one place submits, one polls, one calls off. State is plain values.

Knows no clients and no store: a `Job` can be written down after `submit` and picked up by `wait` elsewhere.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import Call, PartialImage
from proxy.upstream import Account, Deadlines, Upstream
from proxy.upstream.reply import Reply
from proxy.wires.declared import DeclaredWire, Done, Outcome, Pending, PollPlan

_FAULTS_IN_A_ROW = 5  # answers that do not tell of the job, before it is given up
# What an order is said to have come to when its answer was lost or made no sense.
_UNHEARD = frozenset({ErrorClass.EMPTY, ErrorClass.INTERNAL, ErrorClass.LOST, ErrorClass.TIMEOUT})
_JITTER = 0.1
_CHANCE = random.Random()  # its own: the program around may have seeded the other
_RESULT_PAUSE_S = 1.0
_NEW_S = 45.0  # a vendor with several stores may not know for so long what it has just taken
_ENDED = frozenset({410, 422, 451})  # these say of a job that is not known that it will not be
_ANSWER_BYTES = 96 << 20

Sleep = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class Job:
    """A job a vendor took. `task` is plain JSON: all that is needed to ask for it, also after a restart.

    `over`: the vendor itself has ended it, well or badly.
    """

    task: Mapping[str, Any]
    state: str | None = None
    progress: float | None = None
    estimate_s: float | None = None
    polls: int = 0
    over: bool = False
    unknown_states: list[str] = field(default_factory=list)


class Engine:
    """One vendor account's jobs on one surface. `every_s` and `give_up_s` override the profile's rhythm.
    `on_partials` is given what shows a picture on its way; the vendor's next words wait until it is done."""

    def __init__(
        self,
        upstream: Upstream,
        wire: DeclaredWire,
        account: Account,
        deadlines: Deadlines,
        *,
        every_s: float | None = None,
        give_up_s: float | None = None,
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] | None = None,
        on_progress: Callable[[Job], None] | None = None,
        on_partials: Callable[[Sequence[PartialImage]], Awaitable[None]] | None = None,
        on_sent: Callable[[], None] | None = None,
    ) -> None:
        self._upstream = upstream
        self._wire = wire
        self._account = account
        self._deadlines = deadlines
        self._every_s = every_s
        self._give_up_s = give_up_s
        self._sleep = sleep
        self._clock = clock or asyncio.get_running_loop().time
        self._on_progress = on_progress
        self._on_partials = on_partials
        self._on_sent = on_sent

    async def uploaded(self, calls: Sequence[Call]) -> list[str]:
        """Send the pictures that the vendor wants to have before the order; what it calls them. Raises
        `UpstreamError`: nothing was ordered yet."""
        return [await self._uploaded(call) for call in calls]

    async def _uploaded(self, call: Call) -> str:
        try:
            return self._wire.uploaded(call, *await self._answer(call))
        except UpstreamError as error:
            raise error.changed(bought=False) from error.__cause__

    async def submit(self, call: Call) -> Job | Done:
        """Order the pictures, once; `on_sent` hears when the vendor may have the order. Raises
        `UpstreamError`; `bought` tells whether they may be coming."""
        if call.stream:
            return self._accepted(await self._streamed(call))
        return self._accepted(self._wire.judge(call, *await self._answer(call, self._on_sent)))

    async def wait(self, job: Job, deadline: float) -> Done:
        """Poll until the job ends. A poll that fails is repeated, a submit never. `deadline` is the clock's
        time (the loop's).

        Raises `UpstreamError`, always with `accepted` set: trying again would buy again."""
        plan = self._wire.plan(job.task)
        assert plan is not None
        begun = self._clock()
        give_up = begun + (self._give_up_s or plan.give_up_s)
        faults = 0
        retry_after_s: float | None = None
        while True:
            pause_s = self._pause_s(plan, job, retry_after_s)
            if self._clock() + pause_s >= min(deadline, give_up):
                raise self._too_slow(job)
            await self._sleep(pause_s)
            job.polls += 1
            outcome = await self._polled(job, is_new=self._clock() < begun + _NEW_S)
            if isinstance(outcome, Done):
                return outcome
            if not isinstance(outcome, Pending):
                return await self._fetched(job, deadline)
            faults = faults + 1 if outcome.fault is not None else 0
            if outcome.fault is not None and faults >= _FAULTS_IN_A_ROW:
                raise accepted(outcome.fault)
            retry_after_s = outcome.retry_after_s
            self._note(job, outcome)

    async def look(self, job: Job) -> Done | None:
        """Ask once. None while the vendor is at work, or says nothing of it. Raises `UpstreamError`;
        `job.over` tells whether that is the vendor's word on the job."""
        outcome = await self._once(self._poll_call(job), job)
        if not isinstance(outcome, Pending):
            return outcome if isinstance(outcome, Done) else await self._fetched(job, math.inf)
        if outcome.fault is None:
            self._note(job, outcome)
        return None

    async def is_taken(self, job: Job) -> bool:
        """Whether the vendor knows of an order that may have reached it. Raises `UpstreamError` where it says
        nothing of it."""
        fault = UpstreamError(ErrorClass.LOST, "The vendor does not say whether it took the order.")
        for _ in range(_FAULTS_IN_A_ROW):
            try:
                outcome = await self._once(self._poll_call(job), job)
            except UpstreamError as error:
                return not is_unknown(error)
            if not isinstance(outcome, Pending) or outcome.fault is None:
                return True
            fault = outcome.fault
            await self._sleep(_RESULT_PAUSE_S)
        raise accepted(fault)

    def unheard(self, call: Call, error: UpstreamError) -> Job | None:
        """The job of an order to which the vendor said nothing that counts, None where it cannot be asked for
        by an id of ours."""
        task = call.context.get("task")
        is_told = error.final or not error.bought or error.error_class not in _UNHEARD
        return None if is_told or task is None or not self._wire.can_ask(task) else Job(task)

    def can_ask(self, task: Mapping[str, Any]) -> bool:
        return self._wire.can_ask(task)

    def _poll_call(self, job: Job) -> Call:
        try:
            return self._wire.poll(job.task)
        except UpstreamError as error:  # the vendor sent us to an address that is not its own
            raise accepted(error) from error

    async def _polled(self, job: Job, *, is_new: bool) -> Outcome:
        """Ask how the job is. That a vendor does not know a new one is not its last word."""
        call = self._poll_call(job)
        try:
            return await self._once(call, job)
        except UpstreamError as error:
            if not is_new or not is_unknown(error) or error.native_status in _ENDED:
                raise
        job.over = False
        return Pending(job.task)

    async def _once(self, call: Call, job: Job) -> Outcome:
        """Ask about a job. The line may fail and the job go on; what the vendor says of it is final."""
        try:
            answer = await self._answer(call)
        except UpstreamError as fault:
            return Pending(job.task, fault=fault.changed())
        try:
            outcome = self._wire.judge(call, *answer)
        except UpstreamError as error:
            job.over = True
            raise accepted(error) from error
        job.over = not isinstance(outcome, Pending)
        return outcome

    async def cancel(self, job: Job) -> bool:
        """Call the job off where the vendor can do that now; True when it was asked to."""
        try:
            call = self._wire.cancel(job.task, job.state)
            if call is None:
                return False
            reply = await self._upstream.send(call, self._account, self._deadlines)
            await reply.close()
        except UpstreamError:
            return False
        return True

    async def _fetched(self, job: Job, deadline: float) -> Done:
        """The third request, where a vendor keeps results apart; repeated until it is answered."""
        call = self._wire.result(job.task)
        assert call is not None
        fault = UpstreamError(ErrorClass.LOST, "The vendor's job is done, but its result is not there.")
        for tries in range(1, _FAULTS_IN_A_ROW + 1):
            outcome = await self._once(call, job)
            if isinstance(outcome, Done):
                return outcome
            pause_s = _RESULT_PAUSE_S
            if isinstance(outcome, Pending):
                fault = outcome.fault or fault
                pause_s = max(pause_s, outcome.retry_after_s or 0.0)
            if tries == _FAULTS_IN_A_ROW or self._clock() + pause_s >= deadline:
                break
            await self._sleep(pause_s)
        job.over = True
        raise accepted(fault)

    async def _answer(
        self, call: Call, sent: Callable[[], None] | None = None
    ) -> tuple[int, Mapping[str, str], Any]:
        """Status, headers, and the body: decoded JSON, or bytes of what is none."""
        reply = await self._upstream.send(call, self._account, self._deadlines, sent)
        try:
            value = await reply.value(_ANSWER_BYTES)
        finally:
            await reply.close()
        return reply.status, reply.headers, value

    async def _streamed(self, call: Call) -> Outcome:
        """A submit that is answered piece by piece; a whole JSON body is a stream of one piece."""
        reply = await self._upstream.send(call, self._account, self._deadlines, self._on_sent)
        try:
            if reply.status >= 400:
                return await self._refused(call, reply)
            reader = self._wire.reader(call)
            async for payloads in reply.payloads():
                for payload in payloads:
                    outcome = reader.feed(payload)
                    if outcome is not None and not isinstance(outcome, Pending):
                        return outcome
                    if outcome is not None and outcome.partials and self._on_partials is not None:
                        await self._on_partials(outcome.partials)
            return reader.close()
        finally:
            await reply.close()

    async def _refused(self, call: Call, reply: Reply) -> Outcome:
        value = await reply.value(_ANSWER_BYTES)
        return self._wire.judge(call, reply.status, reply.headers, value)

    def _accepted(self, outcome: Outcome) -> Job | Done:
        if isinstance(outcome, Done):
            return outcome
        job = Job(outcome.task)
        if isinstance(outcome, Pending):
            self._note(job, outcome)
        return job

    def _note(self, job: Job, pending: Pending) -> None:
        job.task = pending.task
        job.state = pending.state or job.state
        job.progress = pending.progress if pending.progress is not None else job.progress
        job.estimate_s = pending.estimate_s if pending.estimate_s is not None else job.estimate_s
        if pending.unknown_state is not None and pending.unknown_state not in job.unknown_states:
            job.unknown_states.append(pending.unknown_state)
        if self._on_progress is not None:
            self._on_progress(job)

    def _pause_s(self, plan: PollPlan, job: Job, retry_after_s: float | None) -> float:
        """The operator's word, else the vendor's, else the plan; with a little jitter, never sooner."""
        if self._every_s is not None:
            pause_s = self._every_s
        elif job.polls == 0 and job.estimate_s is not None:
            pause_s = max(plan.first_s, min(job.estimate_s, plan.max_every_s))
        else:
            pause_s = plan.wait_s(job.polls)
        return max(pause_s * (1 + _CHANCE.random() * _JITTER), retry_after_s or 0.0)

    def _too_slow(self, job: Job) -> UpstreamError:
        state = f" (state {job.state!r})" if job.state else ""
        return accepted(
            UpstreamError(
                ErrorClass.TIMEOUT,
                f"The vendor is still at work{state}, longer than this request may wait. Nothing was ordered "
                "twice; ask with a longer timeout, or with `stream: true`, which is kept alive meanwhile.",
                provider=self._account.provider,
            )
        )


def is_unknown(error: UpstreamError) -> bool:
    """Whether the vendor says that it does not have this job."""
    return error.error_class in (ErrorClass.LOST, ErrorClass.NOT_FOUND)


def accepted(error: UpstreamError) -> UpstreamError:
    """Mark an error as one after a vendor took the order: no SDK shall try again by itself."""
    return error.changed(bought=True, by_piece=True)
