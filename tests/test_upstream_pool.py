"""Connections are kept, shared and dropped so that no caller notices another."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path

import pytest

from proxy.errors import ErrorClass, RequestError, UpstreamError
from proxy.types import Call, Json, Slice
from proxy.upstream import Account, Deadlines, Static, Upstream
from proxy.upstream.line import Line
from proxy.upstream.pool import AddressInfo, Resolver
from tests.hostile import (
    EVENTS,
    LOOPS,
    OK,
    Request,
    Server,
    answering,
    at_rest,
    chunked,
    serving,
    until,
    until_hung_up,
)

pytestmark = pytest.mark.anyio

CALL = Call("/v1/models/m:generateContent", {"contents": [{"parts": [{"text": "hi"}]}]})
PATIENT = Deadlines(connect_s=5, first_byte_s=10, idle_s=10, total_s=20)


def account(server: Server) -> Account:
    return Account("acme", server.url, Static((("x-goog-api-key", "sk-canary"),)), private=True)


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """The server runs on uvloop where it installs."""
    return request.param


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    upstream = Upstream()
    yield upstream
    await upstream.close()


async def call(upstream: Upstream, server: Server, what: Call = CALL) -> list[Json]:
    reply = await upstream.send(what, account(server), PATIENT)
    return [payload async for batch in reply.payloads() for payload in batch]


async def test_the_request_is_the_call_and_the_key_and_nothing_else(upstream: Upstream) -> None:
    async with serving(answering(OK)) as server:
        sent = Call("/v1/models/m:generateContent?x=1", {"a": [1, "é"]}, headers={"x-extra": "1"})
        assert await call(upstream, server, sent) == [{"n": 1}]
        request = server.requests[0]
        assert request.head.split(b"\r\n")[0] == b"POST /v1/models/m:generateContent?x=1 HTTP/1.1"
        assert request.headers == {
            "host": f"127.0.0.1:{server.port}",
            "user-agent": "dragoman",
            "accept-encoding": "identity",
            "accept": "application/json",
            "x-extra": "1",
            "x-goog-api-key": "sk-canary",
            "content-length": "14",
            "content-type": "application/json",
        }
        assert request.body == '{"a":[1,"é"]}'.encode()


async def test_a_streamed_call_asks_for_events_and_a_get_has_no_body(upstream: Upstream) -> None:
    async with serving(answering(OK)) as server:
        await call(upstream, server, Call("/x", {}, stream=True))
        await call(upstream, server, Call("/tasks/7", {}, method="GET"))
        first, second = server.requests
        assert first.headers["accept"] == "text/event-stream"
        assert second.head.startswith(b"GET /tasks/7 HTTP/1.1\r\n")
        assert "content-length" not in second.headers


async def test_a_large_body_arrives_whole_and_its_slices_are_spliced_in(upstream: Upstream) -> None:
    picture = Slice(b"QUJD" * (1 << 20))
    async with serving(answering(OK)) as server:
        await call(upstream, server, Call("/x", {"a": picture, "b": [picture], "c": "é" * 300_000}))
        body = server.requests[0].body
        assert body == b'{"a":"%b","b":["%b"],"c":"%b"}' % (
            bytes(picture.raw),
            bytes(picture.raw),
            "é".encode() * 300_000,
        )


@pytest.mark.parametrize(
    "path",
    ["/models/../keys", "/models/..", "/models/%2e%2E/keys", "/./x", "/models/..?alt=sse"],
)
async def test_a_model_name_cannot_climb_out_of_its_place(upstream: Upstream, path: str) -> None:
    async with serving(answering(OK)) as server:
        with pytest.raises(RequestError) as caught:
            await call(upstream, server, Call(path, {}))
        assert (caught.value.status, caught.value.code) == (404, "model_not_found")
        assert server.connections == 0


async def test_what_a_path_holds_cannot_break_the_request_line(upstream: Upstream) -> None:
    async with serving(answering(OK)) as server:
        await call(upstream, server, Call("/models/a b\r\nx-evil: 1\r\n:generate", {}))
        assert server.requests[0].head.split(b"\r\n")[0].count(b" ") == 2
        assert "x-evil" not in server.requests[0].headers


async def test_a_connection_is_used_again(upstream: Upstream) -> None:
    async with serving(answering(OK)) as server:
        for _ in range(5):
            assert await call(upstream, server) == [{"n": 1}]
        assert (server.connections, len(server.requests)) == (1, 5)


def sockets() -> list[list[str]]:
    return [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells")
async def test_a_connection_is_kept_alive_through_silence(upstream: Upstream) -> None:
    """A picture may take minutes, and what is between forgets a connection on which nothing moves."""
    async with serving(answering(OK)) as server:
        await call(upstream, server)
        client = server.requests[0].writer.get_extra_info("peername")[1]
        ends = f":{client:04X}", f":{server.port:04X}"
        timers = [line[5] for line in sockets() if line[1].endswith(ends[0]) and line[2].endswith(ends[1])]
    assert [timer.partition(":")[0] for timer in timers] == ["02"]  # that of the system's own probes


async def test_an_error_answer_keeps_the_connection(upstream: Upstream) -> None:
    async with serving(answering(b"HTTP/1.1 429 No\r\ncontent-length: 2\r\n\r\n{}")) as server:
        for _ in range(3):
            reply = await upstream.send(CALL, account(server), PATIENT)
            assert await reply.read(100) == b"{}"
            await reply.close()
        assert server.connections == 1


async def test_an_idle_connection_the_server_closed_is_never_used(upstream: Upstream) -> None:
    """Also when the close has arrived but the loop had no time to see it."""

    async def once(request: Request) -> None:
        await request.read_body()
        await request.send(OK)
        request.writer.close()

    async with serving(once) as server:
        for number in range(20):
            assert await call(upstream, server) == [{"n": 1}]
            if number % 2:
                await asyncio.sleep(0.01)
        assert len(server.requests) == 20


async def test_a_connection_is_not_used_longer_than_the_server_said(upstream: Upstream) -> None:
    told = OK.replace(b"\r\n\r\n", b"\r\nkeep-alive: timeout=1, max=9\r\n\r\n")
    async with serving(answering(told)) as server:
        await call(upstream, server)
        await call(upstream, server)
        assert server.connections == 2


async def test_bytes_nobody_asked_for_are_not_the_next_callers_answer(upstream: Upstream) -> None:
    async def generous(request: Request) -> None:
        await request.read_body()
        await request.send(OK)
        await asyncio.sleep(0.02)
        await request.send(OK.replace(b'"n":1', b'"n":9'))

    async with serving(generous) as server:
        for _ in range(5):
            assert await call(upstream, server) == [{"n": 1}]
            await asyncio.sleep(0.05)


async def test_more_answers_in_one_read_are_not_the_next_callers_answer(upstream: Upstream) -> None:
    async with serving(answering(OK + OK.replace(b'"n":1', b'"n":9'))) as server:
        for _ in range(5):
            assert await call(upstream, server) == [{"n": 1}]
        assert server.connections == 5


async def test_cookies_of_one_caller_are_not_sent_for_another(upstream: Upstream) -> None:
    head = OK.replace(b"\r\n\r\n", b"\r\nset-cookie: session=alice; Path=/\r\n\r\n")
    async with serving(answering(head)) as server:
        await call(upstream, server)
        await call(upstream, server)
        assert "cookie" not in server.requests[1].headers


async def test_proxies_and_credentials_of_the_environment_are_not_used(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1/")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    async with serving(answering(OK)) as server:
        assert await call(upstream, server) == [{"n": 1}]


async def test_a_hundred_calls_at_once_all_get_their_own_answer(upstream: Upstream) -> None:
    async def echo(request: Request) -> None:
        body = await request.read_body()
        await asyncio.sleep(0.05)
        await request.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    async with serving(echo) as server:
        calls = (call(upstream, server, Call("/x", {"n": number})) for number in range(100))
        assert await asyncio.gather(*calls) == [[{"n": number}] for number in range(100)]
        assert server.connections == 100


async def test_a_third_call_waits_for_one_of_two_connections_and_gives_up_in_time() -> None:
    upstream = Upstream(connections=2)
    release = asyncio.Event()

    async def slow(request: Request) -> None:
        await request.read_body()
        await release.wait()
        await request.send(OK)

    async with serving(slow) as server:
        two = [asyncio.create_task(call(upstream, server)) for _ in range(2)]
        await until(lambda: len(server.requests) == 2)
        with pytest.raises(UpstreamError) as caught:
            await upstream.send(CALL, account(server), Deadlines(connect_s=0.05))
        assert (caught.value.error_class, caught.value.bought) == (ErrorClass.CONNECT, False)
        third = asyncio.create_task(call(upstream, server))
        await asyncio.sleep(0.05)
        release.set()
        assert await asyncio.gather(*two, third) == [[{"n": 1}]] * 3
        assert server.connections == 2
    await upstream.close()


async def refused(upstream: Upstream, server: Server) -> bool:
    """Whether a call found no place in time, so that nothing of it was sent."""
    with pytest.raises(UpstreamError) as caught:
        await upstream.send(CALL, account(server), Deadlines(connect_s=0.05, first_byte_s=1))
    return (caught.value.error_class, caught.value.bought) == (ErrorClass.CONNECT, False)


async def test_a_kept_connection_is_no_place_of_its_own() -> None:
    """One call at once: what is kept for one vendor has to wait while another is called."""
    upstream = Upstream(connections=1)
    release = asyncio.Event()

    async def slow(request: Request) -> None:
        await request.read_body()
        await release.wait()
        await request.send(OK)

    async with serving(answering(OK)) as one, serving(slow) as other:
        assert await call(upstream, one) == [{"n": 1}]
        busy = asyncio.create_task(call(upstream, other))
        await until(lambda: len(other.requests) == 1)
        assert await refused(upstream, one)
        release.set()
        assert await busy == [{"n": 1}]
        assert await call(upstream, one) == [{"n": 1}]
        assert (len(one.requests), one.connections) == (2, 1)
    await upstream.close()


async def test_a_call_on_a_kept_connection_takes_a_place() -> None:
    upstream = Upstream(connections=1)
    release = asyncio.Event()

    async def slow_after_the_first(request: Request) -> None:
        await request.read_body()
        if request.number:
            await release.wait()
        await request.send(OK)

    async with serving(slow_after_the_first) as server:
        assert await call(upstream, server) == [{"n": 1}]
        busy = asyncio.create_task(call(upstream, server))
        await until(lambda: len(server.requests) == 2)
        assert await refused(upstream, server)
        release.set()
        assert await busy == [{"n": 1}]
        assert (len(server.requests), server.connections) == (2, 1)
    await upstream.close()


async def test_a_kept_connection_that_breaks_gives_its_place_back() -> None:
    upstream = Upstream(connections=1)

    async def breaking(request: Request) -> None:
        await request.read_body()
        if request.number == 1:
            await request.hang_up()
        else:
            await request.send(OK)

    async with serving(breaking) as server:
        assert await call(upstream, server) == [{"n": 1}]
        with pytest.raises(UpstreamError):
            await call(upstream, server)
        for _ in range(2):
            assert await call(upstream, server) == [{"n": 1}]
        assert server.connections == 2
    await upstream.close()


async def test_what_cannot_be_reached_gives_its_place_back() -> None:
    upstream = Upstream(connections=1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    nobody = Account("acme", f"http://127.0.0.1:{port}", private=True)
    async with serving(answering(OK)) as server:
        for _ in range(3):
            with pytest.raises(UpstreamError, match="refused the connection"):
                await upstream.send(CALL, nobody, Deadlines(connect_s=1))
        assert await call(upstream, server) == [{"n": 1}]
    await upstream.close()


async def test_connections_that_went_stale_make_no_room_for_more_calls() -> None:
    upstream = Upstream(connections=1)
    told = OK.replace(b"\r\n\r\n", b"\r\nkeep-alive: timeout=1\r\n\r\n")
    at_once = most = 0

    async def counting(request: Request) -> None:
        nonlocal at_once, most
        await request.read_body()
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.02)
        at_once -= 1
        await request.send(told)

    async with serving(counting) as server:
        for _ in range(4):
            await call(upstream, server)
        await asyncio.gather(*(call(upstream, server) for _ in range(4)))
    assert most == 1
    await upstream.close()


def has_come(server: Server, count: int) -> bool:
    return len(server.requests) == count


async def test_cancelled_calls_give_their_places_back() -> None:
    upstream = Upstream(connections=2)

    async def first_stall(request: Request) -> None:
        await request.read_body()
        if request.number < 6:
            await request.send(EVENTS + chunked(b'data: {"n":0}\n\n', end=False))
            await until_hung_up(request)
        else:
            await request.send(OK)

    async with serving(first_stall) as server:
        for expected in (2, 4, 6):
            stalled = [asyncio.create_task(call(upstream, server)) for _ in range(2)]
            await until(partial(has_come, server, expected))
            for task in stalled:
                task.cancel()
            await asyncio.gather(*stalled, return_exceptions=True)
        assert await call(upstream, server) == [{"n": 1}]
    await upstream.close()


async def test_events_are_handed_on_as_they_come(upstream: Upstream) -> None:
    step = asyncio.Event()

    async def stepping(request: Request) -> None:
        await request.read_body()
        await request.send(EVENTS)
        for number in range(3):
            await request.send(chunked(b'data: {"n":%d}\n\n' % number, end=False))
            await step.wait()
            step.clear()
        await request.send(b"0\r\n\r\n")

    async with serving(stepping) as server:
        reply = await upstream.send(CALL, account(server), PATIENT)
        seen = []
        async with asyncio.timeout(5):
            async for batch in reply.payloads():
                seen.append(list(batch))
                step.set()
        assert seen == [[{"n": 0}], [{"n": 1}], [{"n": 2}]]


async def test_an_upstream_that_is_read_slowly_is_held_back(upstream: Upstream) -> None:
    """Memory stays bounded: the sender is stopped when nobody reads."""
    sent = 0

    async def eager(request: Request) -> None:
        nonlocal sent
        await request.read_body()
        await request.send(EVENTS)
        event = chunked(b'data: {"x":"' + b"A" * 65536 + b'"}\n\n', end=False)
        for _ in range(1000):
            await request.send(event)
            sent += len(event)
        await request.send(b"0\r\n\r\n")

    async with serving(eager) as server:
        reply = await upstream.send(CALL, account(server), PATIENT)
        assert await at_rest(lambda: sent) < 32 << 20
        await reply.close()
        assert await server.until_gone(0.5)


async def test_white_space_sent_to_keep_a_connection_open_is_ignored(upstream: Upstream) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    async with serving(answering(head, chunked(b" \n", end=False), chunked(b'\n{"n":1}'))) as server:
        assert await call(upstream, server) == [{"n": 1}]


async def test_an_empty_answer_has_no_payloads(upstream: Upstream) -> None:
    async with serving(answering(b"HTTP/1.1 204 No\r\n\r\n")) as server:
        assert await call(upstream, server) == []


async def test_closing_closes_idle_connections_and_it_can_be_opened_again(upstream: Upstream) -> None:
    async with serving(answering(OK)) as server:
        await call(upstream, server)
        await upstream.close()
        await upstream.close()
        assert await server.until_gone(0.5)
        assert await call(upstream, server) == [{"n": 1}]


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time can be put forward."""

    ahead_s = 0.0

    def time(self) -> float:
        return super().time() + self.ahead_s


def test_a_connection_that_was_idle_for_half_a_minute_is_closed() -> None:
    """Not one of another vendor that was used meanwhile; and again, after none was left."""

    async def use(clock: Clock) -> None:
        upstream = Upstream()
        async with serving(answering(OK)) as one, serving(answering(OK)) as other:
            for times in (1, 2):
                await call(upstream, one)
                clock.ahead_s += 20
                await call(upstream, other)
                assert (one.open, other.open) == (1, 1)
                clock.ahead_s += 11
                await until(lambda: one.open == 0)
                assert other.open == 1
                clock.ahead_s += 31
                await until(lambda: other.open == 0)
                assert (one.connections, other.connections) == (times, times)
                clock.ahead_s += 31  # nothing is left to be looked at
                await asyncio.sleep(0.01)
        await upstream.close()

    clock = Clock()
    with asyncio.Runner(loop_factory=lambda: clock) as runner:
        runner.run(use(clock))


class Names(Clock):
    """A loop whose system knows one address, or nobody, and says after a moment; it counts who asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[object] = []
        self.fault: Exception | None = None

    async def getaddrinfo(self, host: object, port: object, **how: object) -> Sequence[AddressInfo]:  # type: ignore[override]
        self.asked.append(host)
        await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]


def with_names(use: Callable[[Names, Resolver], Coroutine[object, object, None]]) -> None:
    names = Names()
    with asyncio.Runner(loop_factory=lambda: names) as runner:
        runner.run(use(names, Resolver(names)))


FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 443))]


def test_a_name_is_asked_for_once_and_believed_for_ten_seconds() -> None:
    async def use(names: Names, resolver: Resolver) -> None:
        assert await asyncio.gather(*(resolver("acme.example", 443) for _ in range(9))) == [FOUND] * 9
        names.ahead_s += 9
        assert await resolver("acme.example", 443) == FOUND
        assert names.asked == ["acme.example"]
        names.ahead_s += 2
        assert await resolver("acme.example", 443) == FOUND
        assert names.asked == ["acme.example"] * 2
        await resolver("other.example", 443)
        await resolver("acme.example", 443)
        assert names.asked == ["acme.example", "acme.example", "other.example"]

    with_names(use)


def test_a_name_that_was_not_found_is_asked_for_again() -> None:
    async def use(names: Names, resolver: Resolver) -> None:
        for fault in (socket.gaierror(-2, "unknown"), UnicodeError("label too long")):
            names.fault = fault
            with pytest.raises(socket.gaierror):
                await resolver("acme.example", 443)
        names.fault = None
        assert await resolver("acme.example", 443) == FOUND

    with_names(use)


def test_who_gives_up_takes_the_name_from_nobody_else() -> None:
    async def use(names: Names, resolver: Resolver) -> None:
        one, other = (asyncio.create_task(resolver("acme.example", 443)) for _ in range(2))
        await asyncio.sleep(0)
        one.cancel()
        assert await other == FOUND
        assert one.cancelled()

    with_names(use)


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7"])
def test_an_address_is_no_name(host: str) -> None:
    async def use(names: Names, resolver: Resolver) -> None:
        (found,) = await resolver(host, 443)
        assert (found[4][:2], names.asked) == ((host, 443), [])

    with_names(use)


async def test_nothing_is_kept_of_connections_that_were_lost(upstream: Upstream) -> None:
    """Neither of those that broke during a call, nor of those that a vendor closed between calls."""

    async def breaking(request: Request) -> None:
        await request.read_body()
        if request.number % 2 == 0:
            await request.send(OK)
        await request.hang_up()

    others = lines()
    async with serving(breaking) as server:
        for number in range(7):
            if number % 2:
                with pytest.raises(UpstreamError):
                    await call(upstream, server)
            else:
                await call(upstream, server)
            await server.gone.wait()
        await until(lambda: lines() <= others)
    assert server.connections == 7


def lines() -> set[Line]:
    """All connections that anything in this process knows of."""
    gc.collect()
    return {thing for thing in gc.get_objects() if type(thing) is Line}


async def test_no_task_and_no_warning_is_left_behind(upstream: Upstream) -> None:
    before = asyncio.all_tasks()
    async with serving(answering(EVENTS + chunked(b"data: {}\n\n", end=False), then="stall")) as server:
        reply = await upstream.send(CALL, account(server), PATIENT)
        async for _ in reply.payloads():
            break
        await reply.close()
        assert await server.until_gone(0.5)
    gc.collect()
    await until(lambda: asyncio.all_tasks() == before)


def test_an_account_never_shows_its_key() -> None:
    assert "sk-canary" not in repr(
        Account("acme", "http://x", Static((("authorization", "Bearer sk-canary"),)))
    )
