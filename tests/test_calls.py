"""How far a small request walks through the house: calls of our functions, and files they are in.

Counted, not timed, so that a machine's mood changes nothing. A call that waits and goes on is counted twice.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

import proxy
from proxy import app
from proxy import config as configuration
from proxy.serve.protocol import Protocol

_ON_TIME = {"flush", "take"}  # of the log, ten times a second
HOUSE = str(Path(proxy.__file__).parent) + "/"
KEY = "sk-walk"
CALLS = 175  # of a small chat
YAML = """
version: 1
keys: [{{name: walker, key: env:WALK_KEY}}]
providers:
  up: {{wire: gemini, base_url: "http://127.0.0.1:{port}", keys: [env:WALK_KEY], private: true}}
models: {{}}
"""

# The chat of bench/: four messages, temperature and a limit.
CHAT: Any = {
    "model": "up/gemini-2.5-flash",
    "temperature": 0.7,
    "max_tokens": 300,
    "messages": [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What is a dragoman?"},
        {"role": "assistant", "content": "An interpreter."},
        {"role": "user", "content": "And who employed them?"},
    ],
}
# The same in Google's own words.
NATIVE = {
    "systemInstruction": {"parts": [{"text": "You are a helpful assistant."}]},
    "contents": [
        {"role": "user", "parts": [{"text": "What is a dragoman?"}]},
        {"role": "model", "parts": [{"text": "An interpreter."}]},
        {"role": "user", "parts": [{"text": "And who employed them?"}]},
    ],
    "generationConfig": {"temperature": 0.7, "maxOutputTokens": 300},
}
COUNTS = {
    "promptTokenCount": 9,
    "candidatesTokenCount": 42,
    "totalTokenCount": 51,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 9}],
}
WHOLE = {
    "candidates": [
        {"content": {"parts": [{"text": "Courts."}], "role": "model"}, "finishReason": "STOP", "index": 0}
    ],
    "usageMetadata": COUNTS,
    "modelVersion": "gemini-2.5-flash",
    "responseId": "r1",
}
DELTA = {
    "candidates": [{"content": {"parts": [{"text": "Courts. "}], "role": "model"}, "index": 0}],
    "usageMetadata": COUNTS,
    "modelVersion": "gemini-2.5-flash",
    "responseId": "r1",
}


class Walk:
    """What was called of ours while it was on, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def __enter__(self) -> Walk:
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: object, event: str, _: object) -> None:
        code = frame.f_code  # type: ignore[attr-defined]
        if event == "call" and code.co_filename.startswith(HOUSE) and code.co_name not in _ON_TIME:
            file = code.co_filename.removeprefix(HOUSE)
            if not _is_of_a_batch(file, code.co_name):
                self.calls.append((file, code.co_name))

    @property
    def files(self) -> set[str]:
        return {file for file, _ in self.calls}

    @property
    def entered(self) -> Counter[str]:
        """How often each file was come to from another."""
        before = ("", *(file for file, _ in self.calls))
        return Counter(file for (file, _), last in zip(self.calls, before, strict=False) if file != last)


class Vendor:
    """Answers every call with `replies`, each written at once; the next waits for `go_on`."""

    def __init__(self) -> None:
        self.replies: list[bytes] = []
        self.go_on = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(_length(head))
                for number, reply in enumerate(self.replies):
                    if number:
                        await self.go_on.wait()
                        self.go_on.clear()
                    writer.write(reply)
        except asyncio.IncompleteReadError:
            writer.close()


class Client:
    """One connection that is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, vendor: Vendor) -> None:
        self.reader = reader
        self.writer = writer
        self.vendor = vendor

    def ask(self, body: object, path: bytes = b"/v1/chat/completions") -> None:
        raw = json.dumps(body).encode()
        self.writer.write(
            b"POST %b HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (path, KEY.encode(), len(raw), raw)
        )

    async def whole(self) -> dict[str, object]:
        self.ask(CHAT)
        return await self._answer()

    async def native(self) -> dict[str, object]:
        self.ask(NATIVE, b"/v1beta/models/up/gemini-2.5-flash:generateContent")
        return await self._answer()

    async def _answer(self) -> dict[str, object]:
        self.vendor.replies = [_plain(WHOLE)]
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        answer: dict[str, object] = json.loads(await self.reader.readexactly(_length(head)))
        return answer

    async def message(self) -> dict[str, object]:
        """The same conversation in Anthropic's dialect."""
        system, *messages = CHAT["messages"]
        self.ask({**CHAT, "system": system["content"], "messages": messages}, b"/v1/messages")
        return await self._answer()

    async def response(self, turns: int = 1, **more: object) -> dict[str, object]:
        """The same conversation, told so often, by the Responses API."""
        system, *messages = CHAT["messages"]
        body = {"model": CHAT["model"], "temperature": 0.7, "max_output_tokens": 300}
        self.ask(
            {**body, "instructions": system["content"], "input": messages * turns, **more}, b"/v1/responses"
        )
        return await self._answer()

    async def streamed(self, replies: Iterable[bytes]) -> int:
        """How many chunks came; the next reply is let go when the chunk of the one before is here."""
        self.vendor.replies = list(replies)
        self.ask({**CHAT, "stream": True})
        came = 0
        while (line := await self.reader.readline()) != b"data: [DONE]\n":
            came += line.startswith(b"data: ")
            if line.startswith(b"data: ") and b"Courts" in line:
                self.vendor.go_on.set()
        await self.reader.readuntil(b"0\r\n\r\n")
        return came


def _is_of_a_batch(file: str, name: str) -> bool:
    """Rows of the ledger are added by requests and written by a timer, which may fall into a walk."""
    return file == "store/database.py" or (file == "ledger/recorder.py" and name != "add")


def _length(head: bytes) -> int:
    fields = [line.partition(b":") for line in head.lower().split(b"\r\n")]
    return int(next(value for name, _, value in fields if name == b"content-length"))


def _plain(payload: object) -> bytes:
    body = json.dumps(payload).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )


def _events(payloads: Iterable[object]) -> list[bytes]:
    """The reply's parts: its head with the first event, then an event each, then its end with the last."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    frames = [b"data: %b\r\n\r\n" % json.dumps(payload).encode() for payload in payloads]
    parts = [b"%x\r\n%b\r\n" % (len(frame), frame) for frame in frames]
    return [head + parts[0], *parts[1:-1], parts[-1] + b"0\r\n\r\n"]


@asynccontextmanager
async def _served(folder: Path) -> AsyncIterator[Client]:
    """The application in this process, behind the server that `serve` starts."""
    vendor = Vendor()
    upstream = await asyncio.start_server(vendor.serve, "127.0.0.1", 0)
    file = folder / "providers.yaml"
    file.write_text(YAML.format(port=upstream.sockets[0].getsockname()[1]))
    loaded = configuration.load(file, {"WALK_KEY": KEY})
    assert loaded.config is not None
    options = uvicorn.Config(
        app.create(loaded.config, loaded.off), http=Protocol, ws="none", log_config=None, access_log=False
    )
    server = uvicorn.Server(options)
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0)
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    try:
        yield Client(reader, writer, vendor)
    finally:
        writer.close()
        server.should_exit = True
        await serving
        upstream.close()


def walked(folder: Path, ask: Callable[[Client], Awaitable[object]]) -> Walk:
    """The walk of a request, when all is loaded and connected by two others: the shortest of three, for a
    timer may fire meanwhile."""

    async def run() -> Walk:
        async with _served(folder) as client:
            await ask(client)
            await ask(client)
            return min([await walk(client) for _ in range(3)], key=lambda found: len(found.calls))

    async def walk(client: Client) -> Walk:
        with Walk() as found:
            await ask(client)
        return found

    return asyncio.run(run())


def test_a_small_chat_walks_a_short_way(tmp_path: Path) -> None:
    walk = walked(tmp_path, Client.whole)
    assert len(walk.calls) <= CALLS
    assert len(walk.files) <= 53


def test_a_small_message_walks_hardly_further(tmp_path: Path) -> None:
    walk = walked(tmp_path, Client.message)
    assert len(walk.calls) <= 1.3 * CALLS


@pytest.mark.parametrize("more", [{}, {"store": False}], ids=["kept", "not kept"])
def test_a_small_response_walks_hardly_further(tmp_path: Path, more: dict[str, object]) -> None:
    walk = walked(tmp_path, lambda client: client.response(**more))
    assert len(walk.calls) <= 1.3 * CALLS


def test_a_message_of_a_long_response_costs_a_few_calls(tmp_path: Path) -> None:
    """What the client sent is kept as it came: it gets its ids when somebody looks at it."""
    few, many = (
        len(walked(tmp_path, lambda client, turns=turns: client.response(turns)).calls) for turns in (10, 30)
    )
    assert (many - few) / 60 <= 7  # three messages a turn


def test_a_tool_of_a_response_costs_a_few_calls(tmp_path: Path) -> None:
    def tools(count: int) -> dict[str, object]:
        parameters = {"type": "object", "properties": {"a": {"type": "string"}}}
        return {
            "tools": [
                {
                    "type": "function",
                    "name": f"f{number}",
                    "description": "It finds.",
                    "parameters": parameters,
                }
                for number in range(count)
            ]
        }

    few, many = (
        len(walked(tmp_path, lambda client, count=count: client.response(**tools(count))).calls)
        for count in (10, 30)
    )
    assert (many - few) / 20 <= 16


def test_a_native_body_for_gemini_walks_hardly_further(tmp_path: Path) -> None:
    """It is parsed and not built; its parser reads two spellings of everything."""
    walk = walked(tmp_path, Client.native)
    assert len(walk.calls) <= 1.25 * CALLS


def test_no_file_is_entered_again_and_again(tmp_path: Path) -> None:
    walk = walked(tmp_path, Client.whole)
    assert {file: times for file, times in walk.entered.items() if times >= 10} == {}


@pytest.mark.parametrize(
    ("at_once", "most"), [pytest.param(True, 3, id="full-speed"), pytest.param(False, 33, id="one-by-one")]
)
def test_a_chunk_of_a_stream_costs_a_few_calls(tmp_path: Path, at_once: bool, most: int) -> None:
    def stream(count: int) -> Callable[[Client], Awaitable[object]]:
        replies = _events([*[DELTA] * count, WHOLE])
        return lambda client: client.streamed([b"".join(replies)] if at_once else replies)

    few, many = (len(walked(tmp_path, stream(count)).calls) for count in (50, 100))
    assert round((many - few) / 50) <= most  # a timer may fire meanwhile
