"""How many tokens a prompt takes: the model's own count where it tells, else an estimate that says so."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from proxy import app
from proxy.errors import RequestError
from proxy.fronts.base import Parsed
from proxy.fronts.openai.chat.front import ChatFront
from proxy.serve.count import counted, estimated
from proxy.types import (
    CallPart,
    ChatRequest,
    FunctionTool,
    MediaPart,
    Message,
    ResultPart,
    Slice,
    Target,
    TextPart,
)
from proxy.wires.gemini import GeminiWire
from tests import gateway

FILE = """
version: 1
keys:
  - {name: app, key: env:TEST_KEY, limits: {requests: 100/min, tokens: 50/min}}
  - {name: once, key: env:TEST_NARROW_KEY, limits: {requests: 1/min}}
providers:
  google: {wire: gemini, base_url: "http://SIMULATORS/gemini/v1beta", keys: [env:VENDOR_KEY], private: true}
  gone: {wire: gemini, base_url: "http://127.0.0.1:9/v1beta", keys: [env:VENDOR_KEY], private: true}
  lan: {wire: openai, base_url: "http://SIMULATORS/openai/v1", keys: [env:VENDOR_KEY], private: true}
models:
  flash: {targets: [google/gemini-3-flash-preview], price: {input: 1000, output: 1000}}
  moved: {targets: [gone/gemini-3-flash-preview], fallback: [google/gemini-3-flash-preview]}
  nowhere: {targets: [gone/gemini-3-flash-preview]}
  unknown: {targets: [google/no-such-model]}
  lan-chat: {targets: [lan/llama]}
"""

PROMPT = {"messages": [{"role": "user", "content": "How long is this?"}]}


class CountFront(ChatFront):
    """A chat's request, answered with nothing but the number."""

    def counted(self, tokens: int, parsed: Parsed[Any, Any]) -> bytes:
        return b'{"tokens":%d}' % tokens


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gateway.Gateway]:
    rows = (*app.ROWS, counted("/chat/count", CountFront()))
    with gateway.open_gateway(tmp_path_factory.mktemp("counting"), FILE, rows=rows) as one:
        yield one


def count(
    opened: gateway.Gateway, model: str, key: str = gateway.KEY, *, strict: str = "no", **fields: Any
) -> httpx.Response:
    return opened.http.post(
        f"{opened.base_url}/v1/chat/count",
        json={"model": model, **PROMPT, **fields},
        headers={"authorization": f"Bearer {key}", "x-proxy-strict": strict},
    )


def test_a_model_that_counts_is_asked_with_all_that_would_be_sent(opened: gateway.Gateway) -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    reply = count(opened, "flash", tools=tools, temperature=0, stream=True)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json()["tokens"] > 0
    assert "x-proxy-estimated" not in reply.headers
    sent = opened.sent()[-1]
    assert sent.path == "/v1beta/models/gemini-3-flash-preview:countTokens"
    assert sent.body == {
        "generateContentRequest": {
            "model": "models/gemini-3-flash-preview",
            "contents": [{"role": "user", "parts": [{"text": "How long is this?"}]}],
            "tools": [{"functionDeclarations": [{"name": "look"}]}],
            "generationConfig": {"temperature": 0},
        }
    }


def test_a_server_that_cannot_count_is_not_asked_and_the_reply_says_so(opened: gateway.Gateway) -> None:
    """M-052"""
    before = len(opened.sent())
    reply = count(opened, "lan-chat")
    assert reply.json() == {"tokens": 5}  # 17 bytes
    assert reply.headers["x-proxy-estimated"] == "input_tokens"
    assert len(opened.sent()) == before


def test_what_is_not_counted_is_named_or_refused_before_anything_is_sent(opened: gateway.Gateway) -> None:
    """What nobody reads, and what the model that counts cannot take."""
    odd = {"messages": [{"role": "user", "content": "How long is this?", "x": 1}]}
    for model, fields, named in (
        ("lan-chat", odd, "messages[0].x"),
        ("flash", {**odd, "logit_bias": {"1": 2}}, "messages[0].x, logit_bias"),
        ("flash", {"no_such_field": 1}, "no_such_field"),
    ):
        assert count(opened, model, **fields).headers["x-proxy-dropped"] == named
        before = len(opened.sent())
        refused = count(opened, model, strict="true", **fields)
        assert (refused.status_code, len(opened.sent())) == (400, before)
        assert refused.json()["error"]["param"] == named.partition(",")[0]
    assert count(opened, "flash", strict="true").status_code == 200


def test_the_next_target_counts_when_one_cannot_be_reached(opened: gateway.Gateway) -> None:
    reply = count(opened, "moved")
    assert reply.status_code == 200
    assert "x-proxy-estimated" not in reply.headers


@pytest.mark.parametrize("model", ["nowhere", "unknown"])
def test_it_is_estimated_when_nobody_tells(opened: gateway.Gateway, model: str) -> None:
    reply = count(opened, model)
    assert reply.json() == {"tokens": 5}
    assert reply.headers["x-proxy-estimated"] == "input_tokens"


def test_what_the_model_refuses_to_count_is_the_clients_mistake(opened: gateway.Gateway) -> None:
    """A countTokens of Google's reads the request as strictly as a generateContent."""
    reply = count(opened, "flash", google={"no_such_field": True})
    assert reply.status_code == 400
    assert "noSuchField" in reply.json()["error"]["message"]


def test_a_model_that_is_not_there_is_a_404(opened: gateway.Gateway) -> None:
    assert count(opened, "no-such-name").status_code == 404


def test_nothing_is_bought(opened: gateway.Gateway) -> None:
    """X-026: neither money nor tokens are counted against the key, and no row stands in its use."""
    for _ in range(3):
        reply = count(opened, "flash", max_tokens=40)
        assert reply.status_code == 200
        assert "x-proxy-cost" not in reply.headers
    assert opened.http.post(
        f"{opened.base_url}/v1/chat/completions",
        json={"model": "lan-chat", **PROMPT, "max_tokens": 30},
        headers={"authorization": f"Bearer {gateway.KEY}"},
    ).headers["x-ratelimit-remaining-tokens"] == str(50 - 30 - 17 // 4 - 1)


def test_it_is_a_request_of_the_key_all_the_same(opened: gateway.Gateway) -> None:
    assert count(opened, "lan-chat", key="sk-test-narrow").status_code == 200
    assert count(opened, "lan-chat", key="sk-test-narrow").status_code == 429


def test_an_estimate_counts_calls_results_tools_and_media() -> None:
    request = ChatRequest(
        "m",
        (
            Message("user", (TextPart("1234"), MediaPart("image", Slice(b"AAAA")))),
            Message("assistant", (CallPart("c", "look", {"a": 1}),)),
            Message("user", (ResultPart("c", "look", (TextPart("äöüß"),)),)),
        ),
        tools=(FunctionTool("look", "What", {"type": "object"}),),
    )
    # 4; 258 tokens; "look" and {"a":1}; 8; "look", "What" and {"type":"object"}
    assert estimated(request) == -(-(4 + 4 * 258 + 4 + 7 + 8 + 4 + 4 + 17) // 4)


def test_vertex_counts_the_members_of_its_own() -> None:
    request = ChatRequest("m", (Message("user", (TextPart("Hi"),)),), temperature=0.5, safety_settings=[{}])
    call = GeminiWire().count(request, Target("v", "gemini-2.5-flash", options={"kind": "vertex"}))
    assert (call.path, call.body) == (
        "/models/gemini-2.5-flash:countTokens",
        {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "generationConfig": {"temperature": 0.5}},
    )


@pytest.mark.parametrize(
    "payload", [{}, [], {"totalTokens": "5"}, {"totalTokens": -1}, {"totalTokens": True}]
)
def test_an_answer_without_a_number_says_nothing(payload: Any) -> None:
    assert GeminiWire().counted(payload) is None


def test_what_no_upstream_could_be_sent_is_refused_by_its_place() -> None:
    deep: Any = {}
    for _ in range(300):
        deep = {"a": deep}
    said = (Message("user", (TextPart("Hi"),), 0), Message("assistant", (CallPart("c", "f", deep),), 1))
    with pytest.raises(RequestError, match="nested too deeply") as caught:
        estimated(ChatRequest("m", said))
    assert caught.value.attribute == "messages[1].parts"
    with pytest.raises(RequestError) as caught:
        estimated(ChatRequest("m", (), tools=(FunctionTool("f"), FunctionTool("g", None, deep))))
    assert caught.value.attribute == "tools[1].parameters"
