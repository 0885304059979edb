"""Every documented field of a Messages request, and every member of its objects, at each wire: carried, or
named as the client wrote it. There is no third (X-008)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from proxy.fronts.anthropic.messages import parameters, tools
from proxy.fronts.anthropic.messages.front import MessagesFront
from proxy.routing.attempts import Candidate
from tests.declared import PNG
from tests.fidelity import candidates
from tests.test_fidelity_members import HIGH, JSON_MODE, LOW, PDF, THINKS_NEVER, THOUGHT, Member, lost_of

HI = {"role": "user", "content": "Hi"}
WEATHER: Mapping[str, Any] = {"name": "weather", "input_schema": {"type": "object", "properties": {}}}
DECLARED = {"tools": [WEATHER]}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}


def block(**members: Any) -> Mapping[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, members]}]}


def said(**members: Any) -> Mapping[str, Any]:
    """A block of the assistant's, between two of the user's."""
    return {"messages": [HI, {"role": "assistant", "content": [{"type": "text", "text": "So"}, members]}, HI]}


def result(**members: Any) -> Mapping[str, Any]:
    use = {"type": "tool_use", "id": "toolu_77", "name": "weather", "input": {"city": "Bonn"}}
    own = {"type": "tool_result", "tool_use_id": "toolu_77", "content": "12 degrees", **members}
    return {
        **DECLARED,
        "messages": [HI, {"role": "assistant", "content": [use]}, {"role": "user", "content": [own]}, HI],
    }


def source(kind: str, **members: Any) -> Mapping[str, Any]:
    return block(type=kind, source=members)


PICTURE = {"type": "base64", "media_type": "image/png", "data": PNG}
FORM = {"type": "json_schema", "schema": {"type": "object", "properties": {"rosebud": {"type": "string"}}}}

MEMBERS: dict[str, Member] = {
    "max_tokens": Member({"max_tokens": 77}, ("77",)),
    "temperature": Member({"temperature": 0.61}, ("0.61",)),
    "top_p": Member({"top_p": 0.62}, ("0.62",)),
    "top_k": Member({"top_k": 63}, ("63",)),
    "stop_sequences": Member({"stop_sequences": ["halt!"]}, ("halt!",)),
    "system": Member({"system": "Rosebud"}, ("Rosebud",), named=("messages",)),
    "tools": Member(DECLARED, ('"weather"',)),
    "tools.description": Member({"tools": [{**WEATHER, "description": "Rosebud"}]}, ("Rosebud",), DECLARED),
    "tools.input_schema": Member(
        {"tools": [{**WEATHER, "input_schema": {"type": "object", "properties": {"b77": {}}}}]},
        ("b77",),
        DECLARED,
    ),
    "tools.strict": Member(
        {"tools": [{**WEATHER, "strict": True}]}, ('"strict": true', "VALIDATED"), DECLARED, ("tool_choice",)
    ),
    "tools.defer_loading": Member({"tools": [{**WEATHER, "defer_loading": True}]}, without=DECLARED),
    "tools.max_uses": Member({"tools": [{**SEARCH, "max_uses": 7}]}, without={"tools": [SEARCH]}),
    "tools.type=bash_20250124": Member({"tools": [{"type": "bash_20250124", "name": "bash"}]}),
    "tool_choice": Member({**DECLARED, "tool_choice": {"type": "any"}}, ('"ANY"', '"required"'), DECLARED),
    "tool_choice.name": Member(
        {**DECLARED, "tool_choice": {"type": "tool", "name": "weather"}},
        ('["weather"]', '"function": {"name": "weather"}'),
        {**DECLARED, "tool_choice": {"type": "any"}},
        ("tools",),
    ),
    "tool_choice.disable_parallel_tool_use": Member(
        {**DECLARED, "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        ('"parallel_tool_calls": false', "calls read: 1"),
        {**DECLARED, "tool_choice": {"type": "auto"}},
    ),
    "thinking": Member(
        {"thinking": {"type": "enabled", "budget_tokens": 24576}}, (*HIGH, *THOUGHT), met=THINKS_NEVER
    ),
    "output_config.effort": Member({"output_config": {"effort": "low"}}, LOW),
    "output_config.format": Member({"output_config": {"format": FORM}}, JSON_MODE),
    "output_config.format.schema": Member(
        {"output_config": {"format": FORM}},
        ("rosebud",),
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
    ),
    "output_format": Member({"output_format": FORM}, JSON_MODE),
    "context_management.edits": Member({"context_management": {"edits": [{"type": "clear_tool_uses_77"}]}}),
    "service_tier": Member({"service_tier": "standard_only"}),
    "speed": Member({"speed": "fast"}),
    "container": Member({"container": "c_77"}),
    "mcp_servers": Member({"mcp_servers": [{"url": "https://m.example"}]}),
    "thread": Member({"thread": {"type": "create"}}),
    "a_new_one": Member({"a_new_one": 77}),
    "messages.content.text": Member(block(type="text", text="Rosebud"), ("Rosebud",)),
    "messages.content.citations": Member(
        block(type="text", text="Hi", citations=[{"type": "page_location"}]),
        without=block(type="text", text="Hi"),
    ),
    "messages.content.image": Member(
        source("image", **PICTURE), (PNG, "{upload 1}"), named=("messages.content.source",)
    ),
    "messages.content.image.url": Member(
        source("image", type="url", url="https://e.example/77.png"),
        ("77.png", "{upload 1}"),
        named=("messages.content.source",),
    ),
    "messages.content.source.file_id": Member(
        source("image", type="file", file_id="files/77"), ("files/77",)
    ),
    "messages.content.document": Member(
        source("document", type="base64", media_type="application/pdf", data=PDF),
        (PDF,),
        named=("messages.content.source",),
    ),
    "messages.content.document.text": Member(
        source("document", type="text", media_type="text/plain", data="Rosebud"), ("Rosebud",)
    ),
    "messages.content.title": Member(
        block(type="document", title="Rosebud", source={"type": "text", "data": "x"}), ("Rosebud",)
    ),
    "messages.content.context": Member(
        block(type="document", context="Rosebud", source={"type": "text", "data": "x"}), ("Rosebud",)
    ),
    "messages.content.search_result": Member(
        block(type="search_result", source="https://s.example", title="Rosebud", content=[]), ("Rosebud",)
    ),
    "messages.content.tool_use": Member(
        said(type="tool_use", id="a", name="weather", input={"q": "Rosebud"}), ("Rosebud",)
    ),
    "messages.content.type=redacted_thinking": Member(said(type="redacted_thinking", data="x")),
    "messages.content.type=server_tool_use": Member(said(type="server_tool_use", id="s", name="x", input={})),
    "messages.content.type=container_upload": Member(block(type="container_upload", file_id="f")),
    "messages.content.content": Member(result(content="Rosebud"), ("Rosebud",), result()),
    "messages.content.content.image": Member(
        result(content=[{"type": "image", "source": PICTURE}]),
        (PNG, "{upload 1}"),
        result(),
        ("messages.content",),
    ),
    "messages.content.is_error": Member(
        result(is_error=True), ('"error": "12 degrees"',), result(), ("messages.content",)
    ),
}
# What is read elsewhere, and what nothing of an answer depends on: see docs/messages.md.
SILENT = {"model", "stream", "metadata", "tool_choice.type", "thinking.type", "output_config"}


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Candidate]:
    return candidates(tmp_path_factory.mktemp("members"))


def test_every_field_that_the_front_reads_is_asked_for_here() -> None:
    known = {
        *(parameters._SIMPLE.keys() | parameters._GROUPS.keys()),
        *(f"tools.{name}" for name in tools._FUNCTION_MEMBERS - {"type", "name", "cache_control"}),
    }
    asked = {path.partition(".")[0] for path in MEMBERS} | set(MEMBERS)
    assert known - asked - SILENT == set()


@pytest.mark.parametrize("path", MEMBERS)
def test_a_field_is_carried_or_named(path: str, targets: dict[str, Candidate]) -> None:
    """X-008."""
    body = {"model": "m", "max_tokens": 500, "messages": [HI]}
    assert lost_of(MessagesFront(), path, MEMBERS[path], body, targets) == {}


def test_the_page_tells_what_is_neither_sent_nor_named() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "messages.md").read_text()
    silent = page[page.index("**Not sent, and not named,**") :]
    for word in ("metadata.user_id", "thinking", "cache_control", "clear_thinking_", "anthropic-beta"):
        assert f"`{word}" in silent
