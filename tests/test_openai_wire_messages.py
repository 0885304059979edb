"""Histories for upstreams that speak OpenAI: the whole list of messages that goes out."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from proxy.codec import jsonio
from proxy.errors import RequestError
from proxy.types import (
    CallPart,
    ChatRequest,
    Foreign,
    Json,
    MediaPart,
    Message,
    ResultPart,
    Slice,
    Target,
    TextPart,
    ThoughtPart,
)
from proxy.wires.openai import OpenAIChatWire

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20))
IMAGE = MediaPart("image", Slice(PNG), mime="image/png")
IMAGE_PART = {"type": "image_url", "image_url": {"url": Slice(PNG, b"data:image/png;base64,")}}


def sent(*messages: Message, dropped: tuple[str, ...] = (), **options: Any) -> list[Json]:
    call = OpenAIChatWire().build(ChatRequest("m", messages), Target("lan", "m", options=options))
    assert call.dropped == dropped
    found: list[Json] = call.body["messages"]
    return found


def texts(*parts: str) -> tuple[TextPart, ...]:
    return tuple(TextPart(part) for part in parts)


def test_roles_names_and_texts() -> None:
    assert sent(
        Message("developer", texts("Be brief.")),
        Message("system", texts("One.", "Two.")),
        Message("user", texts("Hi"), name="ann"),
        Message(
            "assistant",
            (*texts("Hello"), TextPart("No.", refusal=True)),
            name="bot",
        ),
    ) == [
        {"role": "system", "content": "Be brief."},
        {"role": "system", "content": [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]},
        {"role": "user", "name": "ann", "content": "Hi"},
        {"role": "assistant", "content": "Hello", "name": "bot", "refusal": "No."},
    ]


@pytest.mark.parametrize("said", ["image/jpeg", "image/jpg", "application/octet-stream", None])
def test_a_picture_goes_as_what_its_bytes_are(said: str | None) -> None:
    """I-038: relays refuse a picture that is said to be another."""
    [message] = sent(Message("user", (MediaPart("image", Slice(PNG), mime=said),)))
    assert message["content"] == [IMAGE_PART]


def test_a_picture_of_a_sort_that_nobody_knows_goes_as_what_it_is_said_to_be() -> None:
    svg = Slice(base64.b64encode(b"<svg/>"))
    [message] = sent(Message("user", (MediaPart("image", svg, mime="image/svg+xml"),)))
    assert message["content"][0]["image_url"]["url"] == Slice(svg.raw, b"data:image/svg+xml;base64,")


def test_media_become_the_parts_that_servers_document() -> None:
    pdf = Slice(base64.b64encode(b"%PDF-1.7"))
    [message] = sent(
        Message(
            "user",
            (
                TextPart("Look"),
                TextPart(""),
                MediaPart("image", Slice(PNG), detail="ultra_high"),
                MediaPart("image", url="https://a/b.png", detail="low"),
                MediaPart("audio", Slice(b"QUJD"), mime="audio/mpeg"),
                MediaPart("file", pdf, mime="application/pdf"),
                MediaPart("file", file_id="file-1"),
                MediaPart("video", url="https://a/b.mp4", video={"fps": 2}),
            ),
        ),
    )
    assert message == {
        "role": "user",
        "content": [
            {"type": "text", "text": "Look"},
            {
                "type": "image_url",
                "image_url": {"url": Slice(PNG, b"data:image/png;base64,"), "detail": "high"},
            },
            {"type": "image_url", "image_url": {"url": "https://a/b.png", "detail": "low"}},
            {"type": "input_audio", "input_audio": {"data": Slice(b"QUJD"), "format": "mp3"}},
            {
                "type": "file",
                "file": {
                    "filename": "file.pdf",
                    "file_data": Slice(pdf.raw, b"data:application/pdf;base64,"),
                },
            },
            {"type": "file", "file": {"file_id": "file-1"}},
            {"type": "video_url", "video_url": {"url": "https://a/b.mp4"}, "fps": 2},
        ],
    }


def test_a_big_picture_is_not_copied() -> None:
    big = Slice(base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(100_000)))
    [message] = sent(Message("user", (MediaPart("image", big, mime="image/png"),)))
    pieces = jsonio.dumps(message)
    assert any(piece is big.raw for piece in pieces)


def test_an_uploaded_picture_cannot_be_sent_and_is_refused_by_its_path() -> None:
    part = MediaPart("image", file_id="file-1", where="messages[0].content[0].file_id")
    with pytest.raises(RequestError) as caught:
        sent(Message("user", (part,)))
    assert (caught.value.status, caught.value.param) == (400, "messages[0].content[0].file_id")


def test_calls_and_results() -> None:
    assert sent(
        Message(
            "assistant",
            (
                CallPart("call_1", "add", {"a": 1, "b": [2, 3]}, signature="sig"),
                CallPart("call_2", "now", {}),
            ),
        ),
        Message("user", (ResultPart("call_1", None, texts("6")),)),
        Message("user", (ResultPart("call_2", "now", texts("noon")),)),
    ) == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "add", "arguments": '{"a":1,"b":[2,3]}'},
                },
                {"id": "call_2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "6"},
        {"role": "tool", "tool_call_id": "call_2", "content": "noon", "name": "now"},
    ]


def test_legacy_functions_become_tools_with_ids_that_match() -> None:
    history = sent(
        Message("assistant", (CallPart("", "now", {}),), index=1),
        Message("user", (ResultPart(None, "now", texts("noon")),), index=2),
    )
    assert history[0]["tool_calls"][0]["id"] == history[1]["tool_call_id"] == "call_1_0"


def test_a_result_whose_call_is_missing_is_said_by_the_user() -> None:
    """OpenAI refuses it, in words that no client of another dialect understands; Gemini is told the same."""
    called = Message("assistant", (CallPart("c", "f", {}),))
    orphans = (ResultPart("gone", None, texts("x")), ResultPart("c", None, texts("y")), IMAGE)
    history = sent(called, Message("user", orphans, index=3), dropped=("messages[3].call_id",))
    assert history[1:] == [
        {"role": "tool", "tool_call_id": "c", "content": "y"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Tool result (unknown tool): x"}, IMAGE_PART],
        },
    ]
    alone = Message("user", (ResultPart(None, "f", texts("5")),), index=1)
    assert sent(alone, dropped=("messages[1].result_name",)) == [
        {"role": "user", "content": "Tool result (f): 5"}
    ]
    shown = Message("user", (ResultPart("gone", "f", (*texts("5"), IMAGE)),), index=1)
    assert sent(shown, dropped=("messages[1].call_id",)) == [
        {"role": "user", "content": [{"type": "text", "text": "Tool result (f): 5"}, IMAGE_PART]}
    ]


def test_a_call_without_a_result_gets_one_that_says_so() -> None:
    """OpenAI refuses it else: a client that broke a tool off goes on without."""
    calls = Message("assistant", (CallPart("c", "f", {}), CallPart("d", "g", {})), index=1)
    result = Message("user", (ResultPart("d", None, texts("2")),), index=2)
    missing = {"role": "tool", "content": "no result was provided for this call"}
    history = sent(calls, result, Message("user", texts("So?"), index=3), dropped=("messages[1].calls",))
    assert history[1:] == [
        {"tool_call_id": "c", **missing},
        {"role": "tool", "tool_call_id": "d", "content": "2"},
        {"role": "user", "content": "So?"},
    ]
    legacy = Message("assistant", (CallPart("", "f", {}),), index=4)
    assert sent(legacy, dropped=("messages[4].legacy_call",))[1] == {"tool_call_id": "call_4_0", **missing}


def test_a_result_behind_what_was_said_comes_before_it() -> None:
    """The user's own words, a system text or an answer: what stands between is refused."""
    call = Message("assistant", (CallPart("c", "f", {}),), index=0)
    result = Message("user", (ResultPart("c", None, (*texts("1"), IMAGE)),), index=2)
    tool = {"role": "tool", "tool_call_id": "c", "content": "1"}
    dropped = ("messages[2].call_id",)
    assert sent(call, Message("user", texts("Wait."), index=1), result, dropped=dropped)[1:] == [
        tool,
        {"role": "user", "content": [IMAGE_PART, {"type": "text", "text": "Wait."}]},
    ]
    said = Message("assistant", texts("Well."), index=1)
    assert sent(call, said, result, dropped=dropped)[1] == tool
    assert sent(call, Message("system", texts("Hurry."), index=1), result, dropped=dropped)[1] == tool
    together = Message("user", (*texts("Wait."), *result.parts), index=2)
    assert sent(call, together)[1] == tool


def test_of_two_results_of_a_call_the_last_holds_and_the_other_is_named() -> None:
    call = Message("assistant", (CallPart("c", "f", {}),))
    first, second = (Message("user", (ResultPart("c", None, texts(said)),), int(said)) for said in "12")
    _, tool = sent(call, first, second, dropped=("messages[1].call_id",))
    assert tool["content"] == "2"


def test_reused_ids_belong_to_the_nearest_earlier_call() -> None:
    call = Message("assistant", (CallPart("c", "f", {}),))
    first, second = (Message("user", (ResultPart("c", None, texts(said)),)) for said in "12")
    assert [one["content"] for one in sent(call, first, call, second)[1::2]] == ["1", "2"]


def test_signatures_go_back_to_google_only() -> None:
    """G-153, the other way."""
    message = Message(
        "assistant",
        (TextPart("Hi", "text-sig"), CallPart("c", "f", {}, signature="call-sig")),
        extra={"thought": True, "thought_signature": "of the call"},
    )
    result = Message("user", (ResultPart("c", None, texts("1")),))
    plain, _ = sent(message, result)
    assert "extra_content" not in plain
    assert "extra_content" not in plain["tool_calls"][0]
    google, _ = sent(message, result, extra_body="google")
    assert google["extra_content"] == {"google": {"thought": True, "thought_signature": "text-sig"}}
    assert google["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "call-sig"}}


def test_signatures_that_the_client_wrote_are_named_where_they_stay() -> None:
    message = Message("assistant", (TextPart("Hi", "U0lH"),), index=3, signed=True)
    assert sent(message, dropped=("messages[3].signed",)) == [{"role": "assistant", "content": "Hi"}]
    assert "extra_content" in sent(message, extra_body="google")[0]


def test_an_answer_that_was_spoken_is_told_by_its_id() -> None:
    assert sent(
        Message("assistant", audio="audio_1"), Message("assistant", texts("Hi"), audio="audio_2")
    ) == [
        {"role": "assistant", "content": None, "audio": {"id": "audio_1"}},
        {"role": "assistant", "content": "Hi", "audio": {"id": "audio_2"}},
    ]


def test_reasoning_goes_back_only_where_the_vendor_wants_it() -> None:
    """G-021"""
    thought = ThoughtPart("2+2", where="messages[0].reasoning")
    message = Message("assistant", (thought, TextPart("4")))
    assert sent(message, dropped=(thought.where,)) == [{"role": "assistant", "content": "4"}]
    assert sent(message, history_reasoning="reasoning_content") == [
        {"role": "assistant", "content": "4", "reasoning_content": "2+2"}
    ]


HISTORY = (
    Message("user", texts("Draw")),
    Message("assistant", (TextPart("Here"), IMAGE), index=1),
    Message("user", texts("Make it red")),
)


def test_pictures_that_the_assistant_made_stand_in_the_next_user_message() -> None:
    """I-037: OpenAI and most servers refuse pictures elsewhere, and a model must see what to edit."""
    assert sent(*HISTORY) == [
        {"role": "user", "content": "Draw"},
        {"role": "assistant", "content": "Here"},
        {"role": "user", "content": [IMAGE_PART, {"type": "text", "text": "Make it red"}]},
    ]


def test_pictures_at_the_end_get_a_message_of_their_own() -> None:
    assert sent(*HISTORY[:2], Message("assistant", texts("Done")))[2:] == [
        {"role": "user", "content": [IMAGE_PART]},
        {"role": "assistant", "content": "Done"},
    ]
    assert sent(Message("assistant", (IMAGE,))) == [
        {"role": "assistant", "content": ""},
        {"role": "user", "content": [IMAGE_PART]},
    ]


def test_a_relay_may_take_them_where_they_were() -> None:
    assert sent(*HISTORY, assistant_images="parts")[1:] == [
        {"role": "assistant", "content": [{"type": "text", "text": "Here"}, IMAGE_PART]},
        {"role": "user", "content": "Make it red"},
    ]


def test_or_not_at_all_and_then_they_are_named() -> None:
    target = Target("lan", "m", options={"assistant_images": "drop"})
    call = OpenAIChatWire().build(ChatRequest("m", HISTORY), target)
    assert call.body["messages"][1:] == [
        {"role": "assistant", "content": "Here"},
        {"role": "user", "content": "Make it red"},
    ]
    assert call.dropped == ("messages[1].images",)


SEVERAL = (
    Message("system", texts("One.", "Two.")),
    Message("user", texts("Be quick.", "Hi")),
    Message("assistant", (*texts("Hello.", "I look."), CallPart("1", "look", {}))),
    Message("user", (ResultPart("1", None, texts("9C", "rain")), *texts("And?", "Now?"))),
)


@pytest.mark.parametrize(
    ("options", "repairs"), [({"texts": "joined"}, frozenset[str]()), ({}, frozenset({"joined_texts"}))]
)
def test_a_server_that_takes_strings_alone_gets_several_texts_as_one(
    options: dict[str, Any], repairs: frozenset[str]
) -> None:
    target = Target("deepseek", "m", options=options)
    call = OpenAIChatWire().build(ChatRequest("m", SEVERAL), target, repairs)
    assert [message["content"] for message in call.body["messages"]] == [
        "One.\nTwo.", "Be quick.\nHi", "Hello.\nI look.", "9C\nrain", "And?\nNow?",
    ]  # fmt: skip
    assert call.dropped == ()


def test_a_server_that_wants_thoughts_back_hears_of_every_turn() -> None:
    """DeepSeek refuses a turn without them, also one that had none."""
    said = (
        Message("user", texts("Hi")),
        Message("assistant", (ThoughtPart("Hm.", spare=True), *texts("Hello"))),
        Message("user", texts("And?")),
        Message("assistant", (CallPart("1", "look", {}),)),
        Message("user", (ResultPart("1", None, texts("9C")),)),
    )
    call = OpenAIChatWire().build(ChatRequest("m", said), Target("lan", "m"), frozenset({"thoughts_back"}))
    assert [message.get("reasoning_content") for message in call.body["messages"]] == [
        None, "Hm.", None, "", None,
    ]  # fmt: skip
    assert call.dropped == ()


@pytest.mark.parametrize(
    ("options", "repairs"), [({"mid_system": "hoist"}, frozenset[str]()), ({}, frozenset({"leading_system"}))]
)
def test_system_messages_are_one_at_the_beginning_where_a_template_wants_it(
    options: dict[str, Any], repairs: frozenset[str]
) -> None:
    """Claude Code puts one behind the first question."""
    said = (
        Message("system", texts("One.")),
        Message("user", texts("Hi")),
        Message("system", texts("Two.", "Three.")),
        Message("assistant", texts("Hello")),
    )
    call = OpenAIChatWire().build(ChatRequest("m", said), Target("lan", "m", options=options), repairs)
    assert call.body["messages"] == [
        {"role": "system", "content": "One.\n\nTwo.\n\nThree."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
    ]
    assert sent(*said[:2], mid_system="hoist") == sent(*said[:2])
    assert sent(said[1], mid_system="hoist") == sent(said[1])
    assert sent(said[1], said[0], mid_system="hoist") == sent(said[0], said[1])


def test_what_a_string_cannot_say_stays_a_list_where_texts_are_joined() -> None:
    """Pictures, and marks for a cache."""
    mark = {"cache_control": {"type": "ephemeral"}}
    said = (
        Message("user", (*texts("Look"), IMAGE)),
        Message("user", (TextPart("One.", marks=mark), TextPart("Two."))),
    )
    request = ChatRequest("m", said, foreign=Foreign("anthropic", {}, marks=("messages[].cache_control",)))
    target = Target("lan", "m", options={"texts": "joined", "cache_control": True})
    assert [message["content"] for message in OpenAIChatWire().build(request, target).body["messages"]] == [
        [{"type": "text", "text": "Look"}, IMAGE_PART],
        [{"type": "text", "text": "One.", **mark}, {"type": "text", "text": "Two."}],
    ]


def test_a_tools_picture_follows_after_all_results() -> None:
    assert sent(
        Message("assistant", (CallPart("1", "shot", {}), CallPart("2", "now", {}))),
        Message("user", (ResultPart("1", None, (IMAGE,)),)),
        Message("user", (ResultPart("2", None, texts("noon")),)),
        Message("assistant", texts("ok")),
    )[1:] == [
        {"role": "tool", "tool_call_id": "1", "content": "The tool returned what follows."},
        {"role": "tool", "tool_call_id": "2", "content": "noon"},
        {"role": "user", "content": [IMAGE_PART]},
        {"role": "assistant", "content": "ok"},
    ]


def test_results_come_before_what_the_user_says_with_them() -> None:
    """Messages and Gemini hand results back inside a user's turn; a failure is named."""
    assert sent(
        Message("assistant", (CallPart("1", "shot", {}), CallPart("2", "now", {}))),
        Message(
            "user",
            (
                TextPart("Look"),
                ResultPart("2", None, texts("no clock"), failed=True),
                IMAGE,
                ResultPart("1", None, (TextPart("done"), IMAGE)),
            ),
            name="ann",
        ),
        dropped=("messages[0].failed",),
    )[1:] == [
        {"role": "tool", "tool_call_id": "1", "content": "done"},
        {"role": "tool", "tool_call_id": "2", "content": "no clock"},
        {
            "role": "user",
            "name": "ann",
            "content": [IMAGE_PART, {"type": "text", "text": "Look"}, IMAGE_PART],
        },
    ]


def test_calls_between_texts_are_one_message() -> None:
    message = Message(
        "assistant", (CallPart("1", "a", {}), TextPart("and"), CallPart("2", "b", {}), ThoughtPart("hm"))
    )
    function = {"arguments": "{}"}
    results = Message("user", tuple(ResultPart(one, None, ()) for one in ("1", "2")))
    assert sent(message, results, history_reasoning="reasoning")[:1] == [
        {
            "role": "assistant",
            "content": "and",
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "a", **function}},
                {"id": "2", "type": "function", "function": {"name": "b", **function}},
            ],
            "reasoning": "hm",
        }
    ]


def test_legacy_results_of_one_function_answer_its_calls_in_order() -> None:
    calls = Message(
        "assistant", (*(CallPart("", name, {}) for name in ("f", "g", "f")), CallPart("x", "f", {}))
    )
    named = (*(ResultPart(None, name, ()) for name in ("f", "g")), ResultPart("x", "f", ()))
    named = (*named, ResultPart(None, "f", ()))
    surplus = ResultPart(None, "f", ())
    dropped = ("messages[7].result_name",)
    *history, last = sent(calls, Message("user", (*named, surplus), index=7), dropped=dropped)
    assert [one["tool_call_id"] for one in history[1:]] == ["call_0_0", "call_0_1", "call_0_2", "x"]
    assert last == {"role": "user", "content": "Tool result (f): "}


def test_a_pictures_signature_goes_back_beside_it_or_with_the_message() -> None:
    """The kind of G-153: a relay that keeps pictures in place reads what it wrote there."""
    shown = Message("assistant", (TextPart("Here"), replace(IMAGE, signature="U0lH")))
    [kept] = sent(shown, extra_body="google", assistant_images="parts")
    assert kept == {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "Here"},
            {**IMAGE_PART, "extra_content": {"google": {"thought_signature": "U0lH"}}},
        ],
    }
    moved = sent(shown, extra_body="google")
    assert moved == [
        {
            "role": "assistant",
            "content": "Here",
            "extra_content": {"google": {"thought_signature": "U0lH"}},
        },
        {"role": "user", "content": [IMAGE_PART]},
    ]
    assert "extra_content" not in str(sent(shown, assistant_images="parts"))


def test_cuts_of_a_film_are_named_as_left_out() -> None:
    film = MediaPart("video", url="https://a/b.mp4", video={"start_offset": "1s"})
    call = OpenAIChatWire().build(ChatRequest("m", (Message("user", (film,)),)), Target("lan", "m"))
    assert call.dropped == ("messages[].content[].video_url.start_offset",)
