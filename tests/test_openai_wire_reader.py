"""Replies of upstreams that speak OpenAI, whole and streamed, as events."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import (
    Audio,
    AudioOptions,
    Citation,
    Extra,
    Finish,
    Image,
    Json,
    Logprobs,
    Reasoning,
    Refusal,
    Slice,
    Started,
    Text,
    Thinking,
    ToolCall,
    Usage,
)
from proxy.wires.openai.think import ThinkTags
from tests.openai_wire import HELLO, delta, events, reader, reasoning, text, whole

STARTED = Started("chatcmpl-1", "m-1", 1700000000)
COUNTS = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
USAGE = Usage(prompt=9, completion=12)


def test_the_whole_reply_of_document_002() -> None:
    reply = whole(content="\n\nHello there, how may I assist you today?") | {"usage": COUNTS}
    assert events(reply, stream=False) == [
        STARTED,
        Text("\n\nHello there, how may I assist you today?"),
        USAGE,
        Finish("stop", "stop"),
    ]


def test_the_same_streamed() -> None:
    assert events(
        delta(role="assistant", content=""),
        delta(content="Hello"),
        delta(content=" there"),
        delta("stop"),
        {"id": "chatcmpl-1", "choices": [], "usage": COUNTS},
    ) == [STARTED, Text("Hello"), Text(" there"), USAGE, Finish("stop", "stop")]


def test_a_stream_may_be_answered_with_one_whole_reply() -> None:
    """V-020"""
    reply = whole(content="Hi") | {"usage": COUNTS}
    assert events(reply) == events(reply, stream=False)


def test_nothing_is_handed_on_before_something_came() -> None:
    """A reply that fails after its role chunk can still be tried elsewhere."""
    reading = reader()
    assert reading.feed(delta(role="assistant", content="")) == []
    assert reading.feed(delta(content=None)) == []
    with pytest.raises(UpstreamError) as caught:
        reading.feed({"error": {"message": "Overloaded", "code": 503}})
    assert caught.value.error_class is ErrorClass.OVERLOADED
    assert caught.value.bought is False


def test_a_message_instead_of_a_delta_at_the_end_is_not_said_twice() -> None:
    """vendors.md 5: a final chunk carries `message`."""
    assert events(delta(content="Hi"), delta(content=" there"), whole(content="Hi there")) == [
        STARTED,
        Text("Hi"),
        Text(" there"),
        Finish("stop", "stop"),
    ]
    assert text(events(delta(role="assistant"), whole(content="Hi there"))) == "Hi there"


def test_content_as_a_list_of_parts() -> None:
    parts: list[Any] = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "One"},
        " two",
        {"type": "output_text", "text": " three"},
        {"type": "refusal", "refusal": "no"},
        {"type": "unknown"},
        7,
    ]
    expected = [Reasoning("hm"), Text("One"), Text(" two"), Text(" three"), Refusal("no")]
    assert events(delta(content=parts))[1:-1] == expected
    assert events(whole(content=parts))[1:-1] == expected
    assert events(whole(content={"type": "text", "text": "Hi"}))[1:-1] == [Text("Hi")]


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": "2+2"},
        {"reasoning": "2+2"},
        {"reasoning": "2+2", "reasoning_content": "2+2"},
        {"reasoning": "2+2", "reasoning_details": [{"type": "reasoning.text", "text": "2+2"}]},
        {
            "reasoning_details": [
                {"type": "reasoning.summary", "summary": "2+2"},
                {"type": "reasoning.encrypted"},
            ]
        },
    ],
)
def test_thoughts_are_found_under_every_name_and_once(fields: Json) -> None:
    assert events(delta(**fields), delta(content="4"))[1:-1] == [Reasoning("2+2"), Text("4")]
    assert events(whole(content="4", **fields))[1:-1] == [Reasoning("2+2"), Text("4")]


def test_thoughts_are_not_shown_to_a_client_that_excludes_them() -> None:
    request = replace(HELLO, thinking=Thinking(summary=False))
    assert events(whole(content="4", reasoning="2+2"), request=request)[1:-1] == [Text("4")]


@pytest.mark.parametrize("size", [1, 2, 5, 100])
@pytest.mark.parametrize(
    ("said", "thought", "answer"),
    [
        ("<think>\n2+2</think>\n\nIt is <b>4</b>.", "2+2", "It is <b>4</b>."),
        ("\n<thought>a < b\n</thought>x", "a < b", "x"),
        ("No <think>x</think>", "", "No <think>x</think>"),
        ("<think></think>4", "", "4"),
        ("<thinker>", "", "<thinker>"),
        ("<think>never ends </thin", "never ends </thin", ""),
    ],
)
def test_thoughts_between_tags_by_option(size: int, said: str, thought: str, answer: str) -> None:
    pieces = [delta(content=said[at : at + size]) for at in range(0, len(said), size)]
    found = events(*pieces, delta("length"), options={"think_tags": True})
    assert (reasoning(found), text(found)) == (thought, answer)
    assert text(events(*pieces)) == said


@pytest.mark.parametrize(
    ("said", "thought", "answer"),
    [
        ("the user asks\n</think>\n\n4", "the user asks", "4"),
        ("hm</thinking>4 <think>x</think>", "hm", "4 <think>x</think>"),
        ("<think>a</think>4 </think>", "a", "4 </think>"),
        ("4 <think>x</think>", "", "4 <think>x</think>"),
    ],
)
def test_a_whole_answer_may_end_a_thought_that_it_did_not_begin(said: str, thought: str, answer: str) -> None:
    """Templates write the opening tag into the prompt."""
    found = events(whole(content=said), options={"think_tags": True})
    assert (reasoning(found), text(found)) == (thought, answer)


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("said", ["asks\n</think>\n\n4", "<think>\nasks</think>4"])
def test_a_stream_may_begin_inside_a_thought_by_option(size: int, said: str) -> None:
    pieces = [delta(content=said[at : at + size]) for at in range(0, len(said), size)]
    found = events(*pieces, delta("stop"), options={"think_tags": "opened"})
    assert (reasoning(found), text(found)) == ("asks", "4")


@pytest.mark.parametrize("begin", ["", "<think>", "<think>a", "<think>a</think>"])
def test_white_space_in_thousands_of_pieces_is_kept_in_linear_time(begin: str) -> None:
    """Joined to all before it each time, 200,000 would not end."""
    tags = ThinkTags()
    found = [*tags.feed(begin), *(piece for _ in range(200_000) for piece in tags.feed(" ")), *tags.close()]
    spaces = 200_000 if begin in ("", "<think>a") else 0
    assert "".join(text for _, text in found).count(" ") == spaces


@pytest.mark.parametrize(
    ("item", "limit", "used", "reason"),
    [
        ({"finish_details": {"type": "max_tokens"}}, None, 7, "length"),
        ({"finish_details": {"type": "stop", "stop": "<|im_end|>"}}, None, 7, "stop"),
        ({"finish_reason": "stop", "finish_details": {"type": "max_tokens"}}, None, 7, "stop"),
        ({"finish_reason": None}, 7, 7, "length"),
        ({"finish_reason": None}, 8, 7, "stop"),
        ({}, None, 7, "stop"),
        ({"finish_reason": "stop"}, 7, 7, "stop"),
    ],
)
def test_an_answer_that_was_cut_is_length_however_it_is_told(
    item: dict[str, Any], limit: int | None, used: int, reason: str
) -> None:
    message = {"role": "assistant", "content": "cut in the mid"}
    payload = {
        "choices": [{"index": 0, "message": message, **item}],
        "usage": {"prompt_tokens": 5, "completion_tokens": used},
    }
    found = events(payload, request=replace(HELLO, max_tokens=limit))
    assert [event.reason for event in found if isinstance(event, Finish)] == [reason]


def test_text_that_is_held_back_comes_out_where_a_stream_breaks() -> None:
    """An exclamation mark may begin a picture, until the line is cut or the server says what went wrong."""
    cut = reader()
    assert text(cut.feed(delta(content="Hello!"))) == "Hello"
    assert cut.flush() == [Text("!")]
    ended = reader()
    ended.feed(delta(content="Hello ![a]("))
    with pytest.raises(UpstreamError, match="ended before"):
        ended.close(complete=False)
    assert ended.flush() == [Text("![a](")]
    assert ended.flush() == []


def test_the_tokens_of_a_refusal_are_handed_on() -> None:
    entry = {"token": "no", "logprob": -0.1, "bytes": [110, 111], "top_logprobs": []}
    message = {"role": "assistant", "content": None, "refusal": "no"}
    item = {"message": message, "finish_reason": "stop", "logprobs": {"content": None, "refusal": [entry]}}
    found = [event for event in events({"choices": [item]}) if isinstance(event, Logprobs)]
    assert found == [Logprobs([], 0, (entry,))]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "stop"),
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("max_tokens", "length"),
        ("end_turn", "stop"),
        ("eos", "stop"),
        ("SAFETY", "content_filter"),
        ("sensitive", "content_filter"),
        ("something_new", "stop"),
    ],
)
def test_finish_words(word: str, reason: str) -> None:
    """G-142, for this wire; a call that never came is no `tool_calls`."""
    assert events(whole(word, content="x"))[-1] == Finish(reason, word)  # type: ignore[arg-type]


@pytest.mark.parametrize("word", ["", None])
def test_a_missing_finish_word_is_a_stop_or_a_call(word: str | None) -> None:
    assert events(whole(word, content="x"))[-1] == Finish("stop")
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert events(whole(word, content=None, tool_calls=[call]))[-1] == Finish("tool_calls")


@pytest.mark.parametrize("word", ["stop", "tool_calls", "function_call", "tool_use", "STOP"])
def test_a_call_finishes_as_a_call_whatever_the_server_says(word: str) -> None:
    """G-139, G-176: Google's compatible endpoint streams `stop` after calls."""
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a":1}'}}
    found = events(delta(tool_calls=[call]), delta(word))
    assert found == [STARTED, ToolCall(0, "c", "f", '{"a":1}'), Finish("tool_calls", word)]


def test_text_after_the_finish_and_the_vendors_own_word_are_kept() -> None:
    late = delta("stop", content="a")
    late["choices"][0]["native_finish_reason"] = "STOP"
    assert events(late, delta(content="b"))[1:] == [Text("a"), Text("b"), Finish("stop", "STOP")]


@pytest.mark.parametrize(
    ("fields", "stopped_by"),
    [
        ({"stop_reason": "END"}, "END"),
        ({"matched_stop": "END"}, "END"),
        ({"stop_reason": 128009}, None),
        ({"stop_reason": "eos", "matched_stop": None}, None),
        ({"stop_reason": ["END"]}, None),
        ({}, None),
    ],
)
def test_the_stop_sequence_that_was_met_is_kept(fields: Json, stopped_by: str | None) -> None:
    """M-042: vLLM and SGLang say which; other servers have other things there."""
    payload = whole(content="a")
    payload["choices"][0] |= fields
    request = replace(HELLO, stop=("STOP", "END"))
    assert events(payload, request=request)[-1] == Finish("stop", "stop", stopped_by=stopped_by)


@pytest.mark.parametrize("index", [True, "1", None])
def test_an_index_that_is_none_is_the_first(index: Any) -> None:
    found = events(delta(content="a", index=index), delta("stop", index=index))
    assert [type(event.choice) for event in found if isinstance(event, Text | Finish)] == [int, int]


def test_choices_are_told_apart_by_their_index() -> None:
    found = events(delta(content="a", index=1), delta(content="b"), delta("stop"), delta("length", index=1))
    assert found == [STARTED, Text("a", 1), Text("b"), Finish("length", "length", 1), Finish("stop", "stop")]
    two = whole(content="a")
    two["choices"] = [{"message": {"content": word}} for word in "ab"]
    assert [event for event in events(two) if isinstance(event, Text)] == [Text("a", 0), Text("b", 1)]


DEEP = orjson.loads(b"[" * 300 + b"]" * 300)


@pytest.mark.parametrize(
    ("odd", "told"),
    [
        pytest.param(
            {"token": "cut \ud83d", "logprob": -1}, {"token": "cut \ufffd", "logprob": -1.0}, id="half"
        ),
        pytest.param({"token": "x", "logprob": 2**80}, {"token": "x", "logprob": float(2**80)}, id="large"),
        pytest.param({"token": DEEP, "logprob": None}, {"token": "", "logprob": 0.0}, id="deep"),
    ],
)
def test_logprobs_that_no_json_has_a_form_for_are_told_as_far_as_they_have(odd: Any, told: Any) -> None:
    reply = whole(content="a")
    reply["choices"][0]["logprobs"] = {"content": [odd]}
    [found] = [event for event in events(reply) if isinstance(event, Logprobs)]
    assert found.content == [{**told, "bytes": None, "top_logprobs": []}]


def test_logprobs_of_a_whole_answer_stand_before_the_calls_behind_its_text() -> None:
    entries = [{"token": "x", "logprob": -0.1, "bytes": [120], "top_logprobs": []}]
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    reply = whole("tool_calls", content="x", tool_calls=[call])
    reply["choices"][0]["logprobs"] = {"content": entries}
    found = [event for event in events(reply, stream=False) if isinstance(event, Text | Logprobs | ToolCall)]
    assert found[:2] == [Text("x"), Logprobs(entries)]
    assert set(map(type, found[2:])) == {ToolCall}


def test_refusals_audio_and_logprobs() -> None:
    entries = [{"token": "x", "logprob": -0.1, "bytes": [120], "top_logprobs": []}]
    reply = whole(
        content=None, refusal="No.", audio={"id": "a", "data": "QUJD", "transcript": "abc", "expires_at": 1}
    )
    reply["choices"][0]["logprobs"] = {"content": entries, "refusal": None}
    request = replace(HELLO, audio=AudioOptions("alloy", "mp3"))
    assert events(reply, request=request)[1:-1] == [
        Refusal("No."),
        Audio("audio/mpeg", Slice(b"QUJD"), "abc", id="a", expires_at=1),
        Logprobs(entries),
    ]


def test_streamed_sound_comes_in_pieces_and_words() -> None:
    found = events(
        delta(audio={"id": "a"}),
        delta(audio={"transcript": "Hel"}),
        delta(audio={"data": "QUJD"}),
        delta(audio={"expires_at": 5}),
        request=replace(HELLO, audio=AudioOptions("alloy", "pcm16")),
    )
    mime = "audio/pcm;rate=24000"
    assert found[1:-1] == [
        Audio(mime, Slice(b""), "Hel", id="a"),
        Audio(mime, Slice(b"QUJD"), id="a"),
        Audio(mime, Slice(b""), id="a", expires_at=5),
    ]


def test_an_id_of_sound_that_never_comes_is_no_answer() -> None:
    with pytest.raises(UpstreamError) as caught:
        events(
            delta(audio={"id": "a"}),
            delta(audio={"expires_at": 5}),
            delta("stop"),
            {"usage": {"prompt_tokens": 9, "completion_tokens": 0}},
        )
    assert caught.value.error_class is ErrorClass.EMPTY


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_what_an_upstream_says_of_itself_is_told(stream: bool) -> None:
    origin = {"system_fingerprint": "fp_1", "service_tier": "flex"}
    first = (delta(content="x") if stream else whole(content="x")) | origin
    rest = [delta("stop")] if stream else []
    [started] = [event for event in events(first, *rest, stream=stream) if isinstance(event, Started)]
    assert started == replace(STARTED, fingerprint="fp_1", service_tier="flex")


CALLED = {
    "tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
}
BROKEN = [
    {"finish_reason": "malformed_function_call"},
    {"finish_reason": "function_call_filter: MALFORMED_FUNCTION_CALL"},
    {"finish_reason": "stop", "native_finish_reason": "UNEXPECTED_TOOL_CALL"},
    {"finish_reason": "tool_calls", "native_finish_reason": "TOO_MANY_TOOL_CALLS"},
]


@pytest.mark.parametrize("ending", BROKEN, ids=lambda ending: " ".join(ending.values()))
def test_a_call_that_the_vendor_calls_broken_is_never_handed_out(ending: Json) -> None:
    """As on Gemini's own wire; relays pass its words on."""
    reply = whole(content="Well", **CALLED)
    reply["choices"][0] |= ending
    found = events(reply, stream=False)
    assert [event for event in found if isinstance(event, Text | ToolCall)] == [Text("Well")]
    assert isinstance(found[-1], Finish)
    assert found[-1].reason == "stop"
    last = delta(**CALLED)
    last["choices"][0] |= ending
    assert not any(isinstance(event, ToolCall) for event in events(delta(content="Well"), last))


@pytest.mark.parametrize("ending", BROKEN, ids=lambda ending: " ".join(ending.values()))
def test_a_call_that_was_streamed_before_it_is_called_broken_ends_in_an_error(ending: Json) -> None:
    last = delta()
    last["choices"][0] |= ending
    with pytest.raises(UpstreamError, match="do not make it") as caught:
        events(delta(**CALLED), last)
    assert (caught.value.code, caught.value.bought) == ("upstream_malformed_response", True)


def test_a_broken_call_alone_is_no_answer() -> None:
    with pytest.raises(UpstreamError, match="no usable answer") as caught:
        events(whole("malformed_function_call", content=None, **CALLED), stream=False)
    assert (caught.value.error_class, caught.value.code) == (ErrorClass.EMPTY, "upstream_malformed_response")


@pytest.mark.parametrize("said", [{"reasoning_content": "hm"}, {}], ids=["thoughts", "nothing"])
def test_tokens_that_were_all_used_before_the_first_word_are_its_length(said: Json) -> None:
    reply = whole(None, content=None, **said) | {"usage": COUNTS}
    found = events(reply, request=replace(HELLO, max_tokens=12), stream=False)
    assert found[-1] == Finish("length", "length")
    with pytest.raises(UpstreamError):
        events(reply, request=replace(HELLO, max_tokens=13), stream=False)


@pytest.mark.parametrize("place", ["payload", "choice"])
def test_an_error_beside_a_piece_of_text_is_raised_behind_it(place: str) -> None:
    reading = reader()
    assert reading.feed(delta(content="First ")) == [STARTED, Text("First ")]
    last = delta(content="last")
    (last if place == "payload" else last["choices"][0])["error"] = {"message": "overloaded", "code": 503}
    assert reading.feed(last) == [Text("last")]
    with pytest.raises(UpstreamError, match="overloaded"):
        reading.close()


def test_a_charge_beside_a_piece_of_text_is_kept() -> None:
    found = events(delta(content="a"), delta(content="b") | {"_billing": {"cost": 2}}, delta("stop"))
    assert Usage(vendor={"_billing": {"cost": 2}}) in found


CITED = {
    "type": "url_citation",
    "url_citation": {"start_index": 2, "end_index": 9, "title": "T", "url": "https://a"},
}


def test_citations_are_told_once() -> None:
    flat = {"type": "url_citation", "url": "https://b", "title": None, "start_index": None}
    found = events(
        delta(content="x", annotations=[CITED]), delta(annotations=[CITED, flat, {"type": "file"}, None])
    )
    assert [event for event in found if isinstance(event, Citation)] == [
        Citation("https://a", "T", 2, 9),
        Citation("https://b", "", 0, 0),
    ]


def test_a_list_of_sources_beside_the_choices_is_cited_at_the_end() -> None:
    chunk = delta(content="x") | {"citations": ["https://a", "https://b"]}
    assert events(chunk, chunk)[-3:-1] == [Citation("https://a", "", 0, 0), Citation("https://b", "", 0, 0)]


def test_signatures_of_googles_endpoint_are_kept() -> None:
    """G-153: `extra_content.google.thought_signature` of a call and of a text."""
    signed = {"google": {"thought_signature": "S1", "thought": True, "grounding": {"a": 1}}}
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}, "extra_content": signed}
    assert events(delta(tool_calls=[call]))[1:] == [
        ToolCall(0, "c", "f", "", signature="S1"),
        ToolCall(0, "c", "f", "{}"),
        Finish("tool_calls"),
    ]
    assert events(whole(content="Noon.", extra_content=signed))[1:-1] == [
        Text("Noon."),
        Text("", signature="S1"),
        Extra("google", {"grounding": {"a": 1}}),
    ]


def test_a_signature_that_openrouter_gives_apart_finds_its_call() -> None:
    assert events(whole(content="x", reasoning_details=[{"format": "google-gemini-v1", "data": "S"}]))[
        1:-1
    ] == [
        Text("", signature="S"),
        Text("x"),
    ]
    detail = {"type": "reasoning.encrypted", "format": "google-gemini-v1", "id": "c", "data": "S"}
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a":1}'}}
    for chunks in (
        (delta(tool_calls=[call]), delta(reasoning_details=[detail])),
        (delta(reasoning_details=[detail]), delta(tool_calls=[call])),
        (whole(tool_calls=[call], reasoning_details=[detail]),),
    ):
        signed = [event.signature for event in events(*chunks) if isinstance(event, ToolCall)]
        assert [signature for signature in signed if signature] == ["S"]


# --- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        {"error": {"message": "x", "type": "server_error"}},
        {"error": "x"},
        {"object": "error", "message": "x", "code": 500},
        {"success": False, "msg": "x"},
        {"message": "x", "code": "ServiceError"},
        {"detail": "x"},
        [{"error": {"message": "x"}}],
        {"choices": [{"index": 0, "error": {"message": "x", "code": 502}, "finish_reason": "error"}]},
    ],
)
def test_an_error_in_place_of_a_reply(payload: Any) -> None:
    """G-187, for this wire: errors inside a 200, in a body and in a chunk."""
    with pytest.raises(UpstreamError, match=r"^x$") as caught:
        events(payload)
    assert caught.value.error_class is ErrorClass.INTERNAL
    assert caught.value.bought is False


def test_an_error_after_words_may_have_cost_something() -> None:
    reading = reader()
    reading.feed(delta(content="Hi"))
    with pytest.raises(UpstreamError) as caught:
        reading.feed({"error": {"message": "x"}})
    assert caught.value.bought is True


@pytest.mark.parametrize(
    "item",
    [
        {"index": 0, "message": {"content": "Half an ans"}},
        {"index": 0, "delta": {"content": "Half an ans"}},
        {"index": 0, "message": {"reasoning_content": "Let me see"}},
        {"index": 0, "message": {"images": [{"image_url": {"url": "https://x/1.png"}}]}},
    ],
)
def test_an_error_beside_words_may_have_cost_something(item: Any) -> None:
    with pytest.raises(UpstreamError, match=r"^x$") as caught:
        events({"choices": [item | {"error": {"message": "x", "code": 502}}]})
    assert caught.value.bought is True


@pytest.mark.parametrize(
    "payload",
    [
        whole(content="Half") | {"error": {"message": "x", "code": 503}, "choices": []},
        {"choices": [{"index": 0, "message": {"content": "Half"}, "finish_reason": "error"}]},
    ],
    ids=["counted", "given up"],
)
def test_a_whole_answer_that_was_sold_is_not_to_be_asked_for_again(payload: Any) -> None:
    payload |= {"usage": {"prompt_tokens": 5, "completion_tokens": 7}}
    reading = reader(stream=False)
    with pytest.raises(UpstreamError) as caught:
        assert not [*reading.feed(payload), *reading.close()]
    assert caught.value.may_repeat is False


FAULT = {"error": {"message": "x", "code": 502}}


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(delta(content="Half ![an") | FAULT, id="beside the choices"),
        pytest.param(whole(None, content="Half ![an") | FAULT, id="beside whole choices"),
        pytest.param(
            {"choices": [whole(None, content="Half ![an")["choices"][0] | FAULT]}, id="within a choice"
        ),
        pytest.param(
            {"choices": [delta("error", content="Half ![an")["choices"][0] | FAULT]}, id="at its end"
        ),
    ],
)
@pytest.mark.parametrize("then", ["more", "the end"])
def test_what_stands_beside_an_error_is_handed_on_before_it(payload: Any, then: str) -> None:
    reading = reader(body={"modalities": ["image"]})
    assert text(reading.feed(payload)) == "Half ![an"
    with pytest.raises(UpstreamError, match=r"^x$") as caught:
        reading.feed({"choices": [], "usage": COUNTS}) if then == "more" else reading.close()
    assert caught.value.bought is True


def test_one_of_two_choices_that_fails_fails_them_all() -> None:
    reply = {"choices": [whole(content="One")["choices"][0], {"index": 1, "message": {}} | FAULT]}
    with pytest.raises(UpstreamError, match=r"^x$") as caught:
        events(reply, stream=False)
    assert caught.value.bought is True


def test_counts_beside_an_error_prove_the_sale() -> None:
    with pytest.raises(UpstreamError, match=r"^x$") as caught:
        events({"choices": [], "usage": COUNTS, "error": {"message": "x", "code": 429}}, stream=False)
    assert caught.value.bought is True


def test_an_error_beside_a_finish_without_an_answer_is_no_remark() -> None:
    with pytest.raises(UpstreamError, match=r"^x$") as caught:
        events(whole("stop", content="") | FAULT, stream=False)
    assert caught.value.bought is False


@pytest.mark.parametrize(
    ("counts", "bought"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 0, "total_tokens": 9}, False),
        ({"prompt_tokens": 9, "completion_tokens": 1290}, True),
        ({"input_tokens": 9, "output_tokens": 3}, True),
        ({"prompt_tokens": 9, "completion_tokens": 0, "total_tokens": 1299}, True),
        ({"completion_tokens_details": {"reasoning_tokens": 0}}, False),
    ],
)
@pytest.mark.parametrize("word", ["stop", "error", "network_error", None])
def test_what_an_empty_reply_counts_was_bought(word: str | None, counts: Any, bought: bool) -> None:
    with pytest.raises(UpstreamError) as caught:
        events(whole(word, content="") | {"usage": counts}, body={"modalities": ["image"]})
    assert caught.value.bought is bought


@pytest.mark.parametrize("payload", [{}, {"choices": []}, whole("error")], ids=str)
def test_a_picture_may_be_bought_where_nothing_comes_and_nothing_is_counted(payload: Any) -> None:
    for modalities in (["image"], ["text"]):
        with pytest.raises(UpstreamError) as caught:
            events(payload, stream=False, body={"modalities": modalities})
        assert caught.value.bought is ("image" in modalities)


def test_a_picture_may_be_bought_where_only_an_error_comes() -> None:
    for code, bought in [(500, True), (None, True), (429, False)]:
        with pytest.raises(UpstreamError) as caught:
            reader(body={"modalities": ["image"]}).feed({"error": {"message": "x", "code": code}})
        assert caught.value.bought is bought


def test_a_message_beside_null_choices_is_an_error() -> None:
    with pytest.raises(UpstreamError, match=r"^context too long$") as caught:
        events({"choices": None, "code": 400, "message": "context too long"})
    assert (caught.value.error_class, caught.value.code) == (
        ErrorClass.BAD_REQUEST,
        "context_length_exceeded",
    )


def test_an_error_after_the_finish_is_a_remark() -> None:
    """OpenRouter writes "Token limit reached" behind a finish_reason of length."""
    late = delta(content="") | {"error": {"code": 400, "message": "Token limit reached"}, "usage": COUNTS}
    assert events(delta("length", content="Hi"), late)[1:] == [
        Text("Hi"),
        USAGE,
        Finish("length", "length", message="Token limit reached"),
    ]


@pytest.mark.parametrize(
    ("word", "error_class"),
    [
        ("error", ErrorClass.INTERNAL),
        ("network_error", ErrorClass.UNAVAILABLE),
        ("insufficient_system_resource", ErrorClass.OVERLOADED),
    ],
)
def test_a_server_that_gives_up_did_not_finish(word: str, error_class: ErrorClass) -> None:
    with pytest.raises(UpstreamError) as caught:
        events(delta(content="Hi"), delta(word))
    assert caught.value.error_class is error_class


@pytest.mark.parametrize(
    "payloads",
    [
        (),
        ({"id": "x", "choices": []},),
        (delta(role="assistant", content=""),),
        (whole(content="") | {"usage": {"prompt_tokens": 5, "completion_tokens": 0, "total_tokens": 5}},),
    ],
)
def test_a_reply_with_nothing_in_it_is_an_error(payloads: tuple[Json, ...]) -> None:
    with pytest.raises(UpstreamError) as caught:
        events(*payloads)
    assert (caught.value.error_class, caught.value.code) == (ErrorClass.EMPTY, "upstream_empty_response")


@pytest.mark.parametrize(
    "reply",
    [
        whole(content="") | {"usage": COUNTS},
        whole(content=""),
        whole("length", content=None),
        whole("content_filter", content=""),
        whole(content=None, reasoning="hm"),
    ],
)
def test_silence_may_be_an_answer(reply: Json) -> None:
    assert isinstance(events(reply)[-1], Finish)


def test_a_stream_without_its_end_is_broken() -> None:
    reading = reader()
    reading.feed(delta(content="Hi"))
    with pytest.raises(UpstreamError) as caught:
        reading.close(complete=False)
    assert caught.value.code == "upstream_stream_truncated"
    reading = reader()
    reading.feed(delta("stop", content="Hi"))
    assert reading.close(complete=False) == [Finish("stop", "stop")]


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"choices": None},
        {"choices": "x"},
        {"choices": [None]},
        {"choices": [{}]},
        {"choices": [{"delta": None}]},
        {"choices": [{"delta": {"content": 5, "tool_calls": 5, "images": 5, "annotations": 5}}]},
        {
            "choices": [
                {"delta": {"audio": "x", "extra_content": "x", "reasoning_details": "x"}, "index": "a"}
            ]
        },
        {
            "choices": [{"delta": {"tool_calls": [None, {}, {"function": None}]}, "logprobs": []}],
            "usage": "x",
        },
    ],
)
def test_odd_payloads_do_no_harm(payload: Json) -> None:
    found = events(payload, delta("stop", content="Hi"))
    assert text(found) == "Hi"


_LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4))
_FIELDS = (
    "choices delta message content index finish_reason tool_calls function name arguments id images "
    "image_url url text type usage error reasoning reasoning_details annotations url_citation audio "
    "extra_content google logprobs refusal prompt_tokens_details citations"
)
_NAMES = st.sampled_from(_FIELDS.split())
_ANYTHING = st.recursive(
    _LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_NAMES, inner, max_size=5))
)
_DELTAS = st.dictionaries(_NAMES, _ANYTHING, max_size=5)
_ITEMS = st.fixed_dictionaries(
    {}, optional={"index": _LEAVES, "delta": _DELTAS, "message": _DELTAS, "error": _ANYTHING}
)


@given(
    st.lists(
        st.one_of(_ANYTHING, st.fixed_dictionaries({"choices": st.lists(_ITEMS, max_size=2)})), max_size=4
    )
)
def test_whatever_a_server_sends_we_fail_only_in_our_own_way(payloads: list[Any]) -> None:
    with contextlib.suppress(UpstreamError):
        events(*payloads, options={"think_tags": True})


@pytest.mark.parametrize("payload", ["text", 5, None])
def test_what_is_no_object_is_an_error(payload: Any) -> None:
    with pytest.raises(UpstreamError):
        events(payload)


PNG_URL = "data:image/png;base64,iVBORw0KGgo" + "A" * 400 + "="
GOOGLES = {"google": {"thought_signature": "U0lH"}}


@pytest.mark.parametrize(
    ("message", "signed"),
    [
        pytest.param(
            {"content": [{"type": "image_url", "image_url": {"url": PNG_URL}, "extra_content": GOOGLES}]},
            [Image],
            id="a picture among the parts",
        ),
        pytest.param(
            {"content": "x", "images": [{"image_url": {"url": PNG_URL}, "extra_content": GOOGLES}]},
            [Image],
            id="a picture listed",
        ),
        pytest.param(
            {
                "content": f"x ![a]({PNG_URL})",
                "images": [{"image_url": {"url": PNG_URL}, "extra_content": GOOGLES}],
            },
            [Text],
            id="a picture shown in the text and listed",
        ),
        pytest.param(
            {"content": [{"type": "text", "text": "x", "extra_content": GOOGLES}]}, [Text], id="a text"
        ),
        pytest.param(
            {"content": [{"type": "thinking", "thinking": "x", "extra_content": GOOGLES}, "y"]},
            [Text],
            id="a thought",
        ),
        pytest.param({"content": [{"type": "text", "text": "x", "extra_content": "?"}]}, [], id="nonsense"),
    ],
)
@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
def test_a_signature_on_any_part_survives(message: Json, signed: list[type], streamed: bool) -> None:
    """G-153: calls and whole messages are not the only places."""
    found = events(delta(**message), delta("stop")) if streamed else events(whole(**message))
    bearers = [event for event in found if isinstance(event, Text | Image) and event.signature]
    assert [type(event) for event in bearers] == signed
    assert {event.signature for event in bearers} <= {"U0lH"}
