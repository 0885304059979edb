"""`cache_control` and OpenAI's own breakpoints on parts and tools: carried to who reads them, else named."""

from typing import Any

import pytest

from proxy.errors import RequestError
from proxy.fronts.anthropic.messages import request as messages_request
from proxy.fronts.openai import spelling
from proxy.fronts.openai.chat import request as chat_request
from proxy.fronts.openai.responses import request as responses_request
from proxy.types import Call, Target, left_out
from proxy.wires.gemini import GeminiWire
from proxy.wires.openai import OpenAIChatWire

CLAUDE = "anthropic/claude-sonnet-5"
MARK = {"type": "ephemeral", "ttl": "1h"}
ANSWERED = {"role": "tool", "tool_call_id": "c", "content": "12"}
PNG = "data:image/png;base64,iVBORw0KGgo="


def call(body: Any, model: str = CLAUDE, **options: Any) -> tuple[Call, tuple[str, ...]]:
    """What goes out to a server that speaks OpenAI, and what a client is told was dropped."""
    parsed = chat_request.parse({"model": "m", **body})
    built = OpenAIChatWire().build(parsed.request, Target("relay", model, "openai", options=options))
    return built, (*parsed.dropped, *spelling.spelled_all(built.dropped, parsed))


def said(*content: Any, role: str = "user", **fields: Any) -> Any:
    return {"messages": [{"role": role, "content": list(content), **fields}]}


def text(words: str, **members: Any) -> Any:
    return {"type": "text", "text": words, **members}


def function(**members: Any) -> Any:
    return {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object", "properties": {}}},
        **members,
    }


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_a_marked_part_stays_a_part(role: str) -> None:
    built, dropped = call(said(text("Long.", cache_control=MARK), text("Short."), role=role))
    assert built.body["messages"] == [
        {
            "role": role,
            "content": [{"type": "text", "text": "Long.", "cache_control": MARK}, text("Short.")],
        }
    ]
    assert dropped == ()


def test_a_single_marked_text_is_no_string() -> None:
    built, _ = call(said(text("Long.", cache_control=MARK)))
    assert built.body["messages"][0]["content"] == [text("Long.", cache_control=MARK)]


def test_messages_without_a_mark_are_strings_as_ever() -> None:
    body = {
        "messages": [
            {"role": "system", "content": [text("Long.", cache_control=MARK)]},
            {"role": "user", "content": "Hi"},
            {"role": "user", "content": [text("Hi")]},
        ]
    }
    built, _ = call(body)
    assert [message["content"] for message in built.body["messages"]] == [
        [text("Long.", cache_control=MARK)],
        "Hi",
        "Hi",
    ]


def test_pictures_files_and_results_are_marked_too() -> None:
    picture = {"type": "image_url", "image_url": {"url": PNG}, "cache_control": MARK}
    paper = {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0="}}
    body = {
        "messages": [
            {"role": "user", "content": [picture, {**paper, "cache_control": MARK}]},
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": [text("12", cache_control=MARK)]},
        ]
    }
    built, dropped = call(body)
    user, _, result = built.body["messages"]
    assert [part["cache_control"] for part in user["content"]] == [MARK, MARK]
    assert result["content"] == [text("12", cache_control=MARK)]
    assert dropped == ()


@pytest.mark.parametrize(
    "tool",
    [
        pytest.param(function(cache_control=MARK), id="on the tool"),
        pytest.param(
            {"type": "function", "function": {**function()["function"], "cache_control": MARK}},
            id="on the function",
        ),
        pytest.param({"type": "function", **function()["function"], "cache_control": MARK}, id="flat"),
    ],
)
def test_a_marked_tool(tool: Any) -> None:
    built, dropped = call({**said("Hi"), "tools": [tool]})
    assert built.body["tools"] == [function(cache_control=MARK)]
    assert dropped == ()


def test_a_function_is_the_same_with_a_mark_and_without() -> None:
    built, _ = call({**said("Hi"), "tools": [function(), function(cache_control=MARK)]})
    assert built.body["tools"] == [function()]


@pytest.mark.parametrize(
    ("model", "options", "carried"),
    [
        (CLAUDE, {}, True),
        ("claude-opus-5", {}, True),
        ("google/gemini-3-flash-preview", {}, True),
        ("gpt-5.6-luna", {}, False),
        ("gemini-3-flash-preview", {}, False),
        ("qwen3-max", {"cache_control": True}, True),
        (CLAUDE, {"cache_control": False}, False),
    ],
)
def test_who_reads_it_is_known_by_the_models_name_or_said(model: str, options: Any, carried: bool) -> None:
    body = {**said(text("Long.", cache_control=MARK)), "tools": [function(cache_control=MARK)]}
    built, dropped = call(body, model, **options)
    assert ("cache_control" in str(built.body)) is carried
    named = ("messages[0].content[0].cache_control", "tools[0].cache_control")
    assert dropped == (() if carried else named)
    assert carried or built.body["messages"] == [{"role": "user", "content": "Long."}]


def test_openais_own_mark_goes_to_every_server_of_its_dialect() -> None:
    mark = {"mode": "explicit"}
    body = said(text("Long.", prompt_cache_breakpoint=mark, cache_control=MARK))
    built, dropped = call(body, "gpt-5.6-luna", unknown="drop")
    assert built.body["messages"][0]["content"] == [text("Long.", prompt_cache_breakpoint=mark)]
    assert dropped == ("messages[0].content[0].cache_control",)


def test_a_dialect_without_a_place_for_it_names_each_kind_of_place_once() -> None:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": [text("Hi", cache_control={})]} for _ in range(3)],
        "tools": [function(cache_control=MARK)],
    }
    parsed = chat_request.parse(body)
    built = GeminiWire().build(parsed.request, Target("google", "gemini-3-flash-preview"))
    left = (*built.dropped, *left_out(parsed.request, GeminiWire().carries))
    assert spelling.spelled_all(left, parsed) == (
        "messages[].content[].cache_control",
        "tools[0].cache_control",
    )


def test_a_mark_on_a_text_with_a_picture_stays_behind_both() -> None:
    shown = text(f"Here:\n\n![image]({PNG})\n\nNice.", cache_control=MARK)
    parsed = chat_request.parse({"model": "m", **said(shown, role="assistant")})
    assert [part.marks for part in parsed.request.messages[0].parts] == [None, None, {"cache_control": MARK}]  # type: ignore[union-attr]


def test_a_mark_that_could_not_be_written_again_is_refused() -> None:
    with pytest.raises(RequestError) as caught:
        call(said(text("Hi", cache_control={"ttl": 1 << 70})))
    assert caught.value.param == "messages[0].content[0]"


def test_the_responses_api_marks_its_parts_the_same_way() -> None:
    part = {"type": "input_text", "text": "Long.", "prompt_cache_breakpoint": {"mode": "explicit"}}
    parsed = responses_request.parse({"model": "m", "input": [{"role": "user", "content": [part]}]})
    target = Target("openai", "gpt-5.6-luna", "openai")
    assert OpenAIChatWire().build(parsed.request, target).body["messages"] == [
        {"role": "user", "content": [text("Long.", prompt_cache_breakpoint={"mode": "explicit"})]}
    ]


# --- marks of whole messages, and Anthropic's own --------------------------------------------------


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_the_mark_of_a_message_stands_on_its_last_part(role: str) -> None:
    """Relays read it there; LiteLLM reads it on the message only beside a string."""
    built, dropped = call(said(text("Long."), text("Last."), role=role, cache_control=MARK))
    assert built.body["messages"][0] == {
        "role": role,
        "content": [text("Long."), text("Last.", cache_control=MARK)],
    }
    assert dropped == ()


def test_the_mark_of_a_part_is_nearer_than_its_messages() -> None:
    nearer = {"type": "ephemeral"}
    built, _ = call(said(text("Long.", cache_control=nearer), cache_control=MARK))
    assert built.body["messages"][0]["content"] == [text("Long.", cache_control=nearer)]


def test_the_mark_of_a_result_stays_on_its_message() -> None:
    """Where OpenRouter's provider writes it and LiteLLM reads it; inside of a result Anthropic refuses it."""
    body = {
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "12", "cache_control": MARK},
        ]
    }
    built, dropped = call(body)
    assert built.body["messages"][2] == {
        "role": "tool",
        "tool_call_id": "c",
        "content": "12",
        "cache_control": MARK,
    }
    assert dropped == ()
    assert call(body, "gpt-5.6-luna")[1] == ("messages[2].cache_control",)


def test_a_marked_message_that_only_calls_is_named() -> None:
    calls = [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]
    body = {"messages": [{"role": "assistant", "tool_calls": calls, "cache_control": MARK}, ANSWERED]}
    assert call(body)[1] == ("messages[0].cache_control",)


def test_a_mark_stands_on_the_last_part_that_says_something() -> None:
    built, dropped = call(said(text("Long."), text(""), cache_control=MARK))
    assert (built.body["messages"][0]["content"], dropped) == ([text("Long.", cache_control=MARK)], ())
    calls = [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]
    caller = {"role": "assistant", "content": "", "tool_calls": calls, "cache_control": MARK}
    body = {"messages": [caller, ANSWERED]}
    assert call(body)[1] == ("messages[0].cache_control",)


def messages(body: Any, model: str = CLAUDE) -> tuple[Any, tuple[str, ...]]:
    """What goes out for a body of Anthropic's, and what is named."""
    parsed = messages_request.parse({"model": "m", "max_tokens": 9, **body})
    built = OpenAIChatWire().build(parsed.request, Target("relay", model, "openai"))
    return built.body, (*parsed.dropped, *built.dropped)


SHORT: Any = {"messages": [{"role": "user", "content": "Hi"}]}


def test_claude_codes_marks_go_on_to_who_serves_claude() -> None:
    """Its system text, its tools, and the newest block, here a result."""
    body = {
        "system": [text("Bill."), text("Long.", cache_control=MARK)],
        "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}, "cache_control": MARK}],
        "messages": [
            {"role": "user", "content": [text("Look."), text("There.", cache_control=MARK)]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c", "content": "12", "cache_control": MARK}
                ],
            },
        ],
    }
    sent, dropped = messages(body)
    system, user, _, result = sent["messages"]
    assert system["content"] == [text("Bill.\n\nLong.", cache_control=MARK)]
    assert sent["tools"] == [function(cache_control=MARK)]
    assert user["content"] == [text("Look."), text("There.", cache_control=MARK)]
    assert result == {"role": "tool", "tool_call_id": "c", "content": "12", "cache_control": MARK}
    assert dropped == ()


CALLED = {"type": "tool_use", "id": "c", "name": "f", "input": {}}


def test_a_marked_call_of_anthropics_goes_on_as_one() -> None:
    """Where LiteLLM reads it."""
    calls = [CALLED | {"cache_control": MARK}, CALLED | {"id": "d"}]
    results = [{"type": "tool_result", "tool_use_id": one, "content": "12"} for one in "cd"]
    body = {"messages": [{"role": "assistant", "content": calls}, {"role": "user", "content": results}]}
    sent, dropped = messages(body)
    first, second = sent["messages"][0]["tool_calls"]
    assert (first["cache_control"], "cache_control" in second) == (MARK, False)
    assert dropped == ()
    assert "cache_control" not in str(messages(body, "gpt-5.6-luna")[0])


def test_a_marked_call_of_a_chat_goes_on_or_is_named() -> None:
    marked = {"id": "c", "function": {"name": "f", "arguments": "{}"}, "cache_control": MARK}
    body = {"messages": [{"role": "assistant", "tool_calls": [marked]}, ANSWERED]}
    built, dropped = call(body)
    assert (built.body["messages"][0]["tool_calls"][0]["cache_control"], dropped) == (MARK, ())
    assert call(body, "gpt-5.6-luna")[1] == ("messages[0].tool_calls[0].cache_control",)


def test_a_mark_for_the_whole_request_stands_on_a_call_that_is_its_end() -> None:
    said_last: Any = {"messages": [{"role": "assistant", "content": [text("Hm."), CALLED]}]}
    sent, _ = messages({**said_last, "cache_control": MARK})
    assert [call["cache_control"] for call in sent["messages"][0]["tool_calls"]] == [MARK]
    assert sent["messages"][0]["content"] == "Hm."


def test_what_follows_a_mark_in_a_system_text_stays_out_of_the_cache() -> None:
    blocks = [text("A."), text("B.", cache_control=MARK), text("Today is Friday.")]
    sent, _ = messages({**SHORT, "system": blocks})
    assert sent["messages"][0]["content"] == [
        text("A.\n\nB.\n\n", cache_control=MARK),
        text("Today is Friday."),
    ]


def test_a_system_text_that_was_cut_for_a_mark_is_whole_for_who_reads_none() -> None:
    """Some servers take no list there."""
    blocks = [text("A.", cache_control=MARK), text("Today is Friday.")]
    sent, _ = messages({**SHORT, "system": blocks}, "deepseek-chat")
    assert sent["messages"][0] == {"role": "system", "content": "A.\n\nToday is Friday."}
    built, _ = call(said(text("A.", cache_control=MARK), text("B."), role="system"), "deepseek-chat")
    assert built.body["messages"][0]["content"] == [text("A."), text("B.")]  # as the client wrote it


def test_a_mark_for_the_whole_request_is_one_on_its_last_block() -> None:
    sent, dropped = messages({**SHORT, "cache_control": MARK})
    assert (sent["messages"][0]["content"], dropped) == ([text("Hi", cache_control=MARK)], ())


@pytest.mark.parametrize("model", ["gpt-5.6-luna", "gemini-3-flash-preview"])
def test_who_reads_no_marks_gets_none_and_nobody_misses_them(model: str) -> None:
    body = {
        "cache_control": MARK,
        "system": [text("Long.", cache_control=MARK)],
        "messages": [{"role": "user", "content": [text("Hi", cache_control=MARK)]}],
    }
    sent, dropped = messages(body, model)
    assert [message["content"] for message in sent["messages"]] == ["Long.", "Hi"]
    parsed = messages_request.parse({"model": "m", "max_tokens": 9, **body})
    assert (dropped, left_out(parsed.request, GeminiWire().carries)) == ((), ())


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({**SHORT, "cache_control": "ephemeral"}, "cache_control"),
        ({**SHORT, "system": [text("Hi", cache_control=[])]}, "system[0].cache_control"),
        (
            {**SHORT, "tools": [{"name": "f", "input_schema": {}, "cache_control": True}]},
            "tools[0].cache_control",
        ),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "tool_use", "id": "c", "name": "f", "input": {}, "cache_control": 5}
                        ],
                    }
                ]
            },
            "messages[0].content[0].cache_control",
        ),
    ],
)
def test_a_mark_of_anthropics_is_an_object(body: Any, param: str) -> None:
    with pytest.raises(RequestError) as caught:
        messages(body)
    assert (caught.value.param, caught.value.code) == (param, "invalid_type")


def test_a_mark_of_anthropics_that_could_not_be_written_again_is_refused() -> None:
    with pytest.raises(RequestError) as caught:
        messages({"messages": [{"role": "user", "content": [text("Hi", cache_control={"ttl": 1 << 70})]}]})
    assert caught.value.param == "messages[0].content[0]"
