"""The engine that waits for a vendor, with a clock that only sleeping moves."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from proxy.errors import ErrorClass, UpstreamError
from proxy.tasks.engine import Engine, Job
from proxy.types import Call
from proxy.upstream import Account, Deadlines
from proxy.wires.declared import Done
from tests.declared import PNG, asked, target, wire

pytestmark = pytest.mark.anyio

DEADLINES = Deadlines(connect_s=1, first_byte_s=1, idle_s=1, total_s=1)
FAR = 1e9


@dataclass
class Answer:
    """What one call is answered; an exception as the body breaks the line."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    async def value(self, limit: int) -> Any:
        return self.body if isinstance(self.body, bytes) else json.loads(json.dumps(self.body))

    async def close(self) -> None:
        pass


class Line:
    """Stands where `Upstream` stands: answers from a script, whose last line is repeated."""

    def __init__(self, *answers: Answer | UpstreamError) -> None:
        self.answers = list(answers)
        self.calls: list[Call] = []

    async def send(
        self, call: Call, account: Account, deadlines: Deadlines, sent: Callable[[], None] | None = None
    ) -> Any:
        self.calls.append(call)
        if sent is not None:
            sent()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, UpstreamError):
            raise answer
        return answer


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def engine(line: Line, clock: Clock, vendor: str = "jlike", surface: str = "wan", **options: Any) -> Engine:
    account = Account(vendor, "http://127.0.0.1")
    return Engine(
        line,  # type: ignore[arg-type]
        wire(vendor, surface),
        account,
        DEADLINES,
        sleep=clock.sleep,
        clock=lambda: clock.now,
        **options,
    )


def order(vendor: str = "jlike", surface: str = "wan", model: str = "wan2.7-t2i-plus") -> Call:
    return wire(vendor, surface).submit(asked(), target(vendor, model, surface))


def state(word: str, **more: Any) -> Answer:
    return Answer({"success": True, "task_uuid": "t1", "status": word, **more})


DONE = state("SUCCEEDED", images=[PNG])
DOWN = Answer({"success": False, "error": "down", "error_code": "UPSTREAM_ERROR"}, 502)


async def taken(line: Line, clock: Clock, **options: Any) -> tuple[Engine, Job]:
    own = engine(line, clock, **options)
    job = await own.submit(order())
    assert isinstance(job, Job)
    return own, job


async def test_the_order_alone_is_told_to_have_gone_out() -> None:
    line, clock = Line(state("PENDING"), DONE), Clock()
    told: list[int] = []
    own, job = await taken(line, clock, on_sent=lambda: told.append(len(line.calls)))
    await own.wait(job, 1e9)
    await own.cancel(job)
    await own.look(job)
    assert (told, len(line.calls) > 2) == ([1], True)


async def test_a_job_is_ordered_once_and_asked_for_until_it_is_done() -> None:
    """V-004, V-005: at 3 s, then every 4 s, never sooner and at most a tenth later"""
    line, clock = Line(state("PENDING"), state("RUNNING"), state("RUNNING"), DONE), Clock()
    own, job = await taken(line, clock)
    done = await own.wait(job, FAR)
    assert [call.method for call in line.calls] == ["POST", "GET", "GET", "GET"]
    assert len(done.images) == 1
    planned = [3.0, 4.0, 6.0]
    assert all(plan <= slept <= plan * 1.1 for plan, slept in zip(planned[:2], clock.slept, strict=False))
    assert len(clock.slept) == 3


async def test_the_jitter_stays_within_a_tenth() -> None:
    """V-005"""
    line, clock = Line(state("PENDING")), Clock()
    own, job = await taken(line, clock, every_s=10.0, give_up_s=3000.0)
    with pytest.raises(UpstreamError):
        await own.wait(job, FAR)
    assert len(set(clock.slept)) > 100
    assert min(clock.slept) >= 10.0
    assert max(clock.slept) <= 11.0


@pytest.mark.parametrize("give_up_s", [1.0, 7.0, 60.0, 601.0])
@pytest.mark.parametrize("every_s", [1.0, 4.0])
async def test_a_job_is_given_up_in_time(every_s: float, give_up_s: float) -> None:
    """V-057"""
    line, clock = Line(state("PENDING")), Clock()
    own, job = await taken(line, clock, every_s=every_s, give_up_s=give_up_s)
    with pytest.raises(UpstreamError) as caught:
        await own.wait(job, FAR)
    assert caught.value.error_class is ErrorClass.TIMEOUT
    assert caught.value.by_piece
    assert clock.now <= 1000 + give_up_s
    assert job.polls <= math.ceil(give_up_s / every_s) + 5


async def test_the_clients_deadline_ends_the_wait_and_says_how_to_go_on() -> None:
    """V-051"""
    line, clock = Line(state("PENDING"), state("RUNNING")), Clock()
    own, job = await taken(line, clock)
    with pytest.raises(UpstreamError) as caught:
        await own.wait(job, clock.now + 10)
    assert (caught.value.status, caught.value.by_piece) == (504, True)
    assert "RUNNING" in caught.value.message
    assert "stream" in caught.value.message
    assert clock.now <= 1010


async def test_the_vendors_own_word_on_when_to_come_back_is_kept() -> None:
    """V-005"""
    later = Answer({"task_uuid": "t1", "status": "RUNNING"}, headers={"Retry-After": "30"})
    busy = Answer({"success": False, "error": "busy"}, 429, {"retry-after": "17"})
    line, clock = Line(state("PENDING"), later, busy, DONE), Clock()
    own, job = await taken(line, clock)
    await own.wait(job, FAR)
    assert clock.slept[1:] == [30.0, 17.0]


async def test_the_vendors_estimate_delays_the_first_poll_up_to_the_longest_pause() -> None:
    submit = Answer({"id": "t", "status": "pending", "task_info": {"estimated_time": 45}})
    over = Answer({"id": "t", "status": "completed", "results": [PNG]})
    line, clock = Line(submit, over), Clock()
    own = engine(line, clock, "evolink", "image")
    job = await own.submit(order("evolink", "image", "gemini-3-pro-image-preview"))
    assert isinstance(job, Job)
    plan = wire("evolink", "image").plan(job.task)
    assert plan is not None
    await own.wait(job, FAR)
    longest = max(plan.first_s, min(45, plan.max_every_s))
    assert longest <= clock.slept[0] <= longest * 1.1


async def test_an_operators_interval_beats_the_vendors_estimate() -> None:
    submit = Answer({"id": "t", "status": "pending", "task_info": {"estimated_time": 45}})
    over = Answer({"id": "t", "status": "completed", "results": [PNG]})
    line, clock = Line(submit, over), Clock()
    own = engine(line, clock, "evolink", "image", every_s=0.5)
    job = await own.submit(order("evolink", "image", "gemini-3-pro-image-preview"))
    assert isinstance(job, Job)
    await own.wait(job, FAR)
    assert 0.5 <= clock.slept[0] <= 0.55


async def test_a_busy_vendor_is_asked_when_it_said_and_not_beyond_the_deadline() -> None:
    busy = Answer({"error": {"message": "overloaded"}}, 503, {"retry-after": "30"})
    line, clock = Line(state("PENDING"), busy, DONE), Clock()
    own, job = await taken(line, clock)
    await own.wait(job, clock.now + 60)
    assert clock.slept[1:] == [30.0]
    line, clock = Line(state("PENDING"), busy, DONE), Clock()
    own, job = await taken(line, clock)
    with pytest.raises(UpstreamError) as caught:
        await own.wait(job, clock.now + 20)
    assert (caught.value.error_class, job.polls) == (ErrorClass.TIMEOUT, 1)
    assert clock.now <= 1020


BROKEN = UpstreamError(ErrorClass.CONNECT, "gone")
PASSING = [DOWN, Answer({}, 429), Answer({}, 408), BROKEN]
ODD = [Answer(b"<html>"), Answer(b"", 204), Answer({}), Answer([]), Answer(None), Answer({}, 401)]


@pytest.mark.parametrize("fault", [*PASSING, *ODD], ids=str)
async def test_four_faults_in_a_row_are_forgotten_and_five_end_the_wait(fault: Any) -> None:
    """V-004"""
    line, clock = Line(state("PENDING"), *[fault] * 4, state("RUNNING"), *[fault] * 4, DONE), Clock()
    own, job = await taken(line, clock, every_s=1.0)
    assert isinstance(await own.wait(job, FAR), Done)
    line, clock = Line(state("PENDING"), *[fault] * 5, DONE), Clock()
    own, job = await taken(line, clock, every_s=1.0)
    with pytest.raises(UpstreamError) as caught:
        await own.wait(job, FAR)
    assert (job.polls, caught.value.by_piece, caught.value.bought) == (5, True, True)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (state("FAILED", error="no"), ErrorClass.INTERNAL),
        (state("violation"), ErrorClass.BLOCKED),
        (state("CANCELED"), ErrorClass.CANCELED),
        (Answer({"success": False, "error": "no"}, 410), ErrorClass.LOST),
        (Answer({"success": False, "error": "no"}, 422), ErrorClass.LOST),
        (state("SUCCEEDED"), ErrorClass.EMPTY),
    ],
)
async def test_what_the_vendor_says_is_final(answer: Answer, kind: ErrorClass) -> None:
    """V-007, V-030, V-033, V-051: one poll, and no SDK shall try again"""
    line, clock = Line(state("PENDING"), answer), Clock()
    own, job = await taken(line, clock)
    with pytest.raises(UpstreamError) as caught:
        await own.wait(job, FAR)
    assert (caught.value.error_class, caught.value.by_piece, job.polls) == (kind, True, 1)


NOT_KNOWN = [Answer({"success": False, "error": "no such task"}, 404), state("UNKNOWN")]


@pytest.mark.parametrize("answer", NOT_KNOWN, ids=str)
async def test_a_job_that_the_vendor_does_not_know_yet_is_asked_for_again(answer: Answer) -> None:
    """Also after it was seen: another of the vendor's stores may be behind."""
    line, clock = Line(state("PENDING"), *[answer] * 10, state("RUNNING"), answer, DONE), Clock()
    own, job = await taken(line, clock, every_s=1.0)
    assert len((await own.wait(job, FAR)).images) == 1
    assert [call.method for call in line.calls] == ["POST", *["GET"] * 13]


@pytest.mark.parametrize("answer", NOT_KNOWN, ids=str)
async def test_a_job_that_the_vendor_does_not_know_after_a_while_is_lost(answer: Answer) -> None:
    line, clock = Line(state("PENDING"), answer), Clock()
    own, job = await taken(line, clock)
    with pytest.raises(UpstreamError) as caught:
        await own.wait(job, FAR)
    assert (caught.value.error_class, caught.value.by_piece, job.over) == (ErrorClass.LOST, True, True)
    assert 1045 <= clock.now <= 1060


async def test_a_job_that_was_at_work_for_long_and_is_not_known_any_more_is_lost() -> None:
    line, clock = Line(state("PENDING"), *[state("RUNNING")] * 50, NOT_KNOWN[0]), Clock()
    own, job = await taken(line, clock, every_s=1.0)
    with pytest.raises(UpstreamError) as caught:
        await own.wait(job, FAR)
    assert (caught.value.error_class, job.polls) == (ErrorClass.LOST, 51)


async def test_who_waits_no_longer_than_a_new_job_may_be_unknown_is_not_told_that_it_is_lost() -> None:
    """It may be there, so it is not over: it can be called off, and is watched."""
    line, clock = Line(state("PENDING"), NOT_KNOWN[0]), Clock()
    own, job = await taken(line, clock)
    with pytest.raises(UpstreamError) as caught:
        await own.wait(job, clock.now + 10)
    assert (caught.value.error_class, job.over) == (ErrorClass.TIMEOUT, False)


async def test_a_strange_word_is_waited_for_and_remembered_once() -> None:
    """V-047"""
    line, clock = Line(state("PENDING"), *[state("DREAMING")] * 3, state("MUSING"), DONE), Clock()
    own, job = await taken(line, clock)
    await own.wait(job, FAR)
    assert job.unknown_states == ["DREAMING", "MUSING"]


async def test_a_job_written_down_is_waited_for_by_another_engine() -> None:
    """V-006: `task` is plain JSON, and no second order is needed"""
    first, clock = Line(state("PENDING")), Clock()
    _, job = await taken(first, clock)
    stored = json.dumps(dict(job.task))
    line = Line(state("RUNNING"), DONE)
    done = await engine(line, clock).wait(Job(json.loads(stored)), FAR)
    assert len(done.images) == 1
    assert {call.method for call in line.calls} == {"GET"}
    assert line.calls[0].path == "/wan27/task/t1"


@pytest.mark.parametrize(("word", "asked_to"), [("PENDING", True), ("RUNNING", False), (None, False)])
async def test_a_job_is_called_off_only_where_the_vendor_can(word: str | None, asked_to: bool) -> None:
    """V-036"""
    submit = Answer({"output": {"task_id": "t1", "task_status": "PENDING"}})
    line, clock = Line(submit, Answer({})), Clock()
    own = engine(line, clock, "dashscope", "image")
    job = await own.submit(order("dashscope", "image", "wan2.7-image"))
    assert isinstance(job, Job)
    job.state = word
    assert await own.cancel(job) is asked_to
    assert [call.path for call in line.calls[1:]] == ["/api/v1/tasks/t1/cancel"] * asked_to


async def test_calling_off_never_fails() -> None:
    submit = Answer({"output": {"task_id": "t1", "task_status": "PENDING"}})
    line, clock = Line(submit, BROKEN), Clock()
    own = engine(line, clock, "dashscope", "image")
    job = await own.submit(order("dashscope", "image", "wan2.7-image"))
    assert isinstance(job, Job)
    assert await own.cancel(job) is False


FAL = {
    "request_id": "r1",
    "status": "IN_QUEUE",
    "status_url": "https://queue.fal.run/fal-ai/x/requests/r1/status",
    "response_url": "https://queue.fal.run/fal-ai/x/requests/r1",
    "cancel_url": "https://queue.fal.run/fal-ai/x/requests/r1/cancel",
}


async def fal(*answers: Any, **changed: Any) -> tuple[Engine, Job, Line, Clock]:
    line, clock = Line(Answer({**FAL, **changed}), *answers), Clock()
    own = engine(line, clock, "fal", "image")
    job = await own.submit(order("fal", "image", "fal-ai/x"))
    assert isinstance(job, Job)
    return own, job, line, clock


async def test_a_result_kept_apart_is_fetched_and_asked_for_again_while_the_line_fails() -> None:
    """V-040"""
    result = Answer({"images": [{"url": "https://v3.fal.media/x.png"}]})
    own, job, line, _ = await fal(Answer({"status": "COMPLETED"}), Answer({}, 503), result)
    done = await own.wait(job, FAR)
    assert [image.url for image in done.images] == ["https://v3.fal.media/x.png"]
    assert [call.url for call in line.calls[1:]] == [
        FAL["status_url"],
        FAL["response_url"],
        FAL["response_url"],
    ]


@pytest.mark.parametrize("odd", [*ODD, Answer({"detail": "not found"}, 404)], ids=str)
async def test_a_result_that_is_answered_oddly_is_asked_for_again(odd: Answer) -> None:
    result = Answer({"images": [{"url": "https://v3.fal.media/x.png"}]})
    own, job, _, _ = await fal(Answer({"status": "COMPLETED"}), *[odd] * 4, result)
    assert len((await own.wait(job, FAR)).images) == 1
    own, job, line, clock = await fal(Answer({"status": "COMPLETED"}), odd)
    with pytest.raises(UpstreamError) as caught:
        await own.wait(job, FAR)
    assert (caught.value.by_piece, caught.value.bought, len(line.calls)) == (True, True, 2 + 5)
    assert clock.slept[1:] == [1.0] * 4
    assert job.over


async def test_a_result_is_asked_for_when_the_vendor_said_and_not_beyond_the_deadline() -> None:
    busy = Answer({}, 503, {"retry-after": "30"})
    own, job, line, clock = await fal(Answer({"status": "COMPLETED"}), busy)
    with pytest.raises(UpstreamError):
        await own.wait(job, clock.now + 100)
    assert clock.slept[1:] == [30.0, 30.0, 30.0]
    assert [call.url for call in line.calls[2:]] == [FAL["response_url"]] * 4


@pytest.mark.parametrize("answer", [{"images": []}, {"description": "I cannot draw that."}], ids=str)
async def test_a_result_without_a_picture_that_says_so_is_final(answer: Any) -> None:
    own, job, line, _ = await fal(Answer({"status": "COMPLETED"}), Answer(answer))
    with pytest.raises(UpstreamError) as caught:
        await own.wait(job, FAR)
    assert (caught.value.code, caught.value.bought, len(line.calls)) == ("no_image_generated", True, 3)


async def test_a_refused_result_is_final() -> None:
    """V-040: by the type of its first detail"""
    refusal = Answer({"detail": [{"msg": "no", "type": "content_policy_violation"}]}, 422)
    own, job, _, _ = await fal(Answer({"status": "COMPLETED"}), refusal)
    with pytest.raises(UpstreamError) as caught:
        await own.wait(job, FAR)
    assert (caught.value.error_class, caught.value.by_piece) == (ErrorClass.BLOCKED, True)


async def test_an_address_that_is_not_the_vendors_is_never_asked() -> None:
    """V-041"""
    own, job, line, _ = await fal(Answer({}), status_url="https://evil.example/steal")
    with pytest.raises(UpstreamError) as caught:
        await own.wait(job, FAR)
    assert (caught.value.error_class, caught.value.by_piece) == (ErrorClass.LOST, True)
    assert len(line.calls) == 1


async def test_calling_off_at_an_address_that_is_not_the_vendors_never_fails() -> None:
    """V-041"""
    own, job, line, _ = await fal(Answer({}), cancel_url="https://evil.example/steal")
    assert await own.cancel(job) is False
    assert len(line.calls) == 1


async def test_progress_is_told_as_it_comes() -> None:
    seen: list[tuple[str | None, float | None]] = []
    line, clock = Line(state("PENDING", progress=5), state("RUNNING", progress=60), DONE), Clock()
    own, job = await taken(line, clock, on_progress=lambda job: seen.append((job.state, job.progress)))
    await own.wait(job, FAR)
    assert seen == [("PENDING", 5.0), ("RUNNING", 60.0)]
