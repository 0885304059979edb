"""Calls to addresses that others name: the whole of a large body is sent, and whatever ends a call ends its
connection."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from yarl import URL

from proxy.upstream.fetch_rules import FetchRules
from proxy.upstream.guarded import Guarded
from tests.hostile import OK, Request, answering, serving, until, until_hung_up

pytestmark = pytest.mark.anyio

RULES = FetchRules(ports=frozenset(), is_public=lambda address: True, connect_s=5, silence_s=0.2, total_s=5)


@pytest.fixture
async def guarded() -> AsyncIterator[Guarded]:
    opened = Guarded(RULES, lambda host, port: ["127.0.0.1"], "test")
    yield opened
    await opened.close()


@pytest.mark.parametrize("size", [10, 1_000_000])
async def test_a_body_arrives_whole_and_its_answer_is_read(guarded: Guarded, size: int) -> None:
    body = bytes(range(250)) * (size // 250) + b"end"
    async with serving(answering(OK)) as server:
        url = URL(f"http://acme.example:{server.port}/hook?x=1")
        answer = await guarded.ask("POST", url, {"content-type": "text/plain"}, body, private=False)
        assert (answer.status, await answer.read(100)) == (200, b'{"n":1}')
        [request] = server.requests
        assert request.head.startswith(b"POST /hook?x=1 HTTP/1.1\r\n")
        assert request.headers == {
            "host": f"acme.example:{server.port}",
            "user-agent": "dragoman",
            "content-type": "text/plain",
            "connection": "close",
            "content-length": str(len(body)),
        }
        assert request.body == body
        assert await server.until_gone(5)


@pytest.mark.parametrize("body", [None, b"x" * 20_000_000], ids=["silent", "does not read"])
async def test_who_is_silent_for_too_long_is_left(guarded: Guarded, body: bytes | None) -> None:
    async def silent(request: Request) -> None:
        if body is not None:
            await asyncio.sleep(0.5)
        await until_hung_up(request)

    async with serving(silent) as server:
        with pytest.raises(TimeoutError):
            await guarded.ask("POST", URL(f"http://acme.example:{server.port}/"), {}, body, private=False)
        assert await server.until_gone(5)


async def test_the_end_closes_what_is_open() -> None:
    opened = Guarded(RULES, lambda host, port: ["127.0.0.1"], "test")
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhel"
    async with serving(answering(head, then="stall")) as server:
        answer = await opened.ask("GET", URL(f"http://acme.example:{server.port}/"), {}, private=False)
        assert await answer.read(100) == b"hel"
        await until(lambda: server.open == 1)
        await opened.close()
        assert await server.until_gone(5)
        with pytest.raises(OSError, match="closed"):
            await answer.read(100)
