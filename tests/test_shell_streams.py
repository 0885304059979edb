"""Pings in a stream: never where the file says never, never inside a frame, and in words of the caller."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from proxy.serve.exchange import Exchange
from proxy.serve.stream import EventStream
from tests.gateway import FILE, open_gateway
from tests.raw_http import RawRequest, chat
from tests.vendor_socket import read_request, vendor

FRAME = b"data: " + b"x" * 900_000 + b"\n\n"  # goes out in several slices
PING = b": keep-alive\n\n"


class Reader:
    """A transport whose reader is slow: each slice takes `pause_s`. Remembers what was said, in order."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self.said: list[bytes] = []
        self.heads: list[dict[bytes, bytes]] = []
        self.pinged = asyncio.Event()
        self._pause_s = pause_s

    async def __call__(self, message: Any) -> None:
        if self._pause_s:
            await asyncio.sleep(self._pause_s)
        if message["type"] == "http.response.start":
            self.heads.append(dict(message["headers"]))
            return
        self.said.append(bytes(message["body"]))
        if len(message["body"]) < 100:
            self.pinged.set()

    @property
    def text(self) -> bytes:
        return b"".join(self.said)


async def _nothing() -> Any:
    raise AssertionError("nothing is read here")


def exchange(send: Any) -> Exchange:
    return Exchange({"type": "http", "headers": []}, _nothing, send)


def frames(text: bytes) -> list[bytes]:
    return [frame + b"\n\n" for frame in text.split(b"\n\n") if frame]


@pytest.mark.anyio
async def test_a_ping_that_falls_due_within_a_frame_waits_for_its_end() -> None:
    reader = Reader(pause_s=0.03)
    stream = EventStream(exchange(reader), 0.01)
    for _ in range(3):
        await stream.write((FRAME, FRAME[:700_000] + b"\n\n"))
    await stream.end()
    assert [frame for frame in frames(reader.text) if frame != PING] == [FRAME, FRAME[:700_000] + b"\n\n"] * 3


@pytest.mark.anyio
@pytest.mark.parametrize("pause_s", [0.0, 0.03], ids=["at once", "longer than many intervals"])
async def test_pings_go_on_behind_a_frame(pause_s: float) -> None:
    reader = Reader(pause_s)
    stream = EventStream(exchange(reader), 0.01)
    await stream.write(FRAME)
    reader.pinged.clear()
    await asyncio.wait_for(reader.pinged.wait(), 5)
    stream.stop()
    assert set(frames(reader.text)) == {FRAME, PING}


async def _with_a_held_ping(reader: Reader, go: asyncio.Event) -> EventStream:
    """A stream whose first ping is on its way, and arrives when it may go."""
    asked = asyncio.Event()

    async def held(message: Any) -> None:
        asked.set()
        await go.wait()
        await reader(message)

    stream = EventStream(exchange(held), 0.01)
    await asyncio.wait_for(asked.wait(), 5)
    return stream


@pytest.mark.anyio
async def test_a_frame_waits_for_a_ping_that_opens_the_stream() -> None:
    """Both would send the head."""
    reader, go = Reader(), asyncio.Event()
    stream = await _with_a_held_ping(reader, go)
    writing = asyncio.create_task(stream.write(b"data: 1\n\n"))
    ending = asyncio.create_task(_after(writing, stream))
    go.set()
    await asyncio.wait_for(ending, 5)
    assert len(reader.heads) == 1
    assert frames(reader.text) == [PING, b"data: 1\n\n"]


@pytest.mark.anyio
async def test_no_other_ping_begins_while_one_is_held() -> None:
    """For ten intervals."""
    reader, go = Reader(), asyncio.Event()
    stream = await _with_a_held_ping(reader, go)
    asyncio.get_running_loop().call_later(0.1, go.set)
    await asyncio.wait_for(stream.write(b"data: 1\n\n"), 5)
    stream.stop()
    assert (len(reader.heads), frames(reader.text)) == (1, [PING, b"data: 1\n\n"])


async def _after(writing: asyncio.Task[None], stream: EventStream) -> None:
    await writing
    await stream.end()


@pytest.mark.anyio
async def test_a_stream_that_ends_while_a_ping_is_held_has_one_head() -> None:
    reader, go = Reader(), asyncio.Event()
    stream = await _with_a_held_ping(reader, go)
    go.set()
    await asyncio.wait_for(stream.end(), 5)
    assert len(reader.heads) == 1
    assert reader.text in (b"", PING)


@pytest.mark.anyio
async def test_a_ping_that_is_held_when_all_is_over_is_not_sent() -> None:
    reader, go, before = Reader(), asyncio.Event(), asyncio.all_tasks()
    stream = await _with_a_held_ping(reader, go)
    stream.stop()
    go.set()
    await asyncio.wait(asyncio.all_tasks() - before, timeout=5)
    assert (reader.heads, reader.said) == ([], [])


@pytest.mark.anyio
async def test_a_ping_is_in_the_callers_words() -> None:
    reader = Reader()
    stream = EventStream(exchange(reader), 0.01, ping=b"event: ping\ndata: {}\n\n")
    await asyncio.wait_for(reader.pinged.wait(), 5)
    stream.stop()
    assert set(frames(reader.text)) == {b"event: ping\ndata: {}\n\n"}


@pytest.mark.anyio
async def test_the_head_is_asked_for_when_a_ping_opens_the_stream() -> None:
    reader = Reader()
    dropped = ["early"]
    stream = EventStream(exchange(reader), 0.01, lambda: [(b"x-proxy-dropped", dropped[0].encode())])
    dropped[0] = "late"
    await asyncio.wait_for(reader.pinged.wait(), 5)
    stream.stop()
    [head] = reader.heads
    assert head[b"x-proxy-dropped"] == b"late"
    assert head[b"content-type"] == b"text/event-stream; charset=utf-8"


@pytest.mark.anyio
async def test_a_stream_may_be_something_else_than_events() -> None:
    """N-041: a JSON array that grows."""
    reader = Reader()
    stream = EventStream(exchange(reader), 0, content_type=b"application/json")
    await stream.write(b"[]")
    await stream.end()
    [head] = reader.heads
    assert head[b"content-type"] == b"application/json"


@pytest.mark.anyio
async def test_a_head_that_cannot_be_made_is_the_callers_fault_to_tell() -> None:
    """Not lost in the task of a ping: the caller's own write meets it, and nothing is out yet."""
    asked = asyncio.Event()
    reader = Reader()
    opened = exchange(reader)

    def broken() -> Any:
        asked.set()
        raise ValueError("no head")

    stream = EventStream(opened, 0.01, broken)
    await asyncio.wait_for(asked.wait(), 5)
    with pytest.raises(ValueError, match="no head"):
        await stream.write(b"data: 1\n\n")
    stream.stop()
    assert not opened.started
    assert (reader.heads, reader.said) == ([], [])


@pytest.mark.anyio
async def test_a_ping_that_failed_is_the_last() -> None:
    """For ten intervals: who is gone is not told again and again."""
    tried: list[Any] = []
    over = asyncio.Event()

    async def gone(message: Any) -> None:
        tried.append(message)
        raise ConnectionResetError

    stream = EventStream(exchange(gone), 0.01)
    asyncio.get_running_loop().call_later(0.1, over.set)
    await over.wait()
    stream.stop()
    assert len(tried) == 1


# --- with a real server


@pytest.mark.parametrize("model", ["gemini-flash", "lan-chat"])
def test_a_heartbeat_of_zero_means_never(tmp_path: Path, model: str) -> None:
    with open_gateway(tmp_path, FILE.replace("heartbeat: 300ms", "heartbeat: 0s")) as own:
        body = chat("Hi sim:slow:0.4 sim:chunks:3 sim:gap:100 sim:text:a b c", model, stream=True)
        with RawRequest(own, body).send() as request:
            text = request.rest()
    assert "keep-alive" not in text
    assert "data: [DONE]\n\n" in text


def test_a_ping_never_lands_inside_a_frame_of_a_slow_reader(tmp_path: Path) -> None:
    """The frame is larger than all buffers, and the reader rests longer than many heartbeats."""
    said = "x" * 12_000_000
    chunk = {"choices": [{"index": 0, "delta": {"content": said}, "finish_reason": None}]}
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}

    def talks(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for event in (chunk, last):
            connection.sendall(b"data: " + json.dumps(event).encode() + b"\n\n")
        connection.sendall(b"data: [DONE]\n\n")

    with vendor(talks) as base_url:
        file = FILE.replace("http://SIMULATORS/openai", base_url).replace(
            "heartbeat: 300ms", "heartbeat: 20ms"
        )
        with (
            open_gateway(tmp_path, file) as own,
            RawRequest(own, chat("Hi", "lan-chat", stream=True), buffer_bytes=65536).send() as request,
        ):
            request.until("xxxxxxxx")
            for _ in range(4):  # the reader's pauses, not a wait for anything
                time.sleep(0.1)
                request.received += request.socket.recv(1 << 20)
            request.rest()
            body = request.body
    events = [frame for frame in frames(body) if frame != PING]
    assert [frame[:6] for frame in events] == [b"data: "] * len(events)
    assert events[-1] == b"data: [DONE]\n\n"
    contents = [json.loads(frame[6:])["choices"][0]["delta"].get("content") or "" for frame in events[:-1]]
    assert len("".join(contents)) == len(said)
    assert re.fullmatch("x+", "".join(contents))
