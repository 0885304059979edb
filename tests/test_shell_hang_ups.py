"""A client that hangs up, in every phase of a request: who works on, and what the access log says."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from proxy.serve.exchange import Exchange
from proxy.simulators import pictures
from proxy.simulators.server import Running, start
from tests.gateway import FILE, KEY
from tests.raw_http import RawRequest, arrived, chat, form, hung_up, last_number
from tests.served import Served, serving, waited

ENVIRONMENT = {"TEST_KEY": KEY, "TEST_NARROW_KEY": "sk-test-narrow", "VENDOR_KEY": "vendor-key"}
CHAT, GENERATION, EDIT = "/v1/chat/completions", "/v1/images/generations", "/v1/images/edits"
ENDPOINTS = [CHAT, GENERATION, EDIT]
LARGE = pictures.png(64, 64, "x") + bytes(3_000_000)


@dataclass(frozen=True, slots=True)
class Watched:
    """The command in a process of its own, its vendors, and its access log."""

    served: Served
    vendors: Running

    @property
    def base_url(self) -> str:
        return self.served.base_url

    def lines(self, path: str) -> list[Any]:
        """The access log of a path."""
        written = self.served.err.read_text().splitlines()
        told = [json.loads(line) for line in written if line.startswith('{"time"') and line.endswith("}")]
        return [line for line in told if line["event"] == "request" and line["path"] == path]

    def line(self, path: str, after: int) -> Any:
        """The next line that the log says of a path."""
        [line] = waited(lambda: self.lines(path)[after:])
        return line


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with start() as vendors:
        file = FILE.replace("http://SIMULATORS", vendors.base_url)
        file = file.replace("private: true", "private: true, on_disconnect: cancel")
        with serving(tmp_path_factory.mktemp("hang-ups"), file, environment=ENVIRONMENT) as served:
            yield Watched(served, vendors)


def request(
    watched: Watched, path: str, prompt: str, *, stream: bool = False, large: bool = False
) -> RawRequest:
    """A request of an endpoint; a large one has three megabytes."""
    if path == CHAT:
        return RawRequest(watched, chat("x" * (3_000_000 * large) + prompt, stream=stream))
    if path == GENERATION:
        body = {
            "model": "nano-banana-pro",
            "prompt": prompt,
            "stream": stream,
            "user": "x" * (3_000_000 * large),
        }
        return RawRequest(watched, body, path=path)
    content, headers = form(
        ("model", b"nano-banana-pro", None),
        ("prompt", prompt.encode(), None),
        ("stream", str(stream).lower().encode(), None),
        ("image", LARGE if large else LARGE[:2000], "a.png"),
    )
    return RawRequest(watched, content, path=path, headers=headers)


def still_answers(watched: Watched) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    reply = httpx.post(f"{watched.base_url}/chat/completions", json=chat("Hi"), headers=headers, timeout=20)
    assert reply.status_code == 200


@pytest.mark.parametrize("path", ENDPOINTS)
def test_within_the_head_there_was_no_request(watched: Watched, path: str) -> None:
    before, after = last_number(watched), len(watched.lines(path))
    with request(watched, path, "Hi") as opened:
        opened.socket.sendall(opened.head[:-20])
        opened.hang_up()
    still_answers(watched)
    waited(lambda: watched.lines("/chat/completions"))
    assert len(arrived(watched, before)) == 1  # ours
    assert watched.lines(path)[after:] == []


@pytest.mark.parametrize(
    ("sent", "code"),
    [(b"nonsense\r\n\r\n", "invalid_http"), (b"GET / HTTP/1.1\r\n\r\n", "invalid_host")],
    ids=["nonsense", "no host"],
)
def test_what_is_no_request_is_in_the_log_with_its_id(watched: Watched, sent: bytes, code: str) -> None:
    with RawRequest(watched, b"") as opened:
        opened.socket.sendall(sent)
        opened.until("\r\n\r\n")
    found = opened.text.split("x-request-id: ")[1].partition("\r\n")[0]
    line = json.loads(watched.served.until_logged(found))
    assert (line["event"], line["status"], line["error"]) == ("request", 400, code)


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_within_the_body_nobody_is_called(watched: Watched, path: str, share: float) -> None:
    before, after = last_number(watched), len(watched.lines(path))
    with request(watched, path, "Hi", large=True) as opened:
        opened.send(int(len(opened.payload) * share))
        opened.hang_up()
    line = watched.line(path, after)
    assert (line["client"], line["status"]) == ("gone", 499)
    still_answers(watched)
    assert len(arrived(watched, before)) == 1  # ours


@pytest.mark.parametrize("path", ENDPOINTS)
def test_right_behind_the_body_nothing_is_finished(watched: Watched, path: str) -> None:
    """While the body is parsed: the vendor is not called, or the call is called off."""
    for _ in range(4):
        before, after = last_number(watched), len(watched.lines(path))
        with request(watched, path, "Draw sim:slow:9", large=True) as opened:
            opened.send()
            moment = opened.hang_up()
        line = watched.line(path, after)
        assert (line["client"], line["status"]) == ("gone", 499)
        called = watched.vendors.log.exchanges(after=before)
        if called:
            assert hung_up(watched, before, moment) < 5


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_before_the_first_byte_the_vendor_is_stopped(watched: Watched, path: str, stream: bool) -> None:
    before, after = last_number(watched), len(watched.lines(path))
    with request(watched, path, "Draw sim:slow:9", stream=stream) as opened:
        opened.send()
        arrived(watched, before)
        moment = opened.hang_up()
    hung_up(watched, before, moment)
    line = watched.line(path, after)
    assert line["client"] == "gone"
    assert line["status"] in ((200, 499) if stream else (499,))  # a ping may have opened it


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("marker", ["keep-alive", "data: "])
def test_within_the_stream_the_vendor_is_stopped(watched: Watched, path: str, marker: str) -> None:
    if path != CHAT and marker == "data: ":
        pytest.skip("a picture comes in one event, the last")
    order = "sim:slow:9" if marker == "keep-alive" else "sim:chunks:60 sim:gap:200"
    before, after = last_number(watched), len(watched.lines(path))
    with request(watched, path, f"Draw {order}", stream=True) as opened:
        opened.send()
        arrived(watched, before)
        opened.until(marker)
        moment = opened.hang_up()
    hung_up(watched, before, moment)
    line = watched.line(path, after)
    assert (line["client"], line["status"]) == ("gone", 200)


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_after_the_end_nobody_is_gone(watched: Watched, path: str, stream: bool) -> None:
    after = len(watched.lines(path))
    with request(watched, path, "Draw", stream=stream) as opened:
        opened.send()
        opened.rest()
    line = watched.line(path, after)
    assert "client" not in line
    assert (line["status"], line.get("error")) == (200, None)


def test_a_client_that_only_stops_sending_and_waits_is_gone_too(watched: Watched) -> None:
    """As with uvicorn: whoever closes its half is not answered, so nothing is bought for it."""
    before, after = last_number(watched), len(watched.lines(CHAT))
    with request(watched, CHAT, "Hi sim:slow:9") as opened:
        opened.send()
        arrived(watched, before)
        opened.socket.shutdown(socket.SHUT_WR)
        hung_up(watched, before, 0)
    assert watched.line(CHAT, after)["client"] == "gone"


# --- on another server than ours, which tells of it only to whoever waits for the next message


async def _ignored(message: Any) -> None:
    raise AssertionError("nothing is sent here")


async def _until_it_ends(opened: Exchange) -> None:
    opened.begin()
    await asyncio.Event().wait()


@pytest.mark.anyio
async def test_another_servers_word_of_a_hang_up_ends_the_request() -> None:
    asked = 0

    async def receive() -> Any:
        nonlocal asked
        asked += 1
        return {"type": "http.disconnect"}

    opened = Exchange({"type": "http", "headers": []}, receive, _ignored)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.create_task(_until_it_ends(opened)), 5)
    assert (opened.gone, asked) == (True, 1)


@pytest.mark.anyio
async def test_a_request_that_is_over_waits_for_no_hang_up() -> None:
    never = asyncio.Event()

    async def receive() -> Any:
        await never.wait()

    before = asyncio.all_tasks()
    opened = Exchange({"type": "http", "headers": []}, receive, _ignored)
    opened.begin()
    (watcher,) = asyncio.all_tasks() - before
    opened.close()
    await asyncio.wait((watcher,), timeout=5)
    assert (watcher.cancelled(), opened.gone) == (True, False)


@pytest.mark.anyio
async def test_a_servers_fault_is_no_hang_up() -> None:
    async def receive() -> Any:
        raise OSError("broken")

    before = asyncio.all_tasks()
    opened = Exchange({"type": "http", "headers": []}, receive, _ignored)
    opened.begin()
    (watcher,) = asyncio.all_tasks() - before
    await asyncio.wait((watcher,), timeout=5)
    assert not opened.gone
