"""A dialect nobody has heard of: Ollama's `/api/chat`, whole and streamed as lines of JSON, errors in its
own shape. It is mounted by the table of all endpoints, and nothing of the house changes for it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from proxy import app
from proxy.codec import jsonio
from proxy.errors import ProxyError
from proxy.fronts import checks, faults, refusals, spelling
from proxy.fronts.base import Asked, Chore, Facts, Header, Kind, Parsed, Piece
from proxy.fronts.dialects import Dialect, below
from proxy.fronts.notes import Notes
from proxy.fronts.openai import files_reply, models_reply
from proxy.serve.answer import answered
from proxy.types import (
    CallPart,
    ChatRequest,
    Event,
    Finish,
    FunctionTool,
    Image,
    Message,
    Part,
    Reasoning,
    ResultPart,
    Text,
    TextPart,
    Thinking,
    ToolCall,
    Usage,
)
from tests.gateway import FILE, KEY, Gateway, open_gateway

# --- the front -----------------------------------------------------------------------------------------

_TABLE: spelling.Spellings = {
    "max_tokens": ("options.num_predict",),
    "stop": ("options.stop",),
    "top_k": ("options.top_k",),
    "temperature": ("options.temperature",),
    "thinking": ("think",),
    "thinking.summary": ("think",),
}
_OPTIONS = {
    "num_predict": ("max_tokens", checks.integer(1)),
    "temperature": ("temperature", checks.number(0, 2)),
    "top_k": ("top_k", checks.integer(1)),
    "seed": ("seed", checks.integer()),
}
_MEMBERS = frozenset(("model", "messages", "stream", "options", "tools", "think"))


def _spell(path: str) -> str:
    return spelling.found(path, _TABLE, ())


class Speaking:
    """`Refusing`: an error is a string."""

    def refusal(
        self, error: BaseException, request_id: str, parsed: Parsed[Any, Any] | None
    ) -> tuple[int, list[Header], bytes]:
        status = error.status if isinstance(error, ProxyError) else 500
        return status, refusals.headers(error), orjson.dumps({"error": _said(error)})


class OllamaFront(Speaking):
    """A `Front`."""

    kind: Kind = "chat"

    def model(self, body: Any, path: Mapping[str, str]) -> str:
        return checks.model_of(body)

    def parse(self, body: Any, asked: Asked) -> Parsed[ChatRequest, str]:
        notes = Notes()
        for name in body.keys() - _MEMBERS:
            notes.add(name)
        said = checks.objects(body.get("messages"), "messages")
        options = checks.mapping(body.get("options") or {}, "options")
        known = {
            attribute: check(options[name], f"options.{name}")
            for name, (attribute, check) in _OPTIONS.items()
            if options.get(name) is not None
        }
        notes.unread(options, frozenset(_OPTIONS), "options")
        request = ChatRequest(
            body["model"],
            tuple(_message(one, f"messages[{place}]", place) for place, one in enumerate(said)),
            stream=body.get("stream") is not False,
            tools=tuple(FunctionTool(**one["function"]) for one in body.get("tools") or ()),
            thinking=Thinking(summary=True) if body.get("think") else None,
            **known,
        )
        dropped = tuple(notes.named.values())
        return Parsed(request, body["model"], dropped, streams_as=b"application/x-ndjson")

    def chore(self, parsed: Parsed[Any, Any]) -> Chore | None:
        return None

    def renderer(self, parsed: Parsed[ChatRequest, str], facts: Facts) -> OllamaRenderer:
        return OllamaRenderer(parsed.shape)

    def spelled(self, attributes: Iterable[str], parsed: Parsed[Any, Any]) -> tuple[str, ...]:
        return tuple(map(_spell, attributes))


def _message(message: dict[str, Any], path: str, place: int) -> Message:
    role = checks.one_of("system", "user", "assistant", "tool")(message.get("role"), f"{path}.role")
    text = checks.string(message.get("content") or "", f"{path}.content")
    if role == "tool":
        return Message("user", (ResultPart(message["tool_name"], None, (TextPart(text),)),), place)
    calls = [one["function"] for one in message.get("tool_calls") or ()]
    parts: list[Part] = [CallPart(one["name"], one["name"], one["arguments"]) for one in calls]
    return Message(role, tuple([TextPart(text), *parts] if text else parts), place)  # type: ignore[arg-type]


class OllamaRenderer:
    """A `Renderer`. A line of a stream holds what came, the last one the counts."""

    ping = b""  # a line that is no object breaks its clients
    headers: tuple[Header, ...] = ()

    def __init__(self, model: str) -> None:
        self._model = model
        self._calls: dict[int, ToolCall] = {}
        self._usage = Usage()
        self._finish: Finish | None = None

    def whole(self, events: Iterable[Event]) -> list[Piece]:
        text, thought, images = [], [], []
        for event in events:
            self._note(event)
            if isinstance(event, Text):
                text.append(event.text)
            elif isinstance(event, Reasoning):
                thought.append(event.text)
            elif isinstance(event, Image):
                images.append(event.data)
        more = {"thinking": "".join(thought)} if thought else {}
        more |= {"images": images} if images else {}
        message = {"role": "assistant", "content": "".join(text), **more, **self._called()}
        return jsonio.dumps({**self._line(message), **self._end()})

    def feed(self, events: Iterable[Event]) -> bytes | list[Piece]:
        out: list[Piece] = []
        for event in events:
            self._note(event)
            for kind, member in ((Text, "content"), (Reasoning, "thinking")):
                if type(event) is kind and event.text:  # type: ignore[attr-defined]
                    message = {"role": "assistant", "content": "", member: event.text}  # type: ignore[attr-defined]
                    out += (orjson.dumps(self._line(message)), b"\n")
        return b"".join(out)

    def finish(self) -> bytes | list[Piece]:
        message = {"role": "assistant", "content": "", **self._called()}
        return orjson.dumps({**self._line(message), **self._end()}) + b"\n"

    def error(self, error: BaseException, request_id: str) -> bytes:
        return orjson.dumps({"error": _said(error)}) + b"\n"

    def _note(self, event: Event) -> None:
        if isinstance(event, ToolCall):
            begun = self._calls.get(event.index)
            said = event.arguments if begun is None else begun.arguments + event.arguments
            self._calls[event.index] = ToolCall(
                event.index, "", event.name or (begun and begun.name) or "", said
            )
        elif isinstance(event, Usage):
            self._usage = event
        elif isinstance(event, Finish):
            self._finish = event

    def _line(self, message: dict[str, Any]) -> dict[str, Any]:
        return {"model": self._model, "message": message, "done": False}

    def _called(self) -> dict[str, Any]:
        calls = [
            {"function": {"name": one.name, "arguments": orjson.loads(one.arguments or "{}")}}
            for one in self._calls.values()
        ]
        return {"tool_calls": calls} if calls else {}

    def _end(self) -> dict[str, Any]:
        if self._finish is None:
            raise faults.truncated()
        reason = "length" if self._finish.reason == "length" else "stop"
        counted = {"prompt_eval_count": self._usage.prompt, "eval_count": self._usage.completion}
        return {"done": True, "done_reason": reason, **counted}


def _said(error: BaseException) -> str:
    if not isinstance(error, ProxyError):
        return refusals.UNKNOWN
    error = spelling.spelled_error(error, _spell, _spell)
    param = getattr(error, "param", None)
    return error.message if param is None or param in error.message else f"{param}: {error.message}"


OLLAMA = Dialect(Speaking(), models_reply, files_reply, paths=below("api"))

# --- mounted -------------------------------------------------------------------------------------------

ROWS = (answered("/api/chat", OllamaFront()), *app.ROWS)
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "of a city", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}  # fmt: skip


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("strange")
    with open_gateway(folder, FILE, rows=ROWS, dialects=(OLLAMA, *app.DIALECTS)) as opened:
        yield opened


def chat(
    gateway: Gateway, said: Any, model: str = "gemini-flash", headers: Mapping[str, str] = {}, **fields: Any
) -> httpx.Response:
    messages = [{"role": "user", "content": said}] if isinstance(said, str) else said
    body = {"model": model, "messages": messages, **fields}
    headers = {"authorization": f"Bearer {KEY}", **headers}
    return gateway.http.post(f"{gateway.base_url}/api/chat", json=body, headers=headers)


def lines(reply: httpx.Response) -> list[Any]:
    return [orjson.loads(line) for line in reply.content.splitlines()]


@pytest.mark.parametrize("model", ["gemini-flash", "gemini-2.5-flash", "lan-chat"])
def test_a_whole_reply_and_a_stream_say_the_same(strange: Gateway, model: str) -> None:
    whole = chat(strange, "Hello sim:chunks:9", model, stream=False)
    assert whole.headers["content-type"] == "application/json"
    streamed = chat(strange, "Hello sim:chunks:9", model)
    assert streamed.headers["content-type"] == "application/x-ndjson"
    *pieces, last = lines(streamed)
    assert len(pieces) > 3
    said = "".join(one["message"]["content"] for one in pieces)
    assert whole.json() == {**last, "message": {"role": "assistant", "content": said}}
    assert (last["done"], last["done_reason"], last["model"]) == (True, "stop", model)
    assert last["prompt_eval_count"] > 0 < last["eval_count"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_calls_and_their_results_go_round_with_googles_signatures(strange: Gateway, stream: bool) -> None:
    """The memory of signatures is every front's."""
    asked = {"role": "user", "content": "Weather in Oslo? sim:call:get_weather"}
    called = lines(chat(strange, [asked], tools=[WEATHER], stream=stream))[-1]["message"]
    [call] = called["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    result = {"role": "tool", "tool_name": "get_weather", "content": "9C"}
    history = [asked, {"role": "assistant", "content": "", "tool_calls": [call]}, result]
    reply = chat(strange, history, tools=[WEATHER], stream=False)
    assert reply.status_code == 200, reply.text
    assert reply.json()["done_reason"] == "stop"


def test_pictures_and_thoughts_are_told(strange: Gateway) -> None:
    [drawn] = chat(strange, "A cat", "nano-banana-pro", stream=False).json()["message"]["images"]
    assert drawn.startswith("iVBOR")
    assert chat(strange, "Hello", think=True, stream=False).json()["message"]["thinking"]


def test_what_is_wrong_is_said_in_its_own_words(strange: Gateway) -> None:
    def refused(reply: httpx.Response) -> tuple[int, str]:
        assert list(reply.json()) == ["error"]
        return reply.status_code, reply.json()["error"]

    status, said = refused(chat(strange, "Hi", options={"top_k": 0}))
    assert (status, said.startswith("Invalid 'options.top_k'")) == (400, True)
    assert refused(chat(strange, "Hi", headers={"authorization": "Bearer sk-wrong"}))[0] == 401
    status, said = refused(chat(strange, "Hi", "nobody"))
    assert (status, "'nobody'" in said) == (404, True)
    status, said = refused(chat(strange, "Hi sim:error:503", stream=False))
    assert status == 503
    for method, path, code in (("GET", "/api/chat", 405), ("POST", "/api/generate", 404)):
        assert refused(strange.http.request(method, strange.base_url + path))[0] == code


def test_a_stream_that_breaks_ends_with_an_error(strange: Gateway) -> None:
    *pieces, last = lines(chat(strange, "Hello sim:chunks:9 sim:cut:3"))
    assert pieces[0]["message"]["content"]
    assert list(last) == ["error"]


def test_what_is_not_carried_is_named_as_its_client_wrote_it(strange: Gateway) -> None:
    fields: Any = {"options": {"num_ctx": 4096}, "keep_alive": "5m", "think": True, "stream": False}
    dropped = chat(strange, "Hi", "lan-chat", **fields).headers["x-proxy-dropped"].split(", ")
    assert sorted(dropped) == ["keep_alive", "options.num_ctx", "think"]
    reply = chat(strange, "Hi", "lan-chat", {"x-proxy-strict": "true"}, think=True, stream=False)
    assert (reply.status_code, "think" in reply.json()["error"]) == (400, True)


def test_the_front_needs_nothing_of_the_house_but_its_table() -> None:
    """What it imports of `serve` is how it is mounted."""
    tree = ast.parse(Path(__file__).read_text())
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    assert [name for name in modules if name.startswith("proxy.serve")] == ["proxy.serve.answer"]
