"""Clients without a key and without manners: what they send is bounded in size and time, and what is no
request is refused in OpenAI's words."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway import FILE, KEY, Gateway, open_gateway
from tests.raw_http import RawRequest, arrived, chat, hung_up, last_number

SHORT = """
server:
  state: "sqlite:STATE/state/dragoman.db"
  connections: 20
  timeouts: {head: 400ms, body: 600ms, write: 400ms, idle: 600ms}
"""
AUTH = f"authorization: Bearer {KEY}\r\n".encode()
JSON = b"content-type: application/json\r\n"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("enemies")
    with open_gateway(folder, FILE + SHORT.replace("STATE", str(folder))) as opened:
        yield opened


def connected(gateway: Gateway) -> socket.socket:
    address = httpx.URL(gateway.base_url)
    made = socket.create_connection((address.host, address.port or 0), timeout=10)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def rest(opened: socket.socket) -> bytes:
    """All that the server says until it closes."""
    said = b""
    try:
        while piece := opened.recv(65536):
            said += piece
    except ConnectionResetError:
        pass
    return said


def told(gateway: Gateway, *pieces: bytes) -> bytes:
    """What the server says to this, until it closes."""
    with connected(gateway) as opened:
        for piece in pieces:
            opened.sendall(piece)
        return rest(opened)


def error(reply: bytes) -> tuple[int, Any]:
    """Status and `error` of the only reply; it has an id, and says that the connection ends."""
    head, _, body = reply.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert "connection: close" in lines
    assert any(line.startswith("x-request-id: req_") for line in lines)
    return int(lines[0].split()[1]), json.loads(body)["error"]


def post(body: bytes, *lines: bytes) -> bytes:
    named = b"".join(line + b"\r\n" for line in lines)
    return b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n" + AUTH + JSON + named + b"\r\n" + body


HELLO = json.dumps(chat("Hi")).encode()
LENGTH = b"content-length: %d" % len(HELLO)


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


# --- size


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([b"x-long: " + b"a" * 70_000], id="one value"),
        pytest.param([b"x-%d: %s" % (number, b"a" * 900) for number in range(90)], id="many values"),
        pytest.param([b"a: b"] * 110, id="many fields"),
        pytest.param([b"a:"] * 100_000, id="flood"),
    ],
)
@pytest.mark.parametrize("cut", [1 << 20, 5000], ids=["at once", "in pieces"])
def test_a_head_is_bounded(gateway: Gateway, lines: list[bytes], cut: int) -> None:
    sent = post(HELLO, LENGTH, *lines)
    status, why = error(told(gateway, *(sent[at : at + cut] for at in range(0, len(sent), cut))))
    assert (status, why["code"], why["type"]) == (431, "head_too_large", "invalid_request_error")


def test_a_long_address_is_a_head_too(gateway: Gateway) -> None:
    sent = b"GET /v1/models?" + b"a" * 70_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n"
    assert error(told(gateway, sent))[0] == 431


def test_a_head_below_the_bounds_is_read(gateway: Gateway) -> None:
    lines = [b"x-%d: %s" % (number, b"a" * 600) for number in range(90)]
    reply = told(gateway, post(HELLO, LENGTH, b"connection: close", *lines))
    assert reply.startswith(b"HTTP/1.1 200 ")


def test_a_large_body_in_one_piece_with_its_head_is_no_large_head(gateway: Gateway) -> None:
    body = json.dumps(chat("x" * 200_000)).encode()
    lines = (b"content-length: %d" % len(body), b"connection: close")
    assert told(gateway, post(body, *lines)).startswith(b"HTTP/1.1 200 ")


def test_trailers_are_bounded(gateway: Gateway) -> None:
    begun = post(chunked(HELLO) + b"0\r\n", b"transfer-encoding: chunked")
    with connected(gateway) as opened:
        opened.sendall(begun + b"x-more: " + b"a" * 2_000_000)
        status, why = error(rest(opened))
    assert (status, why["code"]) == (431, "head_too_large")


def test_trailers_are_no_headers(gateway: Gateway) -> None:
    """A second key would be a 400 (conflicting_api_keys)."""
    trailers = b"0\r\nauthorization: Bearer sk-other\r\nx-api-key: sk-third\r\n\r\n"
    sent = post(chunked(HELLO[:9], HELLO[9:]) + trailers, b"transfer-encoding: chunked", b"connection: close")
    assert told(gateway, sent).startswith(b"HTTP/1.1 200 ")


# --- time


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"POST /v1/chat/completions HTTP/1.1\r\n", id="a line"),
        pytest.param(post(b"")[:-2], id="all but the end"),
    ],
)
def test_a_head_comes_in_time(gateway: Gateway, said: bytes) -> None:
    reply = told(gateway, said)
    if said:
        status, why = error(reply)
        assert (status, why["code"]) == (408, "request_timeout")
    else:
        assert reply == b""


def dripped(opened: socket.socket, data: bytes, every_s: float, drop: int = 1) -> bytes:
    """Send byte by byte, or so many at once, until the server has had enough."""
    opened.settimeout(every_s)
    for at in range(0, len(data), drop):
        try:
            opened.sendall(data[at : at + drop])
            if piece := opened.recv(65536):
                opened.settimeout(10)
                return piece + rest(opened)
            return b""
        except TimeoutError:
            continue
    raise AssertionError("all of it was taken")


@pytest.mark.parametrize(
    ("before", "drips"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 50, id="head"),
        pytest.param(post(b"", b"content-length: 900"), HELLO * 10, id="body"),
        pytest.param(post(b"", b"transfer-encoding: chunked"), b"1\r\n{\r\n" * 50, id="chunks"),
    ],
)
def test_who_drips_is_no_client(gateway: Gateway, before: bytes, drips: bytes) -> None:
    with connected(gateway) as opened:
        opened.sendall(before)
        status, why = error(dripped(opened, drips, 0.05))
    assert (status, why["code"]) == (408, "request_timeout")


def test_a_body_that_stops_is_answered_once_and_calls_nobody(gateway: Gateway) -> None:
    before = last_number(gateway)
    status, why = error(told(gateway, post(HELLO[:20], LENGTH)))
    assert (status, why["code"]) == (408, "request_timeout")
    assert "0.6 s" in why["message"]
    assert last_number(gateway) == before


def test_a_large_body_is_not_held_by_its_last_bytes(gateway: Gateway) -> None:
    """20 KB a second are enough for a small body, and no wait for somebody else's megabytes."""
    body = json.dumps(chat("x" * 2_000_000)).encode()
    with connected(gateway) as opened:
        opened.sendall(post(body[:1_500_000], b"content-length: %d" % len(body)))
        status, why = error(dripped(opened, body[1_500_000:], 0.05, 1000))
    assert (status, why["code"]) == (408, "request_timeout")


def test_a_slow_body_above_the_least_rate_is_waited_for(gateway: Gateway) -> None:
    body = json.dumps(chat("x" * 6000)).encode()
    with connected(gateway) as opened:
        opened.sendall(post(b"", b"content-length: %d" % len(body), b"connection: close"))
        for at in range(0, len(body), 400):
            time.sleep(0.1)  # what is tested: 4 KB a second, for longer than the limit
            opened.sendall(body[at : at + 400])
        assert rest(opened).startswith(b"HTTP/1.1 200 ")


def test_a_kept_connection_is_closed_when_nothing_follows(gateway: Gateway) -> None:
    began = time.monotonic()
    reply = told(gateway, post(HELLO, LENGTH))
    assert reply.startswith(b"HTTP/1.1 200 ")
    assert 0.5 < time.monotonic() - began < 5


@pytest.mark.parametrize("key", ["nobody", KEY])
def test_a_body_behind_its_answer_keeps_nothing_open(gateway: Gateway, key: str) -> None:
    """A key that is none is said before the body, and so is a coding."""
    kept = {"connection": "keep-alive", "content-encoding": "br"}
    with RawRequest(gateway, chat("Hi"), key=key, headers=kept) as opened:
        opened.send(0).until('"code"')
        opened.socket.sendall(opened.payload)
        began = time.monotonic()
        opened.rest()
        assert 0.55 < time.monotonic() - began < 5


def test_who_sends_all_of_its_last_request_hears_the_answer(gateway: Gateway) -> None:
    with RawRequest(gateway, bytes(5_000_000), key="nobody") as opened:
        assert opened.send().rest().startswith("HTTP/1.1 401 ")


@pytest.mark.parametrize(
    "lines", [{}, {"connection": "keep-alive", "expect": "100-continue"}], ids=["close", "expect"]
)
def test_who_sends_on_behind_its_last_answer_is_not_reset(gateway: Gateway, lines: dict[str, str]) -> None:
    with RawRequest(gateway, bytes(5_000_000), key="nobody", headers=lines) as opened:
        opened.send(0).until("}}")
        opened.socket.sendall(opened.payload)
        assert opened.rest().endswith("}}")


def test_a_request_with_the_body_before_it_is_not_idle(gateway: Gateway) -> None:
    kept = {"connection": "keep-alive"}
    following = RawRequest(gateway, chat("Hi sim:slow:1.5"))
    with RawRequest(gateway, chat("Hi"), key="nobody", headers=kept) as opened, following:
        opened.send(0).until('"code"')
        opened.socket.sendall(opened.payload + following.head + following.payload)
        assert '"chat.completion"' in opened.until("HTTP/1.1 200") + opened.rest()


def test_white_space_between_requests_keeps_nothing_open(gateway: Gateway) -> None:
    with connected(gateway) as opened:
        opened.sendall(post(HELLO, LENGTH))
        assert opened.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert error(dripped(opened, b"\r\n" * 200, 0.05))[0] == 408


def test_a_line_end_behind_a_body_is_no_request(gateway: Gateway) -> None:
    reply = told(gateway, post(HELLO + b"\r\n", LENGTH))
    assert reply.startswith(b"HTTP/1.1 200 ")
    assert reply.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_reader_that_stops_is_gone_with_its_upstream(gateway: Gateway, stream: bool) -> None:
    before = last_number(gateway)
    body = chat("Hi sim:big:24" + " sim:chunks:400 sim:gap:20" * stream, stream=stream)
    with RawRequest(gateway, body, buffer_bytes=4096) as opened:
        opened.send()
        opened.until("HTTP/1.1 200")
        if stream:
            hung_up(gateway, before, 0)
        deadline = time.monotonic() + 10
        while _connections(gateway) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert _connections(gateway) == 0


def _connections(gateway: Gateway) -> int:
    """How many connections with its port the gateway still holds, as the kernel says."""
    port = httpx.URL(gateway.base_url).port or 0
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    found = [line.split() for line in lines]
    return sum(line[1].endswith(f":{port:04X}") and line[3] in ("01", "08") for line in found)


def test_a_reader_that_pauses_gets_all_of_it(gateway: Gateway) -> None:
    body = chat("Hi sim:chunks:300 sim:text:" + "x " * 3000, stream=True)
    with RawRequest(gateway, body, buffer_bytes=4096) as opened:
        opened.send()
        opened.until("data: ")
        for _ in range(5):
            time.sleep(0.1)  # what is tested: less than the limit each time
            opened.socket.recv(4096)
        assert opened.rest().endswith("data: [DONE]\n\n\r\n0\r\n\r\n")


# --- number


def test_more_connections_than_allowed_are_refused(gateway: Gateway) -> None:
    opened = [connected(gateway) for _ in range(20)]
    try:
        with connected(gateway) as one_more:
            status, why = error(rest(one_more))
        assert (status, why["code"]) == (503, "too_many_connections")
        with connected(gateway) as a, connected(gateway) as b, connected(gateway) as c:
            assert sorted(len(rest(one)) for one in (a, b, c))[0] == 0  # far above: closed without a word
    finally:
        for one in opened:
            one.close()
    deadline = time.monotonic() + 5
    while _connections(gateway) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert told(gateway, post(HELLO, LENGTH, b"connection: close")).startswith(b"HTTP/1.1 200 ")


# --- what is no HTTP/1.1


@pytest.mark.parametrize(
    ("sent", "expected", "code"),
    [
        pytest.param(b"nonsense\r\n\r\n", 400, "invalid_http", id="nonsense"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", 400, "invalid_http", id="TLS"),
        pytest.param(b"GET / HTTP/9.9\r\nhost: x\r\n\r\n", 400, "invalid_http", id="version"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\na b: c\r\n\r\n", 400, "invalid_http", id="field name"),
        pytest.param(post(b"", LENGTH, b"content-length: 7"), 400, "invalid_http", id="two lengths"),
        pytest.param(
            post(b"", LENGTH, b"transfer-encoding: chunked"), 400, "invalid_http", id="length and chunks"
        ),
        pytest.param(post(b"zz\r\n", b"transfer-encoding: chunked"), 400, "invalid_http", id="bad chunk"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, "invalid_host", id="no host"),
        pytest.param(post(HELLO, LENGTH, b"host: y"), 400, "invalid_host", id="two hosts"),
        pytest.param(
            b"GET / HTTP/1.0\r\nhost: x\r\nhost: x\r\n\r\n", 400, "invalid_host", id="1.0, two hosts"
        ),
        pytest.param(
            post(b"", b"transfer-encoding: gzip, chunked"), 501, "unsupported_transfer_encoding", id="gzip"
        ),
        pytest.param(
            post(b"", b"transfer-encoding: gzip", b"transfer-encoding: chunked"),
            501,
            "unsupported_transfer_encoding",
            id="gzip in a line of its own",
        ),
        pytest.param(b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n", 501, "method_not_supported", id="tunnel"),
    ],
)
def test_what_is_no_request_is_refused_in_openais_words(
    gateway: Gateway, sent: bytes, expected: int, code: str
) -> None:
    status, why = error(told(gateway, sent))
    assert (status, why["code"]) == (expected, code)
    assert set(why) == {"message", "type", "param", "code"}


def test_an_old_client_without_host_is_answered(gateway: Gateway) -> None:
    assert told(gateway, b"GET /livez HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_nonsense_behind_a_request_does_not_take_its_answer(gateway: Gateway) -> None:
    reply = told(gateway, post(HELLO, LENGTH) + b"nonsense\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 200 ")
    assert reply.count(b"HTTP/1.1 ") == 1


# --- upgrades are overlooked (RFC 9110, 7.8)


H2C = (
    b"connection: Upgrade, HTTP2-Settings, close",
    b"upgrade: h2c",
    b"http2-settings: AAMAAABkAAQCAAAAAAIAAAAA",
)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(post(HELLO, LENGTH, *H2C), id="length"),
        pytest.param(post(chunked(HELLO) + b"0\r\n\r\n", b"transfer-encoding: chunked", *H2C), id="chunks"),
        pytest.param(
            post(HELLO, LENGTH, b"connection: upgrade", b"connection: close", b"upgrade: websocket"),
            id="websocket",
        ),
    ],
)
@pytest.mark.parametrize("cut", [1 << 20, 40], ids=["at once", "in pieces"])
def test_a_request_that_would_rather_speak_another_protocol_keeps_its_body(
    gateway: Gateway, sent: bytes, cut: int
) -> None:
    reply = told(gateway, *(sent[at : at + cut] for at in range(0, len(sent), cut)))
    assert reply.startswith(b"HTTP/1.1 200 ")
    assert b'"object":"chat.completion"' in reply


def test_requests_behind_one_with_an_upgrade_are_read_too(gateway: Gateway) -> None:
    first = post(HELLO, LENGTH, b"connection: upgrade", b"upgrade: h2c")
    reply = told(gateway, first * 3 + post(HELLO, LENGTH, b"connection: close"))
    assert reply.count(b"HTTP/1.1 200 ") == 4


# --- several requests at once on a connection


def test_pipelined_requests_are_answered_in_order(gateway: Gateway) -> None:
    bodies = [json.dumps(chat(f"sim:text:answer-{number}")).encode() for number in range(30)]
    sent = b"".join(post(body, b"content-length: %d" % len(body)) for body in bodies)
    with connected(gateway) as opened:
        opened.sendall(sent)
        said = rest(opened)
    places = [said.find(b"answer-%d" % number) for number in range(30)]
    assert -1 not in places
    assert places == sorted(places)


def test_a_flood_of_pipelined_requests_is_cut(gateway: Gateway) -> None:
    reply = told(gateway, post(HELLO, LENGTH) + b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n" * 5000)
    assert reply.count(b"HTTP/1.1 200 ") <= 102
    assert reply.startswith(b"HTTP/1.1 200 ")


def test_a_pipelined_client_that_hangs_up_stops_the_request_that_runs(gateway: Gateway) -> None:
    before = last_number(gateway)
    slow = json.dumps(chat("Hi sim:slow:9")).encode()
    sent = post(slow, b"content-length: %d" % len(slow))
    with connected(gateway) as opened:
        opened.sendall(sent + post(HELLO, LENGTH) + post(HELLO, LENGTH))
        arrived(gateway, before)
        moment = time.time()
    assert hung_up(gateway, before, moment) < 5
    assert last_number(gateway) == before + 1
