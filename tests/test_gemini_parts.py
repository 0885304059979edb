"""The parts of a Gemini reply into events: literal payloads, literal events."""

import pytest

from proxy.errors import UpstreamError
from proxy.types import (
    Audio,
    CodeRun,
    Extra,
    Finish,
    Image,
    Logprobs,
    Reasoning,
    Refusal,
    Slice,
    Started,
    Text,
    ToolCall,
    Usage,
)
from tests.gemini_replies import PNG, end, only, read, reply


def test_every_kind_of_part_in_order() -> None:
    """G-148, G-149, G-150, G-154, G-157, G-193, V-038: what is shown is shown in order, drafts are not."""
    events = read(
        reply(
            {"text": "Let me see.", "thought": True},
            {"inlineData": {"mimeType": "image/png", "data": "DRAFT"}, "thought": True},
            {"text": "A "},
            {"text": "cat: "},
            {"inlineData": {"mimeType": "image/jpeg", "data": Slice(b"/9j/")}, "thoughtSignature": "c2ln"},
            {"inlineData": {"data": PNG}},
            {},
            {"text": "."},
            {"thoughtSignature": "bGFzdA=="},
        )
    )
    assert events == [
        Started(),
        Reasoning("Let me see."),
        Text("A "),
        Text("cat: "),
        Image("image/jpeg", Slice(b"/9j/"), signature="c2ln"),
        Image("image/png", Slice(PNG.encode())),
        Text("."),
        Text("", 0, "bGFzdA=="),
        Usage(images=2, completion=2240, completion_image=2240, estimated=True),
        Finish("stop", "STOP", 0),
    ]


def test_unused_fields_of_a_part_change_nothing() -> None:
    """Resellers that write every field: null, or an empty string."""
    unused = {"functionCall": None, "inlineData": None, "fileData": None, "thoughtSignature": ""}
    picture = {"text": "", "inlineData": {"mimeType": "image/png", "data": PNG}, "thought": False}
    assert only(read(reply({**unused, "text": "a"}, picture)), Text, Image, ToolCall) == [
        Text("a"),
        Image("image/png", Slice(PNG.encode())),
    ]


def test_two_things_in_one_part_are_both_shown_and_signed_once() -> None:
    part = {"text": "a", "functionCall": {"name": "f", "id": "1"}, "thoughtSignature": "c2ln"}
    assert only(read(reply(part)), Text, ToolCall) == [Text("a", 0, "c2ln"), ToolCall(0, "1", "f", "{}")]


def test_a_picture_in_snake_case_is_seen() -> None:
    """vendors.md 8.4, gemini-image: relays in Python write the proto's own names."""
    part = {"inline_data": {"mime_type": "image/jpeg", "data": "/9j/"}}
    assert only(read(reply(part)), Image) == [Image("image/jpeg", Slice(b"/9j/"))]


def test_a_data_url_in_place_of_base64_is_unwrapped() -> None:
    part = {"inlineData": {"mimeType": "image/png", "data": f"data:image/png;base64,{PNG}"}}
    assert only(read(reply(part)), Image) == [Image("image/png", Slice(PNG.encode()))]


def test_long_text_and_signatures_that_look_like_base64_stay_text() -> None:
    """G-098: they arrive as slices."""
    events = read(reply({"text": Slice(b"QUJD" * 5000), "thoughtSignature": Slice(b"c2ln" * 5000)}))
    assert only(events, Text) == [Text("QUJD" * 5000, 0, "c2ln" * 5000)]


def test_sound() -> None:
    """G-163."""
    part = {"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": "AAAA"}}
    events = read(reply(part))
    assert only(events, Text, Audio) == [Audio("audio/L16;codec=pcm;rate=24000", Slice(b"AAAA"))]
    assert end(events).reason == "stop"


def test_files_stand_in_the_text_and_beside_it() -> None:
    events = read(
        reply(
            {"text": "See:"},
            {"inlineData": {"mimeType": "text/csv", "data": "YSxi"}},
            {"fileData": {"mimeType": "video/mp4", "fileUri": "https://f/1"}},
            {"fileData": {"mimeType": "image/png", "fileUri": "https://f/2"}},
        )
    )
    assert only(events, Text, Image, Extra) == [
        Text("See:"),
        Text("\ndata:text/csv;base64,YSxi\n"),
        Text("https://f/1\n"),
        Image("image/png", url="https://f/2"),
        Extra(
            "google",
            {
                "files": [
                    {"mime_type": "text/csv", "data": Slice(b"YSxi")},
                    {"mime_type": "video/mp4", "uri": "https://f/1"},
                ]
            },
        ),
    ]


def test_a_large_file_stands_beside_the_text_only() -> None:
    data = Slice(b"QUJD" * 5000)
    events = read(reply({"inlineData": {"mimeType": "video/mp4", "data": data}}))
    assert only(events, Text, Extra) == [
        Extra("google", {"files": [{"mime_type": "video/mp4", "data": data}]})
    ]
    assert end(events).reason == "stop"


def test_what_holds_nothing_shows_nothing() -> None:
    """G-149: drafts, empty pictures, addresses without an address."""
    parts = [
        {"inlineData": {"mimeType": "image/png", "data": ""}},
        {"fileData": {"mimeType": "image/png"}},
        {"fileData": {"mimeType": "image/png", "fileUri": "https://f/2"}, "thought": True},
        {"text": "x"},
    ]
    events = read(reply(*parts, logprobsResult={"chosenCandidates": []}))
    assert only(events, Text, Image, Logprobs, Extra) == [Text("x")]


def test_code_and_its_output_are_fenced() -> None:
    """G-161."""
    events = read(
        reply(
            {"text": "Running"},
            {"executableCode": {"language": "PYTHON", "code": "print(1)\n"}, "thoughtSignature": "eA=="},
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}},
            {"codeExecutionResult": {"outcome": "OUTCOME_OK"}},
            {"text": "Done"},
        )
    )
    assert only(events, Text, CodeRun) == [
        Text("Running"),
        CodeRun("\n```python\nprint(1)\n```\n", "print(1)\n", "python"),
        CodeRun("```\n1\n```\n", output="1\n"),
        CodeRun("", output=""),
        Text("Done"),
    ]


def test_a_fence_is_longer_than_those_inside() -> None:
    """G-161."""
    events = read(reply({"executableCode": {"code": "'```'"}}))
    assert only(events, CodeRun) == [CodeRun("````\n'```'\n````\n", "'```'")]


def test_code_that_failed_says_so() -> None:
    """X-022."""
    events = read(reply({"codeExecutionResult": {"outcome": "OUTCOME_FAILED", "output": "Error"}}))
    assert only(events, CodeRun) == [CodeRun("```\nError\n```\n", output="Error", ok=False)]


def test_the_vendors_own_tool_calls_are_kept_for_replay() -> None:
    """G-108."""
    used = {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "id": "x"}, "thoughtSignature": "YQ=="}
    result = {"toolResponse": {"toolType": "GOOGLE_SEARCH_WEB", "id": "x"}, "thoughtSignature": "Yg=="}
    ignored = {"functionResponse": {"name": "f", "response": {}}}
    assert read(reply(used, result, ignored, {"text": "42"})) == [
        Started(),
        Text("42"),
        Extra("google", {"parts": [used, result]}, 0),
        Usage(),
        Finish("stop", "STOP", 0),
    ]


def test_logprobs_stand_before_the_calls_behind_the_text() -> None:
    result = {"chosenCandidates": [{"token": "!"}]}
    call = {"functionCall": {"name": "f", "args": {}}}
    found = only(read(reply({"text": "!"}, call, logprobsResult=result)), Text, Logprobs, ToolCall)
    assert list(map(type, found)) == [Text, Logprobs, ToolCall]


def test_logprobs_carry_bytes_and_the_top_candidates() -> None:
    """G-162."""
    result = {
        "chosenCandidates": [{"token": "é", "logProbability": -0.1, "tokenId": 7}, {"token": "!"}],
        "topCandidates": [
            {"candidates": [{"token": "é", "logProbability": -0.1}, {"token": "e", "logProbability": -2.5}]}
        ],
    }
    assert only(read(reply({"text": "é!"}, logprobsResult=result)), Logprobs) == [
        Logprobs(
            [
                {
                    "token": "é",
                    "logprob": -0.1,
                    "bytes": [195, 169],
                    "top_logprobs": [
                        {"token": "é", "logprob": -0.1, "bytes": [195, 169]},
                        {"token": "e", "logprob": -2.5, "bytes": [101]},
                    ],
                },
                {"token": "!", "logprob": 0.0, "bytes": [33], "top_logprobs": []},
            ]
        )
    ]


def test_several_choices_end_each() -> None:
    """G-142, G-172: an absent index is the position."""
    payload = {
        "candidates": [
            {"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"},
            {"content": {"parts": [{"text": "b"}]}, "finishReason": "MAX_TOKENS", "index": 1},
            {"finishReason": "SAFETY", "index": 2},
        ]
    }
    assert read(payload) == [
        Started(),
        Text("a", 0),
        Text("b", 1),
        Refusal("The answer was stopped by the upstream content filter (SAFETY).", 2),
        Usage(),
        Finish("stop", "STOP", 0),
        Finish("length", "MAX_TOKENS", 1),
        Finish("content_filter", "SAFETY", 2),
    ]


@pytest.mark.parametrize("mime", ["image/png", "audio/wav", "application/pdf"])
@pytest.mark.parametrize("data", ["!!!!", "\x00", 'QUJD"', "QUJ\udc00", "data:image/png;base64,<svg>"])
def test_what_is_no_base64_is_no_picture_and_no_sound(mime: str, data: str) -> None:
    """It would stand in the reply as it came, and no parser of JSON would read that."""
    with pytest.raises(UpstreamError) as caught:
        read(reply({"inlineData": {"mimeType": mime, "data": data}}))
    assert caught.value.code == "upstream_malformed_response"


@pytest.mark.parametrize("data", ["-_8", "+/8=", Slice(b"-_8"), "+/\n8"])
def test_sound_is_standard_base64_for_it_is_decoded_here(data: str | Slice) -> None:
    events = read(reply({"inlineData": {"mimeType": "audio/L16", "data": data}}))
    assert only(events, Audio) == [Audio("audio/L16", Slice(b"+/8="))]


def test_base64_with_line_ends_is_mended() -> None:
    [found] = only(read(reply({"inlineData": {"mimeType": "image/png", "data": "iVBO\r\nRw0K\nGgo"}})), Image)
    assert isinstance(found, Image)
    assert bytes(found.data.raw if found.data else b"") == b"iVBORw0KGgo="
