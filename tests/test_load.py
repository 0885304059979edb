"""What is in flight is counted and bounded; what is too much is refused before its body is read."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import uvicorn
from uvicorn.server import ServerState

from proxy import app
from proxy import config as configuration
from proxy.errors import ProxyError
from proxy.logs import Log
from proxy.serve import full
from proxy.serve.house import HOME
from proxy.serve.load import Load
from proxy.serve.protocol import Protocol
from proxy.serve.waiting import WaitingLine
from tests.gateway import FILE, KEY, Gateway, open_gateway
from tests.picture_vendors import GOOD as PICTURE
from tests.raw_http import RawRequest, chat, form
from tests.served import waited
from tests.test_calls import Walk


@dataclass
class Most:
    requests: int = 3
    bytes: int = 1000


def begun(load: Load, declared: bytes | None = None) -> int:
    held = load.enter(declared)
    load.begin()
    return held


def test_requests_above_the_bound_are_refused_until_one_leaves() -> None:
    load = Load(Most())
    held = [begun(load) for _ in range(3)]
    with pytest.raises(ProxyError) as caught:
        load.enter(None)
    assert (caught.value.status, caught.value.headers) == (503, {"retry-after": "1"})
    load.leave(held[0], begun=True)
    begun(load)
    assert (load.requests, load.refused) == (3, 1)


def test_bodies_that_come_at_the_same_time_are_not_all_work() -> None:
    load = Load(Most())
    held = [load.enter(b"10") for _ in range(5)]
    for _ in range(3):
        load.begin()
    with pytest.raises(ProxyError):
        load.begin()
    for size in held[3:]:
        load.leave(size, begun=False)
    assert (load.requests, load.bytes) == (3, 30)


def test_bytes_above_the_bound_are_refused_and_given_back() -> None:
    load = Load(Most())
    held = load.enter(b"600")
    with pytest.raises(ProxyError):
        load.enter(b"401")
    assert load.enter(b"400") == 400
    load.leave(held, begun=False)
    assert load.bytes == 400


def test_of_a_large_body_counts_what_has_come() -> None:
    load = Load(Most(bytes=1_050_000))
    held = [load.enter(b"900000") for _ in range(3)]
    assert load.bytes == 3 * 65_536
    held[0] = load.grow(held[0], 800_000)
    with pytest.raises(ProxyError):
        load.grow(held[1], 200_000)
    for size in held:
        load.leave(size, begun=False)
    assert load.bytes == 0


def test_one_alone_always_has_room() -> None:
    load = Load(Most())
    held = load.enter(b"5000")
    assert load.grow(held, 6000) == 6000
    assert load.bytes == 6000


def test_a_body_that_grows_is_bounded_too() -> None:
    load = Load(Most())
    load.enter(b"500")
    held = load.grow(load.enter(None), 500)
    with pytest.raises(ProxyError):
        load.grow(held, 501)
    load.leave(held, begun=False)
    assert load.bytes == 500


def test_a_body_that_is_smaller_than_it_said_holds_what_it_said() -> None:
    load = Load(Most())
    held = load.enter(b"500")
    assert load.grow(held, 100) == 500
    assert load.bytes == 500


def test_room_is_for_one_alone_and_for_what_fits() -> None:
    load = Load(Most())
    assert not load.lacks(5000)
    load.enter(b"600")
    assert (load.lacks(400), load.lacks(401)) == (False, True)
    load.coming = 3
    assert load.lacks(1)


@pytest.mark.parametrize(("size", "heard"), [(1 << 20, 2), ((1 << 20) + 1, 0)])
def test_so_many_are_heard_as_there_is_room_for(size: int, heard: int) -> None:
    """Each may say up to a mebibyte. Of five places two are taken, and one by who has been read."""

    async def run() -> int:
        load = Load(Most(requests=5, bytes=2 << 20))
        load.requests, load.coming = 3, 1
        load.grow(load.enter(None), size)

        class Asks(Waits):
            def heard_again(self) -> bool:
                load.coming += 1
                return super().heard_again()

        waits = [Asks() for _ in range(4)]
        for one in waits:
            load.line.join(one)
        load.leave(0, begun=True)
        await turns(9)
        return sum(one.heard.is_set() for one in waits)

    assert asyncio.run(run()) == heard


@pytest.mark.parametrize("declared", [b"\xb2", b"-1", b"", b"1e3", b"0x10"])
def test_an_odd_length_counts_for_nothing(declared: bytes) -> None:
    assert Load(Most()).enter(declared) == 0


def test_the_log_says_when_refusals_begin_and_when_they_are_over() -> None:
    load, stream = Load(Most(requests=1)), io.BytesIO()
    log = Log(stream)
    held = begun(load, b"7")
    for refusals in (0, 3, 2, 0, 0, 1, 0):
        for _ in range(refusals):
            with pytest.raises(ProxyError):
                load.enter(None)
        load.tell(log)
    load.leave(held, begun=True)
    log.close()
    assert [
        {name: value for name, value in json.loads(line).items() if name != "time"}
        for line in stream.getvalue().splitlines()
    ] == [
        {"event": "overloaded", "requests": 1, "bytes": 7},
        {"event": "overload_over", "refused": 5},
        {"event": "overloaded", "requests": 1, "bytes": 7},
        {"event": "overload_over", "refused": 1},
    ]


# --- through the door


def opened(folder: Path, bounds: str) -> Any:
    server = f'server: {{state: "sqlite:{folder}/state/dragoman.db", in_flight: {bounds}}}\n'
    return open_gateway(folder, FILE.replace("version: 1\n", f"version: 1\n{server}", 1))


def load_of(gateway: Gateway) -> Load:
    assert gateway.application.house is not None
    return gateway.application.house.services.load


@contextmanager
def busy(gateway: Gateway, count: int, text: str = "Hi sim:slow:30") -> Iterator[None]:
    """With so many requests in flight."""
    before = load_of(gateway).requests
    requests = [RawRequest(gateway, chat(text, "gemini-flash")) for _ in range(count)]
    try:
        for request in requests:
            request.socket.sendall(request.head + request.payload)
        waited(lambda: load_of(gateway).requests == before + count)
        yield
    finally:
        for request in requests:
            request.socket.close()
        waited(lambda: load_of(gateway).requests == before)


def test_a_server_that_is_full_says_so_before_it_reads(tmp_path: Path) -> None:
    with opened(tmp_path, "{requests: 2}") as own:
        with busy(own, 2):
            late = RawRequest(own, chat("Hi", "gemini-flash"))
            late.socket.sendall(late.head)
            answer = late.socket.recv(65536).decode()
            late.socket.close()
            head, _, body = answer.partition("\r\n\r\n")
            assert head.startswith("HTTP/1.1 503 ")
            assert "\r\nretry-after: 1\r\n" in f"{head}\r\n"
            assert json.loads(body)["error"]["code"] == "server_overloaded"
            for path in ("/livez", "/readyz", "/v1/models"):
                reply = httpx.get(own.base_url + path, headers={"x-api-key": KEY})
                assert reply.status_code == 200, path
            stranger = httpx.post(f"{own.base_url}/v1/chat/completions", json=chat("Hi", "gemini-flash"))
            assert stranger.status_code == 401
            waited(lambda: len(own.sent()) == 2)
        assert own.client().chat.completions.create(model="gemini-flash", messages=[user("Hi")]).choices


def test_a_form_is_work_too(tmp_path: Path) -> None:
    parts = (
        ("model", b"nano-banana-pro", None),
        ("prompt", b"Red sim:slow:30", None),
        ("image", PICTURE, "a.png"),
    )
    content, headers = form(*parts)
    with (
        opened(tmp_path, "{requests: 1}") as own,
        RawRequest(own, content, path="/v1/images/edits", headers=headers).send(),
    ):
        waited(lambda: load_of(own).requests == 1)
        body, headers = chat("Hi", "gemini-flash"), {"authorization": f"Bearer {KEY}"}
        late = httpx.post(f"{own.base_url}/v1/chat/completions", json=body, headers=headers)
        assert (late.status_code, late.json()["error"]["code"]) == (503, "server_overloaded")


@pytest.mark.parametrize("stop", [0, 9], ids=["heads alone", "bodies that stop"])
def test_who_has_not_said_what_it_wants_keeps_nobody_out(tmp_path: Path, stop: int) -> None:
    with opened(tmp_path, "{requests: 2}") as own, ExitStack() as held:
        for _ in range(5):
            held.enter_context(RawRequest(own, chat("Hi", "gemini-flash"))).send(stop)
        waited(lambda: load_of(own).bytes > 0)
        assert own.client().chat.completions.create(model="gemini-flash", messages=[user("Hi")]).choices
        assert load_of(own).refused == 0


def test_bytes_that_are_promised_keep_nobody_out(tmp_path: Path) -> None:
    large = chat("x" * 400_000, "gemini-flash")
    with opened(tmp_path, "{bytes: 1MB}") as own, ExitStack() as held:
        for _ in range(4):
            held.enter_context(RawRequest(own, large)).send(9)
        waited(lambda: load_of(own).bytes > 200_000)
        text = "y" * 150_000
        assert own.client().chat.completions.create(model="gemini-flash", messages=[user(text)]).choices
        assert load_of(own).refused == 0


def test_a_body_that_comes_when_the_server_is_full_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path, "{requests: 2}") as own, RawRequest(own, chat("Hi", "gemini-flash")) as late:
        late.send(9)
        waited(lambda: load_of(own).bytes > 0)
        with busy(own, 2):
            late.socket.sendall(late.payload[9:])
            assert late.until("server_overloaded").startswith("HTTP/1.1 503 ")
        waited(lambda: load_of(own).bytes == 0)


# --- refused unread


KEPT = {"connection": "keep-alive"}


def test_a_plain_request_is_refused_before_it_is_parsed_and_its_connection_kept(tmp_path: Path) -> None:
    with opened(tmp_path, "{requests: 1}") as own, RawRequest(own, chat("Hi"), headers=KEPT) as late:
        with busy(own, 1):
            late.socket.sendall(late.head + late.payload[:9])
            head, _, body = late.until("server_overloaded").partition("\r\n\r\n")
            assert [line.partition("req_")[0] for line in head.split("\r\n")] == [
                "HTTP/1.1 503 Service Unavailable",
                "content-type: application/json",
                "retry-after: 1",
                "x-request-id: ",
                "request-id: ",
                f"content-length: {len(body)}",
            ]
            assert len(set(re.findall("req_[0-9a-f]{24}", late.text))) == 1
            assert json.loads(body)["error"]["type"] == "server_error"
            late.socket.sendall(late.payload[9:])
            late.received = b""
            late.socket.sendall((late.head + late.payload) * 2)
            waited(lambda: load_of(own).refused == 3)
            late.until("}}HTTP/1.1 503 Service Unavailable")
            assert len(set(re.findall("req_[0-9a-f]{24}", late.text))) == 2
        late.received = b""
        late.socket.sendall(late.head + late.payload)
        assert "HTTP/1.1 200 OK" in late.until('"chat.completion"')


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "said"),
    [
        pytest.param("/v1/messages", {}, chat("Hi", max_tokens=9), 529, '"overloaded_error"', id="Anthropic"),
        pytest.param("/chat/completions", {}, chat("Hi"), 503, '"server_error"', id="no prefix"),
        pytest.param(
            "/v1/chat/completions",
            {"authorization": "Bearer no"},
            chat("Hi"),
            401,
            "invalid_api_key",
            id="stranger",
        ),
        pytest.param(
            "/v1/chat/completions",
            {"connection": "close"},
            chat("Hi"),
            503,
            "x-request-id",
            id="last of its line",
        ),
        pytest.param("/v1/chat/completions", {}, chat("x" * 2_000_000), 503, "x-request-id", id="large"),
        pytest.param("/v1/nothing", {}, {"a": 1}, 404, "unknown_url", id="not bounded"),
        pytest.param(
            "/v1beta/models/gemini-flash:generateContent",
            {},
            {"contents": []},
            503,
            "RESOURCE_EXHAUSTED|UNAVAILABLE",
            id="Google",
        ),
    ],
)
def test_who_asks_for_more_is_told_by_whoever_understands_it(
    tmp_path: Path, path: str, headers: dict[str, str], body: Any, status: int, said: str
) -> None:
    with (
        opened(tmp_path, "{requests: 1}") as own,
        busy(own, 1),
        RawRequest(own, body, path=path, headers={**KEPT, **headers}) as late,
    ):
        late.socket.sendall(late.head + late.payload[:1000])
        late.until("}")
        assert late.text.startswith(f"HTTP/1.1 {status} ")
        assert re.search(said, late.text), late.text


@pytest.mark.parametrize(
    ("path", "headers", "size"),
    [
        pytest.param("/v1/chat/completions", {}, 10, id="OpenAI"),
        pytest.param("/openai/v1/responses?a=b", {"authorization": "", "api-key": KEY}, 10, id="Azure's key"),
        pytest.param("/v1/messages", {"authorization": "", "x-api-key": KEY}, 10, id="Anthropic"),
        pytest.param(
            "/v1beta/models/gemini-flash:streamGenerateContent?alt=sse",
            {"authorization": "", "x-goog-api-key": KEY},
            10,
            id="Google",
        ),
        pytest.param("/v1/images/generations", {}, 1_000_000, id="a megabyte"),
    ],
)
@pytest.mark.parametrize("bounds", ["{requests: 1}", "{bytes: 60B}"])
def test_every_dialect_is_refused_unread(
    tmp_path: Path, bounds: str, path: str, headers: dict[str, str], size: int
) -> None:
    with (
        opened(tmp_path, bounds) as own,
        busy(own, 1),
        RawRequest(own, b"x" * size, path=path, headers={**KEPT, **headers}) as late,
    ):
        late.head = late.head.replace(b"authorization: \r\n", b"")
        late.socket.sendall(late.head + late.payload)
        said = late.until("}")
        assert "\r\nx-request-id: req_" in said
        assert "openai-processing-ms" not in said, "an endpoint was asked"
        assert load_of(own).refused == 1


@pytest.mark.parametrize(
    ("path", "headers", "said"),
    [
        pytest.param("/v1/chat/completions", {"x-api-key": "sk-2"}, "conflicting_api_keys", id="two keys"),
        pytest.param(f"/v1beta/models/m:generateContent?key={KEY}", {}, "RESOURCE_EXH|UNAVAIL", id="address"),
        pytest.param("/v1/chat/completions", {"origin": "https://page"}, "server_overloaded", id="a page"),
    ],
)
def test_what_is_not_plain_is_looked_at(
    tmp_path: Path, path: str, headers: dict[str, str], said: str
) -> None:
    with (
        opened(tmp_path, "{requests: 1}") as own,
        busy(own, 1),
        RawRequest(own, chat("Hi"), path=path, headers={**KEPT, **headers}) as late,
    ):
        late.send()
        late.until("}")
        assert re.search(said, late.text), late.text
        assert "openai-processing-ms" in late.text


@pytest.mark.parametrize(
    ("version", "connection"),
    [
        pytest.param("1.0", "", id="the old protocol"),
        pytest.param("1.1", "connection: close\r\n", id="said"),
        pytest.param("1.1", "Connection:CLOSE\r\n", id="in other letters"),
        pytest.param("1.1", "connection: keep-alive, close\r\n", id="behind another word"),
        pytest.param("1.1", "connection: keep-alive\r\nconnection: close\r\n", id="in another line"),
        pytest.param("1.1", "proxy-connection: close\r\n", id="by a proxy"),
    ],
)
def test_who_ends_with_its_request_is_told_and_let_go(tmp_path: Path, version: str, connection: str) -> None:
    """It may read to the end."""
    with opened(tmp_path, "{requests: 1}") as own, busy(own, 1), RawRequest(own, chat("Hi")) as late:
        first = f"POST /v1/chat/completions HTTP/{version}\r\nhost: x\r\n{connection}"
        key = f"authorization: Bearer {KEY}\r\ncontent-length: {len(late.payload)}\r\n\r\n"
        late.socket.sendall(f"{first}{key}".encode() + late.payload)
        head, _, body = late.rest().partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 503 ")
        assert "\r\nconnection: close" in head
        assert json.loads(body)["error"]["code"] == "server_overloaded"


@pytest.mark.parametrize(
    "line",
    [
        b"transfer-encoding : chunked",
        b"a: b\ntransfer-encoding: chunked",
        b"a: b\rtransfer-encoding: chunked",
        b"content-length : 1",
        b"a: b\ncontent-length: 1",
    ],
)
def test_a_body_that_others_may_see_end_elsewhere_is_not_read_over(tmp_path: Path, line: bytes) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked().replace(b"host: x", b"host: x\r\n" + line))
            assert wire.written.startswith(b"HTTP/1.1 400 ")
            assert load.refused == 0

    asyncio.run(run())


@asynccontextmanager
async def connected(
    folder: Path, requests: int = 1000, timeouts: str = ""
) -> AsyncIterator[tuple[Protocol, Wire, Load]]:
    """A connection of a server on which so many requests are being answered; it may have 1000."""
    path = folder / "providers.yaml"
    server = f"server: {{state: 'sqlite::memory:', timeouts: {{{timeouts}}}}}\n"
    path.write_text(FILE.replace("http://SIMULATORS", "http://127.0.0.1:9") + server)
    loaded = configuration.load(path, {"TEST_KEY": KEY, "TEST_NARROW_KEY": "sk-n", "VENDOR_KEY": "k"})
    assert loaded.config is not None
    application = app.create(loaded.config, loaded.off)
    house = await application.open()
    options = uvicorn.Config(application, http=Protocol, ws="none", log_config=None, lifespan="off")
    options.load()
    protocol = Protocol(options, ServerState(), {HOME: application})
    wire = Wire()
    protocol.connection_made(wire)
    house.services.load.requests = requests
    try:
        yield protocol, wire, house.services.load
    finally:
        wire.ends[0].close()
        wire.ends[1].close()
        protocol.connection_lost(None)
        await application.close()


def asked(prompt: str = "Hi") -> bytes:
    payload = json.dumps(chat(prompt)).encode()
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
        b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b" % (KEY.encode(), len(payload), payload)
    )


class Wire(asyncio.Transport):
    """What a protocol writes, and whether it reads. Its socket is one of two `ends`."""

    written = b""
    closed = False

    def __init__(self) -> None:
        self.ends = socket.socketpair()
        self.reads = asyncio.Event()
        self.reads.set()

    @property
    def paused(self) -> bool:
        return not self.reads.is_set()

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def pause_reading(self) -> None:
        self.reads.clear()

    def resume_reading(self) -> None:
        self.reads.set()

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.ends[0] if name == "socket" else default


def test_a_refused_request_is_hardly_any_work(tmp_path: Path) -> None:
    """A small chat is some 190 calls; at five times of what a server can do, four of five are refused."""

    async def run() -> list[tuple[str, str]]:
        async with connected(tmp_path) as (protocol, wire, _):
            with Walk() as walk:
                protocol.data_received(asked())
            assert wire.written.startswith(b"HTTP/1.1 503 ")
            return walk.calls

    assert len(asyncio.run(run())) <= 11


@pytest.mark.parametrize("coding", [b"content-length: 900", b"transfer-encoding: chunked"])
def test_a_drop_of_a_body_wakes_nobody(tmp_path: Path, coding: bytes) -> None:
    """A thousand connections may drip, a byte a second each."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n%b\r\n\r\n"
    drop = b"1\r\n \r\n" if b"chunked" in coding else b" "

    async def run() -> set[str]:
        async with connected(tmp_path, 0) as (protocol, wire, load):
            protocol.data_received(head % (KEY.encode(), coding) + drop)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            with Walk() as walk:
                for _ in range(20):
                    protocol.data_received(drop)
                    await asyncio.sleep(0)
            assert (wire.written, load.requests) == (b"", 0)
            return {file for file, _ in walk.calls}

    assert asyncio.run(run()) == {"serve/protocol.py"}


# --- asked again too soon


async def turns(count: int = 4) -> None:
    """Of the loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def answered(protocol: Protocol, wire: Wire, count: int = 1) -> None:
    """The upstream is not there, so that is a 502."""
    async with asyncio.timeout(5):
        while wire.written.count(b"HTTP/1.1 502 ") < count or not protocol.cycle.response_complete:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


LARGE = 40_000 * "x"


def in_two(request: bytes) -> list[bytes]:
    """Behind the head."""
    return [request[:150], request[150:]]


def test_who_asks_again_at_once_is_told_again_after_a_second(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked())
            assert (len(load.line.waiting), load.refused) == (0, 1)
            began = time.monotonic()
            protocol.data_received(asked())
            assert (len(load.line.waiting), load.refused) == (1, 1)
            async with asyncio.timeout(5):
                while load.refused < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            assert time.monotonic() - began >= 0.99
            assert (len(load.line.waiting), wire.written.count(b"HTTP/1.1 503 ")) == (0, 2)

    asyncio.run(run())


@pytest.mark.parametrize("prompt", ["Hi", LARGE])
def test_after_a_second_it_may_ask_as_anybody(tmp_path: Path, prompt: str) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked(prompt))
            await asyncio.sleep(1)
            protocol.data_received(asked(prompt))
            assert (wire.paused, len(load.line.waiting), load.refused) == (False, 0, 2)
            await asyncio.sleep(1)
            load.requests = 0
            protocol.data_received(asked(prompt))
            await answered(protocol, wire)

    asyncio.run(run())


@pytest.mark.parametrize(
    "came",
    [
        pytest.param([asked()], id="one"),
        pytest.param(in_two(asked()), id="in parts"),
        pytest.param([asked() + asked()], id="two at once"),
        pytest.param([asked(), asked()], id="two"),
    ],
)
def test_who_waits_is_answered_when_there_is_room(tmp_path: Path, came: list[bytes]) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked())
            for part in came:
                protocol.data_received(part)
            assert (len(load.line.waiting), load.refused, load.coming) == (1, 1, 0)
            load.leave(0, begun=True)
            await answered(protocol, wire, b"".join(came).count(b"POST "))
            assert (wire.paused, len(load.line.waiting), load.refused) == (False, 0, 1)

    asyncio.run(run())


@pytest.mark.parametrize(
    "came",
    [
        pytest.param([asked(LARGE)], id="at once"),
        pytest.param(in_two(asked(LARGE)), id="in parts"),
        pytest.param([asked(LARGE)[at : at + 9_000] for at in range(0, 45_000, 9_000)], id="in small parts"),
        pytest.param([asked(), asked(LARGE)], id="behind another"),
    ],
)
def test_who_says_much_again_is_not_read_before_there_is_room(tmp_path: Path, came: list[bytes]) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked())
            for part in came:
                protocol.data_received(part)
            assert wire.paused
            assert load.refused == 1 + b"".join(came).count(b"POST ")
            load.leave(0, begun=True)
            await turns()
            assert not wire.paused
            protocol.data_received(asked(LARGE))
            await answered(protocol, wire)

    asyncio.run(run())


def test_who_waits_longer_than_a_head_may_take_is_heard(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path, timeouts="head: 200ms") as (protocol, wire, load):
            protocol.data_received(asked())
            protocol.data_received(asked())
            async with asyncio.timeout(5):
                while load.line.waiting:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            assert (wire.closed, load.refused) == (False, 2)
            async with asyncio.timeout(5):
                while not wire.closed:  # it says no more  # noqa: ASYNC110
                    await asyncio.sleep(0.001)

    asyncio.run(run())


@pytest.mark.parametrize("before", [0, 1], ids=["the first", "behind an answer"])
def test_a_refused_body_may_come_as_slowly_as_any(tmp_path: Path, before: int) -> None:
    async def run() -> None:
        async with connected(tmp_path, 1000 - before, "head: 200ms, idle: 300ms, body: 400ms") as (
            protocol,
            wire,
            load,
        ):
            if before:
                protocol.data_received(asked())
                await answered(protocol, wire)
                load.requests = 1000
            request = asked(LARGE)
            protocol.data_received(request[:150])
            for at in range(150, 20_150, 2_000):
                await asyncio.sleep(0.1)
                protocol.data_received(request[at : at + 2_000])
            assert (wire.closed, load.refused) == (False, 1)
            protocol.data_received(request[20_150:])
            protocol.data_received(asked())
            assert len(load.line.waiting) == 0  # a second has gone by
            assert load.refused == 2

    asyncio.run(run())


@pytest.mark.parametrize("before", ["x" * 900_000, "x" * 300], ids=["a large one", "one long ago"])
def test_how_a_refused_body_comes_says_nothing_of_the_next(tmp_path: Path, before: str) -> None:
    async def run() -> None:
        async with connected(tmp_path, timeouts="body: 300ms") as (protocol, wire, load):
            first = asked(before)
            protocol.data_received(first[:150])
            await asyncio.sleep(0.1)  # it has been looked at
            protocol.data_received(first[150:])
            await asyncio.sleep(1)
            for at in range(0, 4_000, 200):
                protocol.data_received(asked(LARGE)[at : at + 200])
                await asyncio.sleep(0.06)
            assert (wire.closed, load.refused) == (False, 2)

    asyncio.run(run())


def test_a_head_that_speaks_of_a_request_is_one(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(b"POST /v1/chat/completions HTTP/1.1\r\na: ")
            protocol.data_received(asked(LARGE))
            await turns()
            assert load.refused == 1
            assert b"openai-processing-ms" in wire.written, "no endpoint was asked"

    asyncio.run(run())


def test_who_does_not_read_its_refusals_is_not_told_more(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, _):
            protocol.pause_writing()
            protocol.data_received(asked())
            await turns()
            assert wire.written == b""

    asyncio.run(run())


def test_a_refused_body_that_comes_no_more_ends_its_connection(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path, timeouts="head: 60s, body: 200ms") as (protocol, wire, _):
            protocol.data_received(asked(LARGE)[:150])
            async with asyncio.timeout(5):
                while not wire.closed:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            assert wire.written.count(b"HTTP/1.1 ") == 1

    asyncio.run(run())


def test_a_connection_is_idle_since_it_was_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path, 999, "idle: 400ms") as (protocol, wire, load):
            protocol.data_received(asked())
            await answered(protocol, wire)
            await asyncio.sleep(0.3)
            load.requests = 1000
            protocol.data_received(asked())
            began = time.monotonic()
            async with asyncio.timeout(5):
                while not wire.closed:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            assert time.monotonic() - began >= 0.39

    asyncio.run(run())


def test_the_rest_of_a_refused_body_is_no_second_request(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            for part in in_two(asked(LARGE)):
                protocol.data_received(part)
            assert (wire.paused, len(load.line.waiting), load.refused) == (False, 0, 1)

    asyncio.run(run())


def test_a_line_of_requests_in_one_read_is_too_soon_as_well(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked() * 5)
            assert (wire.paused, len(load.line.waiting), load.refused) == (True, 1, 5)

    asyncio.run(run())


def test_who_says_the_rest_late_keeps_its_place(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            for _ in range(600):  # more than are heard in the first second after they have waited for one
                load.line.join(Waits())
            protocol.data_received(asked())
            first, rest = in_two(asked())
            protocol.data_received(first)
            await asyncio.sleep(1.1)
            protocol.data_received(rest)
            assert protocol in load.line.waiting
            assert wire.written.count(b"HTTP/1.1 503 ") == 1
            async with asyncio.timeout(5):
                while wire.written.count(b"HTTP/1.1 503 ") < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)

    asyncio.run(run())


def test_what_is_always_answered_waits_in_no_line(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked())
            protocol.data_received(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            await turns()
            assert b"HTTP/1.1 200 " in wire.written
            assert not load.line.waiting

    asyncio.run(run())


def test_who_asks_again_when_there_is_room_and_nobody_waits_does_not_wait(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked())
            load.requests = 0
            protocol.data_received(asked())
            assert load.coming == 1
            await answered(protocol, wire)

    asyncio.run(run())


def test_who_waits_is_not_idle(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path, timeouts="idle: 1ms") as (protocol, wire, load):
            protocol.data_received(asked())
            protocol.data_received(asked())
            await asyncio.sleep(0.002)
            protocol.timeout_keep_alive_handler()
            assert not wire.closed
            load.leave(0, begun=True)
            await answered(protocol, wire)

    asyncio.run(run())


@pytest.mark.parametrize("requests", [1000, 999])
def test_who_waits_when_the_server_leaves_is_heard_at_once(tmp_path: Path, requests: int) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked())
            protocol.data_received(asked())
            load.requests = requests
            protocol._services.leaving = True
            protocol.shutdown()
            assert not wire.closed
            assert not load.line.waiting
            async with asyncio.timeout(0.9):
                while not wire.closed:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            statuses = re.findall(rb"HTTP/1.1 (\d+) ", wire.written)
            assert statuses == [b"503", b"503" if requests == 1000 else b"502"]

    asyncio.run(run())


@pytest.mark.parametrize("cut", [100, 150], ids=["head", "body"])
def test_a_request_that_comes_when_the_server_leaves_is_its_last(tmp_path: Path, cut: int) -> None:
    async def run() -> None:
        async with connected(tmp_path, 0) as (protocol, wire, _):
            protocol.data_received(asked()[:cut])
            wire.ends[1].send(asked()[cut:])
            protocol._services.leaving = True
            protocol.shutdown()
            assert not wire.closed
            protocol.data_received(asked()[cut:])
            await answered(protocol, wire)
            assert wire.closed

    asyncio.run(run())


def headed(*lines: bytes, first: bytes = b"POST /v1/chat/completions HTTP/1.1") -> bytes:
    return b"\r\n".join((first, b"host: x", *lines, b"", b""))


BEARER, FIVE = b"authorization: Bearer a", b"content-length: 5"
READY = {b"/v1/chat/completions": b"full", b"/v1beta/models/*:generateContent": b"busy"}


@pytest.mark.parametrize(
    ("data", "plain"),
    [
        (headed(BEARER, FIVE), (b"full", (b"authorization", b"Bearer a"), 5, 96)),
        (headed(b"X-Api-Key:  a ", FIVE), (b"full", (b"x-api-key", b"a"), 5, 87)),
        (
            headed(BEARER, FIVE, first=b"POST /v1beta/models/a:b:generateContent HTTP/1.1"),
            (b"busy", (b"authorization", b"Bearer a"), 5, 110),
        ),
        (
            headed(BEARER, b"content-length: 1048576"),
            (b"full", (b"authorization", b"Bearer a"), 1 << 20, 1048673),
        ),
        (headed(BEARER, b"content-length: 1048577"), None),
        (headed(BEARER, b"content-length: " + b"1" * 5000), None),
        (headed(BEARER, b"content-length: -5"), None),
        (headed(BEARER), None),
        (headed(FIVE), None),
        (headed(BEARER, b"x-api-key: b", FIVE), None),
        (headed(BEARER, FIVE, b"Expect: 100-continue"), None),
        (headed(BEARER, FIVE, b"Upgrade: h2c"), None),
        (headed(BEARER, FIVE)[:-1], None),
        (headed(BEARER, FIVE, first=b"HEAD /v1/chat/completions HTTP/1.1"), None),
    ],
)
def test_what_a_plain_request_is(data: bytes, plain: tuple[Any, ...] | None) -> None:
    assert full.plain(data, READY) == plain


def last(request: bytes) -> bytes:
    """It is refused by its head, as the last of its connection."""
    return request.replace(KEY.encode(), b"nobody").replace(b"host: x", b"host: x\r\nexpect: 100-continue")


def test_nothing_is_read_behind_a_last_request_that_was_answered_by_its_head(tmp_path: Path) -> None:
    """Its body has a while to come, however soon the next look is."""

    async def run() -> None:
        async with connected(tmp_path, 0, "head: 400ms") as (protocol, wire, load):
            first, rest = in_two(last(asked()))
            await asyncio.sleep(0.05)
            protocol.data_received(first)
            async with asyncio.timeout(5):
                while b"HTTP/1.1 401 " not in wire.written:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
                began = time.monotonic()
                protocol.data_received(rest + asked())
                assert (load.coming, wire.closed) == (0, False)
                while not wire.closed:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            assert time.monotonic() - began >= 0.08
            assert wire.written.count(b"HTTP/1.1 ") == 1

    asyncio.run(run())


def test_the_body_of_another_request_keeps_no_connection_behind_its_last_answer(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path, 0) as (protocol, wire, _):
            protocol.data_received(last(asked()) + last(asked())[:160])
            async with asyncio.timeout(5):
                while b"HTTP/1.1 401 " not in wire.written:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            assert wire.closed
            assert wire.written.count(b"HTTP/1.1 ") == 1

    asyncio.run(run())


@pytest.mark.parametrize("pending", [b"", asked()])
def test_who_is_not_read_when_the_server_leaves_is_read_to_its_end(tmp_path: Path, pending: bytes) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked() * 2)
            assert wire.paused
            wire.ends[1].send(pending)
            protocol._services.leaving = True
            protocol.shutdown()
            assert (wire.paused, len(load.line.waiting), wire.closed) == (False, 0, not pending)

    asyncio.run(run())


@pytest.mark.parametrize("behind", [b"", asked()], ids=["alone", "before another"])
def test_a_body_that_is_answered_by_its_head_still_comes_when_the_server_leaves(
    tmp_path: Path, behind: bytes
) -> None:
    async def run() -> None:
        async with connected(tmp_path, 0) as (protocol, wire, _):
            first, rest = in_two(asked().replace(KEY.encode(), b"nobody"))
            protocol.data_received(first)
            async with asyncio.timeout(5):
                while b"HTTP/1.1 401 " not in wire.written:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            protocol._services.leaving = True
            protocol.shutdown()
            assert not wire.closed
            protocol.data_received(rest + behind)
            assert not wire.closed
            if behind:
                await answered(protocol, wire)
            await turns(1)
            assert wire.closed

    asyncio.run(run())


@pytest.mark.parametrize("behind", [b"", asked()], ids=["alone", "before another"])
@pytest.mark.parametrize("is_early", [False, True])
def test_a_refused_body_still_comes_when_the_server_leaves(
    tmp_path: Path, is_early: bool, behind: bytes
) -> None:
    """To close meanwhile would take the refusal back."""

    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            first, rest = in_two(asked(LARGE))
            protocol.data_received(asked() * is_early + first)
            protocol._services.leaving = True
            protocol.shutdown()
            protocol.data_received(rest[:20_000])
            assert (wire.paused, wire.closed) == (False, False)
            load.requests = 999
            protocol.data_received(rest[20_000:] + behind)
            if behind:
                assert not wire.closed
                await answered(protocol, wire)
            assert wire.closed
            assert load.refused == 1 + is_early

    asyncio.run(run())


def test_who_asks_when_the_server_leaves_is_not_held(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked())
            protocol._services.leaving = True
            protocol.data_received(asked())
            await turns()
            assert not load.line.waiting
            assert wire.written.count(b"HTTP/1.1 503 ") == 2

    asyncio.run(run())


@pytest.mark.parametrize("others", [0, 200])
def test_who_was_answered_goes_behind_those_that_wait(tmp_path: Path, others: int) -> None:
    async def run() -> None:
        async with connected(tmp_path, 999) as (protocol, wire, load):
            for _ in range(others):
                load.line.join(Waits())
            protocol.data_received(asked())
            await answered(protocol, wire)
            protocol.data_received(asked())
            assert (protocol in load.line.waiting) == (others > 0)
            assert load.coming == (others == 0)
            await answered(protocol, wire, 2)
            assert not load.line.waiting

    asyncio.run(run())


def test_who_was_answered_when_nobody_waits_any_more_asks_as_anybody(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path, 999) as (protocol, wire, load):
            other = Waits()
            load.line.join(other)
            protocol.data_received(asked())
            load.line.leave(other)
            await answered(protocol, wire)
            load.requests = 1000
            protocol.data_received(asked())
            assert (len(load.line.waiting), load.refused) == (0, 1)

    asyncio.run(run())


def test_a_refused_body_that_looks_like_a_request_is_none(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            request = asked("x" * 500 + "POST " + "y" * 500)
            cut = request.rindex(b"POST ")
            protocol.data_received(request[:cut])
            protocol.data_received(request[cut:])
            assert (len(load.line.waiting), load.refused) == (0, 1)
            load.requests = 0
            protocol.data_received(asked())
            await answered(protocol, wire)

    asyncio.run(run())


def test_who_was_answered_while_others_wait_is_idle_then(tmp_path: Path) -> None:
    """What it sent before its answer is answered too."""

    async def run() -> None:
        async with connected(tmp_path, 999, "idle: 100ms") as (protocol, wire, load):
            load.line.join(Waits())
            protocol.data_received(asked() * 2)
            await answered(protocol, wire, 2)
            async with asyncio.timeout(5):
                while not wire.closed:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)

    asyncio.run(run())


def test_room_that_those_take_who_are_read_already_is_none(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, _, load):
            protocol.data_received(asked())
            protocol.data_received(asked())
            load.leave(0, begun=True)
            load.coming = 1
            await turns()
            assert len(load.line.waiting) == 1
            load.coming = 0  # they were none
            await turns(3)
            assert not load.line.waiting

    asyncio.run(run())


@pytest.mark.parametrize("prompt", ["Hi", LARGE])
def test_who_waits_for_those_that_were_no_work_is_heard_at_once(tmp_path: Path, prompt: str) -> None:
    """Nothing leaves that would tell of room. A large request is refused, and its client heard again."""

    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked())
            load.requests, load.coming = 0, load.bounds.requests
            protocol.data_received(asked(prompt))
            await turns()
            assert len(load.line.waiting) == 1
            load.coming = 0  # they were none
            await turns(3)
            assert (len(load.line.waiting), wire.paused) == (0, False)

    asyncio.run(run())


def test_room_is_for_those_first_that_come_to_be_read_in_the_next_turn(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, _, load):
            protocol.data_received(asked())
            protocol.data_received(asked())
            other = Protocol(protocol.config, protocol.server_state, protocol.app_state)
            other.connection_made(Wire())
            load.leave(0, begun=True)
            asyncio.get_running_loop().call_soon(other.data_received, asked())
            await turns(1)
            assert (load.coming, load.refused) == (1, 1)
            await turns(2)
            assert list(load.line.waiting) == [protocol]
            for end in other.transport.ends:
                end.close()
            other.connection_lost(None)

    asyncio.run(run())


def test_many_that_leave_in_a_turn_are_one_question() -> None:
    async def run() -> int:
        questions = []

        def room() -> int:
            questions.append(1)
            return 0

        line = WaitingLine(room)
        line.join(Waits())
        for _ in range(5):
            line.ask()
        await turns()
        return len(questions)

    assert asyncio.run(run()) == 2  # how many are called, and whether there is more


def test_who_left_while_it_waited_unread_is_not_read(tmp_path: Path) -> None:
    """Its place goes to the next one."""

    async def run() -> None:
        async with connected(tmp_path) as (protocol, wire, load):
            protocol.data_received(asked() * 2)
            assert wire.paused
            wire.ends[1].close()
            following = Waits()
            load.line.join(following)
            load.leave(0, begun=True)
            await following.heard.wait()
            assert wire.closed

    asyncio.run(run())


def test_who_left_is_in_line_no_more(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path) as (protocol, _, load):
            protocol.data_received(asked())
            protocol.data_received(asked())
            assert list(load.line.waiting) == [protocol]
            protocol.transport.close()
            load.leave(0, begun=True)
            await turns()
            assert protocol.cycle is None
        assert not load.line.waiting

        async with connected(tmp_path) as (protocol, _, load):
            protocol.data_received(asked())
            protocol.data_received(asked())
        assert not load.line.waiting

    asyncio.run(run())


class Waits:
    def __init__(self) -> None:
        self.heard = asyncio.Event()

    def heard_again(self) -> bool:
        self.heard.set()
        return True


@pytest.mark.parametrize("count", [3, 30])
def test_a_line_is_heard_after_a_second_and_never_all_at_once(count: int) -> None:
    """Up to ten, 50 times a second."""

    async def run() -> list[int]:
        line = WaitingLine(lambda: 0)
        waits = [Waits() for _ in range(count)]
        began = time.monotonic()
        for one in waits:
            line.join(one)
        left = []
        for last in range(min(count, 10) - 1, count, 10):
            await waits[last].heard.wait()
            assert time.monotonic() - began >= 0.99 + 0.02 * len(left) * 0.9
            left.append(len(line.waiting))
        return left

    assert asyncio.run(run()) == ([0] if count == 3 else [20, 10, 0])


def test_who_joins_later_is_heard_later() -> None:
    async def run() -> None:
        line, first, second = WaitingLine(lambda: 0), Waits(), Waits()
        line.join(first)
        await asyncio.sleep(0.3)
        line.join(second)
        line.join(first)  # it says more, and keeps its place
        await first.heard.wait()
        assert list(line.waiting) == [second]

    asyncio.run(run())


def test_an_impatient_client_is_not_refused_more_often_than_the_line_allows(tmp_path: Path) -> None:
    with opened(tmp_path, "{requests: 1}") as own, RawRequest(own, chat("Hi"), headers=KEPT) as late:
        with busy(own, 1):
            until = time.monotonic() + 0.5
            while time.monotonic() < until:
                late.received = b""
                late.send()
                late.until("server_overloaded")
            assert load_of(own).refused == 2  # unpaced it would be thousands
            late.received = b""
            late.send()
            late.until("server_overloaded")
            late.send()  # and one that comes to be read when there is room
        late.until("chat.completion")


def test_a_connection_on_which_a_request_waits_to_be_read_is_not_idle(tmp_path: Path) -> None:
    async def run() -> None:
        async with connected(tmp_path, timeouts="idle: 1ms") as (protocol, wire, _):
            wire.ends[1].send(asked())
            await asyncio.sleep(0.002)
            protocol.timeout_keep_alive_handler()
            assert not wire.closed
            assert protocol.timeout_keep_alive_task is not None  # looked at again
            wire.ends[0].recv(65536)
            protocol.timeout_keep_alive_handler()
            assert wire.closed

    asyncio.run(run())


@pytest.mark.parametrize("room", [0, 1, 3])
def test_those_that_come_in_one_turn_of_the_loop_are_counted_before_they_begin(
    tmp_path: Path, room: int
) -> None:
    async def run() -> None:
        async with connected(tmp_path, 1000 - room) as (protocol, _, load):
            others = []
            for _ in range(5):
                other = Protocol(protocol.config, protocol.server_state, protocol.app_state)
                other.connection_made(Wire())
                other.data_received(asked())
                others.append(other)
            assert (load.coming, load.refused) == (room, 5 - room)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert (load.coming, load.requests, load.refused) == (0, 1000, 5 - room)
            for other in others:
                other.transport.ends[0].close()
                other.transport.ends[1].close()
                other.connection_lost(None)

    asyncio.run(run())


def user(text: str) -> Any:
    return {"role": "user", "content": text}


def test_an_sdk_waits_and_comes_back(tmp_path: Path) -> None:
    with opened(tmp_path, "{requests: 1}") as own:
        answers: list[Any] = []

        def ask() -> None:
            client = own.client(max_retries=3)
            answers.append(client.chat.completions.create(model="gemini-flash", messages=[user("Hi")]))

        with busy(own, 1):
            asking = threading.Thread(target=ask)
            asking.start()
            waited(lambda: load_of(own).refused)
        asking.join(20)
    assert answers[0].choices[0].message.content


@pytest.mark.parametrize("declared", [True, False])
def test_bodies_that_are_too_much_together_are_refused(tmp_path: Path, declared: bool) -> None:
    """A body in chunks says nothing before it comes, and a packed one grows."""
    large = json.dumps(chat("x" * 40_000, "gemini-flash")).encode()
    packed = {"content": gzip.compress(large), "headers": {"content-encoding": "gzip"}}
    with opened(tmp_path, "{bytes: 30kB}") as own, busy(own, 1):
        with pytest.raises(openai.InternalServerError) as caught:
            own.client().post(
                "/chat/completions",
                cast_to=object,
                content=large if declared else packed["content"],
                options={
                    "headers": {"content-type": "application/json", **({} if declared else packed["headers"])}
                },
            )
        assert caught.value.code == "server_overloaded"
        assert load_of(own).requests == 1


def test_a_reload_changes_the_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TEST_KEY", "TEST_NARROW_KEY", "VENDOR_KEY"):
        monkeypatch.setenv(name, f"k-{name}")
    server = f'server: {{state: "sqlite:{tmp_path}/state/dragoman.db"}}'
    file = FILE.replace("version: 1\n", f"version: 1\n{server}\n", 1)
    with open_gateway(tmp_path, file, watched=True) as own:
        path = tmp_path / "providers.yaml"
        more = f"{server[:-1]}, in_flight: {{requests: 7}}}}"
        retry = "defaults:\n  retry: {budget: 3%}\n"
        path.write_text(path.read_text().replace(server, more).replace("defaults:\n", retry))
        waited(lambda: load_of(own).bounds.requests == 7)
        assert own.application.house is not None
        assert own.application.house.services.retries.share == 0.03


def test_what_is_over_counts_no_more(tmp_path: Path) -> None:
    with opened(tmp_path, "{requests: 5}") as own:
        url, headers = f"{own.base_url}/v1/chat/completions", {"authorization": f"Bearer {KEY}"}
        for body in (
            chat("Hi", "gemini-flash"),
            chat("Hi", "unknown"),
            {"model": 1},
            chat("sim:429", "gemini-flash"),
        ):
            own.http.post(url, json=body, headers=headers)
        waited(lambda: load_of(own).requests == 0)
        assert load_of(own).bytes == 0
