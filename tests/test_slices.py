"""No request keeps the loop to itself: what goes through all of a large one is done elsewhere, or bounded.

Steps are counted, not seconds: lines of Python that run between two turns of the loop, in its thread.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from proxy import app
from proxy import config as configuration
from proxy.errors import RequestError
from proxy.fronts.openai.messages.messages import arguments
from proxy.serve.body import LARGE, read_json
from proxy.serve.protocol import Protocol
from tests.vendor_socket import read_request, vendor

KEY = "sk-slices"
MOST_VALUES = 400_000  # a body may have
MOST_STEPS = 3_000_000  # of a slice; a line takes some 20 ns
COUNT = 5000
YAML = """
version: 1
keys: [{name: app, key: env:KEY, limits: {tokens: 1000000000/min}}]
server: {state: "sqlite::memory:", files: {folder: FOLDER}}
providers:
  google: {wire: gemini, base_url: "ADDRESS/v1beta", keys: [env:KEY], private: true}
  lan: {wire: openai, base_url: "ADDRESS/v1", keys: [env:KEY], private: true}
models:
  flash: {targets: [google/gemini-3-flash-preview]}
  old: {targets: [google/gemini-2.0-flash]}
  picture: {targets: [google/gemini-3-pro-image], price: unpriced}
  vectors: {targets: [google/gemini-embedding-001]}
  lan: {targets: [lan/llama]}
"""
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
DATA_URL = f"data:image/png;base64,{PNG}"
REPLY = {
    "candidates": [{"content": {"parts": [{"text": "Hi"}], "role": "model"}, "finishReason": "STOP"}],
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "totalTokens": 1,
}


class Loop(asyncio.SelectorEventLoop):
    """Counts what runs in each of its turns."""

    steps = most = 0

    def _run_once(self) -> None:
        self.steps = 0
        super()._run_once()  # type: ignore[misc]
        self.most = max(self.most, self.steps)

    @contextmanager
    def counted(self) -> Iterator[None]:
        self.most = 0

        def step(*_: object) -> Any:
            self.steps += 1
            return step

        sys.settrace(step)
        try:
            yield
        finally:
            sys.settrace(None)


def answers(connection: socket.socket) -> None:
    body = json.dumps(REPLY).encode()
    while True:
        read_request(connection)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        connection.sendall(head % len(body) + body)


class Ask:
    """Posts to the application, which runs in a loop of its own; `steps` are the most of one of its turns."""

    def __init__(self, runner: asyncio.Runner, base_url: str) -> None:
        self._runner = runner
        self._base_url = base_url
        self.steps = 0

    def __call__(self, path: str, body: object) -> httpx.Response:
        loop = self._runner.get_loop()
        assert isinstance(loop, Loop)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()

        def post() -> httpx.Response:
            headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
            return httpx.post(f"{self._base_url}/{path}", content=content, headers=headers, timeout=60)

        async def run() -> httpx.Response:
            with loop.counted():
                reply = await asyncio.to_thread(post)
                await asyncio.sleep(0.01)  # what is done after the reply counts too
            return reply

        reply = self._runner.run(run())
        self.steps = loop.most
        return reply


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    folder = tmp_path_factory.mktemp("slices")
    with vendor(answers) as address, asyncio.Runner(loop_factory=Loop) as runner:
        file = folder / "providers.yaml"
        file.write_text(YAML.replace("ADDRESS", address).replace("FOLDER", str(folder)))
        loaded = configuration.load(file, {"KEY": KEY})
        assert loaded.config is not None, loaded.problems
        options = uvicorn.Config(
            app.create(loaded.config, loaded.off), http=Protocol, ws="none", log_config=None, access_log=False
        )
        server = uvicorn.Server(options)
        listener = socket.create_server(("127.0.0.1", 0))
        serving = runner.get_loop().create_task(server.serve(sockets=[listener]))

        async def started() -> None:
            while not server.started:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0)

        runner.run(started())
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        one = Ask(runner, base_url)
        for path, body in WARM:  # what is loaded once is loaded
            one(path, body)
        yield one
        server.should_exit = True
        runner.run(_ended(serving))


async def _ended(serving: asyncio.Task[None]) -> None:
    await serving


# --- the largest of every kind

Body = dict[str, Any]
Make = Callable[[int], Body]
USER = {"role": "user", "content": "x"}
TEXT = {"type": "text", "text": "x"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
PICTURE = {"type": "image_url", "image_url": {"url": DATA_URL}}


def chat(messages: Any, model: str = "flash", **more: Any) -> Body:
    return {"model": model, "messages": messages, **more}


def user(content: Any, model: str = "flash", **more: Any) -> Body:
    return chat([{"role": "user", "content": content}], model, **more)


def called(id: str) -> list[Body]:
    call = {"id": id, "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": id, "content": "x"},
    ]


def calling(arguments: str) -> Body:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def answered(id: str) -> list[Body]:
    """The same as items of a response."""
    return [
        {"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": id, "output": "x"},
    ]


def used(id: str) -> list[Body]:
    """And in Anthropic's words."""
    return [
        {"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "x"}]},
    ]


def tool(name: str, schema: Body = SCHEMA) -> Body:
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def named(value: object) -> Callable[[int], Body]:
    return lambda count: {f"name{number}": value for number in range(count)}


def flat(lists: list[list[Body]]) -> list[Body]:
    return [one for each in lists for one in each]


def response(input: Any, model: str = "flash", **more: Any) -> Body:
    return {"model": model, "input": input, **more}


def message(content: Any, **more: Any) -> Body:
    return {"max_tokens": 9, **user(content, **more)}


def native(*contents: Body, **more: Any) -> Body:
    return {"contents": list(contents), **more}


def spoken(*parts: Body) -> Body:
    return {"role": "user", "parts": list(parts)}


ARGUMENTS = "messages[1].tool_calls[0].function.arguments"
CHAT, RESPONSES, MESSAGES = "v1/chat/completions", "v1/responses", "v1/messages"
GOOGLE, GOOGLE_LAN = "v1/models/flash:generateContent", "v1/models/lan:generateContent"
ROWS: dict[str, tuple[str, Make]] = {
    "messages": (CHAT, lambda n: chat([USER] * n)),
    "messages for another": (CHAT, lambda n: chat([USER] * n, "lan")),
    "messages to draw by": (CHAT, lambda n: chat([USER] * n, "picture")),
    "names": (CHAT, lambda n: chat([{**USER, "name": "a"}] * n)),
    "parts": (CHAT, lambda n: user([TEXT] * n)),
    "pictures": (CHAT, lambda n: user([PICTURE] * n)),
    "pictures for another": (CHAT, lambda n: user([PICTURE] * n, "lan")),
    "shown pictures": (
        CHAT,
        lambda n: chat([USER, {"role": "assistant", "content": "![a](b) " * 9 * n}, USER]),
    ),
    "calls": (CHAT, lambda n: chat([USER, *flat([called(f"c{i}") for i in range(n)])])),
    "calls for another": (CHAT, lambda n: chat([USER, *flat([called(f"c{i}") for i in range(n)])], "lan")),
    "tools": (CHAT, lambda n: chat([USER], tools=[tool(f"f{i}") for i in range(n)])),
    "tools for another": (CHAT, lambda n: chat([USER], "lan", tools=[tool(f"f{i}") for i in range(n)])),
    "wide schema": (
        CHAT,
        lambda n: chat([USER], tools=[tool("f", {**SCHEMA, "properties": named({"type": "string"})(n)})]),
    ),
    "wide schema, rewritten": (
        CHAT,
        lambda n: chat([USER], "old", tools=[tool("f", {"anyOf": [{"type": "string"}] * 2 * n})]),
    ),
    "words to choose from": (
        CHAT,
        lambda n: chat([USER], "old", tools=[tool("f", {"enum": [f"{i:030}" for i in range(n)]})]),
    ),
    "form of the answer": (
        CHAT,
        lambda n: chat(
            [USER],
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {**SCHEMA, "properties": named(SCHEMA)(n)}},
            },
        ),
    ),
    "metadata": (CHAT, lambda n: chat([USER], metadata=named("v" * 20)(n))),
    "unknown members": (CHAT, lambda n: chat([USER], **named("v" * 20)(n))),
    "unknown members for another": (CHAT, lambda n: chat([USER], "lan", **named("v" * 20)(n))),
    "unknown lists": (CHAT, lambda n: chat([USER], unknown=[[]] * 20 * n)),
    "biases": (CHAT, lambda n: chat([USER], logit_bias={str(100_000 + i): 1 for i in range(3 * n)})),
    "a long text": (CHAT, lambda n: user("word, " * 50 * n)),
    "items": (RESPONSES, lambda n: response([USER] * n)),
    "items for another": (RESPONSES, lambda n: response([USER] * n, "lan", store=False)),
    "pictures of a response": (
        RESPONSES,
        lambda n: response(
            [{"role": "user", "content": [{"type": "input_image", "image_url": DATA_URL}] * n}]
        ),
    ),
    "calls of a response": (
        RESPONSES,
        lambda n: response([USER, *flat([answered(f"c{i}") for i in range(n)])]),
    ),
    "references": (
        RESPONSES,
        lambda n: response([{"type": "item_reference", "id": f"msg_{i:034}"} for i in range(n)]),
    ),
    "tools of a response": (
        RESPONSES,
        lambda n: response(
            "Hi", tools=[{"type": "function", "name": f"f{i}", "parameters": SCHEMA} for i in range(n)]
        ),
    ),
    "counted items": ("v1/responses/input_tokens", lambda n: response([USER] * n)),
    "messages of Anthropic": (MESSAGES, lambda n: {**chat([USER] * n), "max_tokens": 9}),
    "blocks": (MESSAGES, lambda n: message([TEXT] * n)),
    "pictures in blocks": (
        MESSAGES,
        lambda n: message(
            [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}] * n
        ),
    ),
    "uses of tools": (
        MESSAGES,
        lambda n: {**chat([USER, *flat([used(f"c{i}") for i in range(n)])]), "max_tokens": 9},
    ),
    "tools of Anthropic": (
        MESSAGES,
        lambda n: message("Hi", tools=[{"name": f"f{i}", "input_schema": SCHEMA} for i in range(n)]),
    ),
    "counted messages": ("v1/messages/count_tokens", lambda n: chat([USER] * n)),
    "contents": (GOOGLE, lambda n: native(*[spoken({"text": "x"})] * n)),
    "contents for another": (GOOGLE_LAN, lambda n: native(*[spoken({"text": "x"})] * n)),
    "native parts": (GOOGLE, lambda n: native(spoken(*[{"text": "x"}] * 3 * n))),
    "native pictures": (
        GOOGLE_LAN,
        lambda n: native(spoken(*[{"inlineData": {"mimeType": "image/png", "data": PNG}}] * n)),
    ),
    "declarations": (
        GOOGLE_LAN,
        lambda n: native(
            spoken({"text": "x"}),
            tools=[{"functionDeclarations": [{"name": f"f{i}", "parameters": SCHEMA} for i in range(n)]}],
        ),
    ),
    "native members": (GOOGLE_LAN, lambda n: native(spoken({"text": "x"}), **named("v" * 20)(n))),
    "counted contents": ("v1/models/flash:countTokens", lambda n: native(*[spoken({"text": "x"})] * n)),
    "texts to embed": (
        "v1/models/vectors:batchEmbedContents",
        lambda n: {"requests": [{"content": spoken({"text": "x"})}] * n},
    ),
    "tokens to embed": ("v1/embeddings", lambda n: {"model": "lan", "input": [[1] * 100] * (n // 3)}),
    "members to embed": ("v1/embeddings", lambda n: {"model": "vectors", "input": "x", **named("v" * 20)(n)}),
    "prompts": ("v1/completions", lambda n: {"model": "flash", "prompt": ["x" * 30] * n}),
    "texts to judge": ("v1/moderations", lambda n: {"model": "lan", "input": ["x" * 30] * n}),
    "members to draw by": (
        "v1/images/generations",
        lambda n: {"model": "picture", "prompt": "x", **named("v" * 20)(n)},
    ),
    "references to draw by": (
        "v1/images/generations",
        lambda n: {"model": "picture", "prompt": "x", "image": [DATA_URL] * n},
    ),
}
WARM = [(path, make(2)) for path, make in ROWS.values()]


@pytest.mark.parametrize("row", ROWS)
def test_a_large_request_lets_others_run(ask: Ask, row: str) -> None:
    """Scaled to the largest of its kind: what it does in one slice of the loop is bounded."""
    path, make = ROWS[row]
    content = json.dumps(make(COUNT), separators=(",", ":")).encode()
    assert len(content) > LARGE
    reply = ask(path, content)
    assert reply.status_code in (200, 400, 404, 502), reply.text[:300]
    assert "internal" not in reply.text
    values = content.count(b",") + content.count(b"{") + content.count(b"[")
    assert ask.steps * MOST_VALUES / values < MOST_STEPS


@pytest.mark.parametrize("row", ["messages", "pictures", "calls", "items", "contents for another", "blocks"])
def test_one_that_is_just_not_large_is_small_enough(ask: Ask, row: str) -> None:
    path, make = ROWS[row]
    one = len(json.dumps(make(1001))) - len(json.dumps(make(1000)))
    content = json.dumps(make(LARGE // one - 10)).encode()
    assert LARGE * 0.9 < len(content) <= LARGE
    assert ask(path, content).status_code == 200
    assert ask.steps < MOST_STEPS


# --- how many values a body may have


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"a":[%s]}' % b",".join([b"0"] * 400_000), id="numbers"),
        pytest.param(b'{"a":[%s]}' % b",".join([b"[" * 400 + b"]" * 400] * 1001), id="lists in each other"),
        pytest.param(b'{"a":[%s]}' % b",".join([b'{"a":0}'] * 200_000), id="objects"),
        pytest.param(b'{"a":[%s]}' % b",".join([b'"\\\\"'] * 400_000), id="backslashes"),
        pytest.param(b'{"a":[%s]}' % b",".join([b'""'] * 900_000), id="quotes"),
    ],
)
def test_a_body_of_too_many_values_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        read_json(body)
    assert (caught.value.status, caught.value.code) == (400, "too_many_values")


@pytest.mark.parametrize(
    "text",
    ["1,2," * 300_000, "[{" * 300_000, '\\",' * 300_000, '","' * 300_000],
    ids=["table", "brackets", "backslash and quote", "quoted"],
)
def test_what_stands_in_a_text_is_no_value(text: str) -> None:
    assert read_json(json.dumps({"a": text}).encode()) == {"a": text}


@pytest.mark.parametrize("begin", ["", " \n", '[["'], ids=["at once", "behind a line", "a list"])
def test_texts_that_are_json_of_too_many_values_are_refused(begin: str) -> None:
    """None of them has too many; but whoever parses them keeps them all."""
    texts = [begin + list_of(100_000, '{"a":0}')] * 5
    assert read_json(json.dumps({"a": texts}).encode()) == {"a": texts}
    with pytest.raises(RequestError) as caught:
        read_json(json.dumps({"a": texts + texts[:1]}).encode())
    assert (caught.value.status, caught.value.code) == (400, "too_many_values")


def test_as_many_values_as_allowed_are_read() -> None:
    assert len(read_json(b'{"a":[%s]}' % b",".join([b"0"] * 399_990))["a"]) == 399_990


def list_of(count: int, one: str) -> str:
    return '{"a":[' + ",".join([one] * count) + "]}"


@pytest.mark.parametrize("one", ["0", "[]", '{"a":0}'])
@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        pytest.param(CHAT, lambda said: chat([USER, calling(said)]), ARGUMENTS, id="chat"),
        pytest.param(CHAT, lambda said: chat([USER, calling(said)], "lan"), ARGUMENTS, id="chat for another"),
        pytest.param(
            RESPONSES,
            lambda said: response(
                [USER, {"type": "function_call", "call_id": "c", "name": "f", "arguments": said}]
            ),
            "input[1].arguments",
            id="response",
        ),
    ],
)
def test_arguments_of_too_many_values_are_refused(
    ask: Ask, path: str, body: Callable[[str], Body], field: str, one: str
) -> None:
    """They are JSON in a text of the body, and parsed by themselves."""
    error = ask(path, body(list_of(400_000, one))).json()["error"]
    assert (error["param"], error["code"]) == (field, "too_many_values")


@pytest.mark.parametrize(
    ("said", "length"),
    [(list_of(399_990, "0"), 399_990), (list_of(2, json.dumps("1,2,[{" * 100_000)), 2)],
    ids=["numbers", "texts"],
)
def test_arguments_of_as_many_values_as_allowed_are_read(said: str, length: int) -> None:
    assert len(arguments(said, "arguments")["a"]) == length


# --- how much text a body may have


MOST_TEXT = 20 * 1024 * 1024  # bytes
TEXTS = {"plain": b"hello ", "emoji": b"\xf0\x9f\x98\x80", "quotes": b'\\"', "half pairs": b"\\ud83d"}


def of_size(size: int, unit: bytes, times: int = 1) -> bytes:
    """A list of so many texts, as JSON of that many bytes."""
    text = unit * (size // len(unit) // times)
    body = b'{"a":["%s"]}' % b'","'.join([text[: -50 // len(unit) * len(unit)]] * times)
    return body + b" " * (size - len(body))


@pytest.mark.parametrize("unit", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("times", [1, 5], ids=["in one", "in five"])
def test_a_body_of_too_much_text_is_refused(unit: bytes, times: int) -> None:
    assert len(read_json(of_size(MOST_TEXT, unit, times))["a"]) == times
    with pytest.raises(RequestError, match="has 20971521 bytes that are not base64; 20971520 are") as caught:
        read_json(of_size(MOST_TEXT + 1, unit, times))
    assert (caught.value.status, caught.value.code) == (413, "request_too_large")


def test_base64_is_no_text() -> None:
    url = b"data:image/png;base64," + b"QUJD" * (MOST_TEXT // 4)
    assert len(read_json(b'{"a":"%s"}' % url)["a"].raw) == len(url)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param(CHAT, lambda text: user(text), id="chat"),
        pytest.param(CHAT, lambda text: user(text, "lan"), id="chat for another"),
        pytest.param(RESPONSES, lambda text: response(text), id="response"),
        pytest.param(RESPONSES, lambda text: response([USER] * 9, instructions=text), id="instructions"),
    ],
)
@pytest.mark.parametrize("unit", ["word ", "\U0001f600\\"], ids=["plain", "emoji and escapes"])
def test_who_sends_too_much_text_is_told(ask: Ask, path: str, body: Callable[[str], Body], unit: str) -> None:
    content = json.dumps(body(unit * (MOST_TEXT // len(unit.encode()))), ensure_ascii=False).encode()
    reply = ask(path, content)
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "request_too_large")
    assert f"has {len(content)} bytes that are not base64" in reply.json()["error"]["message"]
