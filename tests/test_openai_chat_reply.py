"""Events become the completions and chunks that OpenAI's clients read, whole and streamed alike."""

import base64
import time
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from proxy.errors import ErrorClass, UpstreamError
from proxy.fronts.openai.chat import request as chat_request
from proxy.fronts.openai.chat.reply import ReplyOptions, StreamRenderer, whole
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
    Reasoning,
    Refusal,
    Searched,
    Slice,
    Started,
    Text,
    TextPart,
    ToolCall,
    Usage,
)

STARTED = Started("abc")
STOP = Finish("stop")
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20000)).decode()
URL = f"data:image/png;base64,{PNG}"


def options(**fields: Any) -> ReplyOptions:
    return ReplyOptions(**{"model": "m", "created": 7, **fields})


def complete(*events: Event, **fields: Any) -> Any:
    body = orjson.loads(b"".join(whole(events, options(**fields))))
    ChatCompletion.model_validate(without_lists(body))
    return body


def without_lists(body: Any) -> Any:
    """In mode `parts` a list is what we want and what the SDK's types do not know."""
    for choice in body["choices"]:
        if isinstance(choice["message"]["content"], list):
            return {**body, "choices": []}
    return body


def message(*events: Event, **fields: Any) -> Any:
    (choice,) = complete(STARTED, *events, **fields)["choices"]
    return choice["message"]


def text_of(out: Any) -> bytes:
    return out if isinstance(out, bytes) else b"".join(out)


def frames(*events: Event, batch: int = 1, **fields: Any) -> list[Any]:
    """All chunks of a streamed reply; the last must be [DONE]."""
    renderer = StreamRenderer(options(**fields))
    sent = b"".join(
        text_of(renderer.feed(events[start : start + batch])) for start in range(0, len(events), batch)
    )
    *found, done, rest = (sent + text_of(renderer.finish())).split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    chunks = [orjson.loads(frame.removeprefix(b"data: ")) for frame in found]
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk)
    return chunks


def deltas(*events: Event, **fields: Any) -> list[Any]:
    return [choice["delta"] for chunk in frames(*events, **fields) for choice in chunk["choices"]]


def accumulated(chunks: list[Any]) -> Any:
    """What the SDK's stream helper makes of the chunks."""
    state: ChatCompletionStreamState[Any] = ChatCompletionStreamState()
    for chunk in chunks:
        list(state.handle_chunk(ChatCompletionChunk.model_validate(chunk)))
    return state.get_final_completion().to_dict(exclude_unset=True)


NO_TOKENS = {
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "total_tokens": 0,
    "prompt_tokens_details": {"cached_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0},
}


def test_a_whole_reply() -> None:
    """G-150, G-170: texts join without separators; no usage is zeros."""
    assert complete(STARTED, Text("Hel"), Text("lo!"), Finish("stop", "STOP")) == {
        "id": "chatcmpl-abc",
        "object": "chat.completion",
        "created": 7,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello!", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
                "native_finish_reason": "STOP",
            }
        ],
        "usage": NO_TOKENS,
        "system_fingerprint": None,
    }


def test_a_streamed_reply() -> None:
    """G-172, G-173, G-175, G-177, G-178, G-180"""
    renderer = StreamRenderer(options(include_usage=True))
    sent = text_of(renderer.feed([STARTED, Text("Hel")])) + text_of(renderer.feed([Text("lo"), STOP]))
    sent += text_of(renderer.feed([Usage(6, 32, 30, 2, service_tier="flex")])) + text_of(renderer.finish())
    start = b'data: {"id":"chatcmpl-abc","object":"chat.completion.chunk","created":7,"model":"m","choices":['
    end = b'],"usage":null}\n\n'
    usage = {
        "prompt_tokens": 6,
        "completion_tokens": 32,
        "total_tokens": 38,
        "prompt_tokens_details": {"cached_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 30},
    }
    open_ = b'},"logprobs":null,"finish_reason":null}'
    assert sent == b"".join(
        [
            start + b'{"index":0,"delta":{"role":"assistant","content":""' + open_ + end,
            start + b'{"index":0,"delta":{"content":"Hel"' + open_ + end,
            start + b'{"index":0,"delta":{"content":"lo"' + open_ + end,
            start + b'{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}'
            b'],"service_tier":"flex","usage":null}\n\n',
            start + b'],"usage":' + orjson.dumps(usage) + b',"service_tier":"flex"}\n\n',
            b"data: [DONE]\n\n",
        ]
    )


def test_without_include_usage_no_chunk_speaks_of_usage() -> None:
    """G-177, I-035"""
    chunks = frames(STARTED, Text("x"), Usage(1, 2), STOP)
    assert all("usage" not in chunk for chunk in chunks)
    assert all(chunk["choices"] for chunk in chunks)


def test_include_usage_gives_one_chunk_without_choices() -> None:
    """I-035, G-178"""
    *others, last = frames(STARTED, Text("x"), Usage(1, 2), STOP, include_usage=True)
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 3
    assert [chunk["usage"] for chunk in others] == [None, None, None]


def test_a_reply_without_an_upstream_id_has_one_all_the_same() -> None:
    chunks = frames(Text("x"), STOP)
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert len(chunks[0]["id"]) == len("chatcmpl-") + 24
    assert complete(Text("x"), STOP, id="req_1")["id"] == "chatcmpl-req_1"
    assert complete(Started("chatcmpl-9", created=5), Text("x"), STOP)["id"] == "chatcmpl-9"
    assert complete(Started("chatcmpl-9", created=5), Text("x"), STOP)["created"] == 5


def test_choices_are_interleaved_and_each_is_finished() -> None:
    """G-114, G-172"""
    events = [STARTED, Text("a"), Text("b", 1), Text("c"), Finish("length", choice=1), STOP]
    assert [
        (choice["index"], choice["delta"], choice["finish_reason"])
        for chunk in frames(*events)
        for choice in chunk["choices"]
    ] == [
        (0, {"role": "assistant", "content": ""}, None),
        (0, {"content": "a"}, None),
        (1, {"role": "assistant", "content": ""}, None),
        (1, {"content": "b"}, None),
        (0, {"content": "c"}, None),
        (0, {}, "stop"),
        (1, {}, "length"),
    ]
    assert [
        (choice["index"], choice["message"]["content"], choice["finish_reason"])
        for choice in complete(*events)["choices"]
    ] == [(0, "ac", "stop"), (1, "b", "length")]


CALLS = [
    STARTED,
    ToolCall(4, "a1", "w", '{"c":"Paris"}', signature="U0lH"),
    ToolCall(7, "a2", "w", '{"c":'),
    ToolCall(7, "a2", "w", '"London"}'),
    ToolCall(9, "a3", "now", ""),
]


def test_calls_in_a_whole_reply() -> None:
    """G-139, G-151, G-152, G-153"""
    (choice,) = complete(*CALLS, STOP)["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [
            {
                "id": "a1",
                "type": "function",
                "function": {"name": "w", "arguments": '{"c":"Paris"}'},
                "extra_content": {"google": {"thought_signature": "U0lH"}},
            },
            {"id": "a2", "type": "function", "function": {"name": "w", "arguments": '{"c":"London"}'}},
            {"id": "a3", "type": "function", "function": {"name": "now", "arguments": "{}"}},
        ],
    }


def test_calls_in_a_stream() -> None:
    """G-174, G-176: indexes count on, also for calls of one function; an early call counts at the end."""
    chunks = frames(*CALLS, Text(""), STOP)
    assert [choice["delta"] for chunk in chunks for choice in chunk["choices"]] == [
        {"role": "assistant", "content": None},
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "a1",
                    "type": "function",
                    "function": {"name": "w", "arguments": '{"c":"Paris"}'},
                    "extra_content": {"google": {"thought_signature": "U0lH"}},
                }
            ]
        },
        {
            "tool_calls": [
                {"index": 1, "id": "a2", "type": "function", "function": {"name": "w", "arguments": '{"c":'}}
            ]
        },
        {"tool_calls": [{"index": 1, "function": {"arguments": '"London"}'}}]},
        {
            "tool_calls": [
                {"index": 2, "id": "a3", "type": "function", "function": {"name": "now", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 2, "function": {"arguments": "{}"}}]},
        {},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_a_piece_of_a_call_that_says_nothing_is_not_sent() -> None:
    events = [
        ToolCall(0, "a", "f", "{}"),
        ToolCall(0, "a", "f", ""),
        ToolCall(0, "a", "f", "", signature="x"),
    ]
    found = deltas(*events, STOP)
    assert len(found) == 4
    late = {"extra_content": {"google": {"thought_signature": "x"}}}
    assert found[2] == {"tool_calls": [{"index": 0, "function": {"arguments": ""}, **late}]}
    assert message(*events, STOP)["tool_calls"][0]["extra_content"] == late["extra_content"]


def test_the_tier_that_served_is_told() -> None:
    """G-136"""
    assert complete(Text("x"), Usage(service_tier="default"), STOP)["service_tier"] == "default"
    chunks = frames(Text("x"), Usage(service_tier="default"), STOP)
    assert [chunk.get("service_tier") for chunk in chunks] == [None, None, "default"]


def test_the_tier_is_told_where_nothing_was_counted() -> None:
    started = replace(STARTED, service_tier="flex")
    assert complete(started, Text("x"), STOP)["service_tier"] == "flex"
    assert frames(started, Text("x"), STOP)[-1]["service_tier"] == "flex"
    assert complete(started, Text("x"), Usage(service_tier="default"), STOP)["service_tier"] == "default"


def test_an_error_in_a_stream_names_the_clients_own_field() -> None:
    asked = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 5}
    renderer = StreamRenderer(options(parsed=chat_request.parse(asked)))
    for param, told in (("max_tokens", "max_completion_tokens"), ("generation.x", None)):
        frame = renderer.error(UpstreamError(ErrorClass.BAD_REQUEST, "no", param=param))
        assert orjson.loads(frame.removeprefix(b"data: "))["error"]["param"] == told


def begun(*indexes: int, n: int) -> list[tuple[int, str | None]]:
    """The choices of a stream in which they come in this order, each beside its role or its words."""
    parsed = chat_request.parse({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "n": n})
    said = [Text(f"{index}", index) for index in indexes]
    found = frames(STARTED, *said, *(Finish("stop", choice=index) for index in indexes), parsed=parsed)
    deltas = [(choice["index"], choice["delta"]) for chunk in found for choice in chunk["choices"]]
    return [(index, delta.get("role") or delta["content"]) for index, delta in deltas if delta]


def test_choices_begin_in_their_order_whichever_speaks_first() -> None:
    """OpenAI's SDK breaks on a stream whose first choice is the second."""
    assert begun(1, 0, n=2) == [(0, "assistant"), (1, "assistant"), (1, "1"), (0, "0")]
    assert begun(0, 2, 1, n=3) == [
        *[(0, "assistant"), (0, "0"), (1, "assistant"), (2, "assistant")],
        *[(2, "2"), (1, "1")],
    ]
    assert begun(1, n=2) == [(0, "assistant"), (1, "assistant"), (1, "1")]


def test_a_choice_that_nobody_asked_for_begins_alone() -> None:
    assert begun(1, n=1) == [(1, "assistant"), (1, "1")]
    assert begun(1, 0, n=1) == [(1, "assistant"), (1, "1"), (0, "assistant"), (0, "0")]


def test_an_upstreams_fingerprint_is_passed_on() -> None:
    started = replace(STARTED, fingerprint="fp_1")
    assert complete(started, Text("x"), STOP)["system_fingerprint"] == "fp_1"
    assert {chunk["system_fingerprint"] for chunk in frames(started, Text("x"), STOP)} == {"fp_1"}


def test_an_upstreams_own_id_of_its_sound_is_kept_until_it_expires() -> None:
    events = [
        Audio("audio/pcm;rate=24000", Slice(b""), "Hel", id="audio_1"),
        Audio("audio/pcm;rate=24000", Slice(b"QUJD"), id="audio_1"),
        Audio("audio/pcm;rate=24000", Slice(b""), id="audio_1", expires_at=99),
        STOP,
    ]
    assert message(*events, audio_format="pcm16")["audio"] == {
        "id": "audio_1",
        "data": "QUJD",
        "expires_at": 99,
        "transcript": "Hel",
    }
    assert [delta["audio"] for delta in deltas(*events, audio_format="pcm16")[1:-1]] == [
        {"id": "audio_1", "data": "", "transcript": "Hel"},
        {"data": "QUJD", "transcript": ""},
        {"data": "", "expires_at": 99, "transcript": ""},
    ]


def test_a_call_without_its_own_id_gets_one() -> None:
    """G-151"""
    calls = message(
        ToolCall(0, "", "f", "{}"), ToolCall(1, "x", "f", "{}"), ToolCall(2, "x", "f", "{}"), STOP
    )
    first, second, third = (call["id"] for call in calls["tool_calls"])
    assert second == "x"
    assert first.startswith("call_")
    assert third.startswith("call_")


def test_the_legacy_form_has_one_call() -> None:
    """G-067"""
    (choice,) = complete(*CALLS, STOP, legacy_functions=True)["choices"]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "function_call": {"name": "w", "arguments": '{"c":"Paris"}'},
        "extra_content": {"google": {"thought_signature": "U0lH"}},
    }
    assert deltas(*CALLS, STOP, legacy_functions=True) == [
        {"role": "assistant", "content": None},
        {"function_call": {"name": "w", "arguments": '{"c":"Paris"}'}},
        {"extra_content": {"google": {"thought_signature": "U0lH"}}},
        {},
    ]
    assert deltas(ToolCall(0, "a", "f", ""), STOP, legacy_functions=True)[1:3] == [
        {"function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"arguments": "{}"}},
    ]


def test_a_text_keeps_its_signature_and_the_vendors_facts() -> None:
    """G-193: a signature that came alone shows no delta, and is kept."""
    events = [
        Text("x"),
        Extra("google", {"model_version": "g"}),
        Extra("google", {"grounding": {}}),
        Text("", signature="U0lH"),
        STOP,
    ]
    extra = {"google": {"model_version": "g", "grounding": {}, "thought_signature": "U0lH"}}
    assert message(*events)["extra_content"] == extra
    assert deltas(*events) == [
        {"role": "assistant", "content": ""},
        {"content": "x"},
        {"extra_content": extra},
        {},
    ]


def test_the_log_probabilities_of_a_refusal_stand_at_its_name() -> None:
    entry = {"token": "no", "logprob": -0.1, "bytes": [110, 111], "top_logprobs": []}
    events = [Refusal("no"), Logprobs([], 0, (entry,)), STOP]
    (choice,) = complete(*events)["choices"]
    assert choice["logprobs"] == {"content": None, "refusal": [entry]}
    streamed = [chunk["choices"][0]["logprobs"] for chunk in frames(*events)]
    assert [one for one in streamed if one] == [{"content": None, "refusal": [entry]}]


def test_thoughts_refusals_and_logprobs() -> None:
    """G-148, G-162"""
    entry = {"token": "x", "logprob": -0.1, "bytes": [120], "top_logprobs": []}
    events = [Reasoning("hm"), Reasoning("m"), Refusal("no"), Logprobs([entry]), Logprobs([entry]), STOP]
    (choice,) = complete(*events)["choices"]
    assert choice["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": "no",
        "reasoning_content": "hmm",
    }
    assert choice["logprobs"] == {"content": [entry, entry], "refusal": None}
    chunks = frames(*events)
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "hm"},
        {"reasoning_content": "m"},
        {"refusal": "no"},
        {},
        {},
        {},
    ]
    assert chunks[4]["choices"][0]["logprobs"] == {"content": [entry], "refusal": None}


@pytest.mark.parametrize(
    ("events", "content", "refusal"),
    [
        pytest.param([Finish("stop")], "", None, id="nothing at all"),
        pytest.param([Finish("length")], "", None, id="G-140 only thoughts"),
        pytest.param(
            [Finish("content_filter", "SAFETY")],
            None,
            "The reply was blocked by the upstream content filter (SAFETY).",
            id="filtered without a word",
        ),
        pytest.param(
            [Finish("content_filter", "SAFETY", message="Too wild.")],
            None,
            "Too wild.",
            id="the vendor's words",
        ),
        pytest.param(
            [Refusal("The prompt was blocked."), Finish("content_filter")],
            None,
            "The prompt was blocked.",
            id="G-144 blocked prompt",
        ),
        pytest.param([Text(""), Finish("stop")], "", None, id="empty text"),
    ],
)
def test_what_is_said_when_there_is_no_text(
    events: list[Event], content: str | None, refusal: str | None
) -> None:
    found = message(*events)
    assert (found["content"], found["refusal"]) == (content, refusal)
    assert "".join(delta.get("refusal") or "" for delta in deltas(*events)) == (refusal or "")


@pytest.mark.parametrize(
    ("events", "content", "refusal"),
    [
        pytest.param(
            [Text(""), Finish("content_filter", message="Too wild.")],
            "Too wild.",
            "Too wild.",
            id="at the end",
        ),
        pytest.param(
            [Refusal("Not "), Refusal("this."), Finish("content_filter")],
            "Not this.",
            "Not this.",
            id="in pieces",
        ),
        pytest.param(
            [Text("A cat"), Refusal("No "), Refusal("more."), Finish("content_filter")],
            "A cat\n\nNo more.",
            "No more.",
            id="after text",
        ),
        pytest.param(
            [Text("A cat"), Finish("content_filter", message="Too wild.")],
            "A cat\n\nToo wild.",
            "Too wild.",
            id="after text, at the end",
        ),
        pytest.param(
            [Image("image/png", Slice(PNG.encode())), Refusal("No more."), Finish("content_filter")],
            f"![image]({URL})\n\nNo more.",
            "No more.",
            id="after a picture",
        ),
        pytest.param([Text("A cat"), STOP], "A cat", None, id="none"),
    ],
)
def test_a_refusal_stands_in_the_text_too_where_the_client_shows_nothing_else(
    events: list[Event], content: str, refusal: str | None
) -> None:
    found = message(*events, refusal_in_text=True, image_mode="markdown")
    assert (found["content"], found["refusal"]) == (content, refusal)
    sent = deltas(*events, refusal_in_text=True, image_mode="markdown")
    assert "".join(delta.get("content") or "" for delta in sent) == content
    assert "".join(delta.get("refusal") or "" for delta in sent) == (refusal or "")


def test_code_that_the_upstream_ran_stands_in_the_text() -> None:
    """X-022: a chat has no other place for it, and tells of a search by the vendor's facts alone."""
    events = (
        Text("Sum: "),
        CodeRun("\n```python\nprint(1)\n```\n", "print(1)", "python"),
        CodeRun("", output=""),
        Searched(("q",)),
        Text("done"),
        Finish("stop"),
    )
    assert message(*events)["content"] == "Sum: \n```python\nprint(1)\n```\ndone"
    assert [delta["content"] for delta in deltas(*events) if delta.get("content")] == [
        "Sum: ",
        "\n```python\nprint(1)\n```\n",
        "done",
    ]


def test_citations_come_once_before_the_finish() -> None:
    """G-158, G-194"""
    events = [Citation("https://r/1", "example.com", 0, 6), Text("Zürich is big."), STOP]
    annotations = [
        {
            "type": "url_citation",
            "url_citation": {"start_index": 0, "end_index": 6, "url": "https://r/1", "title": "example.com"},
        }
    ]
    assert message(*events)["annotations"] == annotations
    assert deltas(*events)[2:] == [{"annotations": annotations}, {}]


DRAWN = [
    Text("A cat:\n"),
    Image("image/png", Slice(PNG.encode())),
    Text("and"),
    Image("", Slice(PNG.encode()), signature="U0lH"),
    STOP,
]
PART = {"type": "image_url", "image_url": {"url": URL}}
SIGNED = {"extra_content": {"google": {"thought_signature": "U0lH"}}}


def test_pictures_as_images() -> None:
    """G-155, G-157, I-026: string content beside a list with distinct indexes; png only when unknown."""
    found = message(*DRAWN, image_mode="images")
    assert found["content"] == "A cat:\nand"
    assert found["images"] == [{**PART, "index": 0}, {**PART, "index": 1, **SIGNED}]
    assert "extra_content" not in found
    assert message(Image("image/webp", Slice(b"AAAA")), STOP)["images"][0]["image_url"] == {
        "url": "data:image/webp;base64,AAAA"
    }
    assert message(Image("image/webp", Slice(b"AAAA")), STOP)["content"] == ""


def test_pictures_as_parts() -> None:
    """G-154, I-031: the shape of the reseller's document, in the order of generation."""
    events = [STARTED, Text("没问题,"), Text("请看:\n"), Image("image/png", Slice(PNG.encode())), STOP]
    counted = Usage(1304, 1297, prompt_text=14, prompt_image=1290, completion_image=1290)
    body = complete(*events, counted, image_mode="parts")
    assert body["choices"][0]["message"] == {
        "role": "assistant",
        "content": [{"type": "text", "text": "没问题,请看:\n"}, PART],
        "refusal": None,
    }
    assert body["usage"] == {
        "prompt_tokens": 1304,
        "completion_tokens": 1297,
        "total_tokens": 2601,
        "prompt_tokens_details": {"cached_tokens": 0, "text_tokens": 14, "image_tokens": 1290},
        "completion_tokens_details": {"reasoning_tokens": 0, "image_tokens": 1290},
    }
    found = message(*DRAWN, image_mode="parts")
    assert found["content"] == [
        {"type": "text", "text": "A cat:\n"},
        PART,
        {"type": "text", "text": "and"},
        {**PART, **SIGNED},
    ]
    assert message(Text("x"), STOP, image_mode="parts")["content"] == "x"


def test_pictures_as_markdown() -> None:
    """G-156"""
    found = message(*DRAWN, image_mode="markdown")
    assert found["content"] == f"A cat:\n\n\n![image]({URL})\n\nand\n\n![image]({URL})"
    assert "images" not in found
    assert found["extra_content"] == {"google": {"thought_signature": "U0lH"}}


def test_pictures_as_links() -> None:
    """I-032; without a store a data URL is the last resort."""
    found = message(*DRAWN, image_mode="link", link=lambda image: "https://p/1")
    assert found["content"] == "A cat:\n\n\n![image](https://p/1)\n\nand\n\n![image](https://p/1)"
    assert message(DRAWN[1], STOP, image_mode="link")["content"] == f"![image]({URL})"
    assert (
        message(Image("image/png", url="https://v/1"), STOP, image_mode="link")["content"]
        == "![image](https://v/1)"
    )
    both = message(*DRAWN, image_mode="images+link", link=lambda image: "https://p/1")
    assert both["content"] == found["content"]
    assert [entry["index"] for entry in both["images"]] == [0, 1]


@pytest.mark.parametrize("mode", ["images", "parts"])
def test_streamed_pictures_come_in_one_chunk_after_the_text(mode: str) -> None:
    """G-190, I-030: never in a list-valued content, never beside anything else."""
    assert deltas(STARTED, *DRAWN, image_mode=mode) == [
        {"role": "assistant", "content": ""},
        {"content": "A cat:\n"},
        {"content": "and"},
        {"content": "", "images": [{**PART, "index": 0}, {**PART, "index": 1, **SIGNED}]},
        {},
    ]


def test_a_streamed_markdown_picture_is_one_delta_after_a_blank_line() -> None:
    """I-032"""
    assert deltas(STARTED, *DRAWN, image_mode="markdown")[1:5] == [
        {"content": "A cat:\n"},
        {"content": f"\n\n![image]({URL})"},
        {"content": "\n\nand"},
        {"content": f"\n\n![image]({URL})"},
    ]


def test_a_picture_is_not_copied() -> None:
    picture = Slice(PNG.encode())
    pieces = whole([STARTED, Image("image/png", picture), STOP], options())
    assert any(piece is picture.raw for piece in pieces)
    renderer = StreamRenderer(options())
    renderer.feed([STARTED, Image("image/png", picture), STOP])
    assert any(piece is picture.raw for piece in renderer.finish())


def test_sound() -> None:
    """G-163; 3.2: raw samples stay as they are for pcm16 and become a file for wav."""
    events = [
        STARTED,
        Audio("audio/L16;codec=pcm;rate=16000", Slice.of(b"abcd"), "he"),
        Audio("audio/L16;codec=pcm;rate=16000", Slice.of(b"ef"), "y"),
        STOP,
    ]
    plain = message(*events[1:])
    assert plain["content"] is None
    assert plain["audio"] == {
        "id": "audio_abc",
        "data": base64.b64encode(b"abcdef").decode(),
        "expires_at": 7,
        "transcript": "hey",
    }
    assert [delta["audio"] for delta in deltas(*events)[1:3]] == [
        {
            "id": "audio_abc",
            "data": base64.b64encode(b"abcd").decode(),
            "expires_at": 7,
            "transcript": "he",
        },
        {"data": base64.b64encode(b"ef").decode(), "transcript": "y"},
    ]
    file = base64.b64decode(message(*events[1:], audio_format="wav")["audio"]["data"])
    assert file[:4] + file[8:16] + file[36:40] == b"RIFFWAVEfmt data"
    assert int.from_bytes(file[4:8], "little") == 36 + 6
    assert int.from_bytes(file[24:28], "little") == 16000
    assert file[44:] == b"abcdef"
    streamed = deltas(*events, audio_format="wav")
    assert [list(delta) for delta in streamed] == [["role", "content"], ["audio"], []]
    assert base64.b64decode(streamed[1]["audio"]["data"]) == file


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        pytest.param(Usage(), NO_TOKENS, id="G-165 zeros"),
        pytest.param(
            Usage(20, 603, 405, 5),
            {
                "prompt_tokens": 20,
                "completion_tokens": 603,
                "total_tokens": 623,
                "prompt_tokens_details": {"cached_tokens": 5},
                "completion_tokens_details": {"reasoning_tokens": 405},
            },
            id="G-166 G-168 I-034",
        ),
        pytest.param(
            Usage(10, 9, cache_write=8, accepted_prediction=4, rejected_prediction=0),
            {
                "prompt_tokens": 10,
                "completion_tokens": 9,
                "total_tokens": 19,
                "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 8},
                "completion_tokens_details": {
                    "reasoning_tokens": 0,
                    "accepted_prediction_tokens": 4,
                    "rejected_prediction_tokens": 0,
                },
            },
            id="predictions and cache writes",
        ),
        pytest.param(
            Usage(1, 9, prompt_audio=0, completion_text=2, completion_image=7, images=1, estimated=True),
            {
                "prompt_tokens": 1,
                "completion_tokens": 9,
                "total_tokens": 10,
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0, "text_tokens": 2, "image_tokens": 7},
                "estimated": True,
            },
            id="G-169",
        ),
        pytest.param(Usage(images=2), {**NO_TOKENS, "images": 2}, id="sold by the picture"),
        pytest.param(
            Usage(vendor={"cost": 1}), {**NO_TOKENS, "vendor": {"cost": 1}}, id="V-008 the vendor's charge"
        ),
    ],
)
def test_usage_adds_up(counted: Usage, expected: Any) -> None:
    assert complete(STARTED, Text("x"), counted, STOP)["usage"] == expected


def test_the_last_usage_counts() -> None:
    body = complete(STARTED, Text("x"), Usage(9), Usage(1, vendor={"cost": 1}), STOP)
    assert body["usage"]["vendor"] == {"cost": 1}
    assert body["usage"]["prompt_tokens"] == 1


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ([], "upstream_empty_response"),
        ([STARTED, Usage(1)], "upstream_empty_response"),
        pytest.param([STARTED, Text("x")], "upstream_stream_truncated", id="G-189"),
        ([STARTED, Text("x"), STOP, Text("y", 1)], "upstream_stream_truncated"),
    ],
)
def test_an_unfinished_reply_is_an_error(events: list[Event], code: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        whole(events, options())
    assert caught.value.code == code
    renderer = StreamRenderer(options())
    renderer.feed(events)
    with pytest.raises(UpstreamError) as caught:
        renderer.finish()
    assert caught.value.code == code


def test_a_broken_stream_ends_with_the_error() -> None:
    """G-187"""
    renderer = StreamRenderer(options())
    renderer.feed([STARTED, Text("x")])
    error = UpstreamError(
        ErrorClass.OVERLOADED, "The model is overloaded.", native="UNAVAILABLE", native_status=503
    )
    assert renderer.error(error, "req_1") == (
        b'data: {"error":{"message":"The model is overloaded. (request id: req_1)","type":"server_error",'
        b'"param":null,"code":"overloaded","upstream":{"status":"UNAVAILABLE","http":503}}}\n\n'
    )


# --- whole equals streamed -----------------------------------------------------------------------

CHOICES = st.integers(0, 2)
SOUND = st.binary(min_size=3, max_size=9).map(lambda data: data[: len(data) // 3 * 3])
SIGNATURES = st.none() | st.sampled_from(["U0lH", "QUJD"])
ANY_EVENT = st.one_of(
    st.builds(Text, st.text(max_size=4), CHOICES, SIGNATURES),
    st.builds(Reasoning, st.text(max_size=4), CHOICES),
    st.builds(
        Image, st.sampled_from(["image/png", ""]), st.just(Slice(b"AAAA")), st.none(), CHOICES, SIGNATURES
    ),
    st.builds(Image, st.just("image/png"), st.none(), st.just("https://v/1"), CHOICES, SIGNATURES),
    st.builds(Audio, st.just("audio/L16;rate=8000"), SOUND.map(Slice.of), st.text(max_size=2), CHOICES),
    st.builds(
        ToolCall,
        st.integers(0, 3),
        st.just(""),
        st.just("f"),
        st.sampled_from(["", '{"a":', "1}"]),
        CHOICES,
        SIGNATURES,
    ),
    st.builds(Refusal, st.text(max_size=3), CHOICES),
    st.builds(Citation, st.just("https://r"), st.just("t"), st.integers(0, 3), st.integers(4, 9), CHOICES),
    st.builds(
        Logprobs,
        st.just([{"token": "x", "logprob": -1.5, "bytes": None, "top_logprobs": []}]),
        CHOICES,
    ),
    st.builds(
        Extra,
        st.sampled_from(["google", "x"]),
        st.dictionaries(st.sampled_from("ab"), st.text(max_size=2), max_size=2),
        CHOICES,
    ),
    st.builds(Usage, st.integers(0, 9), st.integers(0, 9)),
    st.builds(
        Finish,
        st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
        st.none() | st.just("NATIVE"),
        CHOICES,
    ),
)


def comparable(choice: Any) -> Any:
    found = dict(choice["message"])
    found["content"] = found.get("content") or None
    found["refusal"] = found.get("refusal") or None
    found["reasoning_content"] = found.get("reasoning_content") or None
    for empty in ("parsed", "function_call", "tool_calls", "audio", "annotations"):
        if found.get(empty) is None:
            found.pop(empty, None)
    found["tool_calls"] = [
        {key: value for key, value in call.items() if key not in ("index", "id")}
        | {"function": {key: call["function"][key] for key in ("name", "arguments")}}
        for call in found.get("tool_calls", ())
    ]
    return {
        "message": found,
        "finish_reason": choice["finish_reason"],
        "logprobs": choice.get("logprobs") and choice["logprobs"]["content"],
    }


@given(
    st.lists(ANY_EVENT, max_size=12),
    st.sampled_from(["images", "markdown", "link", "images+link"]),
    st.sampled_from([None, "wav", "pcm16"]),
    st.booleans(),
    st.integers(1, 4),
)
def test_what_the_sdk_makes_of_the_stream_is_the_whole_reply(
    events: list[Event], mode: str, sound: str | None, legacy: bool, batch: int
) -> None:
    # The helper wants choices to begin in order.
    begun = [Reasoning("", index) for index in range(3)]
    ended = [Finish("stop", choice=index) for index in range(3)]
    events = [STARTED, *begun, *events, *ended]
    fields: Any = {"image_mode": mode, "audio_format": sound, "legacy_functions": legacy}
    chunks = frames(*events, batch=batch, include_usage=True, **fields)
    streamed = accumulated(chunks)
    told = complete(*events, **fields)
    assert [comparable(choice) for choice in streamed["choices"]] == [
        comparable(choice) for choice in told["choices"]
    ]
    assert streamed["usage"] == told["usage"]


@given(st.lists(ANY_EVENT, max_size=12), st.booleans(), st.sampled_from(["images", "parts", "markdown"]))
def test_any_stream_keeps_the_rules(events: list[Event], include_usage: bool, mode: str) -> None:
    """G-165, G-172, G-173, G-174, G-175, G-178, G-190"""
    ended = [Finish("stop", choice=index) for index in range(3)]
    chunks = frames(*events, *ended, include_usage=include_usage, image_mode=mode)
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    for index in range(3):
        mine = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
        assert [bool(choice["delta"].get("role")) for choice in mine] == [True] + [False] * (len(mine) - 1)
        assert [bool(choice["finish_reason"]) for choice in mine] == [False] * (len(mine) - 1) + [True]
        assert mine[-1]["delta"] == {}
        positions = [call["index"] for choice in mine for call in choice["delta"].get("tool_calls", ())]
        assert sorted(set(positions)) == list(range(len(set(positions))))
        assert all(not isinstance(choice["delta"].get("content"), list) for choice in mine)
    for chunk in chunks[:-1]:
        assert chunk.get("usage") is None
        assert ("usage" in chunk) is include_usage


@pytest.mark.parametrize("mode", ["images", "parts", "markdown", "images+link"])
def test_our_own_reply_comes_back_as_history(mode: str) -> None:
    """I-037, G-043, G-091"""
    sent = message(*DRAWN, image_mode=mode)
    (found,) = chat_request.parse({"model": "m", "messages": [sent]}).request.messages
    pictures = [part for part in found.parts if isinstance(part, MediaPart) and part.kind == "image"]
    assert [picture.data for picture in pictures[:2]] == [Slice(PNG.encode())] * 2
    words = "".join(part.text.strip() for part in found.parts if isinstance(part, TextPart))
    assert words in ("A cat:and", "A cat:\nand")
    assert "U0lH" in [part.signature for part in found.parts if isinstance(part, TextPart | MediaPart)]


DEEP = orjson.loads(b"[" * 300 + b"]" * 300)


@pytest.mark.parametrize("render", [complete, deltas], ids=["whole", "streamed"])
def test_what_no_json_has_a_form_for_is_the_vendors_fault_and_was_sold(render: Any) -> None:
    with pytest.raises(UpstreamError) as caught:
        render(Started("r", "m", 1), Text("Hi"), Extra("google", {"odd": DEEP}), Finish("stop", "STOP"))
    assert (caught.value.code, caught.value.bought) == ("upstream_malformed_response", True)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_many_calls_take_as_long_as_they_are_many(streamed: bool) -> None:
    events = (*(ToolCall(number, f"c{number}", "f", "{}") for number in range(10_000)), Finish("tool_calls"))
    began = time.process_time()
    sent = StreamRenderer(options()).feed(events) if streamed else whole(events, options())
    assert time.process_time() - began < 2  # about 0.1; looked through one by one, 4
    assert text_of(sent).count(b'"c9999"') == 1
