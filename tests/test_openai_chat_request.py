"""What a client sends becomes one `ChatRequest`, or a 400 that names the field."""

import base64
import contextlib
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import completion_create_params as sdk

from proxy.codec import jsonio
from proxy.errors import RequestError
from proxy.fronts.base import Parsed
from proxy.fronts.openai.chat import request as chat_request
from proxy.fronts.openai.chat.shape import ChatShape
from proxy.fronts.openai.fields import parameters
from proxy.types import (
    AnswerFormat,
    AudioOptions,
    BuiltinTool,
    ChatRequest,
    Foreign,
    FunctionTool,
    ImageOptions,
    Message,
    TextPart,
    Thinking,
    ToolChoice,
)

HELLO = [{"role": "user", "content": "Hi"}]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def parse(**fields: Any) -> ChatRequest:
    return read(**fields).request


def read(**fields: Any) -> Parsed[ChatRequest, ChatShape]:
    return chat_request.parse({"model": "m", "messages": HELLO, **fields})


def refusal(body: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        chat_request.parse(body)
    assert caught.value.status == 400
    return caught.value


def test_a_small_request_is_carried() -> None:
    assert parse(max_tokens=64, temperature=0) == ChatRequest(
        model="m",
        messages=(Message("user", (TextPart("Hi"),), 0),),
        max_tokens=64,
        temperature=0,
    )


def test_the_body_is_not_changed() -> None:
    body = {
        "model": "m",
        "messages": HELLO,
        "metadata": {"image_output": "parts", "a": "b"},
        "extra_body": {"google": {"x": 1}, "top_k": 5},
        "tools": [WEATHER],
    }
    before = jsonio.dumps(body)
    chat_request.parse(body)
    assert jsonio.dumps(body) == before


@pytest.mark.parametrize(
    ("fields", "attribute", "value"),
    [
        pytest.param({"stream": True}, "stream", True, id="stream"),
        pytest.param(
            {"max_tokens": 5, "max_completion_tokens": 7}, "max_tokens", 7, id="G-109 the newer wins"
        ),
        pytest.param({"max_tokens": 64.0}, "max_tokens", 64, id="a whole decimal is an integer"),
        pytest.param({"temperature": 0}, "temperature", 0, id="zero temperature"),
        pytest.param({"top_p": 0}, "top_p", 0, id="zero top_p"),
        pytest.param({"top_k": 40}, "top_k", 40, id="top_k"),
        pytest.param({"n": 128}, "n", 128, id="n"),
        pytest.param({"stop": "END"}, "stop", ("END",), id="G-110 one stop string"),
        pytest.param({"stop": ["a", "", "b"]}, "stop", ("a", "b"), id="G-112 empty stop strings go"),
        pytest.param({"seed": 0}, "seed", 0, id="zero seed"),
        pytest.param({"seed": 2**40}, "seed", 2**40, id="large seed"),
        pytest.param({"presence_penalty": -2}, "presence_penalty", -2, id="presence_penalty"),
        pytest.param({"frequency_penalty": 2}, "frequency_penalty", 2, id="frequency_penalty"),
        pytest.param({"logprobs": True, "top_logprobs": 0}, "top_logprobs", 0, id="top_logprobs"),
        pytest.param(
            {"response_format": {"type": "json_object"}},
            "answer_format",
            AnswerFormat("json_object"),
            id="json_object",
        ),
        pytest.param(
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {
                        "name": "n",
                        "description": "d",
                        "strict": True,
                        "schema": {"type": "object"},
                    },
                }
            },
            "answer_format",
            AnswerFormat("json_schema", {"type": "object"}, "n", "d", True),
            id="json_schema",
        ),
        pytest.param({"parallel_tool_calls": False}, "parallel_calls", False, id="parallel"),
        pytest.param({"modalities": ["TEXT", "image"]}, "modalities", ("text", "image"), id="modalities"),
        pytest.param(
            {"audio": {"voice": "alloy", "format": "pcm16"}},
            "audio",
            AudioOptions("alloy", "pcm16"),
            id="audio",
        ),
        pytest.param(
            {"audio": {"voice": {"id": "v1"}, "format": "wav"}},
            "audio",
            AudioOptions("v1", "wav"),
            id="voice id",
        ),
        pytest.param({"safety_settings": [{"a": 1}]}, "safety_settings", [{"a": 1}], id="safety_settings"),
        pytest.param({"cached_content": "c/1"}, "cached_content", "c/1", id="cached_content"),
        pytest.param({"service_tier": "flex"}, "service_tier", "flex", id="service_tier"),
        pytest.param({"store": False}, "store", False, id="store"),
        pytest.param({"metadata": {"a": "b"}}, "metadata", {"a": "b"}, id="metadata"),
        pytest.param({"metadata": {"image_output": "link"}}, "metadata", {}, id="I-033 it goes no further"),
        pytest.param({"reasoning_effort": "none"}, "thinking", Thinking("none"), id="effort"),
        pytest.param(
            {"reasoning": {"effort": "high", "summary": "auto"}},
            "thinking",
            Thinking("high", None, True),
            id="reasoning object",
        ),
        pytest.param(
            {"reasoning": {"max_tokens": 0, "exclude": True}},
            "thinking",
            Thinking(None, 0, False),
            id="budget",
        ),
        pytest.param({"reasoning": {"enabled": False}}, "thinking", Thinking("none"), id="reasoning off"),
        pytest.param({"reasoning": {"enabled": True}}, "thinking", Thinking("medium"), id="reasoning on"),
        pytest.param(
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
            "thinking",
            Thinking(None, 2048, True),
            id="thinking object",
        ),
        pytest.param({"thinking": {"type": "disabled"}}, "thinking", Thinking("none"), id="thinking off"),
        pytest.param(
            {"reasoning_effort": "low", "thinking": {"budget_tokens": 9}, "include_reasoning": False},
            "thinking",
            Thinking("low", None, False),
            id="effort beats budget",
        ),
        pytest.param(
            {"image_config": {"aspect_ratio": "16:9", "image_size": "2k"}},
            "image",
            ImageOptions(aspect_ratio="16:9", image_size="2k"),
            id="image_config",
        ),
        pytest.param(
            {"size": "1536x1024", "quality": "hd", "aspectRatio": "1:1", "resolution": "4K"},
            "image",
            ImageOptions("1536x1024", "1:1", "4K", "hd"),
            id="size fields at the root",
        ),
        pytest.param(
            {"google": {"thinking_config": {"x": 1}}}, "native", {"thinking_config": {"x": 1}}, id="google"
        ),
        pytest.param(
            {"extra_body": {"google": {"cachedContent": "c"}}},
            "native",
            {"cachedContent": "c"},
            id="G-129 nested once",
        ),
        pytest.param(
            {"extra_body": {"extra_body": {"google": {"a": 1}}}, "google": {"b": 2}},
            "native",
            {"a": 1, "b": 2},
            id="G-129 nested twice",
        ),
        pytest.param(
            {"extra_body": {"temperature": 1}, "temperature": 0}, "temperature", 0, id="the root wins"
        ),
        pytest.param({"extra_body": {"top_k": 3}}, "top_k", 3, id="any field may be nested by mistake"),
        pytest.param({"foo": [1]}, "foreign", Foreign("openai", {"foo": [1]}), id="G-137 unknown keys"),
        pytest.param({"foo": None}, "foreign", None, id="null says nothing"),
        pytest.param({"temperature": None}, "temperature", None, id="null is absent"),
        pytest.param({"tools": []}, "tools", (), id="G-077 no tools"),
        pytest.param(
            {"tools": [WEATHER]},
            "tools",
            (FunctionTool("weather", None, {"type": "object"}),),
            id="a function",
        ),
        pytest.param(
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": "f", "description": "d", "strict": True, "parameters": ""},
                    }
                ]
            },
            "tools",
            (FunctionTool("f", "d", None, True),),
            id="a function without parameters",
        ),
        pytest.param(
            {"tools": [{"type": "function", "name": "f"}]}, "tools", (FunctionTool("f"),), id="flat function"
        ),
        pytest.param(
            {"web_search_options": {"search_context_size": "low"}},
            "tools",
            (BuiltinTool("web_search", {"search_context_size": "low"}),),
            id="G-102 web_search_options",
        ),
        pytest.param(
            {"tools": [{"type": "web_search_preview_2025_03_11", "search_context_size": "low"}]},
            "tools",
            (BuiltinTool("web_search", {"search_context_size": "low"}),),
            id="G-103 dated web search",
        ),
        pytest.param(
            {"tools": [{"type": "openrouter:web_search"}]},
            "tools",
            (BuiltinTool("web_search"),),
            id="OpenRouter's web search",
        ),
        pytest.param(
            {"tools": [{"googleSearch": {"timeRangeFilter": {}}}]},
            "tools",
            (BuiltinTool("web_search", {"timeRangeFilter": {}}, native=True),),
            id="native search",
        ),
        pytest.param(
            {"tools": [{"type": "function", "function": {"name": "googleSearch"}}]},
            "tools",
            (BuiltinTool("web_search"),),
            id="a function called googleSearch",
        ),
        pytest.param(
            {"tools": [{"type": "code_interpreter"}, {"url_context": None}]},
            "tools",
            (BuiltinTool("code_execution"), BuiltinTool("url_context", native=True)),
            id="G-104 code and url",
        ),
        pytest.param(
            {"tools": [{"type": "file_search", "vector_store_ids": ["v"]}, {"type": "computer_use_preview"}]},
            "tools",
            (BuiltinTool("file_search", {"vector_store_ids": ["v"]}), BuiltinTool("computer_use")),
            id="file search and computer",
        ),
        pytest.param(
            {"tools": [{"google_maps": {"latitude": 1}}]},
            "tools",
            (BuiltinTool("maps", {"latitude": 1}, native=True),),
            id="maps",
        ),
        pytest.param(
            {"tools": [{"function": {"name": "f"}}]},
            "tools",
            (FunctionTool("f"),),
            id="a function without type",
        ),
        pytest.param(
            {"response_format": {"type": "text"}}, "answer_format", AnswerFormat("text"), id="text format"
        ),
        pytest.param(
            {"tools": [WEATHER], "tool_choice": {"type": "auto"}},
            "tool_choice",
            ToolChoice("auto"),
            id="auto object",
        ),
        pytest.param(
            {
                "tools": [WEATHER],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "function", "name": "weather"}],
                },
            },
            "tool_choice",
            ToolChoice("auto", ("weather",)),
            id="G-073 flat allowed tools",
        ),
        pytest.param({"tool_choice": "none"}, "tool_choice", ToolChoice("none"), id="G-069 none"),
        pytest.param(
            {"tools": [WEATHER], "tool_choice": "required"}, "tool_choice", ToolChoice("required"), id="G-070"
        ),
        pytest.param(
            {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
            "tool_choice",
            ToolChoice("required", ("weather",)),
            id="G-071 named",
        ),
        pytest.param(
            {"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "weather"}},
            "tool_choice",
            ToolChoice("required", ("weather",)),
            id="named as Anthropic does",
        ),
        pytest.param(
            {
                "tools": [WEATHER],
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {
                        "mode": "required",
                        "tools": [
                            {"type": "function", "function": {"name": "weather"}},
                            {"type": "web_search"},
                        ],
                    },
                },
            },
            "tool_choice",
            ToolChoice("required", ("weather",)),
            id="G-072 allowed tools",
        ),
        pytest.param(
            {
                "tools": [WEATHER, {"type": "web_search"}],
                "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search"}]},
            },
            "tool_choice",
            ToolChoice("none"),
            id="no function allowed",
        ),
        pytest.param(
            {"functions": [{"name": "f"}], "function_call": {"name": "f"}},
            "tool_choice",
            ToolChoice("required", ("f",)),
            id="G-067 legacy choice",
        ),
    ],
)
def test_a_field_is_carried(fields: dict[str, Any], attribute: str, value: Any) -> None:
    assert getattr(parse(**fields), attribute) == value


@pytest.mark.parametrize(
    ("fields", "attribute", "value"),
    [
        pytest.param({"functions": [{"name": "f"}]}, "legacy_functions", True, id="G-067 legacy functions"),
        pytest.param(
            {"functions": [{"name": "f"}], "tools": [WEATHER]}, "legacy_functions", False, id="both spellings"
        ),
        pytest.param({"stream_options": {"include_usage": True}}, "include_usage", True, id="include_usage"),
        pytest.param({"usage": {"include": True}}, "include_usage", True, id="OpenRouter's usage.include"),
        pytest.param({"image_output": "parts"}, "image_output", "parts", id="image_output"),
        pytest.param({"metadata": {"image_output": "link"}}, "image_output", "link", id="in metadata"),
        pytest.param({"extra_body": {"image_output": "images"}}, "image_output", "images", id="nested"),
        pytest.param({"audio": {"voice": "alloy", "format": "mp3"}}, "audio_format", "mp3", id="sound"),
        pytest.param({"audio": {"voice": "alloy"}}, "audio_format", "wav", id="sound as it comes"),
        pytest.param({}, "model", "m", id="the model's name"),
    ],
)
def test_what_shapes_the_reply_is_in_the_shape(fields: dict[str, Any], attribute: str, value: Any) -> None:
    assert getattr(read(**fields).shape, attribute) == value


SCHEMA = {"type": "object", "required": ["a"]}


@pytest.mark.parametrize(
    ("fields", "dropped"),
    [
        pytest.param(
            {"stream_options": {"include_obfuscation": True, "x": 1}},
            ("stream_options.include_obfuscation", "stream_options.x"),
            id="stream options",
        ),
        pytest.param(
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "foo": 1},
                    "schema": {"a": 1},
                }
            },
            ("response_format.json_schema.foo", "response_format.schema"),
            id="a schema at the wrong place",
        ),
        pytest.param({"response_format": {"type": "json_object", "schema": SCHEMA}}, (), id="understood"),
        pytest.param({"tools": [{**WEATHER, "foo": 1}]}, ("tools[0].foo",), id="a tool"),
        pytest.param(
            {"tools": [{"type": "function", "function": {"name": "f", "foo": 1}}]},
            ("tools[0].function.foo",),
            id="a function",
        ),
        pytest.param({"tools": [{"type": "function", "name": "f", "foo": 1}]}, ("tools[0].foo",), id="flat"),
        pytest.param({"functions": [{"name": "f", "foo": 1}]}, ("functions[0].foo",), id="legacy function"),
        pytest.param(
            {
                "tools": [WEATHER],
                "tool_choice": {"type": "function", "function": {"name": "weather"}, "x": 1},
            },
            ("tool_choice.x",),
            id="tool choice",
        ),
        pytest.param(
            {
                "tools": [WEATHER],
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {
                        "mode": "auto",
                        "tools": [{"type": "function", "function": {"name": "weather", "x": 1}, "y": 1}],
                    },
                },
            },
            (
                "tool_choice.allowed_tools.tools[0].y",
                "tool_choice.allowed_tools.tools[0].function.x",
            ),
            id="an allowed tool",
        ),
        pytest.param({"reasoning": {"effort": "low", "x": 1}}, ("reasoning.x",), id="reasoning"),
        pytest.param({"thinking": {"type": "enabled", "x": 1}}, ("thinking.x",), id="thinking"),
        pytest.param({"audio": {"voice": "a", "x": 1}}, ("audio.x",), id="audio"),
        pytest.param({"image_config": {"size": "2K", "x": 1}}, ("image_config.x",), id="image_config"),
        pytest.param({"usage": {"include": True, "x": 1}}, ("usage.x",), id="usage"),
        pytest.param({"reasoning": {"effort": "low", "x": None, "y": []}}, (), id="what asks for nothing"),
    ],
)
def test_a_member_that_nobody_reads_is_named(fields: dict[str, Any], dropped: tuple[str, ...]) -> None:
    assert read(**fields).dropped == dropped


ADDRESS = "https://x/a.png"
TEXT = {"type": "text", "text": "a"}


@pytest.mark.parametrize(
    ("messages", "dropped"),
    [
        ([{"role": "user", "content": "a", "foo": {"x": 1}}], ("messages[0].foo",)),
        (
            [{"role": "user", "content": [TEXT, {**TEXT, "foo": 1}]}],
            ("messages[0].content[1].foo",),
        ),
        (
            [{"role": "user", "content": [{**TEXT, "foo": 1}]} for _ in range(3)],
            ("messages[].content[].foo",),
        ),
        (
            [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "https://x/a", "x": 1}}],
                }
            ],
            ("messages[0].content[0].image_url.x",),
        ),
        (
            [
                {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "x": 1}, "y": 1}]},
                {"role": "tool", "tool_call_id": "c", "content": "1", "z": 1},
            ],
            ("messages[0].tool_calls[0].y", "messages[0].tool_calls[0].function.x", "messages[1].z"),
        ),
        (  # what openai-python gives back of a reply asks for nothing
            [{"role": "assistant", "content": "a", "refusal": None, "annotations": [], "audio": None}],
            (),
        ),
    ],
)
def test_a_member_of_a_message_that_nobody_reads_is_named(messages: Any, dropped: tuple[str, ...]) -> None:
    assert read(messages=messages).dropped == dropped


def test_pictures_of_the_history_that_are_left_out_are_named() -> None:
    shown = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,AAA{n}"}} for n in range(4)]
    history = [{"role": "assistant", "content": [one]} for one in shown[:3]]
    listed = {"role": "assistant", "content": "Here", "images": [shown[3]]}
    assert read(messages=history).dropped == ("messages[0].content[0]",)
    assert read(messages=[listed, *history[1:]]).dropped == ("messages[0].images[0]",)


def test_names_of_what_is_lost_are_bounded() -> None:
    found = read(audio={"voice": "a", **{f"x{n}" + "y" * 999: 1 for n in range(999)}}).dropped
    assert (len(found), max(map(len, found))) == (64, 200)


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([WEATHER, {"type": "function", "function": {"name": "weather"}}], "tools[1].function.name"),
        ([WEATHER, {"type": "function", "name": "weather"}], "tools[1].name"),
    ],
)
def test_two_functions_of_one_name_are_refused(tools: Any, param: str) -> None:
    assert refusal({"model": "m", "messages": HELLO, "tools": tools}).param == param


def test_the_same_function_twice_is_one() -> None:
    assert len(parse(tools=[WEATHER, WEATHER], functions=[WEATHER["function"]]).tools) == 1


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": 2.0**70},
        {"seed": 2**64 - 1},
        {"max_tokens": 1e30},
        {"top_k": 2**63},
        {"x": _deep(400)},
        {"x": {"y": [2**63]}},
        {"prediction": {"x": _deep(300)}},
        {"metadata": {"x": _deep(300)}},
    ],
)
def test_what_cannot_be_written_again_is_refused_by_its_field(fields: dict[str, Any]) -> None:
    assert refusal({"model": "m", "messages": HELLO, **fields}).param == next(iter(fields))


def test_what_can_be_written_again_is_carried() -> None:
    assert parse(seed=2**63 - 1, x=_deep(199)).foreign == Foreign("openai", {"x": _deep(199)})


def test_documented_fields_without_a_place_are_kept_as_they_are() -> None:
    """G-138"""
    fields = {
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "prompt_cache_options": {"mode": "explicit"},
        "prediction": {"type": "content", "content": "x"},
        "verbosity": "low",
        "moderation": {"model": "omni"},
        "logit_bias": {"50256": -100},
    }
    request = parse(**fields, metadata={"a": "b"}, store=True)
    assert request.foreign == Foreign("openai", fields)


def test_what_asks_for_nothing_is_silent() -> None:
    found = parse(verbosity="medium", logit_bias={}, foo="", bar=0).foreign
    assert found is not None
    assert found.silent == {"verbosity", "logit_bias", "foo"}
    assert found.paths() == ["foreign.bar"]


# Fields whose name differs from the attribute that carries them.
CARRIED_AS = {
    "max_completion_tokens": "max_tokens",
    "reasoning_effort": "thinking",
    "functions": "tools",
    "function_call": "tool_choice",
    "web_search_options": "tools",
    "response_format": "answer_format",
    "parallel_tool_calls": "parallel_calls",
}
SHAPING = {"stream_options"}


def test_every_field_the_newest_sdk_documents_has_a_place() -> None:
    fields = set(get_type_hints(sdk.CompletionCreateParamsStreaming))
    fields |= set(get_type_hints(sdk.CompletionCreateParamsNonStreaming))
    assert len(fields) > 35
    attributes = set(ChatRequest.__dataclass_fields__)
    homeless = {
        field
        for field in fields - SHAPING
        if CARRIED_AS.get(field, field) not in attributes and field not in parameters.DOCUMENTED
    }
    assert homeless == set()
    body = {"model": "m", "messages": HELLO} | dict.fromkeys(fields - {"model", "messages"})
    assert chat_request.parse(body).request.foreign is None


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": None}, "model", "missing_required_parameter"),
        ({"model": ""}, "model", "empty_string"),
        ({"model": 5}, "model", "invalid_type"),
        ({"messages": None}, "messages", "missing_required_parameter"),
        pytest.param({"messages": []}, "messages", "empty_array", id="G-008"),
        ({"messages": "hi"}, "messages", "invalid_type"),
        ({"messages": ["hi"]}, "messages[0]", "invalid_type"),
        ({"stream": "true"}, "stream", "invalid_type"),
        ({"stream": 1}, "stream", "invalid_type"),
        ({"stream_options": True}, "stream_options", "invalid_type"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage", "invalid_type"),
        ({"n": 0}, "n", "integer_below_min_value"),
        ({"n": 129}, "n", "integer_above_max_value"),
        ({"n": True}, "n", "invalid_type"),
        ({"n": 1.5}, "n", "invalid_type"),
        ({"temperature": 2.1}, "temperature", "decimal_above_max_value"),
        ({"temperature": -1}, "temperature", "decimal_below_min_value"),
        ({"temperature": "1"}, "temperature", "invalid_type"),
        ({"temperature": False}, "temperature", "invalid_type"),
        ({"top_p": 1.01}, "top_p", "decimal_above_max_value"),
        ({"presence_penalty": 3}, "presence_penalty", "decimal_above_max_value"),
        ({"frequency_penalty": -3}, "frequency_penalty", "decimal_below_min_value"),
        ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"max_completion_tokens": -5}, "max_completion_tokens", "integer_below_min_value"),
        ({"max_tokens": -5, "max_completion_tokens": 5}, "max_tokens", "integer_below_min_value"),
        ({"seed": "x"}, "seed", "invalid_type"),
        ({"seed": True}, "seed", "invalid_type"),
        ({"stop": 5}, "stop", "invalid_type"),
        ({"stop": ["a", 5]}, "stop[1]", "invalid_type"),
        ({"logprobs": "yes"}, "logprobs", "invalid_type"),
        ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs", "integer_above_max_value"),
        ({"reasoning_effort": "much"}, "reasoning_effort", "invalid_value"),
        ({"reasoning": "high"}, "reasoning", "invalid_type"),
        ({"reasoning": {"effort": 1}}, "reasoning.effort", "invalid_type"),
        ({"thinking": {"type": "x"}}, "thinking.type", "invalid_value"),
        ({"thinking": {"budget_tokens": "x"}}, "thinking.budget_tokens", "invalid_type"),
        ({"response_format": "json"}, "response_format", "invalid_type"),
        ({"response_format": {}}, "response_format.type", "missing_required_parameter"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        (
            {"response_format": {"type": "json_schema"}},
            "response_format.json_schema",
            "missing_required_parameter",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": []}}},
            "response_format.json_schema.schema",
            "invalid_type",
        ),
        ({"modalities": ["smell"]}, "modalities[0]", "invalid_value"),
        ({"audio": {"voice": "a", "format": "midi"}}, "audio.format", "invalid_value"),
        ({"service_tier": "gold"}, "service_tier", "invalid_value"),
        ({"metadata": []}, "metadata", "invalid_type"),
        ({"safety_settings": {}}, "safety_settings", "invalid_type"),
        ({"extra_body": 1}, "extra_body", "invalid_type"),
        ({"extra_body": {"google": 1}}, "extra_body.google", "invalid_type"),
        ({"image_config": "2K"}, "image_config", "invalid_type"),
        ({"image_config": {"image_size": 2}}, "image_config.image_size", "invalid_type"),
        ({"size": 1024}, "size", "invalid_type"),
        ({"logit_bias": {"5": 101}}, "logit_bias.5", "decimal_above_max_value"),
        ({"user": 5}, "user", "invalid_type"),
        ({"verbosity": "loud"}, "verbosity", "invalid_value"),
        ({"tools": {}}, "tools", "invalid_type"),
        ({"tools": [5]}, "tools[0]", "invalid_type"),
        ({"tools": [{}]}, "tools[0].type", "missing_required_parameter"),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "missing_required_parameter"),
        (
            {"tools": [{"type": "function", "function": {}}]},
            "tools[0].function.name",
            "missing_required_parameter",
        ),
        (
            {"tools": [WEATHER, {"type": "function", "function": {"name": "f", "parameters": []}}]},
            "tools[1].function.parameters",
            "invalid_type",
        ),
        pytest.param(
            {"tools": [{"type": "custom", "custom": {"name": "c"}}]},
            "tools[0].type",
            "unsupported_value",
            id="G-068",
        ),
        ({"tools": [{"type": "image_generation"}]}, "tools[0].type", "invalid_value"),
        ({"functions": [{}]}, "functions[0].name", "missing_required_parameter"),
        ({"tool_choice": "any"}, "tool_choice", "invalid_value"),
        ({"tool_choice": 5}, "tool_choice", "invalid_type"),
        pytest.param(
            {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "x"}}},
            "tool_choice.function.name",
            "invalid_value",
            id="G-075",
        ),
        (
            {
                "tools": [WEATHER],
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": [{"function": {"name": "x"}}]},
                },
            },
            "tool_choice.allowed_tools.tools[0].function.name",
            "invalid_value",
        ),
        ({"tool_choice": {"type": "any"}}, "tool_choice.type", "invalid_value"),
        ({"tool_choice": {"type": "custom", "custom": {}}}, "tool_choice.type", "unsupported_value"),
        ({"function_call": {"name": "x"}}, "function_call.name", "invalid_value"),
    ],
)
def test_a_wrong_value_is_refused_by_name(fields: dict[str, Any], param: str, code: str) -> None:
    error = refusal({"model": "m", "messages": HELLO, **fields})
    assert (error.param, error.code) == (param, code)
    assert f"'{param}'" in error.message


def test_thousands_of_allowed_tools_are_looked_up_in_one_set() -> None:
    """A set of all functions for each of them would not end."""
    names = [f"f{number}" for number in range(20_000)]
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"name": name} for name in names]}
    found = parse(tools=tools, tool_choice=allowed)
    assert found.tool_choice == ToolChoice("auto", tuple(names))


@pytest.mark.parametrize("body", [None, [], "x", 5, True])
def test_a_body_must_be_an_object(body: Any) -> None:
    assert refusal(body).code == "invalid_type"


def test_a_message_names_the_limit_and_the_value() -> None:
    error = refusal({"model": "m", "messages": HELLO, "n": 200})
    assert error.message == (
        "Invalid 'n': integer above maximum value. Expected a value <= 128, but got 200 instead."
    )


VOCABULARY = """
    model messages role content type text image_url url input_audio data format file file_data file_id user
    assistant tool function tool_calls function_call name arguments id tool_call_id images extra_body google
    tools functions tool_choice allowed_tools mode data:image/png;base64,AAAA data:, ![a](data:image/png,x)
    extra_content thought_signature reasoning_details thinking_blocks provider_specific_fields stop metadata
    image_config size reasoning thinking response_format json_schema audio modalities web_search_options
    video_url refusal reasoning_content stream_options logit_bias call__thought__x
"""
WORDS = st.sampled_from(VOCABULARY.split())
LONG = base64.b64encode(bytes(20000)).decode()
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | WORDS
    | st.just(LONG),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=20,
)
FIELDS = sorted({*parameters.SIMPLE, *parameters.DOCUMENTED, *parameters.GROUPS, "extra_body", "google"})
PARTS = st.lists(
    st.fixed_dictionaries({"type": WORDS}, optional={"text": JSON, "image_url": JSON, "file": JSON})
    | st.fixed_dictionaries({"type": st.just("input_audio"), "input_audio": JSON})
    | st.fixed_dictionaries({"type": st.just("video_url"), "video_url": JSON, "fps": JSON}),
    max_size=3,
)
CALLS = st.lists(
    st.fixed_dictionaries(
        {"id": JSON, "function": st.fixed_dictionaries({"name": JSON, "arguments": JSON}) | JSON},
        optional={"type": JSON, "extra_content": JSON, "thoughtSignature": JSON},
    ),
    max_size=2,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": WORDS | JSON, "content": WORDS | PARTS | JSON},
        optional={
            "tool_calls": CALLS | JSON,
            "images": JSON,
            "function_call": JSON,
            "extra_content": JSON,
            "thinking_blocks": JSON,
            "reasoning_details": JSON,
            "provider_specific_fields": JSON,
            "name": JSON,
            "tool_call_id": JSON,
            "refusal": JSON,
        },
    ),
    max_size=3,
)


@given(JSON | st.fixed_dictionaries({"model": JSON, "messages": MESSAGES | JSON}))
def test_no_body_raises_anything_but_a_request_error(body: Any) -> None:
    with contextlib.suppress(RequestError):
        chat_request.parse(jsonio.loads(b"".join(jsonio.dumps(body))))


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))
def test_no_field_raises_anything_but_a_request_error(fields: dict[str, Any]) -> None:
    with contextlib.suppress(RequestError):
        chat_request.parse({"model": "m", "messages": HELLO, **fields})
