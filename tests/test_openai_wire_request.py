"""Chat requests for upstreams that speak OpenAI: the whole body that goes out."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.errors import RequestError
from proxy.types import (
    AnswerFormat,
    AudioOptions,
    BuiltinTool,
    ChatRequest,
    Foreign,
    FunctionTool,
    ImageOptions,
    Message,
    Target,
    TextPart,
    Thinking,
    ToolChoice,
)
from proxy.wires.openai import OpenAIChatWire

WIRE = OpenAIChatWire()
HELLO = (Message("user", (TextPart("Hi"),)),)
BODY = {"model": "upstream-model", "messages": [{"role": "user", "content": "Hi"}]}


def target(**options: Any) -> Target:
    return Target("lan", "upstream-model", "openai", options=options)


def asked(**fields: Any) -> ChatRequest:
    return ChatRequest("alias", HELLO, **fields)


def foreign(**fields: Any) -> Foreign:
    return Foreign("openai", fields)


def test_a_small_request_is_small() -> None:
    call = WIRE.build(asked(), target())
    assert (call.path, call.method, call.stream, call.dropped) == ("/chat/completions", "POST", False, ())
    assert call.body == BODY


def test_every_documented_field_is_carried() -> None:
    request = asked(
        max_tokens=64,
        temperature=0.0,
        top_p=1.0,
        top_k=40,
        n=2,
        stop=("END", "STOP"),
        seed=0,
        presence_penalty=0.0,
        frequency_penalty=-0.5,
        logprobs=True,
        top_logprobs=0,
        parallel_calls=False,
        modalities=("text", "audio"),
        audio=AudioOptions("alloy", "mp3"),
        service_tier="default",
        store=False,
        metadata={"ticket": "7"},
        thinking=Thinking(effort="low"),
        answer_format=AnswerFormat("json_object"),
        tools=(FunctionTool("now", "Tells the time", {"type": "object"}, strict=True), FunctionTool("ping")),
        tool_choice=ToolChoice("auto"),
        user="u1",
        foreign=foreign(
            logit_bias={"50256": -100},
            verbosity="low",
            min_p=0.1,
            chat_template_kwargs={"enable_thinking": False},
        ),
    )
    call = WIRE.build(request, target())
    assert call.dropped == ()
    assert call.body == {
        **BODY,
        "max_tokens": 64,
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": 40,
        "n": 2,
        "stop": ["END", "STOP"],
        "seed": 0,
        "presence_penalty": 0.0,
        "frequency_penalty": -0.5,
        "logprobs": True,
        "top_logprobs": 0,
        "parallel_tool_calls": False,
        "modalities": ["text", "audio"],
        "audio": {"voice": "alloy", "format": "mp3"},
        "service_tier": "default",
        "store": False,
        "metadata": {"ticket": "7"},
        "reasoning_effort": "low",
        "response_format": {"type": "json_object"},
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "now",
                    "description": "Tells the time",
                    "parameters": {"type": "object", "properties": {}},
                    "strict": True,
                },
            },
            {"type": "function", "function": {"name": "ping"}},
        ],
        "tool_choice": "auto",
        "user": "u1",
        "logit_bias": {"50256": -100},
        "verbosity": "low",
        "min_p": 0.1,
        "chat_template_kwargs": {"enable_thinking": False},
    }


def test_what_openai_does_not_document_can_be_held_back_by_name() -> None:
    request = asked(foreign=foreign(min_p=0.1, logit_bias={"1": 2}), top_k=40)
    call = WIRE.build(request, target(unknown="drop"))
    assert call.body == {**BODY, "logit_bias": {"1": 2}}
    assert call.dropped == ("foreign.min_p", "top_k")


@pytest.mark.parametrize(
    ("wish", "named"),
    [
        (Thinking(summary=True), "thinking.summary"),
        (Thinking(budget=-1), "thinking"),
        (Thinking(budget=-1, summary=False), "thinking"),
    ],
)
def test_a_wish_to_think_that_says_no_amount_is_named(wish: Thinking, named: str) -> None:
    call = WIRE.build(asked(thinking=wish), target())
    assert (call.body, call.dropped) == (BODY, (named,))
    assert WIRE.build(asked(thinking=Thinking("low", summary=True)), target()).dropped == ()


@pytest.mark.parametrize("wish", [Thinking(summary=False), Thinking("low", summary=False)])
def test_that_thoughts_shall_not_be_shown_is_never_missed(wish: Thinking) -> None:
    """They are not handed on."""
    assert WIRE.build(asked(thinking=wish), target()).dropped == ()


def test_fields_of_another_dialect_are_named_and_not_sent() -> None:
    request = asked(
        foreign=Foreign("anthropic", {"mcp_servers": [1], "container": ""}, frozenset({"container"}))
    )
    call = WIRE.build(request, target())
    assert (call.body, call.dropped) == (BODY, ("foreign.mcp_servers",))


def test_a_client_cannot_write_over_our_fields_by_unknown_ones() -> None:
    call = WIRE.build(asked(stream=True, foreign=foreign(stream=False, model="x")), target())
    assert call.body["model"] == "upstream-model"
    assert call.body["stream"] is True


@pytest.mark.parametrize(
    ("option", "asked_stream", "sent"),
    [
        ("both", True, True),
        ("both", False, False),
        ("only", False, True),
        ("never", True, False),
    ],
)
def test_streaming_follows_what_the_upstream_can_do(option: str, asked_stream: bool, sent: bool) -> None:
    """V-020: the counts are always asked for, the client sees them if it asked."""
    call = WIRE.build(asked(stream=asked_stream), target(stream=option))
    assert call.stream is sent
    assert call.body == (
        {**BODY, "stream": True, "stream_options": {"include_usage": True}} if sent else BODY
    )


@pytest.mark.parametrize(
    ("options", "repairs", "field"),
    [
        ({}, (), "max_tokens"),
        ({"max_tokens_field": "max_completion_tokens"}, (), "max_completion_tokens"),
        ({}, ("max_completion_tokens",), "max_completion_tokens"),
        ({"max_tokens_field": "max_completion_tokens"}, ("max_tokens",), "max_tokens"),
    ],
)
def test_the_token_limit_goes_under_the_name_the_server_knows(
    options: dict[str, Any], repairs: tuple[str, ...], field: str
) -> None:
    call = WIRE.build(asked(max_tokens=5), target(**options), frozenset(repairs))
    assert call.body == {**BODY, field: 5}


@pytest.mark.parametrize(
    "said", [{}, {"type": "object"}, {"type": None, "properties": None}, {"properties": {}}]
)
def test_a_function_without_parameters_says_so(said: dict[str, Any]) -> None:
    """OpenAI: `object schema missing properties`; MCP leaves them out."""
    [tool] = WIRE.build(asked(tools=(FunctionTool("f", parameters=said),)), target()).body["tools"]
    assert tool["function"] == {"name": "f", "parameters": {"type": "object", "properties": {}}}


def test_what_else_a_schema_says_is_kept() -> None:
    schema = {"$schema": "x", "description": "None.", "additionalProperties": False, "type": "object"}
    [tool] = WIRE.build(asked(tools=(FunctionTool("f", parameters=schema),)), target()).body["tools"]
    assert tool["function"]["parameters"] == {**schema, "properties": {}}


def test_a_server_that_refuses_stream_options_gets_none() -> None:
    call = WIRE.build(asked(stream=True), target(), frozenset({"no_stream_options"}))
    assert call.body == {**BODY, "stream": True}


def test_a_limit_that_was_refused_is_the_lowest_that_was_told() -> None:
    call = WIRE.build(asked(max_tokens=32000), target(), frozenset({"at_most:16384", "at_most:8192"}))
    assert (call.body, call.dropped) == ({**BODY, "max_tokens": 8192}, ())
    call = WIRE.build(asked(max_tokens=32000), target(), frozenset({"at_most:8192", "max_completion_tokens"}))
    assert call.body == {**BODY, "max_completion_tokens": 8192}


@pytest.mark.parametrize(
    ("wish", "field", "named"),
    [
        ({"top_k": 40}, "top_k", "top_k"),
        ({"top_p": 0.5}, "top_p", "top_p"),
        ({"temperature": 0}, "temperature", "temperature"),
        ({"thinking": Thinking("max", summary=True)}, "reasoning_effort", "thinking"),
    ],
)
def test_what_a_server_refuses_and_can_do_without_is_left_out_and_named(
    wish: dict[str, Any], field: str, named: str
) -> None:
    call = WIRE.build(asked(**wish), target(), frozenset({f"without:{field}"}))
    assert (call.body, call.dropped) == (BODY, (named,))
    assert WIRE.build(asked(), target(), frozenset({f"without:{field}"})).dropped == ()


def test_several_choices_are_several_calls_where_a_relay_makes_one() -> None:
    assert WIRE.calls_needed(asked(n=3), target()) == 1
    assert WIRE.calls_needed(asked(n=3), target(n="one")) == 3
    assert WIRE.build(asked(n=3), target(n="one")).body == BODY


def test_pictures_by_address_are_fetched_by_us_unless_told() -> None:
    assert not WIRE.keeps_url("https://a/b.png", target())
    assert WIRE.keeps_url("https://a/b.png", target(media_mode="passthrough"))


TOOLS = (FunctionTool("a"), FunctionTool("b"), FunctionTool("c"))
A, B = ({"type": "function", "function": {"name": name}} for name in "ab")


@pytest.mark.parametrize(
    ("choice", "fields"),
    [
        (None, {"tools": [A, B]}),
        (ToolChoice("none"), {"tools": [A, B], "tool_choice": "none"}),
        (ToolChoice("required"), {"tools": [A, B], "tool_choice": "required"}),
        (
            ToolChoice("required", ("b",)),
            {"tools": [A, B], "tool_choice": {"type": "function", "function": {"name": "b"}}},
        ),
        (ToolChoice("auto", ("b",)), {"tools": [B], "tool_choice": "auto"}),
    ],
)
def test_tool_choice(choice: ToolChoice | None, fields: dict[str, Any]) -> None:
    call = WIRE.build(asked(tools=TOOLS[:2], tool_choice=choice), target())
    assert call.body == {**BODY, **fields}


def test_a_choice_among_several_tools_declares_only_those() -> None:
    call = WIRE.build(asked(tools=TOOLS, tool_choice=ToolChoice("required", ("a", "b"))), target())
    assert call.body == {**BODY, "tools": [A, B], "tool_choice": "required"}


def test_built_in_tools_are_search_options_or_named() -> None:
    """gateways.md B: what cannot be carried is named, never left out quietly."""
    request = asked(
        tools=(
            BuiltinTool("web_search", {"search_context_size": "low", "filters": {}}),
            BuiltinTool("code_execution"),
        ),
        tool_choice=ToolChoice("required"),
        parallel_calls=False,
    )
    call = WIRE.build(request, target())
    assert call.body == {**BODY, "web_search_options": {"search_context_size": "low"}}
    assert call.dropped == (
        "tools.web_search.filters",
        "tools.code_execution",
        "tool_choice",
        "parallel_calls",
    )


def test_nobody_misses_parallel_calls_where_there_is_nothing_to_call() -> None:
    """Replies of ours repeat it, and clients send what is usual."""
    search = BuiltinTool("web_search", {})
    for tools in ((), (search,)):
        call = WIRE.build(asked(tools=tools, parallel_calls=True), target())
        assert ("parallel_tool_calls" in call.body, call.dropped) == (False, ())


def test_googles_own_search_tool_is_a_search() -> None:
    call = WIRE.build(asked(tools=(BuiltinTool("web_search", {}, native=True),)), target())
    assert call.body == {**BODY, "web_search_options": {}}


def test_a_schema_for_the_answer_has_a_name() -> None:
    wanted = AnswerFormat("json_schema", {"type": "object"}, strict=False)
    call = WIRE.build(asked(answer_format=wanted), target())
    assert call.body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "response", "schema": {"type": "object"}, "strict": False},
    }


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        (Thinking(effort="xhigh"), "xhigh"),
        (Thinking(budget=0), "none"),
        (Thinking(budget=1024), "low"),
        (Thinking(budget=8192), "medium"),
        (Thinking(budget=24576), "high"),
        (Thinking(budget=-1), None),
        (Thinking(summary=True), None),
    ],
)
def test_how_much_to_think_is_said_in_words(thinking: Thinking, effort: str | None) -> None:
    call = WIRE.build(asked(thinking=thinking), target())
    assert call.body == ({**BODY, "reasoning_effort": effort} if effort else BODY)


def test_what_only_google_understands_is_named_or_put_into_its_place() -> None:
    request = asked(
        native={"thinking_config": {"thinking_level": "low"}},
        cached_content="cachedContents/1",
        safety_settings=[{"category": "HARM", "threshold": "OFF"}],
    )
    plain = WIRE.build(request, target())
    assert plain.body == BODY
    assert plain.dropped == ("cached_content", "safety_settings", "native")
    google = WIRE.build(request, target(extra_body="google"))
    assert google.dropped == ()
    assert google.body == {
        **BODY,
        "extra_body": {
            "google": {
                "cached_content": "cachedContents/1",
                "safety_settings": [{"category": "HARM", "threshold": "OFF"}],
                "thinking_config": {"thinking_level": "low"},
            }
        },
    }


def test_a_thinking_budget_stays_a_number_for_google() -> None:
    request = asked(thinking=Thinking(budget=512, summary=True))
    assert WIRE.build(request, target(extra_body="google")).body["extra_body"] == {
        "google": {"thinking_config": {"thinking_budget": 512, "include_thoughts": True}}
    }


WISH = ImageOptions(size="1536x1024", quality="hd")


@pytest.mark.parametrize(
    ("options", "fields", "dropped"),
    [
        ({}, {"image_config": {"aspect_ratio": "3:2", "image_size": "2K"}}, ()),
        (
            {"image_fields": "google"},
            {"extra_body": {"google": {"image_config": {"aspect_ratio": "3:2", "image_size": "2K"}}}},
            (),
        ),
        ({"image_fields": "image_config", "wish": ImageOptions(quality="high")}, {}, ("image.quality",)),
        ({"image_fields": "root"}, {"size": "1536x1024", "quality": "hd"}, ()),
        ({"image_fields": "drop"}, {}, ("image.size", "image.quality")),
    ],
)
def test_a_picture_size_goes_where_the_relay_reads_it(
    options: dict[str, Any], fields: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    call = WIRE.build(asked(image=options.get("wish", WISH)), target(**options))
    assert call.body == {**BODY, **fields}
    assert call.dropped == dropped


def test_a_size_that_nobody_understands_is_refused_by_name() -> None:
    with pytest.raises(RequestError) as caught:
        WIRE.build(asked(image=ImageOptions(size="huge")), target())
    assert caught.value.attribute == "image.size"


def test_a_relays_modalities_are_sent_where_the_client_said_none() -> None:
    """002: image models want `modalities`."""
    options = {"modalities": ["text", "image"]}
    assert WIRE.build(asked(), target(**options)).body == {**BODY, "modalities": ["text", "image"]}
    assert WIRE.build(asked(modalities=("text",)), target(**options)).body == {**BODY, "modalities": ["text"]}


def test_the_request_is_not_changed() -> None:
    request = asked(metadata={"a": "b"}, foreign=foreign(min_p=0.1), tools=TOOLS, image=WISH)
    before = repr(request)
    WIRE.build(request, target(extra_body="google", image_fields="google"))
    assert repr(request) == before
