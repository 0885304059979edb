"""How a Gemini reply begins, ends and fails: literal payloads, literal events."""

from typing import Any

import pytest

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import (
    Call,
    ChatRequest,
    Extra,
    Finish,
    Message,
    Reasoning,
    Refusal,
    ResultPart,
    Started,
    Text,
    TextPart,
    Usage,
)
from proxy.wires.gemini.reader import GeminiReader
from tests.gemini_replies import PAINTER, REQUEST, TARGET, chunk, end, only, read, reply


def test_a_whole_reply() -> None:
    """The minimal pair of the contract."""
    assert read(
        {
            "candidates": [
                {
                    "content": {"role": "model", "parts": [{"text": "Hello!", "thoughtSignature": "EqsF"}]},
                    "finishReason": "STOP",
                    "index": 0,
                    "avgLogprobs": -0.5,
                }
            ],
            "usageMetadata": {
                "promptTokenCount": 6,
                "candidatesTokenCount": 2,
                "thoughtsTokenCount": 30,
                "totalTokenCount": 38,
            },
            "createTime": "2026-04-02T17:03:50.399550Z",
            "modelVersion": "gemini-3-flash-preview",
            "responseId": "abc123",
        }
    ) == [
        Started("abc123", "gemini-3-flash-preview", 1775149430),
        Text("Hello!", 0, "EqsF"),
        Extra("google", {"model_version": "gemini-3-flash-preview", "avg_logprobs": -0.5}, 0),
        Usage(prompt=6, completion=32, reasoning=30),
        Finish("stop", "STOP", 0),
    ]


@pytest.mark.parametrize("index", [True, "1", 0.5, None, [1]])
def test_an_index_that_is_none_is_the_first(index: Any) -> None:
    """`True` would be written as it is, which no JSON parser reads."""
    events = read(chunk({"text": "a"}, index=index), chunk(finishReason="STOP", index=index))
    assert [event.choice for event in events if isinstance(event, Text | Finish)] == [0, 0]
    assert all(type(event.choice) is int for event in events if isinstance(event, Text | Finish))


def test_a_stream() -> None:
    """G-173, G-175, G-179, G-193, M-073: one start, one end, the last known counts, a kept signature."""
    told = {"modelVersion": "m-1", "responseId": "r", "createTime": "2026-04-02T17:03:50Z"}
    assert read(
        chunk({"text": "Thin", "thought": True})
        | told
        | {"usageMetadata": {"promptTokenCount": 4, "thoughtsTokenCount": 9, "totalTokenCount": 13}},
        chunk({"text": "Hel"}, index=0) | told,
        chunk({"text": "lo"}, index=0)
        | told
        | {"usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 3, "totalTokenCount": 16}},
        chunk({"text": "", "thoughtSignature": "U0lH"}, index=0, finishReason="STOP") | told,
    ) == [
        Started("r", "m-1", 1775149430, prompt=4),
        Reasoning("Thin"),
        Text("Hel"),
        Text("lo"),
        Text("", 0, "U0lH"),
        Extra("google", {"model_version": "m-1"}, 0),
        Usage(prompt=4, completion=12, reasoning=9),
        Finish("stop", "STOP", 0),
    ]


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        pytest.param(native, reason, id=f"{native} (G-140, G-141, G-142, G-164)")
        for native, reason in {
            None: "stop",
            "FINISH_REASON_UNSPECIFIED": "stop",
            "STOP": "stop",
            "MAX_TOKENS": "length",
            "CONTINUATION": "length",
            "SAFETY": "content_filter",
            "RECITATION": "content_filter",
            "LANGUAGE": "content_filter",
            "BLOCKLIST": "content_filter",
            "PROHIBITED_CONTENT": "content_filter",
            "SPII": "content_filter",
            "IMAGE_SAFETY": "content_filter",
            "IMAGE_PROHIBITED_CONTENT": "content_filter",
            "IMAGE_RECITATION": "content_filter",
            "ESCALATION": "content_filter",
            "MODEL_ARMOR": "content_filter",
            "PUP_LIMITED_DISABLED": "content_filter",
            "OTHER": "stop",
            "IMAGE_OTHER": "stop",
            "NO_IMAGE": "stop",
            "MALFORMED_FUNCTION_CALL": "stop",
            "MALFORMED_RESPONSE": "stop",
            "UNEXPECTED_TOOL_CALL": "stop",
            "TOO_MANY_TOOL_CALLS": "stop",
            "MISSING_THOUGHT_SIGNATURE": "stop",
            "A_WORD_OF_2031": "stop",
        }.items()
    ],
)
def test_the_reason_of_a_reply_with_text(native: str | None, reason: str) -> None:
    events = read(chunk({"text": "x"}, **({"finishReason": native} if native else {})))
    assert end(events) == Finish(reason, native, 0)  # type: ignore[arg-type]
    assert bool(only(events, Refusal)) is (reason == "content_filter")


@pytest.mark.parametrize(
    ("native", "word", "reason"),
    [(1, "STOP", "stop"), (2, "MAX_TOKENS", "length"), (3, "SAFETY", "content_filter"), (77, "77", "stop")],
)
def test_a_reason_given_as_a_number_is_understood(native: int, word: str, reason: str) -> None:
    """G-142: enum-encoding=int; numbers from 6 on mean different things at Vertex and are strangers."""
    assert end(read(reply({"text": "x"}, finishReason=native))) == Finish(reason, word, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("native", ["MAX_TOKENS", "CONTINUATION"])
@pytest.mark.parametrize("content", [None, {}, {"role": "model"}, {"parts": []}, {"parts": None}])
def test_an_empty_reply_at_the_token_limit_is_length(native: str, content: Any) -> None:
    """G-140, G-147."""
    events = read({"candidates": [{"content": content, "finishReason": native}]})
    assert events == [Started(), Usage(), Finish("length", native, 0)]


def test_a_filtered_reply_says_why() -> None:
    """G-141, G-147."""
    payload = {"candidates": [{"finishReason": "SAFETY", "finishMessage": "Unsafe."}]}
    assert read(payload) == [
        Started(),
        Refusal("The answer was stopped by the upstream content filter (SAFETY). Unsafe.", 0),
        Usage(),
        Finish("content_filter", "SAFETY", 0, "Unsafe."),
    ]


def test_an_unknown_reason_without_content_is_content_filter() -> None:
    """G-142."""
    assert end(read({"candidates": [{"finishReason": "NEW_WORD"}]})).reason == "content_filter"


@pytest.mark.parametrize("stream", [True, False])
def test_a_blocked_prompt_is_a_refusal(stream: bool) -> None:
    """G-144, G-170: the counts may be missing."""
    payload = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "modelVersion": "m-1"}
    assert read(payload, stream=stream) == [
        Started(None, "m-1"),
        Refusal("The prompt was blocked by the upstream content filter (PROHIBITED_CONTENT)."),
        Usage(),
        Finish("content_filter", "PROHIBITED_CONTENT", 0),
    ]


def test_a_blocked_prompt_keeps_its_message_and_counts() -> None:
    """G-144."""
    payload = {
        "promptFeedback": {"blockReason": "FAKE_NEW", "blockReasonMessage": "Reasons."},
        "usageMetadata": {"promptTokenCount": 12, "totalTokenCount": 12},
    }
    assert read(payload) == [
        Started(),
        Refusal("The prompt was blocked by the upstream content filter (FAKE_NEW). Reasons."),
        Usage(prompt=12),
        Finish("content_filter", "FAKE_NEW", 0, "Reasons."),
    ]


def test_a_filter_that_strikes_after_the_answer_began() -> None:
    """G-141, G-144: the text stays, the end is content_filter even without a finishReason."""
    events = read(chunk({"text": "So"}), {"promptFeedback": {"blockReason": "OTHER"}})
    assert events == [
        Started(),
        Text("So"),
        Refusal("The answer was stopped by the upstream content filter (OTHER)."),
        Usage(),
        Finish("content_filter", "OTHER", 0),
    ]


def test_safety_ratings_alone_block_nothing() -> None:
    payload = reply({"text": "x"}) | {"promptFeedback": {"safetyRatings": []}}
    assert end(read(payload)) == Finish("stop", "STOP", 0)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        pytest.param({}, "upstream_empty_response", id="G-146"),
        pytest.param({"candidates": []}, "upstream_empty_response", id="G-146 no candidate"),
        pytest.param({"candidates": [{}]}, "upstream_empty_response", id="G-147 nothing in it"),
        pytest.param({"candidates": [{"finishReason": "STOP"}]}, "upstream_empty_response", id="stop"),
        pytest.param(reply({"text": "hm", "thought": True}), "upstream_empty_response", id="thoughts only"),
        pytest.param({"candidates": [{"finishReason": "OTHER"}]}, "upstream_empty_response", id="other"),
        pytest.param({"candidates": [{"finishReason": "NO_IMAGE"}]}, "no_image_generated", id="no image"),
        pytest.param(
            {"candidates": [{"finishReason": "IMAGE_OTHER"}]}, "no_image_generated", id="image other"
        ),
        pytest.param(
            reply(finishReason="MALFORMED_FUNCTION_CALL"), "upstream_malformed_response", id="G-143"
        ),
        pytest.param(reply(finishReason="MALFORMED_RESPONSE"), "upstream_malformed_response", id="malformed"),
        pytest.param(
            reply(finishReason="UNEXPECTED_TOOL_CALL"), "upstream_malformed_response", id="unexpected"
        ),
        pytest.param(reply(finishReason="TOO_MANY_TOOL_CALLS"), "upstream_malformed_response", id="too many"),
    ],
)
def test_an_empty_reply_is_an_error_that_may_be_tried_again(payload: Any, code: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        read(payload)
    assert (caught.value.error_class, caught.value.status, caught.value.code) == (ErrorClass.EMPTY, 502, code)
    assert caught.value.bought is False


@pytest.mark.parametrize(
    ("counts", "bought"),
    [
        ({"promptTokenCount": 9, "totalTokenCount": 9}, False),
        ({"promptTokenCount": 9, "candidatesTokenCount": 1290}, True),
        ({"promptTokenCount": 9, "thoughtsTokenCount": 40}, True),
        ({"promptTokenCount": 9, "totalTokenCount": 1299}, True),
    ],
)
@pytest.mark.parametrize(
    "payload",
    [
        {"candidates": []},
        reply(finishReason="MALFORMED_FUNCTION_CALL"),
        {"candidates": [{"finishReason": "NO_IMAGE"}]},
        {"error": {"code": 500, "message": "x"}, "candidates": []},
    ],
    ids=["nothing", "malformed", "no picture", "error"],
)
def test_what_an_empty_reply_counts_was_bought(payload: Any, counts: Any, bought: bool) -> None:
    with pytest.raises(UpstreamError) as caught:
        read({"usageMetadata": counts}, payload)
    assert caught.value.bought is bought


@pytest.mark.parametrize("payload", [{}, {"candidates": []}, reply(finishReason="NO_IMAGE")], ids=str)
def test_a_picture_may_be_bought_where_nothing_comes_and_nothing_is_counted(payload: Any) -> None:
    for target in (PAINTER, TARGET):
        with pytest.raises(UpstreamError) as caught:
            read(payload, target=target)
        assert caught.value.bought is (target is PAINTER)


def test_a_picture_may_be_bought_where_only_an_error_comes() -> None:
    for target, body in [(PAINTER, {}), (TARGET, {"generationConfig": {"responseModalities": ["IMAGE"]}})]:
        for code, bought in [(500, True), (429, False)]:
            with pytest.raises(UpstreamError) as caught:
                read({"error": {"code": code, "message": "x"}}, target=target, body=body)
            assert caught.value.bought is bought


def test_an_error_after_words_may_have_cost_something() -> None:
    reader = GeminiReader(REQUEST, TARGET, Call("/", {}, stream=True))
    reader.feed(chunk({"text": "Hi"}))
    with pytest.raises(UpstreamError) as caught:
        reader.feed(OVERLOADED)
    assert caught.value.bought is True


@pytest.mark.parametrize("part", [{"text": "Hi"}, {"text": "Hm", "thought": True}], ids=["text", "thought"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_what_stands_beside_an_error_is_handed_on_before_it(part: Any, stream: bool) -> None:
    reader = GeminiReader(REQUEST, TARGET, Call("/", {}, stream=stream))
    assert len(reader.feed(chunk(part) | {"usageMetadata": {"candidatesTokenCount": 3}} | OVERLOADED)) == 2
    with pytest.raises(UpstreamError, match="overloaded") as caught:
        reader.close()
    assert caught.value.bought is True


def test_counts_beside_an_error_prove_the_sale() -> None:
    with pytest.raises(UpstreamError, match="overloaded") as caught:
        read({"candidates": [], "usageMetadata": {"candidatesTokenCount": 3}} | OVERLOADED)
    assert (caught.value.bought, caught.value.may_repeat) == (True, False)


def test_an_empty_reply_hands_nothing_on_before_it_fails() -> None:
    """G-146, G-205: another upstream can still be asked."""
    reader = GeminiReader(REQUEST, TARGET, Call("/", {}, stream=True))
    assert reader.feed({"responseId": "r", "usageMetadata": {"promptTokenCount": 3}}) == []
    assert reader.feed(chunk(finishReason="STOP")) == []
    with pytest.raises(UpstreamError):
        reader.close()


@pytest.mark.parametrize("finish", ["STOP", "OTHER", "NO_IMAGE", "IMAGE_OTHER"])
def test_an_image_model_that_draws_and_says_nothing_is_an_error(finish: str) -> None:
    payload = reply({"text": ""}, finishReason=finish, finishMessage="Could not draw.")
    for target, body in [(PAINTER, {}), (TARGET, {"generationConfig": {"responseModalities": ["IMAGE"]}})]:
        with pytest.raises(UpstreamError) as caught:
            read(payload, target=target, body=body)
        assert (caught.value.code, caught.value.native) == ("no_image_generated", finish)
        assert caught.value.message == f"The upstream gave no picture ({finish}). Could not draw."


def test_an_image_model_that_only_speaks_has_answered() -> None:
    """V-039: on chat."""
    assert end(read(reply({"text": "Which cat?"}, finishReason="NO_IMAGE"), target=PAINTER)).reason == "stop"


def test_silence_is_an_answer_after_tool_results_and_when_it_is_said() -> None:
    after_tools = ChatRequest("m", (Message("user", (ResultPart("a", None, (TextPart("done"),)),)),))
    silence = [Started(), Usage(), Finish("stop", "STOP", 0)]
    assert read(reply(), request=after_tools) == silence
    assert read(reply({"text": ""})) == silence


def test_a_missing_signature_asks_for_a_repair() -> None:
    """G-101: as a 400 that `repair` understands."""
    with pytest.raises(UpstreamError) as caught:
        read(reply(finishReason="MISSING_THOUGHT_SIGNATURE"))
    assert caught.value.error_class is ErrorClass.BAD_REQUEST
    assert caught.value.bought is False


def test_a_time_that_cannot_be_read_is_no_time() -> None:
    assert read(reply({"text": "x"}) | {"createTime": "yesterday"})[0] == Started()


@pytest.mark.parametrize("name", ["data", "result", "response"])
def test_a_resellers_envelope_is_opened(name: str) -> None:
    """vendors.md 1.1: the reply is looked for under these; the vendor's charge is kept."""
    charge = {"cost": "0.02", "actual_cost": 0.01}
    assert read({"success": True, "_billing": charge, name: reply({"text": "x"})}) == [
        Started(),
        Text("x"),
        Usage(vendor={"_billing": charge}),
        Finish("stop", "STOP", 0),
    ]


def test_an_array_of_chunks_is_a_stream() -> None:
    """G-185."""
    chunks = [chunk({"text": "a"}), chunk({"text": "b"}, finishReason="STOP")]
    assert read(chunks, stream=True) == read(*chunks)


OVERLOADED = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(OVERLOADED, id="G-187 object"),
        pytest.param([OVERLOADED], id="G-203 in a list"),
        pytest.param({"error": f"{OVERLOADED}".replace("'", '"')}, id="G-203 in a string"),
        pytest.param(OVERLOADED["error"], id="G-203 bare"),
    ],
)
def test_an_error_inside_a_stream_is_raised(payload: Any) -> None:
    reader = GeminiReader(REQUEST, TARGET, Call("/", {}, stream=True))
    assert reader.feed(chunk({"text": "First "})) == [Started(), Text("First ")]
    with pytest.raises(UpstreamError) as caught:
        reader.feed(payload)
    error = caught.value
    assert (error.error_class, error.status, error.code) == (ErrorClass.OVERLOADED, 503, "overloaded")
    assert error.message == "The model is overloaded."
    assert error.native == "UNAVAILABLE"


COUNTED = {"usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 5}}


@pytest.mark.parametrize("beside", [OVERLOADED, {"success": False, "message": "The model is overloaded."}])
def test_an_error_beside_a_piece_of_text_is_raised_behind_it(beside: Any) -> None:
    reader = GeminiReader(REQUEST, TARGET, Call("/", {}, stream=True))
    assert reader.feed(chunk({"text": "First "}) | COUNTED) == [Started(prompt=3), Text("First ")]
    assert reader.feed(chunk({"text": "last"}) | COUNTED | beside) == [Text("last")]
    with pytest.raises(UpstreamError, match="The model is overloaded"):
        reader.close()


def test_a_verdict_on_the_prompt_beside_a_piece_of_text_is_heard() -> None:
    verdict = {"promptFeedback": {"blockReason": "SAFETY"}}
    first, last = chunk({"text": "a"}), chunk({"text": "b"})
    events = read(first | COUNTED, last | COUNTED | verdict, chunk(finishReason="STOP"))
    assert end(events) == Finish("content_filter", "SAFETY", 0)


def test_a_charge_beside_a_piece_of_text_is_kept() -> None:
    charge = {"credits": 2}
    pieces = [chunk({"text": "a"}) | COUNTED, chunk({"text": "b"}) | COUNTED | {"_billing": charge}]
    [counted] = only(read(*pieces, chunk(finishReason="STOP")), Usage)
    assert counted == Usage(prompt=3, completion=2, vendor={"_billing": charge})


def test_an_error_as_the_first_payload_is_raised_before_any_event() -> None:
    """G-186: so the client gets its HTTP status."""
    with pytest.raises(UpstreamError, match="overloaded"):
        read(OVERLOADED, chunk({"text": "x"}))


def test_a_200_that_says_it_failed_is_an_error() -> None:
    """vendors.md 1.4."""
    with pytest.raises(UpstreamError) as caught:
        read({"success": False, "error": "No credits left", "error_code": "insufficient_balance"})
    assert (caught.value.message, caught.value.native) == ("No credits left", "insufficient_balance")


@pytest.mark.parametrize("payload", ["text", 7, None, [7]])
def test_a_payload_that_is_no_object_is_an_error(payload: Any) -> None:
    with pytest.raises(UpstreamError):
        read(payload)


def test_a_stream_without_a_finish_reason_is_truncated() -> None:
    """G-189: work was done, so it is not tried again."""
    with pytest.raises(UpstreamError) as caught:
        read(chunk({"text": "Hel"}), chunk({"text": "lo"}))
    assert (caught.value.code, caught.value.bought) == ("upstream_stream_truncated", True)
    with pytest.raises(UpstreamError) as caught:
        read(chunk(), stream=True)
    assert (caught.value.code, caught.value.bought) == ("upstream_stream_truncated", False)


def test_a_choice_of_several_that_never_finished_is_truncated() -> None:
    """G-189."""
    with pytest.raises(UpstreamError, match="ended before"):
        read(chunk({"text": "a"}, finishReason="STOP"), chunk({"text": "b"}, index=1))
