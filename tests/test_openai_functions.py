"""Functions that OpenAI's dialect has not: what stands for their names and parameters there, and the way
back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from proxy.types import (
    CallPart,
    ChatRequest,
    FunctionTool,
    Message,
    ResultPart,
    Target,
    TextPart,
    ToolCall,
    ToolChoice,
)
from proxy.wires.openai import OpenAIChatWire
from tests.gateway import KEY, STRICT_OPENAI, Gateway, open_gateway

WIRE, TARGET = OpenAIChatWire(), Target("lan", "m")
LONG = "mcp__ymir-privileged__get_failed_pipeline_jobs_from_merge_request"
SHORT = "mcp__ymir-privileged__get_failed_pipeline_jobs_from_mer_f3b4bd7c"
DOTTED, PLAIN = "files.read:all", "files_read_all_b461f433"
SCHEMA: Any = {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.fixture(scope="module")
def openai(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("names"), STRICT_OPENAI) as one:
        yield one


def asked() -> ChatRequest:
    return ChatRequest(
        "m",
        (
            Message("user", (TextPart("Hi"),)),
            Message("assistant", (CallPart("1", LONG, {}), CallPart("2", "look", {}))),
            Message("user", (ResultPart("1", LONG, (TextPart("x"),)), ResultPart("2", None, ()))),
        ),
        tools=(FunctionTool(LONG), FunctionTool(DOTTED), FunctionTool("look")),
        tool_choice=ToolChoice("required", (DOTTED,)),
    )


def test_names_that_the_dialect_has_not_are_others_everywhere() -> None:
    body = WIRE.build(asked(), TARGET).body
    assert [tool["function"]["name"] for tool in body["tools"]] == [SHORT, PLAIN, "look"]
    assert body["tool_choice"] == {"type": "function", "function": {"name": PLAIN}}
    assert [call["function"]["name"] for call in body["messages"][1]["tool_calls"]] == [SHORT, "look"]
    assert body["messages"][2] == {"role": "tool", "tool_call_id": "1", "content": "x", "name": SHORT}


@pytest.mark.parametrize("member", ["delta", "message"])
def test_the_client_is_told_its_own_names(member: str) -> None:
    request = asked()
    reader = WIRE.reader(request, TARGET, WIRE.build(request, TARGET))
    calls = [
        {"index": number, "id": name, "type": "function", "function": {"name": name, "arguments": "{}"}}
        for number, name in enumerate((SHORT, PLAIN, "look"))
    ]
    events = reader.feed({"choices": [{"index": 0, member: {"tool_calls": calls}}]})
    assert [event.name for event in events if isinstance(event, ToolCall)] == [LONG, DOTTED, "look"]


@pytest.mark.parametrize("name", [LONG, DOTTED])
def test_a_loop_of_messages(openai: Gateway, name: str) -> None:
    """Claude Code puts the server's name before that of its tool."""
    headers = {"authorization": f"Bearer {KEY}", "x-proxy-strict": "true"}
    said: list[Any] = [{"role": "user", "content": "Hi"}]
    body = {"model": "gpt", "max_tokens": 99, "tools": [{"name": name, "input_schema": SCHEMA}]}
    forced = {**body, "messages": said, "tool_choice": {"type": "tool", "name": name}}
    reply = openai.http.post(f"{openai.base_url}/v1/messages", json=forced, headers=headers)
    [call] = reply.json()["content"]
    assert call["name"] == name
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "9C"}
    said += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    reply = openai.http.post(
        f"{openai.base_url}/v1/messages", json={**body, "messages": said}, headers=headers
    )
    assert reply.json()["content"] == [{"type": "text", "text": "The tools answered: 9C."}]


@pytest.mark.parametrize("schema", [{}, {"type": "object"}])
def test_a_tool_of_mcp_without_parameters(openai: Gateway, schema: Any) -> None:
    tool = {"name": "list_clusters", "input_schema": schema}
    said = [{"role": "user", "content": "Hi"}]
    body = {
        "model": "gpt",
        "max_tokens": 99,
        "messages": said,
        "tools": [tool],
        "tool_choice": {"type": "any"},
    }
    headers = {"authorization": f"Bearer {KEY}"}
    reply = openai.http.post(f"{openai.base_url}/v1/messages", json=body, headers=headers)
    assert [block["input"] for block in reply.json()["content"]] == [{}]


def test_a_stream_of_gemini(openai: Gateway) -> None:
    body = {
        "contents": [{"parts": [{"text": "Hi"}]}],
        "tools": [{"functionDeclarations": [{"name": DOTTED, "parametersJsonSchema": SCHEMA}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
    }
    address = f"{openai.base_url}/v1beta/models/gpt:streamGenerateContent"
    chunks = openai.http.post(address, json=body, headers={"x-goog-api-key": KEY}).json()
    assert chunks[-1]["candidates"][0]["content"]["parts"][0]["functionCall"]["name"] == DOTTED
