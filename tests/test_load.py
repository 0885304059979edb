"""What is in flight is counted and bounded; what is too much is refused before its body is read."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import re
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from proxy.errors import ProxyError
from proxy.logs import Log
from proxy.serve import full
from proxy.serve.load import Load
from tests.gateway import FILE, KEY, open_gateway
from tests.in_flight import KEPT, Waits, asked, busy, connected, load_of, opened, turns
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


def headed(*lines: bytes, first: bytes = b"POST /v1/chat/completions HTTP/1.1") -> bytes:
    return b"\r\n".join((first, b"host: x", *lines, b"", b""))


BEARER = b"authorization: Bearer a"


FIVE = b"content-length: 5"


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
