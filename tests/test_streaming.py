"""Time and order on real sockets: first bytes, comments, hang-ups, deadlines and slow readers."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.gateway import FILE, Gateway, open_gateway
from tests.raw_http import PATIENCE_S, RawRequest, arrived, chat, hung_up, last_number
from tests.vendor_socket import read_request, vendor

MODELS = ["gemini-flash", "lan-chat"]

IMPATIENT = """
version: 1
keys: [{name: app, key: env:TEST_KEY}]
defaults: {heartbeat: 100ms, retry: {attempts: 1}}
providers:
  google: {wire: gemini, base_url: "http://SIMULATORS/gemini/v1beta", keys: [env:VENDOR_KEY], private: true}
  lan: {wire: openai, base_url: "http://SIMULATORS/openai/v1", keys: [env:VENDOR_KEY], private: true}
  never:
    wire: openai
    base_url: "http://SIMULATORS/openai/v1"
    keys: [env:VENDOR_KEY]
    private: true
    options: {stream: never}
  only:
    wire: openai
    base_url: "http://SIMULATORS/openai/v1"
    keys: [env:VENDOR_KEY]
    private: true
    options: {stream: only}
models:
  first: {targets: [google/gemini-2.5-flash], timeouts: {first_byte: 300ms}}
  first-lan: {targets: [lan/llama], timeouts: {first_byte: 300ms}}
  idle: {targets: [google/gemini-2.5-flash], timeouts: {idle: 300ms}}
  idle-lan: {targets: [lan/llama], timeouts: {idle: 300ms}}
  total: {targets: [google/gemini-2.5-flash], timeouts: {total: 500ms}}
  total-lan: {targets: [lan/llama], timeouts: {total: 500ms}}
"""


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("impatient"), IMPATIENT) as opened:
        yield opened


def events(text: str) -> list[Any]:
    """The decoded `data:` events of a raw reply."""
    return [json.loads(line) for line in re.findall(r"^data: (\{.*\})$", text, re.M)]


def said(text: str) -> str:
    chunks = [event for event in events(text) if event.get("choices")]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


# --- as it comes


@pytest.mark.parametrize("model", MODELS)
def test_each_chunk_is_relayed_when_it_comes(gateway: Gateway, model: str) -> None:
    before = last_number(gateway)
    prompt = "Hi sim:chunks:4 sim:gap:150 sim:text:one two three four"
    chunks = iter(
        gateway.client().chat.completions.create(
            model=model, messages=[{"role": "user", "content": prompt}], stream=True
        )
    )
    parts = [next(chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content)]
    assert not arrived(gateway, before)[
        0
    ].complete  # the first part is here while the vendor is still talking
    parts += [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(parts) == "one two three four"
    assert len([part for part in parts if part]) >= 4


@pytest.mark.parametrize("model", MODELS)
def test_comments_come_before_the_first_upstream_byte(gateway: Gateway, model: str) -> None:
    """G-192"""
    before = last_number(gateway)
    prompt = "Hi sim:slow:1 sim:text:late"
    with RawRequest(gateway, chat(prompt, model, stream=True)).send() as request:
        head = request.until(": keep-alive\n\n")
        assert arrived(gateway, before)[0].first_byte_ms is None
        assert head.startswith("HTTP/1.1 200 OK\r\n")
        assert "content-type: text/event-stream; charset=utf-8\r\n" in head
        assert "data:" not in head
        text = request.rest()
    assert text.count(": keep-alive\n\n") in (2, 3)
    assert said(text) == "late"
    assert "data: [DONE]\n\n" in text


@pytest.mark.parametrize("model", MODELS)
def test_the_sdk_reads_over_comments(gateway: Gateway, model: str) -> None:
    """G-192"""
    messages: Any = [{"role": "user", "content": "Hi sim:slow:1 sim:text:late"}]
    chunks = gateway.client().chat.completions.create(model=model, messages=messages, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "late"


def test_a_stream_of_many_chunks_has_no_comment_between(gateway: Gateway) -> None:
    prompt = "Hi sim:chunks:10 sim:gap:60 sim:text:a b c d e f g h i j"
    with RawRequest(gateway, chat(prompt, stream=True)).send() as request:
        assert "keep-alive" not in request.rest()


@pytest.mark.parametrize("model", MODELS)
def test_after_a_comment_an_error_is_the_last_event(gateway: Gateway, model: str) -> None:
    """G-187"""
    with RawRequest(gateway, chat("Hi sim:slow:0.5 sim:error:400", model, stream=True)).send() as request:
        text = request.rest()
    assert text.startswith("HTTP/1.1 200 OK\r\n")
    assert ": keep-alive\n\n" in text
    [event] = events(text)
    assert event["error"]["type"] == "invalid_request_error"
    assert "request id: req_" in event["error"]["message"]
    assert "[DONE]" not in text


@pytest.mark.parametrize("model", MODELS)
def test_after_a_comment_the_sdk_raises_the_error(gateway: Gateway, model: str) -> None:
    messages: Any = [{"role": "user", "content": "Hi sim:slow:0.5 sim:error:400"}]
    with pytest.raises(openai.APIError) as caught:
        list(gateway.client().chat.completions.create(model=model, messages=messages, stream=True))
    assert caught.value.type == "invalid_request_error"


# --- the client hangs up


def fastest(gateway: Gateway, body: Any, marker: str | None, count: int = 1) -> float:
    """The shortest of three times from a hang-up until the vendor noticed: the machine may be busy."""
    times = []
    for _ in range(3):
        before = last_number(gateway)
        with RawRequest(gateway, body).send() as request:
            arrived(gateway, before, count)
            if marker is not None:
                request.until(marker)
            moment = request.hang_up()
        times.append(hung_up(gateway, before, moment, count))
    return min(times)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("order", "stream", "marker"),
    [
        pytest.param("sim:slow:9", False, None, id="whole, before the first byte"),
        pytest.param("sim:stall:1", False, None, id="whole, in the middle"),
        pytest.param("sim:slow:9", True, None, id="streamed, before the first byte"),
        pytest.param("sim:slow:9", True, "keep-alive", id="streamed, after a comment"),
        pytest.param("sim:chunks:60 sim:gap:200", True, "data: ", id="streamed, in the middle"),
        pytest.param("sim:chunks:9 sim:stall:2", True, "data: ", id="streamed, in silence"),
    ],
)
def test_a_client_that_hangs_up_stops_the_vendor_within_100_ms(
    gateway: Gateway, model: str, order: str, stream: bool, marker: str | None
) -> None:
    """G-191"""
    assert fastest(gateway, chat(f"Hi {order}", model, stream=stream), marker) < 0.1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_client_that_hangs_up_stops_all_calls_of_several_choices(gateway: Gateway, stream: bool) -> None:
    """G-114"""
    assert fastest(gateway, chat("Hi sim:slow:9", n=3, stream=stream), None, count=3) < 0.1


def test_a_client_that_hangs_up_after_a_large_request_is_noticed(gateway: Gateway) -> None:
    """A large body pauses the reading from the client, and with it the news of its end."""
    assert fastest(gateway, chat("x" * 1_000_000 + " sim:slow:9"), None) < 0.1


def test_a_client_that_hangs_up_while_it_sends_calls_nobody(gateway: Gateway) -> None:
    before = last_number(gateway)
    body = json.dumps(chat("x" * 1_000_000)).encode()
    with RawRequest(gateway, body).send(500_000) as request:
        assert request.leave() == ""
    with RawRequest(gateway, chat("Hi")).send() as request:
        assert request.until("HTTP/1.1 200 OK")
    assert [exchange.complete for exchange in arrived(gateway, before)] == [True]


def test_a_client_that_hangs_up_stops_the_upload_to_the_vendor(tmp_path: Any) -> None:
    begun, gone, ended = threading.Event(), threading.Event(), threading.Event()
    size = [0]

    def reads_late(connection: socket.socket) -> None:
        while size[0] < 100_000:
            size[0] += len(connection.recv(65_536))
        begun.set()
        gone.wait(PATIENCE_S)
        while piece := connection.recv(1 << 20):
            size[0] += len(piece)
        ended.set()

    with vendor(reads_late) as base_url:
        file = FILE.replace("http://SIMULATORS/openai", base_url)
        with open_gateway(tmp_path, file) as own:
            with RawRequest(own, chat("x" * 30_000_000, "lan-chat")).send() as request:
                assert begun.wait(PATIENCE_S)
                assert request.leave() == ""
            gone.set()
            assert ended.wait(PATIENCE_S)
    assert 0 < size[0] < 30_000_000


# --- what came before a cut


@pytest.mark.parametrize("last", ["Hello!", "Look: ![a]("])
def test_all_that_was_received_comes_before_the_error_of_a_broken_stream(tmp_path: Any, last: str) -> None:
    """The end of the text may be the beginning of a picture, so it is held back until more is known."""

    def breaks_off(connection: socket.socket) -> None:
        read_request(connection)
        chunk = {"choices": [{"index": 0, "delta": {"content": last}, "finish_reason": None}]}
        body = f"data: {json.dumps(chunk)}\n\n".encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 9999\r\n\r\n"
        connection.sendall(head + body)

    with vendor(breaks_off) as base_url:
        file = FILE.replace("http://SIMULATORS/openai", base_url)
        with (
            open_gateway(tmp_path, file) as own,
            RawRequest(own, chat("Hi", "lan-chat", stream=True)) as sent,
        ):
            text = sent.send().rest()
    assert said(text) == last
    assert "error" in events(text)[-1]
    assert "[DONE]" not in text


# --- slow readers

FRAME = b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * 16_000 + b'"}}]}\n\n'
FRAMES = 5000  # 80 MB, below the limit of an answer


def test_a_client_that_does_not_read_pauses_the_vendor(tmp_path: Any) -> None:
    written = [0]

    def talks(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for _ in range(FRAMES):
            connection.sendall(FRAME)
            written[0] += 1
        connection.sendall(b"data: [DONE]\n\n")

    with vendor(talks) as base_url:
        file = FILE.replace("http://SIMULATORS/openai", base_url).replace(
            "targets: [lan/llama]", "targets: [lan/llama], timeouts: {idle: 500ms}"
        )
        with open_gateway(tmp_path, file) as own:
            request = RawRequest(own, chat("Hi", "lan-chat", stream=True), buffer_bytes=65536)
            with request.send():
                request.until("data: ")
                paused_at = _at_rest(written)
                assert paused_at * len(FRAME) < 24 << 20  # what the kernel's and our buffers take
                assert paused_at < FRAMES
                time.sleep(0.7)  # longer than the vendor may be idle: it is not the vendor that is slow
                text = request.rest()
    assert "error" not in text[-500:]
    assert text.count("x") >= FRAMES * 16_000


def _at_rest(counter: list[int]) -> int:
    """The value of a counter when it has stood still for 0.3 s."""
    while True:
        seen = counter[0]
        time.sleep(0.3)
        if counter[0] == seen:
            return seen


# --- upstreams that only answer one way


def test_an_upstream_that_cannot_stream_is_streamed_in_one_piece(impatient: Gateway) -> None:
    before = last_number(impatient)
    with RawRequest(
        impatient, chat("Hi sim:slow:0.4 sim:text:one two", "never/x", stream=True)
    ).send() as raw:
        text = raw.rest()
    assert "stream" not in arrived(impatient, before)[0].body
    assert ": keep-alive\n\n" in text
    assert said(text) == "one two"
    assert events(text)[-1]["choices"][0]["finish_reason"] == "stop"
    assert "data: [DONE]\n\n" in text


def test_an_upstream_that_only_streams_is_collected(impatient: Gateway) -> None:
    before = last_number(impatient)
    reply = impatient.client().chat.completions.create(
        model="only/x", messages=[{"role": "user", "content": "Hi sim:chunks:3 sim:text:one two three"}]
    )
    assert arrived(impatient, before)[0].body["stream"] is True
    assert reply.choices[0].message.content == "one two three"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert reply.usage.total_tokens > 0


# --- deadlines


@pytest.mark.parametrize(
    ("model", "order", "stream", "code"),
    [
        pytest.param("first", "sim:slow:9", False, 504, id="first byte, whole"),
        pytest.param("first-lan", "sim:slow:9", False, 504, id="first byte, whole, openai"),
        pytest.param("first", "sim:slow:9", True, 200, id="first byte, streamed after a comment"),
        pytest.param("idle", "sim:stall:1", False, 504, id="idle, whole"),
        pytest.param("idle", "sim:chunks:9 sim:stall:2", True, 200, id="idle, streamed"),
        pytest.param("idle-lan", "sim:chunks:9 sim:stall:2", True, 200, id="idle, streamed, openai"),
        pytest.param("total", "sim:slow:9", False, 504, id="total, whole"),
        pytest.param("total", "sim:chunks:60 sim:gap:100", True, 200, id="total, streamed"),
        pytest.param("total-lan", "sim:chunks:60 sim:gap:100", True, 200, id="total, streamed, openai"),
    ],
)
def test_a_deadline_ends_the_request_with_an_error(
    impatient: Gateway, model: str, order: str, stream: bool, code: int
) -> None:
    before = last_number(impatient)
    began = time.monotonic()
    words = "sim:text:" + "word " * 60
    with RawRequest(impatient, chat(f"Hi {order} {words}", model, stream=stream)).send() as request:
        text = request.rest()
    assert time.monotonic() - began < 3
    assert text.startswith(f"HTTP/1.1 {code} ")
    assert '"code":"upstream_timeout"' in text
    assert "[DONE]" not in text
    assert len(arrived(impatient, before)) == 1
    hung_up(impatient, before, 0)


def test_without_a_comment_a_late_first_byte_is_a_504_also_for_a_stream(tmp_path: Any) -> None:
    messages: Any = [{"role": "user", "content": "Hi sim:slow:9"}]
    with (
        open_gateway(tmp_path, IMPATIENT.replace("heartbeat: 100ms", "heartbeat: 10s")) as own,
        own.client() as client,
        pytest.raises(openai.InternalServerError) as caught,
    ):
        client.chat.completions.create(model="first", messages=messages, stream=True)
    assert (caught.value.status_code, caught.value.code) == (504, "upstream_timeout")
