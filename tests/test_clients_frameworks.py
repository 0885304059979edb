"""What frameworks on top of the OpenAI SDKs send, as raw requests over strict simulated vendors.

The clients themselves were run by hand; docs/clients.md has the versions.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.gateway import KEY, Gateway

FILES: Any = {
    "type": "function",
    "function": {"name": "list_files", "parameters": {"type": "object", "properties": {}}},
}
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def chat(gateway: Gateway, messages: list[Any], user_agent: str = "x", **fields: Any) -> httpx.Response:
    body = {"model": "gemini-flash", "messages": messages, **fields}
    headers = {"authorization": f"Bearer {KEY}", "user-agent": user_agent}
    return httpx.post(f"{gateway.base_url}/v1/chat/completions", json=body, headers=headers, timeout=20)


def said(reply: httpx.Response) -> Any:
    assert reply.status_code == 200, reply.text
    return reply.json()["choices"][0]["message"]


def sentinels(gateway: Gateway) -> int:
    return gateway.vendors.log.counts["google.signatures.sentinels"]


def user(text: str) -> Any:
    return {"role": "user", "content": text}


def test_parallel_calls_that_equal_earlier_ones_keep_their_real_signature(gateway: Gateway) -> None:
    """G-091: `list_files({})` was signed when it came alone; as a sibling of another call it is not."""
    before = sentinels(gateway)
    history = [user("list_files, please")]
    first = said(chat(gateway, history, tools=[FILES]))
    assert first["tool_calls"][0]["extra_content"]["google"]["thought_signature"]
    history = [user("get_weather of Paris and list_files sim:parallel:2")]
    asked = said(chat(gateway, history, tools=[WEATHER, FILES]))
    assert [call["function"]["name"] for call in asked["tool_calls"]] == ["get_weather", "list_files"]
    results = [{"role": "tool", "tool_call_id": it["id"], "content": "ok"} for it in asked["tool_calls"]]
    assert "ok" in said(chat(gateway, [*history, asked, *results], tools=[WEATHER, FILES]))["content"]
    assert sentinels(gateway) == before


@pytest.mark.parametrize("mode", ["images", "parts", "markdown", "link", "images+link"])
@pytest.mark.parametrize("keeps", ["everything", "content"])
def test_a_replayed_picture_has_its_real_signature(gateway: Gateway, mode: str, keeps: str) -> None:
    """G-043, I-037: most clients keep role and content alone."""
    before = sentinels(gateway)
    model = f"nano-banana-pro@{mode}"
    drawn = said(chat(gateway, [user(f"Draw a {mode} cat")], model=model))
    if keeps == "content":
        drawn = {"role": "assistant", "content": drawn["content"] or "Here"}
    said(chat(gateway, [user(f"Draw a {mode} cat"), drawn, user("Bigger")], model=model))
    sent = json.dumps(gateway.sent()[-1].body["contents"][1]["parts"])
    assert sent.count('"inlineData"') == (0 if (mode, keeps) == ("images", "content") else 1)
    assert sentinels(gateway) == before


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    "user_agent",
    [
        "ai/6.0.326 ai-sdk/provider-utils/4.0.66 runtime/node.js/v20.20.2",
        "ai-sdk/openai/3.0.141 ai-sdk/provider-utils/4.0.66 runtime/node.js/v20.20.2",
        "langchainjs-openai/1.0.0 ((node/v20.20.2; linux; x64))",
        "pydantic-ai/2.68.0",
        "Agents/Python 0.24.0",
    ],
)
def test_clients_that_keep_only_text_get_pictures_as_markdown(
    gateway: Gateway, user_agent: str, stream: bool
) -> None:
    reply = chat(gateway, [user("Draw a cat")], user_agent, model="nano-banana-pro", stream=stream)
    assert reply.status_code == 200
    assert "![image](data:image/png;base64," in reply.text
    assert '"images"' not in reply.text


def test_langchain_js_sends_pictures_back_as_image_blocks(gateway: Gateway) -> None:
    shown = said(chat(gateway, [user("Draw a dog")], model="nano-banana-pro@images"))
    url = shown["images"][0]["image_url"]["url"]
    back = {"role": "assistant", "content": [{"type": "text", "text": "Here"}, {"type": "image", "url": url}]}
    said(chat(gateway, [user("Draw a dog"), back, user("Bigger")], model="nano-banana-pro"))
    kinds = [sorted(part) for part in gateway.sent()[-1].body["contents"][1]["parts"]]
    assert kinds == [["text"], ["inlineData", "thoughtSignature"]]


def test_openrouters_way_to_ask_for_usage_is_understood(gateway: Gateway) -> None:
    reply = chat(gateway, [user("Hi")], stream=True, usage={"include": True})
    assert '"total_tokens":' in reply.text


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/chat/completions", "/api/chat/completions"])
def test_open_webui_sends_fields_of_its_own(gateway: Gateway, path: str) -> None:
    """Fields of its own are named, not refused, and its routes answer without `/v1` too."""
    body = {
        "model": "gemini-flash",
        "messages": [user("Hello")],
        "stream": True,
        "stream_options": {"include_usage": True},
        "metadata": {"user_id": "u", "chat_id": "c", "tool_ids": None, "files": None, "features": {}},
        "features": {"image_generation": False, "web_search": False},
        "tool_ids": [],
        "params": {},
        "chat_id": "c",
        "session_id": "s",
        "background_tasks": {"title_generation": True},
        "model_item": {"id": "gemini-flash"},
    }
    reply = httpx.post(gateway.base_url + path, json=body, headers={"authorization": f"Bearer {KEY}"})
    if path.startswith("/api"):
        assert reply.status_code == 404
        return
    assert reply.text.endswith("data: [DONE]\n\n")
    dropped = reply.headers["x-proxy-dropped"].split(", ")
    assert {"features", "chat_id", "session_id", "model_item"} <= set(dropped)
