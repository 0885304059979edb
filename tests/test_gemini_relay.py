"""A native body on its way to Gemini: sent as it came, answered with Google's own payloads."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from proxy.errors import UpstreamError
from proxy.fronts.base import Asked
from proxy.fronts.gemini.generate.front import GeminiFront
from proxy.fronts.openai.defaults import compiled
from proxy.keys import ClientKey
from proxy.types import (
    Call,
    CallPart,
    ChatRequest,
    Event,
    Extra,
    Finish,
    Image,
    Message,
    Native,
    Slice,
    Started,
    Target,
    Text,
    Usage,
)
from proxy.wires import surface_wire
from proxy.wires.gemini import GeminiWire
from proxy.wires.gemini.repairs import RESIGN, SENTINEL_BASE64
from proxy.wires.openai import OpenAIChatWire
from tests.declared import shipped
from tests.gateway import KEY, Gateway, open_gateway
from tests.test_ledger_of_requests import rows_of
from tests.vendor_socket import read_request, vendor

WIRE = GeminiWire()
G3 = Target("google", "gemini-3-flash-preview")
G25 = Target("google", "gemini-2.5-flash")
SENTINEL = "skip_thought_signature_validator"
SENTINEL_IN_BASE64 = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="

# Blanks, escapes, a number that no JSON library of ours writes again, both spellings, a field nobody knows.
RAW = (
    b'{ "contents":[{"parts":[{"text":"Caf\\u00e9 \\/ 1.0"}]}],\n'
    b' "generation_config": {"temperature": 0.0, "top_p":1E0, "thinkingConfig":{"include_thoughts":true}},'
    b' "tools":[{"functionDeclarations":[{"name":"look","parameters_json_schema":{"type":"object"}}]}],'
    b' "safetySettings": [], "newField":{"x":123456789012345678901234567890} }'
)


def asked(raw: bytes, model: str = "m") -> Asked:
    return Asked("req_1", ClientKey("app"), path={"model": model}, written=raw)


def parsed(raw: bytes, *, stream: bool = False, defaults: dict[str, Any] | None = None) -> ChatRequest:
    found = GeminiFront(stream=stream).parse(orjson.loads(raw), asked(raw))
    if defaults:
        found = compiled(defaults).under(found)
    request: ChatRequest = found.request
    return request


def built(raw: bytes, target: Target = G3, *repairs: str, **more: Any) -> Call:
    return WIRE.build(parsed(raw, **more), target, frozenset(repairs))


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "parts": list(parts)}


def model(*parts: Any) -> dict[str, Any]:
    return {"role": "model", "parts": list(parts)}


def call(id: str, signature: str | None = None, **more: Any) -> dict[str, Any]:
    part = {"functionCall": {"id": id, "name": "look", "args": {}}, **more}
    return {**part, "thoughtSignature": signature} if signature else part


def result(id: str) -> dict[str, Any]:
    return {"functionResponse": {"id": id, "name": "look", "response": {"result": "9C"}}}


def signatures(built: Call) -> list[Any]:
    """Of all parts of the model."""
    return [
        part.get("thoughtSignature", part.get("thought_signature"))
        for content in built.body["contents"]
        if content["role"] == "model"
        for part in content["parts"]
    ]


# --- the request ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [G3, G25])
@pytest.mark.parametrize(
    ("stream", "path"),
    [
        (False, "/models/{}:generateContent"),
        (True, "/models/{}:streamGenerateContent?alt=sse"),
    ],
)
def test_the_bodys_own_bytes_are_sent(target: Target, stream: bool, path: str) -> None:
    """N-020, N-004, X-025"""
    found = built(RAW, target, stream=stream)
    assert found.written is RAW
    assert (found.path, found.stream, found.dropped) == (path.format(target.model), stream, ())


def test_a_body_whose_bytes_are_not_at_hand_is_written_anew() -> None:
    request = GeminiFront(stream=False).parse(orjson.loads(RAW), replace(asked(RAW), written=b"")).request
    found = WIRE.build(request, G3)
    assert found.written == b""
    assert found.body == orjson.loads(RAW)


def test_a_model_in_the_body_gives_way_to_the_one_in_the_path() -> None:
    """N-020"""
    found = built(b'{"model":"models/m","contents":[{"parts":[{"text":"Hi"}]}]}')
    assert (found.written, found.body) == (b"", {"contents": [{"parts": [{"text": "Hi"}]}]})


def test_defaults_fill_what_the_body_leaves_open() -> None:
    """N-022: in whichever spelling it was said, and 0 is said."""
    defaults = {"reasoning_effort": "low", "temperature": 0.7, "max_tokens": 99, "seed": 4}
    found = built(
        b'{"contents":[{"parts":[{"text":"Hi"}]}],"generation_config":{"temperature":0,"seed":5}}',
        G3,
        defaults=defaults,
    )
    assert found.written == b""
    assert found.body == {
        "contents": [{"parts": [{"text": "Hi"}]}],
        "generation_config": {
            "temperature": 0,
            "seed": 5,
            "maxOutputTokens": 99,
            "thinkingConfig": {"thinkingLevel": "low", "includeThoughts": False},
        },
    }


def test_a_level_of_thinking_is_added_to_the_wish_to_see_it() -> None:
    """N-022"""
    config = b'{"thinkingConfig":{"include_thoughts":true}}'
    found = built(
        b'{"contents":[{"parts":[{"text":"Hi"}]}],"generationConfig":%b}' % config,
        G3,
        defaults={"reasoning_effort": "high"},
    )
    assert found.body["generationConfig"] == {
        "thinkingConfig": {"include_thoughts": True, "thinkingLevel": "high"}
    }


def test_safety_settings_of_the_file_hold_where_the_client_has_none() -> None:
    """N-022"""
    settings = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}]
    defaults = {"safety_settings": settings}
    assert (
        built(b'{"contents":[{"parts":[{"text":"Hi"}]}]}', defaults=defaults).body["safetySettings"]
        == settings
    )
    own = b'{"contents":[{"parts":[{"text":"Hi"}]}],"safety_settings":[{"category":"A","threshold":"B"}]}'
    assert built(own, defaults=defaults).written is own


def test_defaults_that_say_what_the_client_says_change_nothing() -> None:
    raw = b'{"contents":[{"parts":[{"text":"Hi"}]}],"generationConfig":{"temperature":0.5}}'
    assert built(raw, defaults={"temperature": 0.7}).written is raw


# --- signatures ----------------------------------------------------------------------------------------


LOOP = [user({"text": "Weather?"}), model(call("c1", "U0lH"), call("c2")), user(result("c1"), result("c2"))]


def dumped(*contents: Any) -> bytes:
    return orjson.dumps({"contents": list(contents)})


def test_signatures_that_came_back_go_on_untouched() -> None:
    """G-099, 0.2"""
    raw = dumped(*LOOP)
    assert built(raw).written is raw


def test_a_turn_that_lost_its_signatures_gets_the_sentinel() -> None:
    """0.2, X-009: on the first call of each step of the turn that runs, and nowhere else."""
    raw = dumped(
        user({"text": "Before"}),
        model(call("old")),
        user(result("old")),
        model({"text": "Done."}),
        user({"text": "Weather?"}),
        model({"text": "Hm.", "thought": True}, call("c1"), call("c2")),
        user(result("c1"), result("c2")),
        model(call("c3", "U0lH")),
        user(result("c3")),
        {"role": "model", "parts": {"function_call": {"name": "look"}}},
        user(result("c4")),
    )
    found = built(raw)
    assert signatures(found) == [None, None, None, SENTINEL, None, "U0lH", SENTINEL]
    assert json.loads(raw) == json.loads(dumped(*json.loads(raw)["contents"]))  # nothing of it was changed
    assert built(raw, G25).written is raw


def test_calls_in_two_contents_are_one_step() -> None:
    """N-035"""
    found = built(dumped(user({"text": "?"}), model(call("c1")), model(call("c2")), user(result("c1"))))
    assert signatures(found) == [SENTINEL, None]


def test_parallel_calls_of_a_stream_come_back_in_one_content() -> None:
    """N-035: a client keeps each chunk as a content; Google asks for a signature in each that has calls."""
    old = (user({"text": "?"}), model(call("c1", "U0lH")), model(call("c2")), user(result("c1")))
    now = (model(call("c3", "U0lH")), model({"text": ""}), model(call("c4")), model({"text": ""}))
    found = built(dumped(*old, user({"text": "Go."}), *now, user(result("c3"))))
    assert found.body["contents"] == [
        *old,
        user({"text": "Go."}),
        model(call("c3", "U0lH"), {"text": ""}, call("c4")),
        model({"text": ""}),
        user(result("c3")),
    ]


def test_contents_that_are_signed_each_or_hold_one_call_are_left_apart() -> None:
    signed = (model({"text": "Hm.", "thought": True}), model(call("c1", "QQ==")), model(call("c2", "Qg==")))
    raw = dumped(user({"text": "?"}), *signed, model({"text": ""}), user(result("c1")))
    assert built(raw).written is raw
    unsigned = dumped(user({"text": "?"}), model(call("c1")), model(call("c2")))
    assert built(unsigned, G25).written is unsigned  # a model that asks for none


def test_signatures_that_were_refused_are_replaced_in_every_content() -> None:
    raw = dumped(
        user({"text": "?"}), model(call("c1", "QQ==")), model(call("c2", "Qg==")), user(result("c1"))
    )
    assert signatures(built(raw, G3, RESIGN)) == [SENTINEL, SENTINEL]


@pytest.mark.parametrize(
    ("repairs", "sentinel"),
    [((RESIGN,), SENTINEL), ((RESIGN, SENTINEL_BASE64), SENTINEL_IN_BASE64)],
)
def test_signatures_that_were_refused_are_replaced(repairs: tuple[str, ...], sentinel: str) -> None:
    """N-023"""
    text = {"text": "Look:", "thought_signature": "VEVYVA=="}
    raw = dumped(user({"text": "?"}), model(text, call("c1", "U0lH")), user({"text": "?"}), *LOOP)
    assert signatures(built(raw, G3, *repairs)) == [None, sentinel, sentinel, None]


def test_a_signature_of_another_upstream_is_taken_away_and_one_we_know_is_put_back() -> None:
    """N-023: what `serve` restores in the messages is restored in the body."""
    request = parsed(dumped(*LOOP))

    def changed(message: Message) -> Message:
        parts = tuple(
            replace(part, signature="S05PV04=" if part.id == "c2" else None)
            if isinstance(part, CallPart)
            else part
            for part in message.parts
        )
        return replace(message, parts=parts) if message.role == "assistant" else message

    restored = replace(request, messages=tuple(map(changed, request.messages)))
    assert signatures(WIRE.build(restored, G3)) == [SENTINEL, "S05PV04="]
    assert signatures(WIRE.build(restored, G25)) == [None, "S05PV04="]


# --- who relays ----------------------------------------------------------------------------------------


def test_only_a_body_in_googles_words_is_relayed_and_only_to_google() -> None:
    request = parsed(RAW)
    assert WIRE.relays(request, G3)
    assert not OpenAIChatWire().relays(request, G3)
    assert not WIRE.relays(ChatRequest("m", request.messages), G3)


def test_a_call_for_less_than_the_body_asks_for_is_translated() -> None:
    """N-034: choices that are asked for one by one, for a fallback that gives one at a time."""
    raw = (
        b'{"contents":[{"parts":[{"text":"Hi"}]}],"generationConfig":{"candidateCount":2},"labels":{"a":"b"}}'
    )
    request = parsed(raw)
    assert WIRE.calls_needed(request, G3) == 1
    found = WIRE.build(replace(request, n=1), G3)
    assert found.body == {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    assert found.dropped == ("foreign.labels",)


def test_a_reseller_gets_of_the_body_what_its_page_names() -> None:
    """000: contents, generationConfig, tools and systemInstruction pass through, in this spelling."""
    wire = surface_wire(shipped("jlike"), "text", "http://x").chat
    assert wire is not None
    found = wire.build(parsed(RAW), Target("jlike", "gemini-3-flash-preview", "declared", "text"))
    assert found.path == "/gemini3/generate"
    assert not found.written
    assert found.body == {
        "model": "gemini-3-flash-preview",
        "contents": [{"parts": [{"text": "Café / 1.0"}]}],
        "generationConfig": {
            "temperature": 0.0,
            "top_p": 1.0,
            "thinkingConfig": {"include_thoughts": True},
        },
        "tools": [{"functionDeclarations": [{"name": "look", "parameters_json_schema": {"type": "object"}}]}],
    }
    assert found.dropped == ("safety_settings", "foreign.newField")


@pytest.mark.parametrize(
    ("config", "tools", "dropped"),
    [
        (b'{"functionCallingConfig":{"mode":"NONE"}}', [{"googleSearch": {}}], ()),
        (
            b'{"function_calling_config":{"mode":"NONE"},"retrievalConfig":{}}',
            [{"googleSearch": {}}],
            ("tool_choice",),
        ),
        (
            b'{"functionCallingConfig":{"mode":"ANY"}}',
            [{"functionDeclarations": [{"name": "f"}], "googleSearch": {}}],
            ("tool_choice",),
        ),
    ],
)
def test_a_reseller_without_a_tool_config_is_not_told_of_functions_that_are_forbidden(
    config: bytes, tools: list[Any], dropped: tuple[str, ...]
) -> None:
    """000 has none: there the model called what the client had forbidden."""
    raw = (
        b'{"contents":[{"parts":[{"text":"Hi"}]}],"toolConfig":' + config + b","
        b'"tools":[{"functionDeclarations":[{"name":"f"}],"googleSearch":{}}]}'
    )
    wire = surface_wire(shipped("jlike"), "text", "http://x").chat
    assert wire is not None
    found = wire.build(parsed(raw), Target("jlike", "gemini-3-flash-preview", "declared", "text"))
    assert (found.body["tools"], found.dropped) == (tools, dropped)
    assert "toolConfig" not in found.body
    only = parsed(raw.replace(b',"googleSearch":{}', b""))
    declared = [{"functionDeclarations": [{"name": "f"}]}] if b"ANY" in config else None
    assert (
        wire.build(only, Target("jlike", "gemini-3-flash-preview", "declared", "text")).body.get("tools")
        == declared
    )
    assert json.loads(built(raw).written)["toolConfig"] == json.loads(config)  # Google itself is told so


# --- the reply -----------------------------------------------------------------------------------------


def events(payloads: list[Any], *, stream: bool = True) -> list[Event]:
    request = parsed(RAW, stream=stream)
    reader = WIRE.reader(request, G3, WIRE.build(request, G3))
    found: list[Event] = []
    for payload in payloads:
        found += reader.feed(payload)
    return [*found, *reader.close()]


def candidate(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, "index": 0, **more}]}


COUNTS = {"promptTokenCount": 9, "candidatesTokenCount": 2, "totalTokenCount": 11}


def natives(found: list[Event]) -> list[Any]:
    return [event.payload for event in found if isinstance(event, Native)]


def test_each_payload_stands_before_what_it_says() -> None:
    """N-021, N-024, N-043: the last counts hold."""
    first = candidate({"text": "Os"}) | {"usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9}}
    second = candidate({"text": "lo"}) | {"usageMetadata": COUNTS, "modelVersion": "v", "responseId": "r"}
    last = candidate(finishReason="STOP", avgLogprobs=-0.1) | {"usageMetadata": COUNTS}
    found = events([first, second, last])
    assert natives(found) == [first, second, last]
    assert [type(event) for event in found] == [
        Native, Started, Text, Native, Text, Native, Extra, Usage, Finish
    ]  # fmt: skip
    [usage] = [event for event in found if isinstance(event, Usage)]
    assert (usage.prompt, usage.completion) == (9, 2)


def test_a_payload_that_says_nothing_waits_for_one_that_does() -> None:
    """So that an empty reply may be tried elsewhere."""
    empty, said = candidate({"text": ""}), candidate({"text": "Hi"}, finishReason="STOP")
    request = parsed(RAW, stream=True)
    reader = WIRE.reader(request, G3, WIRE.build(request, G3))
    assert reader.feed(empty) == []
    assert natives(reader.feed(said)) == [empty, said]


def test_a_picture_is_seen_and_counted() -> None:
    """N-025"""
    found = events(
        [candidate({"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}, finishReason="STOP")]
    )
    assert [event.data for event in found if isinstance(event, Image)] == [Slice(b"iVBORw0KGgo=")]


@pytest.mark.parametrize(
    "payload",
    [
        {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}},
        candidate(finishReason="MALFORMED_FUNCTION_CALL"),
        candidate(call("c1"), finishReason="MALFORMED_FUNCTION_CALL"),
        candidate(finishReason="MAX_TOKENS"),
        candidate(finishReason="SOMETHING_NEW"),
        candidate({"text": "", "thoughtSignature": "c2ln"}, finishReason="STOP"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_in_googles_own_words_is_handed_on(payload: Any, stream: bool) -> None:
    """N-046: a blocked prompt is a 200, and so is every end that Google has a word for."""
    assert natives(events([payload], stream=stream)) == [payload]


@pytest.mark.parametrize(
    "payloads",
    [
        [candidate({"text": "Hi"})],
        [candidate(finishReason="STOP")],
        [{"usageMetadata": COUNTS}],
        [
            candidate({"text": "Hi"}),
            {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}},
        ],
    ],
    ids=["broken-off", "empty", "counts-alone", "error"],
)
def test_what_did_not_end_or_says_nothing_is_a_failure(payloads: list[Any]) -> None:
    """A-006, N-042"""
    with pytest.raises(UpstreamError):
        events(payloads)


# --- the whole way -------------------------------------------------------------------------------------


def test_bytes_go_through_both_ways(tmp_path: Path) -> None:
    """N-020, N-024, N-026: neither the request nor the reply is changed, and the key is ours."""
    heard: list[bytes] = []
    answer = json.dumps(
        candidate(
            {"text": "a\u2028b<é", "thoughtSignature": "c2ln" * 9},
            {"newPart": {"x": 1.5}},
            finishReason="STOP",
        )
        | {"usageMetadata": COUNTS, "modelVersion": "gemini-x", "responseId": "r", "newField": [None, -0.0]}
    ).encode()

    def serve(connection: socket.socket) -> None:
        heard.append(read_request(connection))
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        connection.sendall(head % len(answer) + answer)

    with vendor(serve) as address, open_gateway(tmp_path, _file(address)) as gateway:
        reply = gateway.http.post(
            f"{gateway.base_url}/v1/models/flash:generateContent?key={KEY}",
            content=RAW,
            headers={
                "cookie": "a=b",
                "x-goog-api-client": "google-genai-sdk/9",
                "authorization": f"Bearer {KEY}",
            },
        )
    assert reply.json() == json.loads(answer)
    head, _, body = heard[0].partition(b"\r\n\r\n")
    assert body == RAW
    assert b"POST /v1beta/models/gemini-3-flash-preview:generateContent HTTP" in head
    for absent in (KEY.encode(), b"cookie", b"google-genai-sdk"):
        assert absent not in head


def _file(address: str) -> str:
    return f"""
version: 1
keys: [{{name: app, key: env:TEST_KEY}}]
providers:
  up: {{wire: gemini, base_url: "{address}/v1beta", keys: [env:VENDOR_KEY], private: true}}
models:
  flash: {{targets: [up/gemini-3-flash-preview]}}
"""


FILE = """
version: 1
keys:
  - {name: app, key: env:TEST_KEY}
providers:
  google: {wire: gemini, base_url: "http://SIMULATORS/gemini/v1beta", keys: [env:VENDOR_KEY], private: true}
  second: {wire: gemini, base_url: "http://SIMULATORS/gemini/v1beta/", keys: [env:DOWN_KEY], private: true}
  mirror: {wire: gemini, base_url: "http://SIMULATORS/gemini/v1", keys: [env:VENDOR_KEY], private: true}
  lan: {wire: openai, base_url: "http://SIMULATORS/openai/v1", keys: [env:VENDOR_KEY], private: true}
models:
  flash: {targets: [google/gemini-3-flash-preview], price: {input: 1, output: 2}}
  pictures: {targets: [google/gemini-3-pro-image], price: {input: 1, output: 2, image: 0.1}}
  moved: {targets: [second/gemini-3-flash-preview], fallback: [google/gemini-3-flash-preview]}
  crossed: {targets: [second/gemini-3-flash-preview], fallback: [lan/llama]}
  sketches: {targets: [google/gemini-3.1-flash-image], price: {input: 1, output: 2, image: 0.1}}
  elsewhere: {targets: [mirror/gemini-3-flash-preview]}
  calm: {targets: [google/gemini-3-flash-preview], defaults: {reasoning_effort: low}}
"""


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    down = {"DOWN_KEY": "down-key"}
    with open_gateway(tmp_path_factory.mktemp("relay"), FILE, {**os.environ, **down}) as one:
        yield one


def generate(opened: Gateway, model: str, contents: Any, **fields: Any) -> Any:
    reply = opened.http.post(
        f"{opened.base_url}/v1beta/models/{model}:generateContent",
        json={"contents": contents, **fields},
        headers={"x-goog-api-key": KEY},
    )
    assert reply.status_code == 200, reply.text
    return reply


TOOLS = [{"functionDeclarations": [{"name": "get_weather", "parameters_json_schema": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}]}]  # fmt: skip


@pytest.mark.parametrize("keeps", ["everything", "the ids", "nothing"])
def test_a_tool_loop_with_real_signatures(opened: Gateway, keeps: str) -> None:
    """0.2, N-021: of a client that keeps only ids, or nothing but names, the memory knows the signature."""
    counts = opened.vendors.log.counts
    before = counts["google.signatures.real"], counts["google.signatures.sentinels"]
    contents = [user({"text": f"Weather in Oslo? Kept: {keeps}. sim:steps:2"})]
    for _ in range(2):
        said = generate(opened, "flash", contents, tools=TOOLS).json()["candidates"][0]["content"]
        calls = [part["functionCall"] for part in said["parts"] if "functionCall" in part]
        assert calls
        kept = [{"functionCall": one} for one in calls]
        if keeps == "everything":
            kept = said["parts"]
        elif keeps == "nothing":
            kept = [{"functionCall": {"name": one["name"], "args": one["args"]}} for one in calls]
        results = [
            {"functionResponse": {"name": one["name"], "response": {"result": "9C"}}
             | ({"id": one["id"]} if keeps == "the ids" else {})}
            for one in calls
        ]  # fmt: skip
        contents += [{"role": "model", "parts": kept}, user(*results)]
    last = generate(opened, "flash", contents, tools=TOOLS).json()
    assert last["candidates"][0]["finishReason"] == "STOP"
    assert counts["google.signatures.real"] > before[0]
    assert counts["google.signatures.sentinels"] == before[1]


def test_a_loop_whose_parallel_calls_came_in_chunks(opened: Gateway) -> None:
    """N-035, as `google-genai` sends what it was streamed: no signature is made up for it."""
    before = sentinels(opened)
    contents = [user({"text": "Weather? sim:steps:2 sim:parallel:3"})]
    for _ in range(3):
        reply = opened.http.post(
            f"{opened.base_url}/v1/models/flash:streamGenerateContent?alt=sse",
            json={"contents": contents, "tools": TOOLS},
            headers={"x-goog-api-key": KEY},
        )
        assert reply.status_code == 200, reply.text
        chunks = [orjson.loads(line[6:]) for line in reply.text.split("\r\n") if line.startswith("data: ")]
        said = [chunk["candidates"][0]["content"] for chunk in chunks]
        results = [
            {"functionResponse": {"name": "get_weather", "response": {"result": "9C"}}}
            for content in said
            for part in content["parts"]
            if "functionCall" in part
        ]
        contents += [*said, user(*results)]
    assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"
    assert not results
    assert sentinels(opened) == before


def called(opened: Gateway, model: str, prompt: str) -> list[Any]:
    """A conversation up to the results of its first call."""
    asked = user({"text": prompt})
    said = generate(opened, model, [asked], tools=TOOLS).json()["candidates"][0]["content"]
    calls = [part["functionCall"] for part in said["parts"] if "functionCall" in part]
    assert calls
    results = [
        {"functionResponse": {"id": one["id"], "name": one["name"], "response": {"result": "9C"}}}
        for one in calls
    ]
    return [asked, said, user(*results)]


def sentinels(opened: Gateway) -> int:
    return int(opened.vendors.log.counts["google.signatures.sentinels"])


def test_another_account_of_google_is_not_shown_the_signatures_of_the_first(opened: Gateway) -> None:
    """N-023, X-009, G-099"""
    contents = called(opened, "flash", "Weather in Bonn? Moved.")
    before = sentinels(opened)
    generate(opened, "elsewhere", contents, tools=TOOLS)
    assert sentinels(opened) == before + 1
    generate(opened, "flash", contents, tools=TOOLS)
    assert sentinels(opened) == before + 1


def test_signatures_that_google_refuses_are_left_out_in_a_second_try(opened: Gateway) -> None:
    """N-023: whoever made them"""
    contents = called(opened, "flash", "Weather in Graz? Broken.")
    before = sentinels(opened)
    for part in contents[1]["parts"]:
        if "thoughtSignature" in part:
            part["thoughtSignature"] = "QnJva2Vu"
            part["functionCall"]["id"] = "call_unheard"
    contents[2]["parts"][0]["functionResponse"]["id"] = "call_unheard"
    generate(opened, "flash", contents, tools=TOOLS)
    assert sentinels(opened) == before + 1


def draw(opened: Gateway, model: str, key: str) -> httpx.Response:
    return opened.http.post(
        f"{opened.base_url}/v1beta/models/{model}:generateContent",
        json={"contents": [user({"text": "A cat"})]},
        headers={"x-goog-api-key": KEY, "idempotency-key": key},
    )


def test_a_picture_that_is_ordered_again_is_bought_once(opened: Gateway) -> None:
    """N-021: what was kept of it is told in Google's words too"""
    first, before = draw(opened, "pictures", "once"), len(opened.sent())
    again = draw(opened, "pictures", "once")
    assert (first.status_code, again.status_code) == (200, 200)
    assert len(opened.sent()) == before
    one, other = (
        [
            part["inlineData"]
            for part in reply.json()["candidates"][0]["content"]["parts"]
            if "inlineData" in part
        ]
        for reply in (first, again)
    )
    assert one[-1] == other[-1]


def test_the_same_body_at_another_model_is_another_order(opened: Gateway) -> None:
    """The model stands in the address alone."""
    assert draw(opened, "pictures", "twice").status_code == 200
    reply = draw(opened, "sketches", "twice")
    assert (reply.status_code, reply.json()["error"]["status"]) == (409, "ABORTED")


def test_it_is_paid_counted_and_told_like_a_chat(opened: Gateway) -> None:
    """N-021"""
    reply = generate(opened, "flash", [user({"text": "Hi"})])
    counts = reply.json()["usageMetadata"]
    answered = counts["totalTokenCount"] - counts["promptTokenCount"]
    cost = (counts["promptTokenCount"] + 2 * answered) / 1_000_000
    amount, currency = reply.headers["x-proxy-cost"].split()
    assert (pytest.approx(cost, abs=1e-6), currency) == (float(amount), "USD")
    (row,) = rows_of(opened, reply.headers["x-request-id"], 1)
    assert (row["kind"], row["outcome"], row["prompt_tokens"]) == ("settle", "ok", counts["promptTokenCount"])


def test_a_picture_comes_as_native_bytes_and_costs_a_picture(opened: Gateway) -> None:
    """N-025"""
    reply = generate(opened, "pictures", [user({"text": "A cat"})])
    [picture] = [
        part["inlineData"]
        for part in reply.json()["candidates"][0]["content"]["parts"]
        if "inlineData" in part and not part.get("thought")
    ]
    assert len(picture["data"]) > 1000
    assert float(reply.headers["x-proxy-cost"].split()[0]) >= 0.1


def test_another_target_of_google_gets_the_same_bytes(opened: Gateway) -> None:
    """N-021, N-023"""
    reply = generate(opened, "moved", [user({"text": "Hi sim:text:Oslo"})])
    assert reply.json()["candidates"][0]["content"]["parts"][0]["text"] == "Oslo"


def test_a_fallback_in_another_dialect_is_translated(opened: Gateway) -> None:
    """N-023: what it cannot carry is named."""
    reply = generate(opened, "crossed", [user({"text": "Hi sim:text:Oslo"})], labels={"team": "blue"})
    assert reply.json()["candidates"][0]["content"]["parts"] == [{"text": "Oslo"}]
    assert reply.json()["modelVersion"] == "crossed"
    assert reply.headers["x-proxy-dropped"] == "labels"


def test_types_in_upper_case_are_google_s_to_read(opened: Gateway) -> None:
    """N-006: the Gemini CLI's router"""
    schema = {"type": "OBJECT", "properties": {"score": {"type": "INTEGER"}}, "required": ["score"]}
    config = {"responseMimeType": "application/json", "responseJsonSchema": schema}
    reply = generate(opened, "flash", [user({"text": "Hi"})], generationConfig=config)
    assert opened.sent()[-1].body["generationConfig"] == config
    [part] = [part for part in reply.json()["candidates"][0]["content"]["parts"] if not part.get("thought")]
    assert set(json.loads(part["text"])) == {"score"}


def test_a_default_of_the_file_reaches_google(opened: Gateway) -> None:
    """N-022"""
    generate(opened, "calm", [user({"text": "Hi"})])
    assert opened.sent()[-1].body["generationConfig"] == {
        "thinkingConfig": {"thinkingLevel": "low", "includeThoughts": False}
    }


@pytest.mark.parametrize(
    "fields",
    [{"noSuchField": 1}, {"tools": [{"functionDeclarations": [{"name": "look", "noSuchField": 1}]}]}],
    ids=["at the top", "where a schema of ours would be written in its other form"],
)
def test_a_vendors_refusal_is_told_in_its_words(opened: Gateway, fields: Any) -> None:
    """N-050, A-003: and nothing is asked twice"""
    before = len(opened.sent())
    reply = opened.http.post(
        f"{opened.base_url}/v1beta/models/flash:generateContent",
        json={"contents": [user({"text": "Hi"})], **fields},
        headers={"x-goog-api-key": KEY},
    )
    told = reply.json()["error"]
    assert (reply.status_code, told["status"]) == (400, "INVALID_ARGUMENT")
    assert "noSuchField" in told["message"]
    assert len(opened.sent()) == before + 1
