"""Events into a response, whole and streamed: every stream keeps the law, and both say the same."""

from __future__ import annotations

import re
import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response

from proxy.errors import ErrorClass, UpstreamError
from proxy.fronts import sealed
from proxy.fronts.base import Facts
from proxy.fronts.openai.responses import request
from proxy.fronts.openai.responses.renderer import ResponsesRenderer
from proxy.simulators import pictures
from proxy.types import (
    Audio,
    Citation,
    CodeRun,
    Event,
    Extra,
    Finish,
    Image,
    Logprobs,
    MediaPart,
    PartialImage,
    Reasoning,
    Refusal,
    Searched,
    Slice,
    Started,
    Text,
    ToolCall,
    Usage,
)
from tests import responses_law

STOP = Finish("stop")
SEARCH: Any = [{"type": "web_search"}]
FOUND = Searched(("euro 2024 winner",), (("https://u", "uefa"),))
PNG = Slice(b"iVBORw0KGgo=")
KEYS = {
    "id", "object", "created_at", "completed_at", "status", "incomplete_details", "error", "model",
    "previous_response_id", "instructions", "output", "tools", "tool_choice", "parallel_tool_calls", "text",
    "top_p", "temperature", "presence_penalty", "frequency_penalty", "top_logprobs", "truncation",
    "reasoning", "usage", "max_output_tokens", "max_tool_calls", "store", "background", "service_tier",
    "metadata", "safety_identifier", "prompt_cache_key", "user", "conversation",
}  # fmt: skip
_OWN_ID = re.compile(r"([a-z]+_)[0-9a-f]{32}|(call_)[0-9a-f]{24}")


def renderer(
    *, refusal_in_text: bool = False, needs_message: bool = False, **fields: Any
) -> ResponsesRenderer:
    body = {"model": "gemini-flash", "input": "Hi", **fields}
    parsed = request.parse(body, refusal_in_text=refusal_in_text, needs_message=needs_message)
    return ResponsesRenderer(parsed, Facts(1790000000, now=lambda: 1790000002.5))


def plain(value: Any) -> Any:
    """Without the random part of our ids, and what was sealed opened."""
    return orjson.loads(_OWN_ID.sub(r"\1\2", orjson.dumps(_unsealed(value)).decode()))


def _unsealed(value: Any) -> Any:
    if isinstance(value, list):
        return [_unsealed(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: sealed.opened(one) if name == "encrypted_content" and isinstance(one, str) else _unsealed(one)
        for name, one in value.items()
    }


def whole(*events: Event, **fields: Any) -> Any:
    body = orjson.loads(b"".join(renderer(**fields).whole(events)))
    Response.model_validate(body)
    return body


def joined(out: Any) -> bytes:
    return out if isinstance(out, bytes) else b"".join(out)


def streamed(*events: Event, batch: int = 1, **fields: Any) -> list[dict[str, Any]]:
    """The events of a stream, which keeps the law."""
    one = renderer(stream=True, **fields)
    raw = b"".join(joined(one.feed(events[at : at + batch])) for at in range(0, len(events), batch))
    return responses_law.checked(raw + joined(one.finish()))


def output(*events: Event, started: Started | None = None, **fields: Any) -> Any:
    """The items, which are the same whole and streamed, without the random part of their ids."""
    if any(isinstance(event, Finish) for event in events):
        events = (started or Started(), *events)
    else:
        events = (*events, STOP)
    found = plain(whole(*events, **fields)["output"])
    for batch in (1, 100):
        assert plain(streamed(*events, batch=batch, **fields)[-1]["response"]["output"]) == found
    return found


def kinds(*events: Event, **fields: Any) -> list[str]:
    return [event["type"].removeprefix("response.") for event in streamed(*events, STOP, **fields)]


# --- the object


def test_a_whole_reply_has_every_member() -> None:
    """R-060, R-066, R-067, R-012."""
    body = whole(
        Started("g-1"),
        Text("Oslo lies at the head of a fjord in Norway."),
        Usage(11, 42, reasoning=30),
        STOP,
        instructions="Answer in one sentence.",
        temperature=0,
        max_output_tokens=200,
        metadata={"trace": "t-7"},
    )
    assert set(body) == KEYS
    assert plain(body) == {
        "id": "resp_",
        "object": "response",
        "created_at": 1790000000,
        "completed_at": 1790000002,
        "status": "completed",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": "Answer in one sentence.",
        "max_output_tokens": 200,
        "max_tool_calls": None,
        "model": "gemini-flash",
        "output": [
            {
                "id": "msg_00",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [
                    {
                        "type": "output_text",
                        "text": "Oslo lies at the head of a fjord in Norway.",
                        "annotations": [],
                        "logprobs": [],
                    }
                ],
            }
        ],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": True,
        "temperature": 0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "truncation": "disabled",
        "usage": {
            "input_tokens": 11,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 42,
            "output_tokens_details": {"reasoning_tokens": 30},
            "total_tokens": 53,
        },
        "user": None,
        "conversation": None,
        "metadata": {"trace": "t-7"},
    }


def test_what_was_asked_for_is_repeated() -> None:
    """R-051, R-060."""
    fields: dict[str, Any] = {
        "reasoning": {"effort": "xhigh", "summary": "auto"},
        "text": {"format": {"type": "json_object"}, "verbosity": "low"},
        "truncation": "auto",
        "top_p": 0.5,
        "user": "ann",
        "parallel_tool_calls": False,
    }
    body = whole(Text("{}"), STOP, **fields)
    assert {name: body[name] for name in fields} == fields


def test_ids_have_their_prefixes_and_are_short() -> None:
    """R-068, X-010."""
    body = whole(
        Reasoning("Hm."), Text("a"), ToolCall(0, "", "f", "{}"), Image("image/png", PNG), STOP,
        reasoning={"summary": "auto"},
    )  # fmt: skip
    assert [item["id"][:3] for item in body["output"]] == ["rs_", "msg", "fc_", "ig_"]
    assert re.fullmatch(r"call_[A-Za-z0-9]{24}", body["output"][2]["call_id"])
    assert max(len(item["id"]) for item in body["output"]) <= 64


# --- text


def test_a_stream_of_text() -> None:
    """R-080..R-085: the whole of it, literally."""
    events = plain(streamed(Started(), Text("Oslo "), Text("lies."), Usage(3, 2), STOP))
    at = {"item_id": "msg_00", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "Oslo lies.", "annotations": [], "logprobs": []}
    message = {"id": "msg_00", "type": "message", "role": "assistant"}
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert set(events[0]["response"]) == KEYS
    assert events[2:-1] == [
        {
            "type": "response.output_item.added",
            "sequence_number": 2,
            "output_index": 0,
            "item": {**message, "status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", "sequence_number": 3, **at, "part": {**part, "text": ""}},
        {"type": "response.output_text.delta", "sequence_number": 4, **at, "delta": "Oslo ", "logprobs": []},
        {"type": "response.output_text.delta", "sequence_number": 5, **at, "delta": "lies.", "logprobs": []},
        {
            "type": "response.output_text.done",
            "sequence_number": 6,
            **at,
            "text": "Oslo lies.",
            "logprobs": [],
        },
        {"type": "response.content_part.done", "sequence_number": 7, **at, "part": part},
        {
            "type": "response.output_item.done",
            "sequence_number": 8,
            "output_index": 0,
            "item": {**message, "status": "completed", "content": [part]},
        },
    ]
    assert events[-1]["sequence_number"] == 9
    assert events[-1]["response"]["usage"]["total_tokens"] == 5


def test_an_empty_answer_is_a_response_without_items() -> None:
    assert output(Text("")) == []


def test_citations_count_from_their_own_part() -> None:
    """R-044: a picture between makes two messages."""
    items = output(
        Text("Zürich. "), Image("image/png", PNG), Text("Bern is big."), Citation("https://b", "B", 8, 12)
    )
    assert items[2]["content"][0]["annotations"] == [
        {"type": "url_citation", "start_index": 0, "end_index": 4, "url": "https://b", "title": "B"}
    ]
    names = kinds(Text("Bern"), Citation("https://b", "B", 0, 4))
    assert names.index("output_text.annotation.added") == names.index("output_text.done") - 1


def test_citations_that_come_late_stand_on_the_text_they_cite() -> None:
    """R-044: behind a call, a picture or another text, and in a stream behind the end of their message."""
    called = (Text("Oslo. "), ToolCall(0, "c", "f", "{}"), Citation("https://o", "O", 0, 4))
    message, call = output(*called)
    [cited] = message["content"][0]["annotations"]
    assert (cited["start_index"], cited["end_index"], cited["url"]) == (0, 4, "https://o")
    assert call["type"] == "function_call"
    told = kinds(*called)
    assert told.index("output_text.annotation.added") > told.index("output_item.done")
    done = next(event for event in streamed(*called, STOP) if event["type"].endswith("output_item.done"))
    assert done["item"]["content"][0]["annotations"] == []

    before, _, behind = output(
        Text("Zürich. "),
        Image("image/png", PNG),
        Text("Bern."),
        Citation("https://z", "Z", 0, 6),
        Citation("https://b", "B", 8, 12),
        Citation("https://page", "", 0, 0),
    )
    spans = [
        [(one["url"], one["start_index"], one["end_index"]) for one in item["content"][0]["annotations"]]
        for item in (before, behind)
    ]
    assert spans == [[("https://z", 0, 6)], [("https://b", 0, 4), ("https://page", 0, 0)]]


def test_a_citation_where_nothing_was_said_stands_nowhere() -> None:
    [call] = output(ToolCall(0, "c", "f", "{}"), Citation("https://o", "O", 0, 0))
    assert call["type"] == "function_call"


def test_a_refusal_is_a_part_of_its_own() -> None:
    """R-014."""
    items = output(Text("Well. "), Refusal("I "), Refusal("won't."))
    assert items[0]["content"][1] == {"type": "refusal", "refusal": "I won't."}


def test_a_refusal_is_said_as_text_to_who_shows_nothing_else() -> None:
    """R-014: with the events of text."""
    events = (Refusal("I "), Refusal("won't."))
    text = {"type": "output_text", "text": "I won't.", "annotations": [], "logprobs": []}
    assert output(*events, refusal_in_text=True)[0]["content"] == [text]
    assert kinds(*events, refusal_in_text=True)[2:-1] == [
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
    ]
    said = output(Text("Well. "), *events, refusal_in_text=True)[0]["content"]
    assert [part["text"] for part in said] == ["Well. \n\nI won't."]


def test_a_refusal_is_no_answer_in_json() -> None:
    form = {"format": {"type": "json_object"}}
    [part] = output(Refusal("No."), refusal_in_text=True, text=form)[0]["content"]
    assert part == {"type": "refusal", "refusal": "No."}
    plain_text = {"format": {"type": "text"}}
    [part] = output(Refusal("No."), refusal_in_text=True, text=plain_text)[0]["content"]
    assert (part["type"], part["text"]) == ("output_text", "No.")


@pytest.mark.parametrize("told", [(Refusal("Blocked."),), ()], ids=["in words", "at the end"])
def test_what_a_filter_stops_is_said_as_text_to_who_shows_nothing_else(told: tuple[Event, ...]) -> None:
    """R-066: it is incomplete all the same."""
    events = (Started(), *told, Finish("content_filter", "SAFETY", message="Blocked."))
    last = streamed(*events, refusal_in_text=True)[-1]
    assert last["type"] == "response.incomplete"
    for body in (whole(*events, refusal_in_text=True), last["response"]):
        assert (body["status"], body["output"][0]["status"]) == ("incomplete", "incomplete")
        assert body["incomplete_details"] == {"reason": "content_filter", "message": "Blocked."}
        assert [part["text"] for part in body["output"][0]["content"]] == ["Blocked."]


def test_a_filter_that_says_nothing_is_told_in_words_of_ours_behind_what_was_said() -> None:
    items = output(Text("Well,"), Finish("content_filter", "SAFETY"), refusal_in_text=True)
    assert [part["text"] for part in items[0]["content"]] == [
        "Well,\n\nThe reply was blocked by the upstream content filter (SAFETY)."
    ]
    [cut] = output(Text("Well,"), Finish("content_filter", "SAFETY"))
    assert [part["text"] for part in cut["content"]] == ["Well,"]


def test_logprobs_stand_in_the_final_part_where_they_were_asked_for() -> None:
    """R-070, R-071."""
    entry = {"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}
    asked = output(Text("a"), Logprobs([entry]), include=["message.output_text.logprobs"])
    assert asked[0]["content"][0]["logprobs"] == [entry]
    assert output(Text("a"), Logprobs([entry]))[0]["content"][0]["logprobs"] == []


def test_sound_is_told_in_words() -> None:
    assert output(Audio("audio/wav", Slice(b""), "Hello"))[0]["content"][0]["text"] == "Hello"


# --- thoughts and signatures


def test_thoughts_are_summaries_where_they_were_asked_for() -> None:
    """R-052, R-053, R-055, R-050: a bold line begins a new one."""
    thoughts = (Reasoning("**One**\n"), Reasoning("first."), Reasoning("**Two**\nsecond."))
    assert output(*thoughts, Text("Hi"), reasoning={"summary": "auto"})[0] == {
        "id": "rs_00",
        "type": "reasoning",
        "summary": [
            {"type": "summary_text", "text": "**One**\nfirst."},
            {"type": "summary_text", "text": "**Two**\nsecond."},
        ],
    }
    assert [item["type"] for item in output(*thoughts, Text("Hi"))] == ["message"]
    assert kinds(Reasoning("Hm."), reasoning={"summary": "auto"})[2:-1] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]


@pytest.mark.parametrize(
    "pieces",
    [("It is ", "**", "not", "**", " so"), ("It is ", "**not**", " so"), ("It is ", "**not** so")],
    ids=["tokens", "a word", "more"],
)
def test_bold_words_begin_no_summary(pieces: tuple[str, ...]) -> None:
    """R-053: of upstreams that stream thoughts in tokens a bold word would cut them into parts."""
    [thought, _] = output(*map(Reasoning, pieces), Text("Hi"), reasoning={"summary": "auto"})
    assert thought["summary"] == [{"type": "summary_text", "text": "It is **not** so"}]


def test_signatures_go_with_the_reasoning_before_their_call() -> None:
    """R-050, R-054, X-011, X-023."""
    calls = (ToolCall(0, "call_A", "f", "{}", signature="c2lnQQ=="), ToolCall(1, "call_B", "f", '{"a":1}'))
    fields: dict[str, Any] = {"reasoning": {"summary": "auto"}, "store": False}
    items = output(Reasoning("Hm."), *calls, **fields)
    assert [item["type"] for item in items] == ["reasoning", "function_call", "function_call"]
    assert items[0]["encrypted_content"] == {"call_A": "c2lnQQ=="}
    # without thoughts it still needs its item
    [reasoning, *_] = output(*calls, store=False)
    assert (reasoning["summary"], reasoning["encrypted_content"]) == (
        [],
        {"call_A": "c2lnQQ=="},
    )
    # a client that did not ask, and whose reply is kept, has none
    assert [item["type"] for item in output(*calls)] == ["function_call", "function_call"]


def test_signatures_of_texts_and_pictures() -> None:
    """X-011, X-013: a text's comes when the text is out; it is answer text all the same."""
    items = output(
        Text("Here: "), Image("image/png", PNG, signature="c2lnUA=="), Text("so."),
        Text("", signature="c2lnVA=="), include=["reasoning.encrypted_content"],
    )  # fmt: skip
    assert [item["type"] for item in items] == [
        "message",
        "reasoning",
        "image_generation_call",
        "message",
        "reasoning",
    ]
    assert list(items[1]["encrypted_content"].values()) == ["c2lnUA=="]
    sent = whole(Image("image/png", PNG, signature="c2lnUA=="), STOP, store=False)["output"]
    found = request.parse({"model": "m", "input": sent}).request.messages[0].parts[0]
    assert isinstance(found, MediaPart)
    assert found.signature == "c2lnUA=="
    assert items[4]["encrypted_content"] == {"text": "c2lnVA=="}


def test_what_a_vendor_said_to_its_own_tools_goes_along() -> None:
    parts = [{"toolCall": {"id": "1"}}]
    told = Extra("google", {"parts": parts, "model_version": "x"})
    assert output(Text("Hi"), told, store=False)[1]["encrypted_content"] == {"parts": parts}
    items = whole(Text("Hi"), told, STOP, store=False)["output"]
    sent = [{"role": "user", "content": "Hi"}, *items, {"role": "user", "content": "Go on"}]
    found = request.parse({"model": "m", "input": sent}).request.messages[1]
    assert found.extra == {"parts": parts}


# --- calls


def test_a_whole_call_is_one_delta() -> None:
    """R-039, R-084."""
    events = plain(streamed(ToolCall(0, "call_A", "get_weather", '{"city":"Paris"}'), STOP))
    call = {"id": "fc_00", "type": "function_call", "call_id": "call_A", "name": "get_weather"}
    at = {"item_id": "fc_00", "output_index": 0}
    said = '{"city":"Paris"}'
    assert events[2:-1] == [
        {
            "type": "response.output_item.added",
            "sequence_number": 2,
            "output_index": 0,
            "item": {**call, "arguments": "", "status": "in_progress"},
        },
        {"type": "response.function_call_arguments.delta", "sequence_number": 3, **at, "delta": said},
        {"type": "response.function_call_arguments.done", "sequence_number": 4, **at, "arguments": said},
        {
            "type": "response.output_item.done",
            "sequence_number": 5,
            "output_index": 0,
            "item": {**call, "arguments": said, "status": "completed"},
        },
    ]


def test_pieces_of_calls_are_passed_on_also_when_they_are_mixed() -> None:
    """R-039: chats give arguments in pieces."""
    pieces = (
        ToolCall(0, "call_A", "f", ""),
        ToolCall(0, "", "", '{"a":'),
        ToolCall(1, "call_B", "g", '{"b"'),
        ToolCall(0, "", "", "1}"),
        ToolCall(1, "", "", ":2}"),
    )
    assert [item["arguments"] for item in output(*pieces)] == ['{"a":1}', '{"b":2}']
    announced = (
        ToolCall(0, "call_A", "f", ""),
        ToolCall(1, "call_B", "g", ""),
        Text("Both."),
        ToolCall(0, "", "", '{"a":1}'),
        ToolCall(1, "", "", '{"b":2}'),
    )
    items = output(*announced)
    assert [item.get("arguments") for item in items] == ['{"a":1}', '{"b":2}', None]


def test_a_call_without_arguments_has_an_empty_object() -> None:
    assert output(ToolCall(0, "call_A", "f", ""))[0]["arguments"] == "{}"


def test_a_call_that_is_cut_off_is_incomplete() -> None:
    """R-066: nobody shall make it. One that came whole is complete, whatever ended the reply."""
    whole_call, cut = ToolCall(0, "c1", "f", '{"a":1}'), ToolCall(1, "c2", "f", '{"a":')
    assert output(whole_call, cut, Finish("length")) == [
        {
            "id": "fc_00",
            "type": "function_call",
            "call_id": "c1",
            "name": "f",
            "arguments": '{"a":1}',
            "status": "completed",
        },
        {
            "id": "fc_01",
            "type": "function_call",
            "call_id": "c2",
            "name": "f",
            "arguments": '{"a":',
            "status": "incomplete",
        },
    ]


def test_a_custom_call_that_is_cut_off_is_incomplete() -> None:
    tools = [{"type": "custom", "name": "sh"}]
    [call] = output(ToolCall(0, "c", "sh", '{"input":"rm -r'), Finish("length"), tools=tools)
    assert (call["type"], call["status"]) == ("custom_tool_call", "incomplete")


def test_two_calls_of_one_id_get_two() -> None:
    """R-030."""
    first, second = output(ToolCall(0, "c", "f", "{}"), ToolCall(1, "c", "f", "{}", signature=None))
    assert first["call_id"] == "c"
    assert second["call_id"].startswith("call_")


def test_a_custom_call_is_its_bare_text() -> None:
    """R-036, X-020."""
    tools = [{"type": "custom", "name": "run_sql"}]
    call = ToolCall(0, "call_C", "run_sql", '{"input":"SELECT 1;\\nSELECT 2;"}')
    assert output(call, tools=tools) == [
        {
            "id": "ctc_00",
            "type": "custom_tool_call",
            "call_id": "call_C",
            "name": "run_sql",
            "input": "SELECT 1;\nSELECT 2;",
            "status": "completed",
        }
    ]
    assert kinds(call, tools=tools)[3:-2] == ["custom_tool_call_input.delta", "custom_tool_call_input.done"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [("", ""), ("plain", "plain"), ('"quoted"', "quoted"), ('{"other":1}', '{"other":1}')],
)
def test_a_custom_call_that_is_no_object_of_one_string(arguments: str, text: str) -> None:
    """R-036: nothing that the model wrote is lost."""
    [item] = output(ToolCall(0, "c", "t", arguments), tools=[{"type": "custom", "name": "t"}])
    assert item["input"] == text


def test_a_call_of_a_namespace_has_both_names() -> None:
    """R-035: else Codex knows no such call."""
    tools = [
        {
            "type": "namespace",
            "name": "mail",
            "description": "Letters",
            "tools": [{"type": "function", "name": "send"}],
        }
    ]
    [item] = output(ToolCall(0, "c", "mail__send", "{}"), tools=tools)
    assert (item["namespace"], item["name"]) == ("mail", "send")


def test_a_search_for_tools_is_an_item_of_its_own() -> None:
    """R-037."""
    tools = [{"type": "tool_search", "execution": "client", "parameters": {"type": "object"}}]
    assert output(ToolCall(0, "c", "tool_search", '{"query":"mail"}'), tools=tools) == [
        {
            "id": "tsc_00",
            "type": "tool_search_call",
            "call_id": "c",
            "execution": "client",
            "arguments": {"query": "mail"},
            "status": "completed",
        }
    ]


# --- what the upstream made or ran


def test_a_picture_is_an_item() -> None:
    """R-045, R-046: asked for by the tool or not."""
    tool = {"type": "image_generation", "size": "1024x1024"}
    picture = Image("image/png", PNG, revised_prompt="a pink sky")
    assert output(Text("Here it is."), picture, tools=[tool])[1] == {
        "id": "ig_01",
        "type": "image_generation_call",
        "status": "completed",
        "result": "iVBORw0KGgo=",
        "output_format": "png",
        "size": "1024x1024",
        "quality": "auto",
        "background": "auto",
        "revised_prompt": "a pink sky",
    }
    told = Image("image/png", PNG, quality="low", background="opaque")
    said = output(told, tools=[{**tool, "quality": "high"}])
    assert (said[0]["quality"], said[0]["background"]) == ("low", "opaque")
    assert kinds(PartialImage("image/png", PNG, 0), picture)[2:-1] == [
        "output_item.added",
        "image_generation_call.in_progress",
        "image_generation_call.generating",
        "image_generation_call.partial_image",
        "image_generation_call.completed",
        "output_item.done",
    ]


@pytest.mark.parametrize("asked", ["1536x1024", "auto", None])
def test_a_picture_tells_the_size_that_it_has(asked: str | None) -> None:
    """I-003: a model that knows ratios alone makes 1264x848 of 1536x1024."""
    tool = {"type": "image_generation"} | ({"size": asked} if asked else {})
    image = Image("image/png", Slice.of(pictures.png(1264, 848, "a cat")))
    [item] = output(image, tools=[tool])
    assert item["size"] == "1264x848"


def test_a_picture_has_an_empty_message_behind_it_for_who_asks_again_without_one() -> None:
    """A turn without a message is not over for OpenAI's agents, which then buy the next picture."""
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    image = Image("image/png", PNG)
    for events, sorts in (((image,), ["image_generation_call", "message"]), ((Usage(3),), ["message"])):
        items = output(*events, needs_message=True)
        assert [item["type"] for item in items] == sorts
        assert (items[-1]["status"], items[-1]["content"]) == ("completed", [part])
    assert [item["type"] for item in output(image)] == ["image_generation_call"]


def test_who_asks_again_without_a_message_gets_none_beside_what_was_said_or_called() -> None:
    for event, sort in ((ToolCall(0, "c", "f", "{}"), "function_call"), (Text("Hi"), "message")):
        assert [item["type"] for item in output(event, needs_message=True)] == [sort]


def test_a_large_picture_is_spliced_and_not_copied() -> None:
    """R-046."""
    data = Slice(b"A" * 100_000)
    one = renderer(stream=True)
    pieces = one.feed([Image("image/png", data)])
    assert isinstance(pieces, list)
    assert sum(isinstance(piece, memoryview) and piece.obj is data.raw.obj for piece in pieces) == 1


def test_code_that_was_run_is_an_item_and_no_text() -> None:
    """X-022."""
    run = (
        Text("Sum: "),
        CodeRun("\n```python\nprint(45)\n```\n", "print(45)", "python"),
        CodeRun("```\n45\n```\n", output="45\n"),
        Text("45."),
        Citation("https://b", "B", 41, 44),
    )
    items = output(*run, include=["code_interpreter_call.outputs"])
    assert [item["type"] for item in items] == ["message", "code_interpreter_call", "message"]
    assert items[1] == {
        "id": "ci_01",
        "type": "code_interpreter_call",
        "status": "completed",
        "code": "print(45)",
        "container_id": "cntr_",
        "outputs": [{"type": "logs", "logs": "45\n"}],
    }
    [cited] = items[2]["content"][0]["annotations"]
    assert (cited["start_index"], cited["end_index"]) == (0, 3)
    assert output(*run)[1]["outputs"] is None
    assert (
        output(CodeRun("", "1/0", "python"), CodeRun("", output="Error", ok=False))[0]["status"] == "failed"
    )


def test_a_search_is_an_item_with_its_sources_where_they_were_asked_for() -> None:
    """R-043: before the answer, where all is known."""
    events = (Started(), Text("Spain won."), Citation("https://u", "uefa", 0, 10), FOUND, STOP)
    searched, message = plain(whole(*events, tools=SEARCH)["output"])
    action = {"type": "search", "query": "euro 2024 winner", "queries": ["euro 2024 winner"]}
    assert searched == {"id": "ws_00", "type": "web_search_call", "status": "completed", "action": action}
    assert [one["start_index"] for one in message["content"][0]["annotations"]] == [0]
    include = ["web_search_call.action.sources"]
    searched = whole(*events, tools=SEARCH, include=include)["output"][0]
    assert searched["action"] == {**action, "sources": [{"type": "url", "url": "https://u"}]}


def test_the_words_of_a_stream_do_not_wait_for_a_search_that_is_told_at_the_end() -> None:
    """R-043, R-082: it is told when it is known, and the words it led to are cited before they are over."""
    one = renderer(stream=True, tools=SEARCH, reasoning={"summary": "auto"})
    raw = joined(one.feed([Started(), Reasoning("Let me look."), Text("Spain ")]))
    assert responses_law.parsed(raw)[-1]["delta"] == "Spain "
    raw += joined(one.feed([Text("won."), Citation("https://u", "uefa", 0, 10), FOUND, STOP]))
    events = responses_law.checked(raw + joined(one.finish()))
    items = [event["item"] for event in events if "output_item.done" in event["type"]]
    assert [item["type"] for item in items] == ["reasoning", "message", "web_search_call"]
    assert [one["url"] for one in items[1]["content"][0]["annotations"]] == ["https://u"]


def test_a_search_stands_before_what_it_led_to_where_all_is_known() -> None:
    """R-043: behind thoughts, before whatever was made of it."""
    said = (Reasoning("Hm."), ToolCall(0, "c", "f", "{}"), Usage(5, 2), FOUND, STOP)
    items = whole(Started(), *said, tools=SEARCH, reasoning={"summary": "auto"})["output"]
    assert [item["type"] for item in items] == ["reasoning", "web_search_call", "function_call"]


def test_searches_that_are_told_as_they_happen_stay_where_they_happened() -> None:
    """X-022."""
    searched = [Text("I look."), Searched(("a",)), Text("Found."), Searched(("b",)), Text("More."), STOP]
    items = output(*searched, tools=SEARCH)
    assert [item["type"] for item in items] == [*["message", "web_search_call"] * 2, "message"]


def test_what_a_search_found_is_told_when_it_is_known() -> None:
    """R-043, R-070: its item is over then, where sources were asked for; of two the last one has them."""
    events = [Searched(("a",)), Text("I look."), Searched(("b",)), Text("Found.")]
    events += [Citation("https://u", "uefa", 7, 13), Searched((), FOUND.sources), STOP]
    asked = {"tools": SEARCH, "include": ["web_search_call.action.sources"]}
    found = [item["action"] for item in output(*events, **asked) if item["type"] == "web_search_call"]
    assert [action["query"] for action in found] == ["a", "b"]
    assert [action["sources"] for action in found] == [[], [{"type": "url", "url": "https://u"}]]
    kinds = [event["item"]["type"] for event in streamed(Started(), *events, **asked) if "item" in event]
    assert kinds[-2:] == ["web_search_call", "message"]
    plain = [item["type"] for item in output(*events, tools=SEARCH)]
    assert plain == [*["web_search_call", "message"] * 2]
    unknown = output(Searched(("a",)), Text("Nothing."), STOP, **asked)[0]
    assert (unknown["status"], unknown["action"]["sources"]) == ("completed", [])


def test_facts_that_follow_a_search_leave_it_before_its_words() -> None:
    """They say nothing themselves."""
    facts = (Logprobs([]), Extra("google", {}), Usage(5, 2))
    items = whole(Started(), Text("Spain won."), FOUND, *facts, STOP, tools=SEARCH)["output"]
    assert [item["type"] for item in items] == ["web_search_call", "message"]


def test_pages_that_were_read_without_a_search_are_told_as_one() -> None:
    events = (Started(), Text("Spain won."), Searched((), FOUND.sources), STOP)
    asked: Any = {"tools": SEARCH, "include": ["web_search_call.action.sources"]}
    for response in (whole(*events, **asked), streamed(*events, **asked)[-1]["response"]):
        (action,) = [item["action"] for item in response["output"] if item["type"] == "web_search_call"]
        assert action["sources"] == [{"type": "url", "url": "https://u"}]


def test_a_search_is_over_at_once_where_nobody_asked_for_its_sources() -> None:
    """R-070."""
    events = (Started(), Searched(("a",)), Text("Found."), Searched((), FOUND.sources), STOP)
    done = [
        one["item"]["type"] for one in streamed(*events, tools=SEARCH) if "output_item.done" in one["type"]
    ]
    assert done == ["web_search_call", "message"]


def test_a_reply_without_a_search_is_its_words_alone() -> None:
    for end in (STOP, Finish("length")):
        assert [item["type"] for item in output(Text("4"), end, tools=SEARCH)] == ["message"]


# --- how it ends


@pytest.mark.parametrize("events", [(Usage(5, 2), STOP), (STOP, Usage(5, 2))])
def test_usage_may_come_before_the_end_or_behind_it(events: tuple[Event, ...]) -> None:
    """X-024: the last event has both."""
    for response in (whole(Text("Hi"), *events), streamed(Text("Hi"), *events)[-1]["response"]):
        assert (response["status"], response["usage"]["total_tokens"]) == ("completed", 7)


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter", "message": None}),
    ],
)
def test_how_it_ended(reason: Any, status: str, why: Any) -> None:
    """R-066, R-088: the last item says so too."""
    body = whole(Text("This stops in the mid"), Finish(reason))
    assert (body["status"], body["incomplete_details"]) == (status, why)
    assert body["output"][0]["status"] == status
    assert (body["completed_at"] is None) == (status != "completed")
    assert streamed(Text("x"), Finish(reason))[-1]["type"] == f"response.{status}"


def test_a_blocked_prompt_has_no_items() -> None:
    """R-066."""
    events = (
        Started(),
        Refusal("The prompt was blocked (SAFETY)."),
        Usage(5),
        Finish("content_filter", "SAFETY"),
    )
    body = whole(*events)
    assert (body["status"], body["output"]) == ("incomplete", [])
    assert body["incomplete_details"] == {
        "reason": "content_filter",
        "message": "The prompt was blocked (SAFETY).",
    }
    assert streamed(*events)[-1]["response"]["output"] == []


def test_a_reply_without_its_end_is_none() -> None:
    with pytest.raises(UpstreamError) as caught:
        whole(Text("Hi"))
    assert caught.value.code == "upstream_stream_truncated"
    with pytest.raises(UpstreamError) as caught:
        whole(Started())
    assert caught.value.error_class is ErrorClass.EMPTY


@pytest.mark.parametrize("events", [(), (Started(), Text("Half"), ToolCall(0, "c", "f", "{}"), Text("an"))])
def test_a_stream_that_breaks_says_so_in_every_form(events: tuple[Event, ...]) -> None:
    """R-086: an `error` that is flat and nested, then `failed`, then nothing."""
    one = renderer(stream=True)
    raw = joined(one.feed(events)) if events else b""
    limited = UpstreamError(ErrorClass.RATE_LIMITED, "google: quota exceeded.", provider="google")
    found = responses_law.checked(raw + one.error(limited, "req_1"))
    error, failed = found[-2:]
    told = "google: quota exceeded. (request id: req_1)"
    assert (error["type"], error["code"], error["message"]) == ("error", "rate_limit_exceeded", told)
    assert error["error"] == {
        "type": "rate_limit_error",
        "code": "rate_limit_exceeded",
        "message": told,
        "param": None,
    }
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"] == {"code": "rate_limit_exceeded", "message": told}
    kept = ["message", "function_call"] if events else []
    assert [item["type"] for item in failed["response"]["output"]] == kept


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UpstreamError(ErrorClass.UNAVAILABLE, "x"), "server_error"),
        (UpstreamError(ErrorClass.QUOTA, "x"), "insufficient_quota"),
        (UpstreamError(ErrorClass.BLOCKED, "x"), "invalid_prompt"),
        (UpstreamError(ErrorClass.TIMEOUT, "x", bought=True, by_piece=True), "invalid_prompt"),
        (ValueError("x"), "server_error"),
    ],
)
def test_a_failure_that_would_buy_again_invites_nobody(error: Exception, code: str) -> None:
    """R-087."""
    found = responses_law.checked(renderer(stream=True).error(error, ""))
    assert found[-1]["response"]["error"]["code"] == code


# --- whatever comes

_EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Text, st.text(max_size=9), signature=st.sampled_from([None, "c2ln"])),
    st.builds(Reasoning, st.sampled_from(["", "Hm.", "**Bold** x"])),
    st.builds(
        ToolCall, st.integers(0, 2), st.sampled_from(["", "c"]),
        st.sampled_from(["f", "t", "n__s", "tool_search"]),
        st.sampled_from(["", "{}", '{"a":', "1}"]), signature=st.sampled_from([None, "c2ln"]),
    ),
    st.builds(Image, st.just("image/png"), st.just(PNG), signature=st.sampled_from([None, "c2ln"])),
    st.builds(PartialImage, st.just("image/png"), st.just(PNG)),
    st.builds(CodeRun, st.just("x"), st.sampled_from([None, "1"]), st.just(""), st.sampled_from([None, "2"])),
    st.builds(Refusal, st.text(max_size=9)),
    st.builds(Citation, st.just("https://x"), st.just("x"), st.integers(-3, 30), st.integers(-3, 30)),
    st.builds(Logprobs, st.just([{"token": "a"}])),
    st.builds(Extra, st.just("google"), st.just({"parts": [{"toolCall": {}}]})),
    st.builds(Usage, st.integers(0, 9), st.integers(0, 9)),
)  # fmt: skip


@given(st.lists(_EVENTS, max_size=12), st.sampled_from(["stop", "length", "content_filter"]), st.booleans())
def test_every_stream_keeps_the_law_and_says_what_the_whole_says(
    events: list[Event], reason: Any, stores: bool
) -> None:
    """R-080..R-086, A-004."""
    fields: dict[str, Any] = {
        "store": stores,
        "reasoning": {"summary": "auto"},
        "tools": [
            {"type": "custom", "name": "t"},
            {
                "type": "namespace",
                "name": "n",
                "description": "N",
                "tools": [{"type": "function", "name": "s"}],
            },
            {"type": "tool_search", "execution": "client"},
        ],
    }
    every = (Started(), *events, Finish(reason))
    one, three = streamed(*every, **fields)[-1], streamed(*every, batch=3, **fields)[-1]
    assert plain(one["response"]["output"]) == plain(three["response"]["output"])
    assert plain(one["response"]["output"]) == plain(whole(*every, **fields)["output"])


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_cut_anywhere_is_a_failure_and_never_a_success(cut: int) -> None:
    """A-006."""
    events = (
        Started(), Reasoning("Hm."), Text("a"), ToolCall(0, "c", "f", '{"a"'), ToolCall(0, "", "", ":1}"),
        Image("image/png", PNG), Text("b"), STOP,
    )  # fmt: skip
    one = renderer(stream=True, reasoning={"summary": "auto"})
    raw = joined(one.feed(events[:cut]))
    lost = UpstreamError(ErrorClass.INTERNAL, "cut", code="upstream_stream_truncated")
    assert responses_law.checked(raw + one.error(lost, ""))[-1]["type"] == "response.failed"


def test_many_calls_that_are_still_open_take_as_long_as_they_are_many() -> None:
    """Each whose arguments have not come yet is looked at again when some have."""
    events = [ToolCall(number, f"c{number}", "f", "") for number in range(8_000)]
    began = time.process_time()
    sent = renderer().whole((Started(), *events, Finish("tool_calls")))
    assert time.process_time() - began < 4  # about 0.5; looked at all of them each time, 10
    assert b"".join(sent).count(b'"call_id":"c7999"') == 1
