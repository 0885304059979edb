"""Every way an upstream can fail: the right error, the connection freed, nothing sent twice."""

import asyncio
import gzip
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import Call, Json
from proxy.upstream import Account, Deadlines, Static, Upstream
from tests.hostile import (
    EVENTS,
    LOOPS,
    OK,
    Handler,
    Request,
    Server,
    answering,
    chunked,
    serving,
    until,
    until_hung_up,
)
from tests.long import LONG

pytestmark = pytest.mark.anyio


async def until_hung_up_later(request: Request) -> None:
    await asyncio.sleep(0.5)
    await until_hung_up(request)


CALL = Call("/v1/models/m:generateContent", {"contents": [{"parts": [{"text": "hi"}]}]})
STREAM = Call("/v1/models/m:streamGenerateContent?alt=sse", {"contents": []}, stream=True)
PATIENT = Deadlines(connect_s=5, first_byte_s=10, idle_s=10, total_s=20)
CLOSE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


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


async def payloads(
    upstream: Upstream, server: Server, call: Call = CALL, deadlines: Deadlines = PATIENT
) -> list[Json]:
    reply = await upstream.send(call, account(server), deadlines)
    return [payload async for batch in reply.payloads() for payload in batch]


FAULTS: list[tuple[str, Handler, ErrorClass, str, bool]] = [
    ("close before headers", answering(then="close"), ErrorClass.INTERNAL, "upstream_unreachable", True),
    (
        "close within headers",
        answering(b"HTTP/1.1 200 OK\r\ncontent-", then="close"),
        ErrorClass.INTERNAL,
        "upstream_unreachable",
        True,
    ),
    (
        "cut body",
        answering(CLOSE + b'content-length: 99\r\n\r\n{"n":', then="close"),
        ErrorClass.INTERNAL,
        "upstream_stream_truncated",
        True,
    ),
    (
        "cut body without a length",
        answering(CLOSE + b'connection: close\r\n\r\n{"n":', then="close"),
        ErrorClass.INTERNAL,
        "upstream_stream_truncated",
        True,
    ),
    (
        "cut chunked stream",
        answering(EVENTS + chunked(b'data: {"n":1}\n\n', end=False), then="close"),
        ErrorClass.INTERNAL,
        "upstream_stream_truncated",
        True,
    ),
    (
        "bad chunk size",
        answering(EVENTS + chunked(b'data: {"n":1}\n\n', end=False), b"zz\r\nhello\r\n"),
        ErrorClass.INTERNAL,
        "upstream_stream_truncated",
        True,
    ),
    (
        "bad status line",
        answering(b"HELLO WORLD\r\n\r\n", then="close"),
        ErrorClass.INTERNAL,
        "upstream_invalid_response",
        True,
    ),
    (
        "two lengths",
        answering(b'HTTP/1.1 200 OK\r\ncontent-length: 7\r\ncontent-length: 9\r\n\r\n{"n":1}ab'),
        ErrorClass.INTERNAL,
        "upstream_invalid_response",
        True,
    ),
    (
        "headers too large",
        answering(b"HTTP/1.1 200 OK\r\nx: " + b"a" * 300_000 + b"\r\n\r\n"),
        ErrorClass.INTERNAL,
        "upstream_invalid_response",
        True,
    ),
    (
        "a page",
        answering(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>", then="close"),
        ErrorClass.INTERNAL,
        "upstream_invalid_response",
        True,
    ),
    (
        "a compression nobody asked for",
        answering(CLOSE + b"content-encoding: br\r\ncontent-length: 2\r\n\r\nxx"),
        ErrorClass.INTERNAL,
        "upstream_invalid_response",
        True,
    ),
    (
        "broken gzip",
        answering(CLOSE + b"content-encoding: gzip\r\ncontent-length: 7\r\n\r\nnotgzip", then="close"),
        ErrorClass.INTERNAL,
        "upstream_stream_truncated",
        True,
    ),
    (
        "redirect",
        answering(
            b"HTTP/1.1 307 Go\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", then="close"
        ),
        ErrorClass.INTERNAL,
        "upstream_redirect",
        True,
    ),
]


@pytest.mark.parametrize(
    ("handler", "error_class", "code", "bought"),
    [row[1:] for row in FAULTS],
    ids=[row[0] for row in FAULTS],
)
async def test_a_fault_has_its_class_and_frees_the_connection_and_nothing_is_sent_twice(
    upstream: Upstream, handler: Handler, error_class: ErrorClass, code: str, bought: bool
) -> None:
    async with serving(handler) as server:
        with pytest.raises(UpstreamError) as caught:
            await payloads(upstream, server)
        error = caught.value
        assert (error.error_class, error.code, error.bought) == (error_class, code, bought)
        assert error.provider == "acme"
        assert "sk-canary" not in repr(error) + str(error) + repr(error.__cause__) + repr(error.__context__)
        assert len(server.requests) == 1
        assert await server.until_gone(1)


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("https://api.example/v1/x?key=canary", "https://api.example"),
        ("/login?next=canary", "the same host"),
        ("http://[::1/canary", "no address"),
    ],
)
async def test_of_a_redirect_the_log_tells_the_host_alone(
    upstream: Upstream, location: str, host: str
) -> None:
    head = f"HTTP/1.1 301 Go\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
    async with serving(answering(head.encode(), then="close")) as server:
        with pytest.raises(UpstreamError) as caught:
            await payloads(upstream, server)
    assert caught.value.why == f"answered with a redirect (301) to {host}, which is not followed"


async def test_a_refused_connection_is_certain_to_have_bought_nothing(upstream: Upstream) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        nowhere = Account("acme", f"http://127.0.0.1:{taken.getsockname()[1]}", private=True)
        with pytest.raises(UpstreamError) as caught:
            await upstream.send(CALL, nowhere, PATIENT)
    assert (caught.value.error_class, caught.value.bought) == (ErrorClass.CONNECT, False)


async def test_a_name_that_does_not_exist_is_a_connect_error(upstream: Upstream) -> None:
    with pytest.raises(UpstreamError) as caught:
        await upstream.send(CALL, Account("acme", "http://nowhere.invalid"), PATIENT)
    assert (caught.value.error_class, caught.value.bought) == (ErrorClass.CONNECT, False)


async def test_a_failed_tls_handshake_is_a_connect_error(upstream: Upstream) -> None:
    async def speak_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        writer.close()

    server = await asyncio.start_server(speak_plainly, "127.0.0.1", 0)
    place = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with pytest.raises(UpstreamError) as caught:
        await upstream.send(CALL, Account("acme", place, private=True), PATIENT)
    server.close()
    assert (caught.value.error_class, caught.value.bought) == (ErrorClass.CONNECT, False)


@pytest.mark.parametrize(
    "deadlines", [Deadlines(connect_s=0.2), Deadlines(first_byte_s=0.2), Deadlines(total_s=0.2)], ids=str
)
async def test_a_host_that_never_takes_the_connection_is_a_connect_error(
    upstream: Upstream, deadlines: Deadlines
) -> None:
    with socket.socket() as full, socket.socket() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting.setblocking(False)
        crowd = [socket.socket() for _ in range(4)]
        for each in crowd:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        place = Account("acme", f"http://127.0.0.1:{full.getsockname()[1]}", private=True)
        started = time.monotonic()
        with pytest.raises(UpstreamError) as caught:
            await upstream.send(CALL, place, deadlines)
        for each in crowd:
            each.close()
    assert (caught.value.error_class, caught.value.bought) == (ErrorClass.CONNECT, False)
    assert time.monotonic() - started < 2


# --- why it could not be reached: for the operator, without path or secret


async def unreached(upstream: Upstream, base_url: str, call: Call = CALL) -> UpstreamError:
    account = Account("acme", base_url, Static((("x-goog-api-key", "sk-canary"),)), private=True)
    with pytest.raises(UpstreamError) as caught:
        await upstream.send(call, account, PATIENT)
    error = caught.value
    assert error.message == f"'acme' {error.why}"
    for hidden in ("canary", "/secret-path", "generateContent"):
        assert hidden not in error.message
    return error


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_refused_connection_says_so_with_host_and_port(upstream: Upstream, method: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{taken.getsockname()[1]}"
        error = await unreached(upstream, f"http://{at}/secret-path", Call("/x", {}, method=method))
        assert error.why == (
            f"could not be reached: {at} refused the connection; nothing listens there, or a firewall says no"
        )
        error = await unreached(upstream, f"http://localhost:{taken.getsockname()[1]}")
        assert "localhost:" in error.message
        assert "refused the connection" in error.message


async def test_the_vendors_own_address_is_named_where_that_was_asked(upstream: Upstream) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{taken.getsockname()[1]}"
        call = Call("", {}, method="GET", url=f"http://{at}/secret-path?sig=canary")
        error = await unreached(upstream, "http://elsewhere.invalid", call)
    assert f"{at} refused the connection" in error.message


async def test_an_unknown_name_is_said_to_be_one(upstream: Upstream) -> None:
    error = await unreached(upstream, "https://nowhere.invalid/secret-path")
    assert error.why == "could not be reached: the name of nowhere.invalid:443 could not be resolved (DNS)"


async def test_plain_http_where_tls_is_expected_is_said(upstream: Upstream) -> None:
    async def speak_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        writer.close()

    server = await asyncio.start_server(speak_plainly, "127.0.0.1", 0)
    at = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    error = await unreached(upstream, f"https://{at}/secret-path")
    server.close()
    assert error.message.startswith(f"'acme' could not be reached: no TLS with {at}: ")


async def test_a_certificate_that_is_not_trusted_is_said(upstream: Upstream) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).parent / "data" / "pictures.example.pem")
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    at = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    error = await unreached(upstream, f"https://{at}/secret-path")
    server.close()
    assert error.message.startswith(
        f"'acme' could not be reached: the TLS certificate of {at} is not trusted: "
    )
    assert "self" in error.message


async def test_a_proxy_of_the_environment_is_not_used_and_that_is_said(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:canary@proxy.example:3128")
    error = await unreached(upstream, "https://nowhere.invalid")
    assert error.message.endswith("; the proxy that HTTPS_PROXY names is not used")


async def test_an_address_in_a_private_network_needs_the_provider_to_say_so(upstream: Upstream) -> None:
    async with serving(answering(OK)) as server:
        for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
            with pytest.raises(UpstreamError) as caught:
                await upstream.send(CALL, Account("acme", url), PATIENT)
            assert caught.value.error_class is ErrorClass.CONNECT
        assert "`private: true`" in caught.value.message
        assert server.connections == 0


SLOW: list[tuple[str, Handler, Deadlines, str]] = [
    ("slow headers", answering(then="stall"), Deadlines(first_byte_s=0.1), "begin"),
    ("slow headers, little time in all", answering(then="stall"), Deadlines(total_s=0.1), "finish"),
    ("half headers", answering(b"HTTP/1.1 200 OK\r\n", then="stall"), Deadlines(first_byte_s=0.1), "begin"),
    (
        "silence after headers",
        answering(EVENTS, then="stall"),
        Deadlines(first_byte_s=0.1, idle_s=0.05),
        "begin",
    ),
    (
        "stalled stream",
        answering(EVENTS + chunked(b"data: {}\n\n", end=False), then="stall"),
        Deadlines(first_byte_s=5, idle_s=0.1),
        "silent",
    ),
    (
        "stalled body",
        answering(CLOSE + b'content-length: 99\r\n\r\n{"n"', then="stall"),
        Deadlines(idle_s=0.1),
        "silent",
    ),
]


@pytest.mark.parametrize(
    ("handler", "deadlines", "word"), [row[1:] for row in SLOW], ids=[row[0] for row in SLOW]
)
async def test_an_upstream_that_is_too_slow_times_out_and_is_dropped(
    upstream: Upstream, handler: Handler, deadlines: Deadlines, word: str
) -> None:
    async with serving(handler) as server:
        started = time.monotonic()
        with pytest.raises(UpstreamError) as caught:
            await payloads(upstream, server, deadlines=deadlines)
        assert (caught.value.error_class, caught.value.code) == (ErrorClass.TIMEOUT, "upstream_timeout")
        assert caught.value.bought
        assert word in caught.value.message
        assert time.monotonic() - started < 2
        assert await server.until_gone(1)


async def test_headers_may_come_early_while_the_upstream_still_thinks(upstream: Upstream) -> None:
    async def thinking(request: Request) -> None:
        await request.read_body()
        await request.send(EVENTS)
        await asyncio.sleep(0.3)
        await request.send(chunked(b'data: {"n":1}\n\n'))

    async with serving(thinking) as server:
        assert await payloads(upstream, server, deadlines=Deadlines(first_byte_s=5, idle_s=0.1)) == [{"n": 1}]


async def test_a_drip_that_is_never_idle_ends_with_the_total_time(upstream: Upstream) -> None:
    async def drip(request: Request) -> None:
        await request.read_body()
        await request.send(EVENTS)
        while True:
            await request.send(chunked(b": x\n", end=False))
            await asyncio.sleep(0.02)

    async with serving(drip) as server:
        with pytest.raises(UpstreamError) as caught:
            await payloads(upstream, server, deadlines=Deadlines(idle_s=0.2, total_s=0.5))
        assert "finish" in caught.value.message
        assert await server.until_gone(1)


async def test_a_slow_client_does_not_make_the_upstream_late(upstream: Upstream) -> None:
    events = [chunked(b'data: {"n":%d}\n\n' % n, end=False) for n in range(3)]
    async with serving(answering(EVENTS, *events, b"0\r\n\r\n")) as server:
        reply = await upstream.send(STREAM, account(server), Deadlines(idle_s=0.1))
        seen = []
        async for batch in reply.payloads():
            seen += batch
            await asyncio.sleep(0.25)
        assert seen == [{"n": 0}, {"n": 1}, {"n": 2}]


async def test_a_vendor_at_full_speed_is_read_in_slices_and_others_have_their_turn(
    upstream: Upstream,
) -> None:
    event = b'data: {"n":"' + b"x" * 85 + b'"}\n\n'
    async with serving(answering(EVENTS + chunked(event * 4000), then="stall")) as server:
        reply = await upstream.send(STREAM, account(server), PATIENT)
        await asyncio.sleep(0.2)  # as much as the connection holds is here before it is looked at
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(others())
        sizes: list[int] = []
        turns_before: list[int] = []
        async for batch in reply.payloads():
            sizes.append(len(list(batch)))
            turns_before.append(turns)
        other.cancel()
    assert sum(sizes) == 4000
    assert max(sizes) <= 656  # of 100 bytes each: 64 KiB
    assert len(set(turns_before)) == len(turns_before)


@pytest.mark.parametrize(
    ("nothing", "slice_bytes"),
    [
        pytest.param(b": ping\n\n", 1 << 16, id="comments"),
        pytest.param(b":\n", 1 << 16, id="empty comments"),
        pytest.param(b"data:\n\n", 1 << 16, id="empty events"),
        pytest.param(b"id: 1\n", 1 << 16, id="numbers of events"),
        pytest.param(b"\n", 1 << 19, id="blank lines"),  # a read at a time, at no cost
    ],
)
async def test_what_says_nothing_is_read_in_slices_too_and_ends_at_the_limit(
    nothing: bytes, slice_bytes: int
) -> None:
    """96 MiB of it are some seconds of work, in which others have their turns: `DRAGOMAN_LONG=96`."""
    most = (1 << 20) * min(LONG, 96)
    upstream = Upstream(max_reply_bytes=most)
    seen: list[Json] = []
    turns = 0

    async def flood(request: Request) -> None:
        await request.read_body()
        await request.send(EVENTS)
        while True:
            await request.send(chunked(nothing * 30_000, end=False))

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with serving(flood) as server:
        other = asyncio.create_task(others())
        reply = await upstream.send(STREAM, account(server), Deadlines(total_s=600))
        with pytest.raises(UpstreamError) as caught:
            seen += [payload async for batch in reply.payloads() for payload in batch]
        other.cancel()
        assert caught.value.code == "upstream_response_too_large"
        assert seen == []
        assert turns >= most // slice_bytes
    await upstream.close()


async def test_what_came_before_a_fault_is_handed_on_first(upstream: Upstream) -> None:
    """G-187"""
    raw = chunked(b'data: {"n":1}\n\n', b'data: {"n":2}\n\n', end=False)
    for bad in ((b"zz\r\n",), ()):
        async with serving(answering(EVENTS + raw, *bad, then="close")) as server:
            reply = await upstream.send(STREAM, account(server), PATIENT)
            await asyncio.sleep(0.1)  # all of it is here before it is looked at
            batches = reply.payloads()
            assert list(await anext(batches)) == [{"n": 1}, {"n": 2}]
            with pytest.raises(UpstreamError):
                await anext(batches)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(EVENTS + chunked(b'data: {"n":1}\n\ndata: [DONE]\n\n', end=False), id="events"),
        pytest.param(
            CLOSE + b"transfer-encoding: chunked\r\n\r\n" + chunked(b'{"n":1}', end=False), id="json"
        ),
        pytest.param(
            CLOSE + b"transfer-encoding: chunked\r\n\r\n" + chunked(b'[{"n":1}]', end=False), id="array"
        ),
        pytest.param(CLOSE + b'content-length: 9\r\n\r\n{"n":1}', id="length two too long"),
    ],
)
async def test_an_answer_that_proves_its_own_end_is_whole_without_a_proper_close(
    upstream: Upstream, reply: bytes
) -> None:
    async with serving(answering(reply, then="close")) as server:
        assert await payloads(upstream, server) == [{"n": 1}]


async def test_a_reply_over_the_limit_is_refused_at_the_limit() -> None:
    upstream = Upstream(max_reply_bytes=1 << 20)
    sent = 0

    async def flood(request: Request) -> None:
        nonlocal sent
        await request.read_body()
        await request.send(EVENTS)
        while True:
            await request.send(chunked(b": " + b"x" * 65536 + b"\n", end=False))
            sent += 65536

    async with serving(flood) as server:
        with pytest.raises(UpstreamError) as caught:
            await payloads(upstream, server)
        assert (caught.value.error_class, caught.value.code) == (
            ErrorClass.INTERNAL,
            "upstream_response_too_large",
        )
        assert await server.until_gone(1)
        assert sent < 64 << 20
    await upstream.close()


async def test_a_compressed_bomb_is_refused_at_the_limit() -> None:
    """V-054"""
    upstream = Upstream(max_reply_bytes=4 << 20)
    bomb = gzip.compress(b'{"x":"' + b"A" * (256 << 20), 9)
    head = CLOSE + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb)
    async with serving(answering(head + bomb, then="stall")) as server:
        with pytest.raises(UpstreamError) as caught:
            await payloads(upstream, server)
        assert caught.value.code == "upstream_response_too_large"
        assert await server.until_gone(1)
    await upstream.close()


async def test_a_70_kb_header_and_gzip_are_read(upstream: Upstream) -> None:
    body = gzip.compress(b'{"n":1}')
    head = CLOSE + b"x-long: " + b"a" * 70_000 + b"\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n"
    async with serving(answering(head % len(body) + body)) as server:
        assert await payloads(upstream, server) == [{"n": 1}]


async def test_an_error_body_is_read_as_far_as_wanted_and_survives_a_cut(upstream: Upstream) -> None:
    head = b"HTTP/1.1 503 No\r\nretry-after: 7\r\nX-Mixed: Case\r\ncontent-length: 500000\r\n\r\n"
    async with serving(answering(head + b"overloaded" * 2000, then="close")) as server:
        for limit, size in ((10, 10), (1 << 20, 20_000)):
            reply = await upstream.send(CALL, account(server), PATIENT)
            assert (reply.status, reply.headers["retry-after"], reply.headers["x-mixed"]) == (
                503,
                "7",
                "Case",
            )
            assert await reply.read(limit) == (b"overloaded" * 2000)[:size]


async def test_an_error_body_without_end_is_read_for_a_megabyte(upstream: Upstream) -> None:
    """A job's poll was read up to 96 MiB, five times."""
    sent = 0

    async def without_end(request: Request) -> None:
        nonlocal sent
        await request.read_body()
        await request.send(b"HTTP/1.1 500 No\r\ncontent-type: text/plain\r\n\r\n")
        while sent < 64 << 20:
            await request.send(b"overloaded " * 10_000)
            sent += 110_000

    async with serving(without_end) as server:
        reply = await upstream.send(CALL, account(server), PATIENT)
        assert await reply.value(96 << 20) == (b"overloaded " * 100_000)[: 1 << 20]
        await asyncio.wait_for(server.gone.wait(), 10)
    assert sent < 16 << 20  # with what waits in buffers


async def test_reading_more_than_wanted_of_a_good_answer_is_an_error(upstream: Upstream) -> None:
    async with serving(answering(OK)) as server:
        reply = await upstream.send(CALL, account(server), PATIENT)
        with pytest.raises(UpstreamError) as caught:
            await reply.read(3)
        assert caught.value.code == "upstream_response_too_large"
        reply = await upstream.send(CALL, account(server), PATIENT)
        assert await reply.read(7) == b'{"n":1}'


async def test_an_early_413_on_a_large_body_is_an_answer(upstream: Upstream) -> None:
    async def too_much(request: Request) -> None:
        await request.send(b'HTTP/1.1 413 No\r\ncontent-length: 7\r\nconnection: close\r\n\r\n{"n":1}')
        await request.hang_up()

    large = Call("/x", {"data": "A" * (8 << 20)})
    async with serving(too_much) as server:
        for _ in range(5):
            reply = await upstream.send(large, account(server), PATIENT)
            assert reply.status == 413
            assert await reply.read(100) == b'{"n":1}'
            await reply.close()
        assert await server.until_gone(1)


async def test_a_request_that_was_cut_short_was_not_bought(upstream: Upstream) -> None:
    async def reset(request: Request) -> None:
        request.writer.transport.abort()

    async with serving(reset) as server:
        with pytest.raises(UpstreamError) as caught:
            await upstream.send(Call("/x", {"data": "A" * (32 << 20)}), account(server), PATIENT)
        assert (caught.value.error_class, caught.value.bought) == (ErrorClass.INTERNAL, False)
        assert len(server.requests) == 1


async def test_a_vendor_that_does_not_take_the_whole_request_in_time_has_not_sold_it(
    upstream: Upstream,
) -> None:
    async with serving(until_hung_up_later) as server:
        large = Call("/x", {"data": "A" * (32 << 20)})
        with pytest.raises(UpstreamError) as caught:
            await upstream.send(large, account(server), Deadlines(first_byte_s=0.2))
        assert (caught.value.error_class, caught.value.bought) == (ErrorClass.TIMEOUT, False)
        assert await server.until_gone(2)


@pytest.mark.parametrize(
    ("handler", "stage"),
    [
        pytest.param(answering(then="stall"), "headers", id="before headers"),
        pytest.param(answering(EVENTS, then="stall"), "body", id="before the body"),
        pytest.param(
            answering(EVENTS + chunked(b"data: {}\n\n", end=False), then="stall"), "body", id="mid-stream"
        ),
    ],
)
async def test_cancelling_closes_the_upstream_connection_within_100_ms(
    upstream: Upstream, handler: Handler, stage: str
) -> None:
    async with serving(handler) as server:
        task = asyncio.create_task(payloads(upstream, server))
        await until(lambda: len(server.requests) == 1)
        assert server.open == 1
        task.cancel()
        assert await server.until_gone(0.1)
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_cancelling_a_large_upload_to_a_server_that_does_not_read_closes_at_once(
    upstream: Upstream,
) -> None:
    closed = asyncio.Event()

    async def deaf(request: Request) -> None:
        await asyncio.sleep(0.3)
        await until_hung_up(request)
        closed.set()

    async with serving(deaf) as server:
        large = Call("/x", {"data": "A" * (32 << 20)})
        task = asyncio.create_task(upstream.send(large, account(server), PATIENT))
        await until(lambda: len(server.requests) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(5):
            await closed.wait()


async def test_a_consumer_that_breaks_off_frees_the_connection_by_closing(upstream: Upstream) -> None:
    async with serving(answering(EVENTS + chunked(b"data: {}\n\n", end=False), then="stall")) as server:
        reply = await upstream.send(STREAM, account(server), PATIENT)
        async with aclosing(reply.payloads()) as batches:
            async for _ in batches:
                break
        assert await server.until_gone(0.1)
        await reply.close()
        await reply.close()


async def test_a_reply_that_is_never_read_is_freed_by_closing(upstream: Upstream) -> None:
    async with serving(answering(EVENTS, then="stall")) as server:
        reply = await upstream.send(STREAM, account(server), PATIENT)
        await reply.close()
        assert await server.until_gone(0.1)
