"""The examples of the translation contract, from the client's bytes to the bytes that go to Gemini."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from proxy.codec import jsonio
from proxy.errors import RequestError
from proxy.fronts.openai.chat import request as chat_request
from proxy.types import Json, Target
from proxy.wires.gemini import GeminiWire

HI: Json = {"role": "user", "parts": [{"text": "Hi"}]}


def translated(request: Json, model: str = "gemini-3-flash-preview") -> Json:
    parsed = chat_request.parse(jsonio.loads(json.dumps({"model": "m", **request}).encode())).request
    body = GeminiWire().build(parsed, Target("google", model)).body
    found: Json = orjson.loads(b"".join(jsonio.dumps(body)))
    return found


def asked(*content: Any, **fields: Any) -> Json:
    return {"messages": [{"role": "user", "content": list(content)}], **fields}


def image(url: str) -> Json:
    return {"type": "image_url", "image_url": {"url": url}}


def inline(request: Json) -> Json:
    found: Json = translated(request)["contents"][0]["parts"][0]["inlineData"]
    return found


def test_the_minimal_pair() -> None:
    request = {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "max_tokens": 64,
        "temperature": 1,
    }
    assert translated(request) == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [HI],
        "generationConfig": {"maxOutputTokens": 64, "temperature": 1},
    }


def test_a_picture_and_a_sound() -> None:
    """G-023 to G-026, G-034."""
    sound = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    picture = {
        "type": "image_url",
        "image_url": {"url": "data:image/jpg;base64,iVBORw0KGgo=", "detail": "high"},
    }
    assert translated(asked({"type": "text", "text": "Compare"}, picture, sound))["contents"] == [
        {
            "role": "user",
            "parts": [
                {"text": "Compare"},
                {
                    "inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="},
                    "mediaResolution": {"level": "MEDIA_RESOLUTION_HIGH"},
                },
                {"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}},
            ],
        }
    ]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("data:image/jpeg;base64,_9j-4AAQSkZJRg", "/9j+4AAQSkZJRg==", id="G-027 URL-safe"),
        pytest.param("data:image/jpeg;base64,/9j/\n4AAQ SkZJRg==", "/9j/4AAQSkZJRg==", id="G-027 wrapped"),
        pytest.param("DATA:image/jpeg;x=1;base64,/9j/4AAQSkZJRg", "/9j/4AAQSkZJRg==", id="G-025 parameters"),
        pytest.param("data:image/jpeg,%FF%D8%FF%E0", "/9j/4A==", id="G-028"),
    ],
)
def test_data_urls_of_every_kind(url: str, expected: str) -> None:
    """G-025, G-027, G-028, G-029."""
    assert inline(asked(image(url))) == {"mimeType": "image/jpeg", "data": expected}
    assert inline(asked({"type": "image_url", "image_url": url})) == {
        "mimeType": "image/jpeg",
        "data": expected,
    }


def test_a_long_picture_crosses_unchanged() -> None:
    data = "iVBORw0KGgo" + "A" * 100_001
    assert inline(asked(image(f"data:image/png;base64,{data}"))) == {"mimeType": "image/png", "data": data}


def test_functions_and_a_strict_choice() -> None:
    """G-045, G-048, G-074."""
    parameters = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    function = {"name": "get_weather", "description": "d", "strict": True, "parameters": parameters}
    assert translated(asked("Hi", tools=[{"type": "function", "function": function}])) == {
        "contents": [HI],
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "get_weather", "description": "d", "parametersJsonSchema": parameters}
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}},
    }


def history(call: Json, result: Json) -> Json:
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [{"type": "function", **call}]},
        {"role": "tool", **result},
    ]
    return {"messages": messages}


@pytest.mark.parametrize(
    ("arguments", "args"),
    [
        pytest.param('{"c":"Paris"}', {"c": "Paris"}, id="G-079"),
        pytest.param(" ", {}, id="G-079 blank"),
        pytest.param({"c": 1}, {"c": 1}, id="an object already"),
        pytest.param("[1]", {"value": [1]}, id="an array"),
    ],
)
def test_arguments_become_an_object(arguments: Any, args: Json) -> None:
    """G-079."""
    call = {"id": "a1", "function": {"name": "w", "arguments": arguments}}
    built = translated(history(call, {"tool_call_id": "a1", "content": "12C"}), "gemini-2.5-flash")
    assert built["contents"][1]["parts"] == [{"functionCall": {"name": "w", "args": args}}]


def test_arguments_that_are_no_json_are_refused() -> None:
    """G-080."""
    call = {"id": "a1", "function": {"name": "w", "arguments": "{"}}
    with pytest.raises(RequestError) as caught:
        translated(history(call, {"tool_call_id": "a1", "content": "12C"}))
    assert caught.value.param == "messages[1].tool_calls[0].function.arguments"


@pytest.mark.parametrize(
    "place",
    [
        pytest.param({"extra_content": {"google": {"thought_signature": "U0lH"}}}, id="G-091"),
        pytest.param({"provider_specific_fields": {"thought_signature": "U0lH"}}, id="G-092 litellm"),
        pytest.param({"thoughtSignature": "U0lH"}, id="G-092 plain"),
        pytest.param({"id": "a1__thought__U0lH"}, id="G-092 in the id"),
    ],
)
def test_a_signature_is_found_wherever_a_client_keeps_it(place: Json) -> None:
    """G-091, G-092."""
    call = {"id": "a1", "function": {"name": "w", "arguments": ""}, **place}
    built = translated(history(call, {"tool_call_id": call["id"], "content": "12C"}))
    assert built["contents"][1:] == [
        {
            "role": "model",
            "parts": [{"functionCall": {"id": "a1", "name": "w", "args": {}}, "thoughtSignature": "U0lH"}],
        },
        {
            "role": "user",
            "parts": [{"functionResponse": {"id": "a1", "name": "w", "response": {"output": "12C"}}}],
        },
    ]


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        pytest.param(asked({"type": "hologram"}), "messages[0].content[0].type", id="G-042"),
        pytest.param(asked("Hi", tools=[{"type": "custom"}]), "tools[0].type", id="G-068"),
        pytest.param({"messages": []}, "messages", id="G-008"),
        pytest.param({"messages": [{"role": "bard", "content": "x"}]}, "messages[0].role", id="G-010"),
    ],
)
def test_what_gemini_has_no_word_for_is_refused(request_: Json, param: str) -> None:
    """G-008, G-010, G-042, G-068."""
    with pytest.raises(RequestError) as caught:
        translated(request_)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_extra_body_in_both_nestings() -> None:
    """G-128, G-129."""
    native = {"google": {"thinking_config": {"thinking_budget": 7}}}
    for request in (asked("Hi", **native), asked("Hi", extra_body=native)):
        assert translated(request | {"reasoning_effort": "high"}, "gemini-2.5-flash") == {
            "contents": [HI],
            "generationConfig": {"thinkingConfig": {"thinkingBudget": 7, "includeThoughts": True}},
        }


def test_search_options() -> None:
    """G-102, G-103."""
    request = asked("Hi", web_search_options={}, tools=[{"type": "web_search_preview"}])
    assert translated(request) == {"contents": [HI], "tools": [{"googleSearch": {}}]}
