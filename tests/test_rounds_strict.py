"""What a client was given it may send back as it is: nobody misses what of it is not carried, so that
`x-proxy-strict` lets it pass, in every dialect."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway import KEY, Gateway

THINKING = {"type": "enabled", "budget_tokens": 1024}
SAID = [
    "sim:thoughts Hi",
    "sim:grounding",
    "sim:code",
    "sim:search",
    "sim:image:2",
    "sim:call:look",
    "sim:parallel:2",
]
MODELS = ["gemini-flash", "gemini-2.5-flash", "lan-chat"]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
FUNCTION = {"name": "look", "parameters": SCHEMA}
ASKED = {"role": "user", "content": "And?"}


def post(gateway: Gateway, path: str, **body: Any) -> Any:
    """What is answered where nothing of the request was left out."""
    headers = {"authorization": f"Bearer {KEY}", "x-proxy-strict": "true"}
    reply = gateway.http.post(f"{gateway.base_url}{path}", json=body, headers=headers)
    assert (reply.status_code, reply.headers.get("x-proxy-dropped")) == (200, None), reply.text
    return reply.json()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("said", SAID)
def test_a_message_of_a_chat(gateway: Gateway, model: str, said: str) -> None:
    more = {"model": model, "tools": [{"type": "function", "function": FUNCTION}]}
    asked = {"role": "user", "content": said}
    message = post(gateway, "/v1/chat/completions", messages=[asked], **more)["choices"][0]["message"]
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": "12"}
        for call in message.get("tool_calls", ())
    ]
    post(gateway, "/v1/chat/completions", messages=[asked, message, *results, ASKED], **more)


def test_thoughts_of_a_chat_that_we_did_not_give_are_named(gateway: Gateway) -> None:
    """In the shapes of others."""
    thought = {
        "role": "assistant",
        "content": "4",
        "reasoning_details": [{"type": "reasoning.text", "text": "2"}],
    }
    body = {"model": "gemini-flash", "messages": [ASKED, thought, ASKED]}
    reply = gateway.http.post(
        f"{gateway.base_url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {KEY}"}
    )
    assert reply.headers["x-proxy-dropped"] == "messages[1].reasoning_details"


@pytest.mark.parametrize("searches", [False, True])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("said", SAID)
def test_the_blocks_of_a_message(gateway: Gateway, model: str, said: str, searches: bool) -> None:
    tools: list[Any] = [{"name": "look", "input_schema": SCHEMA}]
    if searches:
        tools = [{"type": "web_search_20250305", "name": "web_search"}]
    more = {"model": model, "max_tokens": 4000, "thinking": THINKING, "tools": tools}
    asked = {"role": "user", "content": said}
    blocks = post(gateway, "/v1/messages", messages=[asked], **more)["content"]
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": "12"}
        for block in blocks
        if block["type"] == "tool_use"
    ]
    answer = {"role": "user", "content": [*results, {"type": "text", "text": "And?"}]}
    messages = [asked, {"role": "assistant", "content": blocks}, answer]
    post(gateway, "/v1/messages", messages=messages, **more)


def test_googles_own_tools_are_told_again_what_they_said(gateway: Gateway) -> None:
    tools = [{"name": "look", "input_schema": SCHEMA}]
    more = {"model": "gemini-flash", "max_tokens": 4000, "thinking": THINKING, "tools": tools}
    asked = {"role": "user", "content": "sim:search"}
    blocks = post(gateway, "/v1/messages", messages=[asked], **more)["content"]
    messages = [asked, {"role": "assistant", "content": blocks}, ASKED]
    post(gateway, "/v1/messages", messages=messages, **more)
    told = gateway.sent()[-1].body["contents"][1]["parts"]
    assert [name for part in told for name in ("toolCall", "toolResponse") if name in part] == [
        "toolCall",
        "toolResponse",
    ]
    assert all(part["thoughtSignature"] for part in told if "toolCall" in part)


@pytest.mark.parametrize("model", MODELS)
def test_the_fields_that_a_response_repeats(gateway: Gateway, model: str) -> None:
    told = post(gateway, "/v1/responses", model=model, input="Hi")
    of_replies = {
        "id", "object", "created_at", "completed_at", "status", "error", "incomplete_details", "output",
        "usage", "conversation",
    }  # fmt: skip
    repeated = {name: value for name, value in told.items() if name not in of_replies}
    assert {"parallel_tool_calls", "service_tier", "text", "truncation"} < repeated.keys()
    post(gateway, "/v1/responses", input="Hi", **repeated)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("said", SAID)
def test_the_items_of_a_response(gateway: Gateway, model: str, said: str) -> None:
    more: Any = {"model": model, "tools": [{"type": "function", **FUNCTION}]}
    if model != "lan-chat":
        more |= {"reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"]}
    asked = {"role": "user", "content": said}
    items = post(gateway, "/v1/responses", input=[asked], **more)["output"]
    outputs = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "12"}
        for item in items
        if item["type"] == "function_call"
    ]
    post(gateway, "/v1/responses", input=[asked, *items, *outputs, ASKED], **more)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("said", SAID)
def test_a_content_of_gemini(gateway: Gateway, model: str, said: str) -> None:
    path = f"/v1beta/models/{model}:generateContent"
    asked = {"role": "user", "parts": [{"text": said}]}
    more = {"tools": [{"functionDeclarations": [FUNCTION]}]}
    content = post(gateway, path, contents=[asked], **more)["candidates"][0]["content"]
    results: list[Any] = [
        {"functionResponse": {"name": "look", "response": {"output": "12"}, **_id(part["functionCall"])}}
        for part in content["parts"]
        if "functionCall" in part
    ]
    answer = {"role": "user", "parts": results or [{"text": "And?"}]}
    post(gateway, path, contents=[asked, content, answer], **more)


def _id(call: Any) -> Any:
    return {"id": call["id"]} if "id" in call else {}
