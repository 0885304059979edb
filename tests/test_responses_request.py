"""Bodies of `/v1/responses` into requests of ours, and into what goes to Gemini and to chats."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.errors import RequestError
from proxy.fronts import sealed
from proxy.fronts.openai.responses import request
from proxy.fronts.openai.spelling import spelled_all
from proxy.types import (
    AnswerFormat,
    BuiltinTool,
    CallPart,
    ChatRequest,
    FunctionTool,
    ImageOptions,
    MediaPart,
    Message,
    ResultPart,
    Slice,
    Target,
    TextPart,
    Thinking,
    ThoughtPart,
    ToolChoice,
)
from proxy.wires.gemini import GeminiWire
from proxy.wires.openai import OpenAIChatWire
from tests.shared import FIXTURES, needs_fixtures

PNG = "iVBORw0KGgo="
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Weather of a city",
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
GEMINI = Target("google", "gemini-3-flash-preview")
CHAT = Target("lan", "qwen3", "openai")


def parsed(input: Any = "Hi", **fields: Any) -> Any:
    return request.parse({"model": "m", "input": input, **fields})


def messages(*items: Any, **fields: Any) -> tuple[Message, ...]:
    found: ChatRequest = parsed(list(items), **fields).request
    return found.messages


def to_gemini(body: dict[str, Any], model: str = "gemini-3-flash-preview") -> Any:
    return GeminiWire().build(request.parse(body).request, Target("google", model)).body


def to_chat(body: dict[str, Any]) -> Any:
    return OpenAIChatWire().build(request.parse(body).request, CHAT).body


def refused(input: Any = "Hi", **fields: Any) -> tuple[str | None, str | None]:
    with pytest.raises(RequestError) as caught:
        parsed(input, **fields)
    return caught.value.param, caught.value.code


# --- messages


def test_a_string_is_a_users_message() -> None:
    """R-010."""
    assert parsed("Hi").request.messages == (Message("user", (TextPart("Hi"),), 0),)


def test_messages_come_with_and_without_a_type_and_with_ids() -> None:
    """R-011, R-013, R-014: whole items of replies, plain strings, parts with all their members."""
    assert messages(
        {"role": "system", "content": "Be brief."},
        {
            "type": "message",
            "id": "msg_0",
            "role": "developer",
            "content": [{"type": "input_text", "text": "Dev"}],
        },
        {"type": "message", "role": "user", "content": "Hi"},
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "phase": "final",
            "content": [{"type": "output_text", "text": "Ho", "annotations": [], "logprobs": []}],
        },
        {"role": "assistant", "content": "again"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "user", "content": [{"type": "input_text", "text": "Bye"}]},
    ) == (
        Message("system", (TextPart("Be brief."),), 0),
        Message("developer", (TextPart("Dev"),), 1),
        Message("user", (TextPart("Hi"),), 2),
        Message("assistant", (TextPart("Ho"), TextPart("again"), TextPart("No.", refusal=True)), 3),
        Message("user", (TextPart("Bye"),), 6),
    )


def test_instructions_come_first() -> None:
    """R-012."""
    found = parsed([{"role": "user", "content": "Hi"}], instructions="Be brief.").request.messages
    assert found[0] == Message("system", (TextPart("Be brief."),), -2)


def test_media_of_all_kinds() -> None:
    """R-015, R-016, R-017: the address of a picture is a string, `detail` may be absent."""
    [message] = messages(
        {
            "role": "user",
            "content": [
                {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
                {"type": "input_image", "image_url": "https://x.example/a.png", "detail": "low"},
                {"type": "input_image", "file_id": "file-1", "detail": "auto"},
                {
                    "type": "input_file",
                    "filename": "a.pdf",
                    "file_data": "data:application/pdf;base64,JVBERi0xLjQ=",
                },
                {"type": "input_file", "filename": "b.pdf", "file_data": "JVBERi0xLjQ="},
                {"type": "input_file", "file_url": "https://x.example/c.pdf"},
                {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
            ],
        }
    )
    where = "input[0].content"
    assert message.parts == (
        MediaPart("image", Slice(PNG.encode()), mime="image/png", where=f"{where}[0].image_url"),
        MediaPart("image", url="https://x.example/a.png", detail="low", where=f"{where}[1].image_url"),
        MediaPart("image", file_id="file-1", where=f"{where}[2].file_id"),
        MediaPart(
            "file",
            Slice(b"JVBERi0xLjQ="),
            mime="application/pdf",
            filename="a.pdf",
            where=f"{where}[3].file_data",
        ),
        MediaPart(
            "file",
            Slice(b"JVBERi0xLjQ="),
            mime="application/pdf",
            filename="b.pdf",
            where=f"{where}[4].file_data",
        ),
        MediaPart("file", url="https://x.example/c.pdf", where=f"{where}[5].file_url"),
        MediaPart("audio", Slice(b"UklGRg=="), mime="audio/wav", where=f"{where}[6].input_audio.data"),
    )


def test_an_unknown_item_with_words_is_said_by_the_user_and_named() -> None:
    """R-018: it comes back in every request of its thread."""
    found = parsed(
        [{"type": "agent_message", "author": "a", "content": [{"type": "input_text", "text": "done"}]}]
    )
    assert found.request.messages == (Message("user", (TextPart("[agent_message] done"),), 0),)
    assert found.dropped == ("input[0]",)


@pytest.mark.parametrize(
    "item",
    [
        {"type": "compaction", "encrypted_content": "x"},
        {"type": "computer_call_output", "call_id": "c", "output": {}},
        {"type": "never_heard_of", "blob": "x"},
    ],
    ids=lambda item: item["type"],
)
def test_an_item_that_nobody_can_read_is_refused_by_its_type(item: dict[str, Any]) -> None:
    """R-018."""
    assert refused([{"role": "user", "content": "Hi"}, item]) == ("input[1].type", "unsupported_value")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": None}, "input"),
        ({"input": 5}, "input"),
        ({"input": [5]}, "input[0]"),
        ({"input": [{}]}, "input[0].type"),
        ({"input": [{"role": "boss", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "x"}]}]}, "input[0].content[0].type"),
        ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call", "call_id": "c", "arguments": "{}"}]}, "input[0].name"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{"}]},
         "input[0].arguments"),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output"),
        ({"temperature": 3}, "temperature"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"text": {"format": {}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"text": {"verbosity": "loud"}}, "text.verbosity"),
        ({"reasoning": {"effort": "much"}}, "reasoning.effort"),
        ({"tools": [{}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [WEATHER, {**WEATHER, "description": "other"}]}, "tools[1].name"),
        ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice.name"),
        ({"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["f"]}}]},
         "tools[0].container.file_ids"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"background": True, "store": False}, "background"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_its_path(body: dict[str, Any], param: str) -> None:
    assert refused(**{"input": "Hi", **body})[0] == param


def test_a_part_of_an_unknown_sort_is_told_the_sorts_of_responses() -> None:
    """R-014..R-017: not those of a chat."""
    with pytest.raises(RequestError) as caught:
        parsed(input=[{"role": "user", "content": [{"type": "image_uri"}]}])
    assert str(caught.value) == (
        "Invalid value for 'input[0].content[0].type': 'image_uri'. Supported values are: 'input_text', "
        "'input_image', 'input_file', 'input_audio', 'output_text', 'refusal'."
    )


# --- calls and their outputs


def test_calls_that_follow_each_other_are_one_turn_and_are_paired_by_call_id() -> None:
    """R-030, R-031: with and without `id` and `status`, outputs in any order."""
    call = {"type": "function_call", "name": "get_weather"}
    assert messages(
        {"role": "user", "content": "Warm?"},
        {**call, "id": "fc_1", "call_id": "call_A", "arguments": '{"city":"Paris"}', "status": "completed"},
        {**call, "call_id": "call_B", "arguments": '{"city":"Oslo"}'},
        {"type": "function_call_output", "call_id": "call_B", "output": "9C"},
        {"type": "function_call_output", "id": "fco_1", "call_id": "call_A", "output": "18C"},
    )[1:] == (
        Message(
            "assistant",
            (
                CallPart("call_A", "get_weather", {"city": "Paris"}),
                CallPart("call_B", "get_weather", {"city": "Oslo"}),
            ),
            1,
        ),
        Message("user", (ResultPart("call_B", None, (TextPart("9C"),)),), 3),
        Message("user", (ResultPart("call_A", None, (TextPart("18C"),)),), 4),
    )


def test_an_output_keeps_its_pictures_and_files() -> None:
    """R-032, X-021."""
    output = [
        {"type": "input_text", "text": "Look:"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
    ]
    [_, found] = messages(
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""},
        {"type": "function_call_output", "call_id": "c", "output": output},
    )
    picture = MediaPart("image", Slice(PNG.encode()), mime="image/png", where="input[1].output[1].image_url")
    assert found.parts == (ResultPart("c", None, (TextPart("Look:"), picture)),)


def test_a_call_that_we_gave_as_incomplete_comes_back_with_what_there_is_of_its_arguments() -> None:
    cut = {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a":', "status": "incomplete"}
    [found] = messages(cut)
    assert found.parts == (CallPart("c", "f", {"value": '{"a":'}),)
    [found] = messages({**cut, "arguments": '{"a":1}'})
    assert found.parts == (CallPart("c", "f", {"a": 1}),)


def test_functions_are_flat_or_as_in_a_chat_and_may_hold_nulls() -> None:
    """R-033: what was sent is repeated, with the members that Open Responses demands."""
    nulls = {"type": "function", "name": "now", "parameters": None, "strict": None}
    nested = {"type": "function", "function": {"name": "clock", "strict": True}}
    found = parsed(tools=[WEATHER, nulls, nested])
    assert found.request.tools == (
        FunctionTool("get_weather", "Weather of a city", WEATHER["parameters"]),  # type: ignore[arg-type]
        FunctionTool("now"),
        FunctionTool("clock", strict=True),
    )
    assert found.shape.echo["tools"] == [WEATHER, {**nulls, "description": None}, nested]


@pytest.mark.parametrize(
    ("choice", "meant"),
    [
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        ({"type": "function", "name": "get_weather"}, ToolChoice("required", ("get_weather",))),
        ({"type": "custom", "name": "run_sql"}, ToolChoice("required", ("run_sql",))),
        ({"type": "function", "name": "send", "namespace": "mail"}, ToolChoice("required", ("mail__send",))),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "get_weather"}]},
            ToolChoice("auto", ("get_weather",)),
        ),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "run_sql"}]},
            ToolChoice("required", ("run_sql",)),
        ),
    ],
)
def test_tool_choices(choice: Any, meant: ToolChoice) -> None:
    """R-034."""
    tools = [
        WEATHER,
        {"type": "custom", "name": "run_sql"},
        {"type": "namespace", "name": "mail", "tools": [{"type": "function", "name": "send"}]},
    ]
    assert parsed(tools=tools, tool_choice=choice).request.tool_choice == meant


def test_a_vendors_tool_cannot_be_forced_so_the_choice_is_named() -> None:
    """R-034."""
    found = parsed(tools=[{"type": "web_search"}], tool_choice={"type": "web_search_preview"})
    assert (found.request.tool_choice, found.dropped) == (None, ("tool_choice",))


@pytest.mark.parametrize(("mode", "lost"), [("auto", ()), ("required", ("tool_choice.mode",))])
def test_functions_that_are_not_among_the_allowed_tools_are_not_called(mode: str, lost: Any) -> None:
    """R-034: also where only the vendor's are allowed, which nobody can make it use."""
    search = {"type": "web_search"}
    choice = {"type": "allowed_tools", "mode": mode, "tools": [search]}
    found = parsed(tools=[WEATHER, search], tool_choice=choice)
    assert (found.request.tool_choice, found.dropped) == (ToolChoice("none"), lost)
    [declared, config] = to_gemini(
        {"model": "m", "input": "x", "tools": [WEATHER, search], "tool_choice": choice}
    )["tools"]
    assert (list(declared), list(config)) == (["functionDeclarations"], ["googleSearch"])


def test_the_tool_that_draws_may_be_the_one_that_is_allowed() -> None:
    draws = {"type": "image_generation"}
    for mode, forced in (("auto", False), ("required", True)):
        choice = {"type": "allowed_tools", "mode": mode, "tools": [draws]}
        found = parsed(tools=[WEATHER, draws], tool_choice=choice)
        assert found.aside is not None
        assert (found.request.tool_choice, found.aside.forced, found.dropped) == (None, forced, ())


def test_functions_of_a_namespace_have_joined_names() -> None:
    """R-035: at most 64 characters, and different ones stay different."""
    send = {"type": "function", "name": "send", "description": "Sends"}
    long = [{"type": "function", "name": f"{'n' * 60}{number}"} for number in (1, 2)]
    found = parsed(
        tools=[{"type": "namespace", "name": "mail", "description": "Letters", "tools": [send, *long]}]
    )
    names = [tool.name for tool in found.request.tools]
    assert found.request.tools[0] == FunctionTool("mail__send", "Letters\n\nSends")
    assert len(set(names)) == 3
    assert max(map(len, names)) == 64
    assert [(known.namespace, known.name) for known in found.shape.known.values()] == [
        ("mail", "send"),
        ("mail", long[0]["name"]),
        ("mail", long[1]["name"]),
    ]


def test_calls_of_a_namespace_come_back_under_the_joined_name() -> None:
    """R-035."""
    item = {"type": "function_call", "call_id": "c", "name": "send", "namespace": "mail", "arguments": "{}"}
    assert messages(item) == (Message("assistant", (CallPart("c", "mail__send", {}),), 0),)


def test_a_custom_tool_is_a_function_of_one_string() -> None:
    """R-036, X-020: its grammar is asked for in words."""
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
    body = {
        "model": "m",
        "input": [
            {"role": "user", "content": "Run the two selects."},
            {
                "type": "custom_tool_call",
                "id": "ctc_1",
                "call_id": "call_C",
                "name": "run_sql",
                "input": "SELECT 1;",
            },
            {"type": "custom_tool_call_output", "call_id": "call_C", "output": "2 rows"},
        ],
        "tools": [{"type": "custom", "name": "run_sql", "description": "Runs SQL", "format": grammar}],
    }
    sent = to_gemini(body)
    assert sent["tools"] == [
        {
            "functionDeclarations": [
                {
                    "name": "run_sql",
                    "description": "Runs SQL\n\nThe argument `input` is free text that must follow "
                    "this lark grammar:\nstart: /.+/",
                    "parametersJsonSchema": {
                        "type": "object",
                        "properties": {
                            "input": {"type": "string", "description": "the whole free-form input"}
                        },
                        "required": ["input"],
                    },
                }
            ]
        }
    ]
    assert sent["contents"][1]["parts"][0]["functionCall"]["args"] == {"input": "SELECT 1;"}
    assert sent["contents"][2]["parts"][0]["functionResponse"]["response"] == {"output": "2 rows"}


def test_a_search_for_tools_is_a_function_and_what_it_finds_can_be_called() -> None:
    """R-037."""
    search = {
        "type": "tool_search",
        "execution": "client",
        "description": "Finds",
        "parameters": {"type": "object"},
    }
    found = parsed(
        [
            {
                "type": "tool_search_call",
                "call_id": "s",
                "arguments": {"query": "mail"},
                "execution": "client",
            },
            {"type": "tool_search_output", "call_id": "s", "tools": [{"type": "function", "name": "send"}]},
        ],
        tools=[search],
    )
    assert found.request.tools == (
        FunctionTool("tool_search", "Finds", {"type": "object"}),
        FunctionTool("send"),
    )
    assert found.request.messages == (
        Message("assistant", (CallPart("s", "tool_search", {"query": "mail"}),), 0),
        Message("user", (ResultPart("s", None, (TextPart('[{"type":"function","name":"send"}]'),)),), 1),
    )


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "file_search", "vector_store_ids": ["v"]},
        {"type": "computer_use_preview"},
        {"type": "mcp", "server_label": "x"},
        {"type": "local_shell"},
        {"type": "shell"},
        {"type": "apply_patch"},
        {"type": "tool_search"},
        {"type": "programmatic_tool_calling"},
    ],
    ids=lambda tool: tool["type"],
)
def test_tools_that_nobody_can_run_are_named(tool: dict[str, Any]) -> None:
    """R-037, R-042, X-008: the others are carried."""
    found = parsed(tools=[WEATHER, tool])
    assert found.dropped == (f"tools[1].type={tool['type']}",)
    assert [tool.name for tool in found.request.tools] == ["get_weather"]


def test_members_of_tools_that_mean_nothing_here_are_named() -> None:
    """R-038."""
    found = parsed(
        tools=[{**WEATHER, "defer_loading": True, "async": True, "output_schema": {"type": "object"}}]
    )
    assert found.dropped == ("tools[0].defer_loading", "tools[0].async", "tools[0].output_schema")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"tool_choice": {"type": "function", "name": "get_weather", "x": 1}}, "tool_choice.x"),
        ({"tool_choice": {"type": "none", "x": 1}}, "tool_choice.x"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [], "x": 1}}, "tool_choice.x"),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "function", "name": "get_weather", "x": 1}],
                }
            },
            "tool_choice.tools[0].x",
        ),
        (
            {"tools": [{"type": "custom", "name": "c", "format": {"type": "text", "x": 1}}]},
            "tools[0].format.x",
        ),
        ({"tools": [{"type": "function", "function": {"name": "f"}, "x": 1}]}, "tools[0].x"),
    ],
)
def test_members_of_choices_and_formats_that_nobody_reads_are_named(fields: Any, named: str) -> None:
    assert parsed(**{"tools": [WEATHER], **fields}).dropped == (named,)


def test_members_of_thoughts_that_nobody_reads_are_named() -> None:
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "h", "x": 1}, "said"]}
    assert parsed([{"role": "user", "content": "a"}, thought]).dropped == ("input[1].summary[0].x",)


def test_empty_lists_ask_for_nothing() -> None:
    """R-020."""
    found = parsed(tools=[], include=[])
    assert (found.request, found.dropped) == (ChatRequest("m", (Message("user", (TextPart("Hi"),), 0),)), ())


# --- built-in tools and pictures


def test_the_vendors_own_tools() -> None:
    """R-042: nulls are no options."""
    search = {"type": "web_search", "filters": None, "user_location": None, "search_context_size": "medium"}
    found = parsed(tools=[search, {"type": "code_interpreter", "container": {"type": "auto"}}])
    assert found.request.tools == (
        BuiltinTool("web_search", {"search_context_size": "medium"}),
        BuiltinTool("code_execution", {"container": {"type": "auto"}}),
    )


def test_a_search_beside_functions_is_dropped_where_the_model_takes_one_of_both() -> None:
    """R-042: Codex sends both to every model."""
    body = {
        "model": "m",
        "input": "Hi",
        "tools": [WEATHER, {"type": "web_search", "external_web_access": True}],
    }
    found = request.parse(body)
    old = GeminiWire().build(found.request, Target("google", "gemini-2.5-flash"))
    assert [list(tool) for tool in old.body["tools"]] == [["functionDeclarations"]]
    assert "tools[1].type=web_search" in spelled_all(old.dropped, found)
    assert [list(tool) for tool in to_gemini(body)["tools"]] == [["functionDeclarations"], ["googleSearch"]]


def test_the_tool_that_draws_tells_the_size_of_a_picture_model() -> None:
    found = parsed(
        tools=[{"type": "image_generation", "size": "1024x1024", "quality": "auto", "partial_images": 2}]
    )
    assert found.request.image == ImageOptions(size="1024x1024")
    assert found.dropped == ("tools[0].partial_images",)


@pytest.mark.parametrize(
    ("wish", "value", "usual"),
    [
        ("action", "edit", "auto"),
        ("background", "transparent", "auto"),
        ("input_fidelity", "high", "low"),
        ("moderation", "low", "auto"),
        ("output_compression", 50, 100),
        ("output_format", "webp", "png"),
    ],
)
def test_what_the_tool_that_draws_cannot_have_is_named(wish: str, value: Any, usual: Any) -> None:
    tool = {"type": "image_generation"}
    assert parsed(tools=[WEATHER, {**tool, wish: value}]).dropped == (f"tools[1].{wish}",)
    assert parsed(tools=[WEATHER, {**tool, wish: usual}]).dropped == ()


def test_a_picture_of_an_earlier_answer_is_the_models_own() -> None:
    """R-045; the searches and code of earlier answers stand in their words."""
    found = messages(
        {"role": "user", "content": "Draw"},
        {
            "type": "web_search_call",
            "id": "ws_1",
            "status": "completed",
            "action": {"type": "search", "query": "x"},
        },
        {
            "type": "code_interpreter_call",
            "id": "ci_1",
            "status": "completed",
            "code": "1",
            "container_id": "c",
        },
        {
            "type": "image_generation_call",
            "id": "ig_1",
            "status": "completed",
            "result": PNG,
            "output_format": "png",
        },
        {"type": "image_generation_call", "id": "ig_2", "status": "failed", "result": None},
    )
    picture = MediaPart("image", Slice(PNG.encode()), mime="image/png", where="input[3].result")
    assert found[1:] == (Message("assistant", (picture,), 3),)


def test_a_picture_without_its_data_is_named() -> None:
    begun = {"role": "user", "content": "Draw"}
    drawn = {"type": "image_generation_call", "id": "ig_1", "status": "completed"}
    assert parsed([begun, drawn, begun]).dropped == ("input[1]",)
    assert parsed([begun, {**drawn, "status": "failed"}, begun]).dropped == ()


# --- the form of the answer, thinking, what is shown


def test_a_schema_is_flat() -> None:
    """R-040: and goes to Gemini."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    form = {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}
    found = parsed(text={"format": form})
    assert found.request.answer_format == AnswerFormat("json_schema", schema, "answer", None, True)
    config = to_gemini({"model": "m", "input": "Hi", "text": {"format": form}})["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert config["responseJsonSchema"]["properties"] == {"a": {"type": "integer"}}


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ({"name": "answer", "strict": True}, {"name": "answer", "description": None, "strict": True}),
        ({"name": "answer", "strict": None}, {"name": "answer", "description": None, "strict": False}),
        ({"description": "It."}, {"name": "", "description": "It.", "strict": False}),
    ],
)
def test_the_form_is_repeated_with_all_its_members(sent: dict[str, Any], shown: dict[str, Any]) -> None:
    """R-060: Open Responses wants a name and a strict that are no null."""
    form = {"type": "json_schema", "schema": {"type": "object"}}
    found = parsed(text={"format": {**form, **sent}})
    assert found.shape.echo["text"] == {"format": {**form, **shown}}


def test_what_is_not_carried_of_the_tools_has_the_clients_word() -> None:
    """X-008."""
    found = parsed(tools=[{"type": "code_interpreter", "container": {"type": "auto"}}])
    call = OpenAIChatWire().build(found.request, CHAT)
    assert spelled_all(call.dropped, found) == ("tools[0].type=code_interpreter",)


def test_json_without_a_schema_and_verbosity() -> None:
    """R-040."""
    found = parsed(text={"format": {"type": "json_object"}, "verbosity": "low"})
    assert found.request.answer_format == AnswerFormat("json_object")
    call = GeminiWire().build(found.request, GEMINI)
    unread = [*call.dropped, *found.request.foreign.paths()]
    assert spelled_all(tuple(unread), found) == ("text.verbosity",)
    assert OpenAIChatWire().build(found.request, CHAT).body["verbosity"] == "low"


@pytest.mark.parametrize(
    ("reasoning", "thinking", "shown"),
    [
        ({"effort": "low", "summary": "auto"}, Thinking("low", summary=True), True),
        ({"effort": "xhigh"}, Thinking("xhigh"), False),
        ({"generate_summary": "concise"}, Thinking(summary=True), True),
        ({"effort": None, "summary": None}, None, False),
    ],
)
def test_reasoning(reasoning: Any, thinking: Thinking | None, shown: bool) -> None:
    """R-051, R-052."""
    found = parsed(reasoning=reasoning)
    assert (found.request.thinking, found.shape.shows_thoughts) == (thinking, shown)


@pytest.mark.parametrize(
    ("effort", "level"), [("none", "MINIMAL"), ("low", "LOW"), ("xhigh", "HIGH"), ("max", "HIGH")]
)
def test_efforts_become_levels(effort: str, level: str) -> None:
    """R-051."""
    body = {"model": "m", "input": "Hi", "reasoning": {"effort": effort}}
    config = to_gemini(body)["generationConfig"]["thinkingConfig"]
    assert config["thinkingLevel"].upper() == level


def test_include() -> None:
    """R-070, R-054: what has an effect, what is accepted, and what nobody knows."""
    found = parsed(
        include=[
            "reasoning.encrypted_content",
            "message.output_text.logprobs",
            "web_search_call.action.sources",
            "code_interpreter_call.outputs",
            "file_search_call.results",
            "something.new",
        ],
        top_logprobs=3,
    )
    shape = found.shape
    assert (shape.seals, shape.logprobs, shape.sources, shape.outputs) == (True, True, True, True)
    assert (found.request.logprobs, found.request.top_logprobs) == (True, 3)
    assert found.dropped == ("include[5]=something.new",)


def test_what_a_reply_says_of_logprobs_asks_for_none() -> None:
    """R-071."""
    assert parsed(top_logprobs=0).request.top_logprobs is None
    assert parsed(top_logprobs=2).request.logprobs is True


def test_the_client_carries_signatures_where_nothing_is_kept() -> None:
    """R-054."""
    assert parsed().shape.seals is False
    assert parsed(store=False).shape.seals is True


def test_what_cannot_be_kept_to_is_named() -> None:
    """X-008, R-072: by the client's own names."""
    found = parsed(
        truncation="auto",
        max_tool_calls=3,
        client_metadata={"a": 1},
        stream_options={"include_obfuscation": True},
        metadata={"trace": "t-7"},
    )
    assert found.dropped == (
        "truncation",
        "max_tool_calls",
        "client_metadata",
        "stream_options.include_obfuscation",
    )
    assert found.shape.echo["truncation"] == "auto"
    assert found.shape.echo["metadata"] == {"trace": "t-7"}


def test_fields_that_only_chats_of_openais_dialect_have_go_there() -> None:
    body = {
        "model": "m",
        "input": "Hi",
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "max_output_tokens": 9,
    }
    sent = to_chat(body)
    assert (sent["prompt_cache_key"], sent["safety_identifier"]) == ("k", "s")
    assert sent["max_tokens"] == 9


# --- reasoning items


def test_signatures_come_back_on_what_they_belong_to() -> None:
    """R-050, X-011: before the calls or behind the text, whatever the model step is made of."""
    before = sealed.seal({"call_A": "c2lnQQ==", "ig_1": "c2lnUA=="})
    after = sealed.seal({"text": "c2lnVA=="})
    found = messages(
        {"role": "user", "content": "Hi"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "encrypted_content": before},
        {"type": "function_call", "call_id": "call_A", "name": "f", "arguments": "{}"},
        {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": PNG},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Ho"}]},
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": after},
        {"role": "user", "content": "Bye"},
    )
    call, picture, text = found[1].parts
    assert isinstance(call, CallPart)
    assert isinstance(picture, MediaPart)
    assert isinstance(text, TextPart)
    assert (call.signature, picture.signature, text.signature) == ("c2lnQQ==", "c2lnUA==", "c2lnVA==")


def test_a_summary_is_for_upstreams_that_want_thoughts_back_and_nobody_misses_it() -> None:
    """R-050."""
    item = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]}
    found = parsed([{"role": "user", "content": "Hi"}, item, {"role": "assistant", "content": "Ho"}])
    assert found.request.messages[1].parts == (
        ThoughtPart("Hm.", where="input[1].summary", spare=True),
        TextPart("Ho"),
    )
    assert GeminiWire().build(found.request, GEMINI).dropped == ()
    assert OpenAIChatWire().build(found.request, CHAT).dropped == ()
    wants = Target("lan", "deepseek", "openai", options={"history_reasoning": "reasoning_content"})
    sent = OpenAIChatWire().build(found.request, wants).body["messages"][1]
    assert sent["reasoning_content"] == "Hm."


@pytest.mark.parametrize(
    "value", ["b3BhcXVlLXN0YXRl", "gAAAAABo-opaque", "ZHJhZ29tYW4uMTpub3QganNvbg==", "ZHJhZ29tYW4!!", None, 5]
)
def test_what_others_encrypted_is_left_alone(value: Any) -> None:
    """X-011."""
    assert sealed.opened(value) == {}
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": value}
    assert messages({"role": "user", "content": "Hi"}, item) == (Message("user", (TextPart("Hi"),), 0),)


def test_a_reference_that_nobody_kept_is_refused_with_advice() -> None:
    """R-065, X-008."""
    with pytest.raises(RequestError) as caught:
        parsed([{"role": "user", "content": "Hi"}, {"type": "item_reference", "id": "msg_1"}])
    assert caught.value.param == "input[1].id"
    assert "'msg_1'" in caught.value.message
    assert "`store: false` in `providerOptions.openai`" in caught.value.message


# --- recorded requests and examples


@needs_fixtures
@pytest.mark.parametrize("name", ["R-text", "R-tools", "R-custom-tool", "R-web-search", "R-image"])
def test_the_examples_go_to_gemini_as_they_are_written(name: str) -> None:
    example = json.loads((FIXTURES / "surfaces" / "examples" / f"{name}.json").read_text())
    model = "gemini-2.5-flash-image" if name == "R-image" else "gemini-3-flash-preview"
    sent = json.loads(json.dumps(to_gemini(example["request"], model), default=str))
    wanted = example.get("gemini_request") or {"tools": example["gemini_tools"]}
    for key, value in wanted.items():
        if key != "toolConfig":  # AUTO is what holds anyway
            assert sent[key] == value or key == "generationConfig"
    if "openai_chat_request" in example:
        wanted = dict(example["openai_chat_request"])
        wanted["max_tokens"] = wanted.pop("max_completion_tokens")  # what all servers know
        assert to_chat(example["request"]) == wanted


@needs_fixtures
def test_what_real_clients_send_is_understood() -> None:
    """R-011, R-013..R-020, R-031, R-042: only references are refused, where nothing is kept."""
    refusals = {}
    for file in sorted((FIXTURES / "surfaces" / "requests").glob("*.json")):
        recorded = json.loads(file.read_text())
        if recorded["method"] != "POST" or recorded["path"] != "/v1/responses":
            continue
        try:
            request.parse(recorded["body"])
        except RequestError as error:
            refusals[file.stem] = error.code
    assert refusals == {
        "openai-agents-previous": "previous_response_not_found",
        "openai-python-conversation": "conversation_not_found",
        "vercel-openai-tool-result": "item_not_found",
        "vercel-openai-turns": "item_not_found",
    }
