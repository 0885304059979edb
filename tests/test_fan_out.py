"""Calls side by side for one request: how they are cut and merged, and what a failure does to the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest

from proxy.errors import ErrorClass, UpstreamError
from proxy.serve.fan_out import SideBySide, split
from proxy.types import (
    ChatRequest,
    Event,
    Finish,
    ImageRequest,
    Json,
    Message,
    Started,
    Text,
    TextPart,
    Usage,
)

pytestmark = pytest.mark.anyio

HELLO = (Message("user", (TextPart("Hi"),)),)
Step = list[Event] | Exception


class Calls:
    """What each call gives: batches, and perhaps an error. Remembers which began, and how many at once."""

    def __init__(self, *steps: Sequence[Step]) -> None:
        self._steps = steps
        self.began: list[int] = []
        self.ended: list[int] = []
        self.most = 0

    async def start(self, number: int) -> AsyncGenerator[list[Event], None]:
        self.began.append(number)
        self.most = max(self.most, len(self.began) - len(self.ended))
        try:
            for step in self._steps[number]:
                await asyncio.sleep(0)
                if isinstance(step, Exception):
                    raise step
                yield step
        finally:
            self.ended.append(number)

    async def all(self, *, at_once: int = 9, tolerant: bool = False) -> list[Event]:
        side = SideBySide(len(self._steps), self.start, at_once=at_once, tolerant=tolerant)
        return [event async for batch in side.batches() for event in batch]


def words(text: str, tokens: int = 1) -> list[Step]:
    return [[Started(), Text(text)], [Usage(prompt=1, completion=tokens), Finish("stop")]]


def refused(error_class: ErrorClass) -> UpstreamError:
    return UpstreamError(error_class, error_class.value)


def test_a_seed_counts_on_over_pictures_and_stays_for_choices() -> None:
    pictures = split(ImageRequest("m", "A cat", n=5, seed=7), (2, 2, 1))
    assert [(one.n, one.seed) for one in pictures] == [(2, 7), (2, 9), (1, 11)]
    chats = split(ChatRequest("m", HELLO, n=2, seed=7), (1, 1))
    assert [(one.n, one.seed) for one in chats] == [(1, 7), (1, 7)]
    whole = ImageRequest("m", "A cat", n=3, seed=7)
    assert split(whole, (3,)) == [whole]
    assert [one.seed for one in split(ImageRequest("m", "A cat", n=2), (1, 1))] == [None, None]


async def test_the_events_of_a_call_become_its_choice_and_usage_comes_last_and_once() -> None:
    events = await Calls(words("a", 2), words("b", 3)).all()
    assert events.count(Started()) == 1
    assert {event.text: event.choice for event in events if isinstance(event, Text)} == {"a": 0, "b": 1}
    assert sorted(event.choice for event in events if isinstance(event, Finish)) == [0, 1]
    assert [event for event in events if isinstance(event, Usage)] == events[-1:]
    assert events[-1] == Usage(prompt=2, completion=5)


async def test_calls_that_only_count_are_no_failure() -> None:
    calls = Calls([[Usage(prompt=1)]], [[Usage(prompt=2)]])
    assert await calls.all(tolerant=True) == [Usage(prompt=3)]


def charged(*charges: Json | None) -> Json | None:
    return Usage.sum([Usage(vendor=charge) for charge in charges]).vendor


def test_what_vendors_charged_is_summed_in_their_own_words() -> None:
    points = {"unit": "points", "refunds": True}
    assert charged({"cost": "14", **points}, None, {"cost": "7.5", **points}) == {"cost": "21.5", **points}
    assert charged({"cost": 0.1, "is_byok": False}, {"cost": 0.2, "is_byok": True}) == {"cost": 0.3}
    nested = {"_billing": {"cost": "0.02", "actual_cost": "0.018", "currency": "CNY", "balance": "7.1"}}
    both = {"_billing": {"cost": "0.04", "actual_cost": "0.036", "currency": "CNY"}}
    assert charged(nested, nested) == both
    assert charged({"credits_used": 4, "balance": 96}, {"credits_used": 4, "balance": 92}) == {
        "credits_used": 8
    }
    assert charged({"cost": 7, "balance": 9}) == {"cost": 7, "balance": 9}
    assert charged({"cost": "n/a"}, {"cost": "n/a"}) == {"cost": "n/a"}
    assert charged({"cost": "1e999999999"}, {"cost": "1e999999999"}) == {"cost": "1e999999999"}


@pytest.mark.parametrize("unit", ["credits", None])
def test_charges_in_several_units_stand_side_by_side(unit: str | None) -> None:
    one, other = {"cost": "14", "unit": "points"}, {"cost": "7", "unit": unit}
    assert charged(one, other) == {"charges": [one, other]}
    nested = {"_billing": one}, {"_billing": other}
    assert charged(*nested) == {"charges": [*nested]}


async def test_no_more_calls_run_than_may() -> None:
    calls = Calls(*[words("x") for _ in range(7)])
    await calls.all(at_once=3)
    assert (calls.most, sorted(calls.began)) == (3, list(range(7)))


async def test_the_first_failure_of_a_chat_ends_the_other_calls() -> None:
    for_ever: list[Step] = [[Text("x")] for _ in range(1000)]
    calls = Calls(for_ever, [refused(ErrorClass.OVERLOADED)], for_ever)
    with pytest.raises(UpstreamError) as caught:
        await calls.all()
    assert caught.value.error_class is ErrorClass.OVERLOADED
    assert sorted(calls.ended) == [0, 1, 2]


async def test_a_piece_that_fails_does_not_take_the_others_with_it() -> None:
    calls = Calls(words("a"), [refused(ErrorClass.OVERLOADED)], words("c"))
    events = await calls.all(tolerant=True)
    assert sorted(event.text for event in events if isinstance(event, Text)) == ["a", "c"]
    assert events[-1] == Usage(prompt=2, completion=2)


@pytest.mark.parametrize(
    ("error_class", "ordered"), [(ErrorClass.BLOCKED, [0]), (ErrorClass.OVERLOADED, [0, 1, 2])]
)
async def test_only_a_refused_prompt_keeps_the_rest_from_being_ordered(
    error_class: ErrorClass, ordered: list[int]
) -> None:
    calls = Calls(*[[refused(error_class)] for _ in range(3)])
    with pytest.raises(UpstreamError):
        await calls.all(at_once=1, tolerant=True)
    assert calls.began == ordered


@pytest.mark.parametrize("telling", [ErrorClass.BLOCKED, ErrorClass.BAD_REQUEST])
async def test_of_several_failures_the_client_reads_the_one_that_helps(telling: ErrorClass) -> None:
    calls = Calls(*[[refused(one)] for one in (ErrorClass.OVERLOADED, telling, ErrorClass.TIMEOUT)])
    with pytest.raises(UpstreamError) as caught:
        await calls.all(tolerant=True)
    assert caught.value.error_class is telling


async def test_a_fault_of_ours_among_the_failures_is_raised_as_it_is() -> None:
    calls = Calls([ZeroDivisionError("ours")], [ZeroDivisionError("ours")])
    with pytest.raises(ZeroDivisionError, match="ours"):
        await asyncio.wait_for(calls.all(tolerant=True), 5)


async def test_a_reader_that_leaves_ends_all_calls() -> None:
    calls = Calls(*[[[Text("x")] for _ in range(1000)] for _ in range(3)])
    batches = SideBySide(3, calls.start, at_once=3, tolerant=True).batches()
    await anext(batches)
    await batches.aclose()
    assert sorted(calls.ended) == sorted(calls.began) == [0, 1, 2]
