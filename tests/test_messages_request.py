"""Messages requests: what real clients send, as a request of ours and as the body that Gemini gets."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from proxy.errors import RequestError
from proxy.fronts import sealed
from proxy.fronts.anthropic.blocks import ids
from proxy.fronts.anthropic.blocks.incoming import UNSIGNED
from proxy.fronts.anthropic.messages import request
from proxy.fronts.anthropic.spelling import SYSTEM, spelled, spelled_all
from proxy.types import (
    AnswerFormat,
    BuiltinTool,
    CallPart,
    ChatRequest,
    Foreign,
    FunctionTool,
    MediaPart,
    Message,
    ResultPart,
    Slice,
    Target,
    TextPart,
    Thinking,
    ThoughtPart,
    ToolChoice,
    left_out,
)
from proxy.wires.gemini import GeminiWire
from proxy.wires.gemini import request as gemini
from tests.shared import FIXTURES

PNG = "iVBORw0KGgo="
PDF = "JVBERi0xLjQK"
HI: Any = {"role": "user", "content": "Hi"}
SCHEMA: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {"name": "get_weather", "description": "Weather of a city", "input_schema": SCHEMA}
SEARCH: Any = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
RECORDED = FIXTURES / "surfaces" / "requests"


def body(*messages: Any, **fields: Any) -> Any:
    return {"model": "gemini-flash", "max_tokens": 200, "messages": list(messages or (HI,)), **fields}


def parsed(*messages: Any, **fields: Any) -> ChatRequest:
    return request.parse(body(*messages, **fields)).request


def dropped(*messages: Any, **fields: Any) -> tuple[str, ...]:
    """What no upstream gets, as the client spelled it: Gemini's wire has a word in it."""
    found = request.parse(body(*messages, **fields))
    target = Target("google", "gemini-3-flash-preview", "gemini")
    attributes = (*gemini.build(found.request, target).dropped, *left_out(found.request, GeminiWire.carries))
    return (*found.dropped, *spelled_all(attributes, found))


def sent(*messages: Any, model: str = "gemini-3-flash-preview", **fields: Any) -> Any:
    """The body of the call to Gemini, without the pictures' wrapping."""
    call = gemini.build(parsed(*messages, **fields), Target("google", model, "gemini"))
    return json.loads(json.dumps(call.body, default=str))


def user(*blocks: Any) -> Any:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> Any:
    return {"role": "assistant", "content": list(blocks)}


def text(said: str, **more: Any) -> Any:
    return {"type": "text", "text": said, **more}


def document(source: Any, **more: Any) -> Any:
    return {"type": "document", "source": source, **more}


def refused(*messages: Any, **fields: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        request.parse(body(*messages, **fields))
    return caught.value


# --- the conversation


def test_a_text_with_a_system_text() -> None:
    """M-011, M-015: what is said to be cached is cached of Google's own accord."""
    system = [text("Answer in one sentence.", cache_control={"type": "ephemeral"})]
    fields: Any = {"system": system, "metadata": {"user_id": "u-1"}}
    asked = {"role": "user", "content": "Where is Oslo?"}
    assert sent(asked, **fields) == {
        "systemInstruction": {"parts": [{"text": "Answer in one sentence."}]},
        "contents": [{"role": "user", "parts": [{"text": "Where is Oslo?"}]}],
        "generationConfig": {"maxOutputTokens": 200},
    }
    assert dropped(asked, **fields) == ()


def test_blocks_of_a_system_text_are_paragraphs() -> None:
    """M-011."""
    assert parsed(system=[text("A."), text(""), text("B.")]).messages[0] == Message(
        "system", (TextPart("A.\n\nB."),), SYSTEM
    )
    assert parsed(system="A.").messages[0].parts == (TextPart("A."),)
    assert parsed(system=[]).messages == (Message("user", (TextPart("Hi"),), 0),)


def test_a_system_message_in_the_middle_is_one() -> None:
    """M-013: Claude Code puts one behind the first question."""
    found = parsed(HI, {"role": "system", "content": "Be brief."}, user(text("Go on.")))
    assert found.messages[1] == Message("system", (TextPart("Be brief."),), 1)
    body = sent(HI, {"role": "system", "content": "Be brief."}, user(text("Go on.")))
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert body["contents"] == [{"role": "user", "parts": [{"text": "Hi"}, {"text": "Go on."}]}]


def test_a_prefill_is_an_answer_that_goes_on() -> None:
    """M-012: also an empty block, which is none."""
    contents = sent(HI, assistant(text(""), text("The answer is (")))["contents"]
    assert contents[1] == {"role": "model", "parts": [{"text": "The answer is ("}]}


def test_pictures_and_documents() -> None:
    """M 2.3."""
    found = parsed(
        user(
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            {"type": "image", "source": {"type": "url", "url": "https://e.example/x.png"}},
            {
                "type": "document",
                "title": "Plan",
                "context": "Of last year.",
                "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
            },
            {"type": "document", "source": {"type": "url", "url": "https://e.example/x.pdf"}},
            {"type": "document", "source": {"type": "file", "file_id": "file-1"}},
            {
                "type": "document",
                "title": "T",
                "source": {"type": "text", "media_type": "text/plain", "data": "p"},
            },
            {
                "type": "document",
                "title": "C",
                "source": {"type": "content", "content": [text("a"), text("b")]},
            },
            {
                "type": "search_result",
                "title": "S",
                "source": "https://s.example",
                "content": [text("found")],
            },
        )
    )
    where = "messages[0].content"
    assert found.messages[0].parts == (
        MediaPart("image", Slice(PNG.encode()), mime="image/png", where=f"{where}[0].source.data"),
        MediaPart("image", url="https://e.example/x.png", where=f"{where}[1].source.url"),
        TextPart("Of last year."),
        MediaPart(
            "file",
            Slice(PDF.encode()),
            mime="application/pdf",
            filename="Plan",
            where=f"{where}[2].source.data",
        ),
        MediaPart(
            "file",
            url="https://e.example/x.pdf",
            mime="application/pdf",
            where=f"{where}[3].source.url",
        ),
        MediaPart("file", file_id="file-1", where=f"{where}[4].source.file_id"),
        TextPart("T\np"),
        TextPart("C"),
        TextPart("a"),
        TextPart("b"),
        TextPart("S\nhttps://s.example\nfound"),
    )


def test_a_picture_of_ours_in_an_answer_is_the_picture() -> None:
    """M-060."""
    ours = "https://gateway.example/v1/files/p/content?sig=s"
    found = request.parse(
        body(HI, assistant(text(f"Here.\n\n![picture 1]({ours})")), HI), is_stored=lambda url: url == ours
    ).request
    assert found.messages[1].parts == (
        TextPart("Here."),
        MediaPart("image", url=ours, where="messages[1].content"),
    )


# --- calls and results


def test_results_come_in_another_order_one_failed_and_one_with_a_picture() -> None:
    """M-022, M-023, X-011, X-021: the example of surfaces 2.9."""
    history = [
        {"role": "user", "content": "Weather in Paris and Oslo?"},
        assistant(
            {"type": "thinking", "thinking": "Two cities, two look-ups.", "signature": "c2lnbmF0dXJl"},
            text("I look both up."),
            {"type": "tool_use", "id": "toolu_A", "name": "get_weather", "input": {"city": "Paris"}},
            {"type": "tool_use", "id": "toolu_B", "name": "get_weather", "input": {"city": "Oslo"}},
        ),
        user(
            {
                "type": "tool_result",
                "tool_use_id": "toolu_B",
                "content": [
                    text("9C"),
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                ],
            },
            {"type": "tool_result", "tool_use_id": "toolu_A", "content": "no such station", "is_error": True},
            text("Go on."),
        ),
    ]
    contents = sent(*history, tools=[WEATHER])["contents"]
    calls = contents[1]["parts"][1:]
    first, second = (part["functionCall"].pop("id", None) for part in calls)
    assert first != second
    assert contents[1] == {
        "role": "model",
        "parts": [
            {"text": "I look both up."},
            {
                "functionCall": {"name": "get_weather", "args": {"city": "Paris"}},
                "thoughtSignature": "c2lnbmF0dXJl",
            },
            {"functionCall": {"name": "get_weather", "args": {"city": "Oslo"}}},
        ],
    }
    answers = contents[2]["parts"]
    assert [part["functionResponse"].pop("id", None) for part in answers] == [first, second]
    assert answers == [
        {"functionResponse": {"name": "get_weather", "response": {"error": "no such station"}}},
        {
            "functionResponse": {
                "name": "get_weather",
                "response": {"output": "9C"},
                "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}],
            }
        },
    ]
    assert contents[3] == {"role": "user", "parts": [{"text": "Go on."}]}


@pytest.mark.parametrize("content", [{}, {"content": None}, {"content": []}, {"content": ""}])
def test_a_result_may_be_empty(content: Any) -> None:
    """M-023."""
    result = {"type": "tool_result", "tool_use_id": "x", **content}
    (part,) = parsed(user(result)).messages[0].parts
    assert isinstance(part, ResultPart)
    assert (part.call_id, part.failed) == ("x", False)
    assert "".join(one.text for one in part.parts if isinstance(one, TextPart)) == ""


def thinking(said: str, signature: str | None = None) -> Any:
    return {"type": "thinking", "thinking": said, **({"signature": signature} if signature else {})}


def use(identity: str) -> Any:
    return {"type": "tool_use", "id": identity, "name": "f", "input": {}}


def call(identity: str, signature: str | None = None) -> CallPart:
    return CallPart(identity, "f", {}, signature)


def thought(said: str, place: int) -> ThoughtPart:
    return ThoughtPart(said, where=f"messages[1].content[{place}]", spare=True)


@pytest.mark.parametrize(
    ("blocks", "parts"),
    [
        ([thinking("T", "s"), use("a")], (thought("T", 0), call("a", "s"))),
        ([thinking("", "s"), use("a"), use("b")], (call("a", "s"), call("b"))),
        (
            [thinking("T", "s"), text("x"), use("a")],
            (thought("T", 0), TextPart("x"), call("a", "s")),
        ),
        (
            [thinking("T", UNSIGNED), text("x"), thinking("", "s"), use("a"), thinking("", "t"), use("b")],
            (thought("T", 0), TextPart("x"), call("a", "s"), call("b", "t")),
        ),
        ([thinking("T", "s"), text("x"), text("y")], (thought("T", 0), TextPart("x"), TextPart("y", "s"))),
        ([thinking("T", "s")], (thought("T", 0), TextPart("", "s"))),
        ([thinking("", "s"), thinking("", "t"), use("a")], (TextPart("", "s"), call("a", "t"))),
        ([thinking("T"), use("a")], (thought("T", 0), call("a"))),
        ([use("a"), thinking("", "s"), text("x")], (call("a"), TextPart("x", "s"))),
    ],
    ids=[
        "before its call",
        "without words",
        "with a text between",
        "one for each call",
        "of a text",
        "alone",
        "two together",
        "unsigned",
        "behind a call",
    ],
)
def test_a_signature_finds_back_to_its_part(blocks: list[Any], parts: tuple[Any, ...]) -> None:
    """M-033, M-035, X-011."""
    message = parsed(HI, assistant(*blocks), HI).messages[1]
    assert message.parts == parts
    assert message.signed is any(getattr(part, "signature", None) for part in parts)


def test_what_only_anthropics_servers_can_read_is_left_out_by_name() -> None:
    """M 2.3: redacted thoughts, tools that Anthropic ran, and their like."""
    blocks = [
        {"type": "redacted_thinking", "data": "xyz"},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "code_execution", "input": {"code": "1"}},
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_1",
            "content": [{"type": "web_search_result", "encrypted_content": "Eqgf"}],
        },
        {"type": "mcp_tool_result", "tool_use_id": "m", "content": []},
        text("So."),
    ]
    found = request.parse(body(HI, assistant(*blocks), HI))
    assert found.request.messages[1].parts == (TextPart("So."),)
    assert found.dropped == (
        "messages[1].content[0].type=redacted_thinking",
        "messages[1].content[1].type=server_tool_use",
        "messages[1].content[2].type=web_search_tool_result",
        "messages[1].content[3].type=mcp_tool_result",
    )


def test_what_our_own_replies_tell_of_searches_is_left_out_without_a_word() -> None:
    """Anthropic's own is named by its seals, its errors too."""
    cited = {"type": "web_search_result_location", "url": "https://a", "encrypted_index": UNSIGNED}
    result = {"type": "web_search_result", "url": "https://a", "encrypted_content": UNSIGNED}
    blocks = [
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [result]},
        text("So.", citations=[cited]),
    ]
    found = request.parse(body(HI, assistant(*blocks), HI))
    assert (found.request.messages[1].parts, found.dropped) == ((TextPart("So."),), ())
    failed = {"type": "web_search_tool_result_error", "error_code": "unavailable"}
    blocks[1]["content"] = failed
    blocks[2]["citations"] = [cited, {**cited, "encrypted_index": "Eo8B"}]
    assert dropped(HI, assistant(*blocks), HI) == (
        "messages[1].content[1].type=web_search_tool_result",
        "messages[1].content[2].citations",
    )


def test_what_was_sealed_for_the_vendor_comes_back_to_it() -> None:
    """Of several such blocks all, for clients join messages; what Anthropic has sealed is named."""
    parts = [{"toolCall": {"id": "1"}}, {"toolResponse": {"id": "1"}}]
    blocks = [{"type": "redacted_thinking", "data": sealed.seal({"parts": [part]})} for part in parts]
    found = request.parse(body(HI, assistant(blocks[0], text("So."), blocks[1]), HI))
    message = found.request.messages[1]
    assert (message.parts, message.extra, found.dropped) == ((TextPart("So."),), {"parts": parts}, ())
    target = Target("google", "gemini-3-flash-preview", "gemini")
    turn = gemini.build(found.request, target).body["contents"][1]
    assert turn["parts"] == [*parts, {"text": "So."}]


def test_members_that_nobody_reads_are_named() -> None:
    """X-008: as the client wrote them."""
    document = {
        "type": "document",
        "source": {"type": "text", "data": "x"},
        "citations": {"enabled": True},
        "secret": 1,
    }
    tool = {**WEATHER, "defer_loading": True, "cache_control": {"type": "ephemeral"}, "input_examples": [{}]}
    assert dropped(
        user(document, text("Hi", citations=[{"type": "page_location"}])),
        tools=[tool, {"type": "bash_20250124", "name": "bash"}],
        container="c_1",
        mcp_servers=[{"url": "https://m.example"}],
        speed="fast",
        service_tier="standard_only",
        context_management={"edits": [{"type": "clear_tool_uses_20250919"}]},
        wonderful=1,
    ) == (
        "tools[0].defer_loading",
        "tools[0].input_examples",
        "tools[1].type=bash_20250124",
        "context_management.edits[0]",
        "messages[0].content[0].secret",
        "messages[].content[].citations",
        "container",
        "mcp_servers",
        "speed",
        "service_tier",
        "wonderful",
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"service_tier": "auto"},
        {"mcp_servers": []},
        {"container": None},
        {"cache_control": {"type": "ephemeral"}},
        {"metadata": {"user_id": '{"device_id":"d"}'}},
        {"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}},
        {"thinking": {"type": "disabled"}},
        {"tools": []},
    ],
)
def test_what_asks_for_nothing_is_not_missed(fields: Any) -> None:
    """M-014..M-016."""
    assert dropped(**fields) == ()


# --- parameters


def test_sampling_is_carried_under_either_version() -> None:
    """M-001."""
    config = sent(temperature=1, top_p=0.5, top_k=7, stop_sequences=["END", ""])["generationConfig"]
    assert config == {
        "maxOutputTokens": 200,
        "temperature": 1,
        "topP": 0.5,
        "topK": 7,
        "stopSequences": ["END"],
    }


def test_more_tokens_than_the_model_has_are_not_refused() -> None:
    """M-010: Claude Code asks for 64000, whatever the model."""
    assert sent(max_tokens=500_000)["generationConfig"] == {"maxOutputTokens": 65536}


@pytest.mark.parametrize(
    ("fields", "thinking", "thinks"),
    [
        ({}, None, False),
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, Thinking(budget=2048, summary=True), True),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2048, "display": "omitted"}},
            Thinking(budget=2048, summary=False),
            True,
        ),
        ({"thinking": {"type": "adaptive"}}, Thinking(budget=-1, summary=True), True),
        ({"thinking": {"type": "between_tools"}}, Thinking(budget=-1, summary=True), True),
        ({"thinking": {"type": "disabled"}}, Thinking(effort="none", summary=False), False),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
            Thinking(effort="high", summary=True),
            True,
        ),
        (
            {"output_config": {"effort": "max"}, "thinking": {"type": "adaptive", "display": "omitted"}},
            Thinking(effort="max", summary=False),
            True,
        ),
        (
            {"output_config": {"effort": "high"}, "thinking": {"type": "disabled"}},
            Thinking(effort="none", summary=False),
            False,
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2048}, "output_config": {"effort": "low"}},
            Thinking(budget=2048, summary=True),
            True,
        ),
        ({"output_config": {"effort": "low"}}, Thinking(effort="low", summary=False), False),
    ],
)
def test_how_much_it_thinks(fields: Any, thinking: Thinking | None, thinks: bool) -> None:
    """M-030, M-031."""
    found = request.parse(body(**fields))
    assert (found.request.thinking, found.shape.thinks) == (thinking, thinks)


@pytest.mark.parametrize(
    ("model", "fields", "config"),
    [
        (
            "gemini-2.5-flash",
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
            {"thinkingBudget": 2048, "includeThoughts": True},
        ),
        (
            "gemini-2.5-flash",
            {"thinking": {"type": "adaptive"}},
            {"thinkingBudget": -1, "includeThoughts": True},
        ),
        (
            "gemini-2.5-flash",
            {"thinking": {"type": "disabled"}},
            {"thinkingBudget": 0, "includeThoughts": False},
        ),
        ("gemini-3-flash-preview", {"thinking": {"type": "adaptive"}}, {"includeThoughts": True}),
        (
            "gemini-3-flash-preview",
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
            {"thinkingLevel": "high", "includeThoughts": True},
        ),
        (
            "gemini-3-flash-preview",
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
            {"thinkingLevel": "medium", "includeThoughts": True},
        ),
        (
            "gemini-3.1-pro-preview",
            {"thinking": {"type": "disabled"}},
            {"thinkingLevel": "low", "includeThoughts": False},
        ),
    ],
)
def test_how_gemini_is_told(model: str, fields: Any, config: Any) -> None:
    """M-030."""
    assert sent(model=model, **fields)["generationConfig"]["thinkingConfig"] == config


@pytest.mark.parametrize(
    "fields",
    [
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        {"output_format": {"type": "json_schema", "schema": SCHEMA}},
    ],
)
def test_a_form_of_the_answer(fields: Any) -> None:
    """M-032."""
    assert parsed(**fields).answer_format == AnswerFormat("json_schema", SCHEMA)
    config = sent(**fields)["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert config["responseJsonSchema"]["required"] == ["city"]


# --- tools


def test_functions() -> None:
    """M-020: with the schemas of Claude Code and Vercel."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **SCHEMA,
        "additionalProperties": False,
    }
    tool = {**WEATHER, "type": "custom", "input_schema": schema, "strict": True}
    assert parsed(tools=[tool]).tools == (
        FunctionTool("get_weather", "Weather of a city", schema, strict=True),
    )
    (declared,) = sent(tools=[{**WEATHER, "input_schema": schema}])["tools"][0]["functionDeclarations"]
    assert declared["name"] == "get_weather"
    assert "$schema" not in declared["parametersJsonSchema"]


@pytest.mark.parametrize(
    ("choice", "found", "parallel"),
    [
        ({"type": "auto"}, ToolChoice("auto"), None),
        ({"type": "any"}, ToolChoice("required"), None),
        ({"type": "none"}, ToolChoice("none"), None),
        ({"type": "tool", "name": "get_weather"}, ToolChoice("required", ("get_weather",)), None),
        ({"type": "auto", "disable_parallel_tool_use": True}, ToolChoice("auto"), False),
        ({"type": "auto", "disable_parallel_tool_use": False}, ToolChoice("auto"), None),
    ],
)
def test_which_tools_may_be_called(choice: Any, found: ToolChoice, parallel: bool | None) -> None:
    """M-021: in whichever order they stand."""
    asked = request.parse({"tool_choice": choice, **body(tools=[WEATHER])}).request
    assert (asked.tool_choice, asked.parallel_calls) == (found, parallel)


@pytest.mark.parametrize(
    ("sort", "kind"),
    [
        ("web_search_20250305", "web_search"),
        ("web_search_20260209", "web_search"),
        ("web_fetch_20250910", "url_context"),
        ("code_execution_20250825", "code_execution"),
    ],
)
def test_tools_of_the_vendors_own(sort: str, kind: str) -> None:
    """M-024."""
    assert parsed(tools=[{"type": sort, "name": "x"}]).tools == (BuiltinTool(kind),)


def test_a_search_is_googles_and_its_options_are_named() -> None:
    """M-024: the request of Claude Code's own search."""
    fields: Any = {"tools": [WEATHER, SEARCH], "tool_choice": {"type": "tool", "name": "web_search"}}
    assert parsed(**fields).tool_choice is None
    assert {"googleSearch": {}} in sent(**fields)["tools"]
    assert dropped(**fields) == ("tool_choice", "tools[1].max_uses")


def test_a_tool_that_stands_there_twice_is_one() -> None:
    assert len(parsed(tools=[WEATHER, WEATHER]).tools) == 1
    error = refused(tools=[WEATHER, {**WEATHER, "description": "other"}])
    assert error.param == "tools[1].name"


# --- refusals


@pytest.mark.parametrize(
    ("messages", "fields", "param"),
    [
        ([], {"max_tokens": None}, "max_tokens"),
        ([], {"max_tokens": 0}, "max_tokens"),
        ([], {"max_tokens": "many"}, "max_tokens"),
        ([], {"model": None}, "model"),
        ([], {"messages": None}, "messages"),
        ([], {"messages": []}, "messages"),
        ([], {"messages": "Hi"}, "messages"),
        (["Hi"], {}, "messages[0]"),
        ([{"role": "user"}], {}, "messages[0].content"),
        ([{"content": "Hi"}], {}, "messages[0].role"),
        ([{"role": "tool", "content": "x"}], {}, "messages[0].role"),
        ([user("Hi")], {}, "messages[0].content[0]"),
        ([user({"text": "Hi"})], {}, "messages[0].content[0].type"),
        ([user({"type": "text"})], {}, "messages[0].content[0].text"),
        ([user({"type": "txt", "text": "Hi"})], {}, "messages[0].content[0].type"),
        ([user(use("a"))], {}, "messages[0].content[0].type"),
        ([assistant({"type": "tool_result", "tool_use_id": "a"})], {}, "messages[0].content[0].type"),
        ([assistant({**use("a"), "input": "{}"})], {}, "messages[0].content[0].input"),
        ([user({"type": "tool_result"})], {}, "messages[0].content[0].tool_use_id"),
        ([user({"type": "image"})], {}, "messages[0].content[0].source"),
        ([user({"type": "image", "source": {"type": "base64"}})], {}, "messages[0].content[0].source.data"),
        (
            [user({"type": "image", "source": {"type": "base64", "data": "???"}})],
            {},
            "messages[0].content[0].source.data",
        ),
        ([user({"type": "image", "source": {"type": "file"}})], {}, "messages[0].content[0].source.file_id"),
        ([], {"system": [{"type": "image"}]}, "system[0].type"),
        ([], {"temperature": "warm"}, "temperature"),
        ([], {"stop_sequences": "END"}, "stop_sequences"),
        ([], {"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ([], {"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ([], {"tool_choice": {"type": "tool", "name": "f"}}, "tool_choice.name"),
        ([], {"tool_choice": "auto"}, "tool_choice"),
        ([], {"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ([], {"thinking": {"type": "lots"}}, "thinking.type"),
        ([], {"output_config": {"effort": "huge"}}, "output_config.effort"),
        ([], {"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
        ([], {"thread": {"type": "create"}}, "thread"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(messages: list[Any], fields: Any, param: str) -> None:
    """M-010, M-041."""
    error = refused(*messages, **fields)
    assert (error.status, error.param) == (400, param)


@pytest.mark.parametrize("value", [None, "x", [], 7])
def test_a_body_that_is_no_object_is_refused(value: Any) -> None:
    with pytest.raises(RequestError):
        request.parse(value)


def test_a_count_needs_no_limit() -> None:
    """M-052."""
    asked = {"model": "gemini-flash", "messages": [HI], "tools": []}
    assert request.parse(asked, answers=False).request.messages == (Message("user", (TextPart("Hi"),), 0),)


# --- names and ids


@pytest.mark.parametrize(
    ("theirs", "shown"),
    [
        ("call_0a1b", "toolu_0a1b"),
        ("fa819dcd", "fa819dcd"),
        ("functions.look:0", "toolu_b64_ZnVuY3Rpb25zLmxvb2s6MA"),
        ("käse", "toolu_b64_a8Okc2U"),
    ],
)
def test_an_id_of_a_call_finds_back(theirs: str, shown: str) -> None:
    """M-026, X-010."""
    assert ids.shown(theirs) == shown
    assert ids.read(shown) == theirs


@pytest.mark.parametrize("strange", ["toolu_b64_", "toolu_b64_///", "toolu_b64_\ud800", "toolu_b64_gA", ""])
def test_an_id_that_was_never_ours_stays_as_it_is(strange: str) -> None:
    assert ids.read(strange) == strange


@pytest.mark.parametrize(
    ("attribute", "name"),
    [
        ("answer_format.schema", "output_config.format.schema"),
        ("stop", "stop_sequences"),
        ("parallel_calls", "tool_choice.disable_parallel_tool_use"),
        ("messages[3].parts", "messages[3].content"),
        ("messages[-1].parts", "system"),
        ("tools[2].parameters", "tools[2].input_schema"),
        ("tools[2].strict", "tools[2].strict"),
        ("foreign.container", "container"),
        ("temperature", "temperature"),
    ],
)
def test_attributes_are_told_as_the_client_calls_them(attribute: str, name: str) -> None:
    """X-008."""
    assert spelled(attribute, None) == name


def test_the_spelling_that_the_client_wrote_is_taken() -> None:
    found = request.parse(body(output_format={"type": "json_schema", "schema": SCHEMA}))
    assert spelled("answer_format", found) == "output_format"
    found = request.parse(body(output_config={"effort": "low"}))
    assert spelled("thinking", found) == "output_config.effort"


# --- what clients really send


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded requests are not here")
@pytest.mark.parametrize(
    "name",
    [
        "anthropic-python-blocks", "anthropic-python-parse", "anthropic-python-stream",
        "claude-image-in-tool-result", "claude-json-schema", "claude-sub-agent", "claude-text",
        "claude-tool-results", "claude-web-search",
        "langchain-anthropic-forced-tool", "langchain-anthropic-tool-result", "vercel-anthropic-tool-result",
    ],
)  # fmt: skip
def test_recorded_requests_are_taken(name: str) -> None:
    """M-002, M-003, M-016, M-025, M-031."""
    recorded = json.loads((RECORDED / f"{name}.json").read_text())["body"]
    recorded["tools"] = [tool for tool in recorded.get("tools", ()) if isinstance(tool, dict)]
    found = request.parse(recorded)
    gemini.build(found.request, Target("google", "gemini-3-flash-preview", "gemini"))
    allowed = ("tool_choice", "messages[0].content[2].citations", "tools[].eager_input_streaming")
    assert [one for one in found.dropped if one not in allowed] == []


@pytest.mark.parametrize("blocks", [1, 200], ids=["many messages", "long messages"])
def test_long_conversations_take_linear_time(blocks: int) -> None:
    def took_s(count: int) -> float:
        thoughts, calls = [thinking("", "s")] * blocks, [use("a")] * blocks
        asked = body(*[HI, assistant(*thoughts, *calls)] * (count // blocks), HI)
        began = time.process_time()
        request.parse(asked)
        return time.process_time() - began

    few, many = (min(took_s(count) for _ in range(4)) for count in (1_000, 10_000))
    assert many < 50 * few  # 100 times as long, if it were the square


def test_foreign_fields_are_of_this_dialect() -> None:
    assert parsed(container="c_1", speed="standard").foreign == Foreign(
        "anthropic", {"container": "c_1", "speed": "standard"}, frozenset({"speed"})
    )
