"""Messages as Gemini contents: whole bodies, turn rules, calls and results, signatures, media."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import RequestError
from proxy.types import CallPart, Json, MediaPart, Message, ResultPart, Slice, Target, TextPart, ThoughtPart
from proxy.wires import pairing
from proxy.wires.gemini import GeminiWire
from tests.gemini_build import (
    JPEG,
    PNG,
    SENTINEL,
    assistant,
    body,
    call,
    calls,
    contents,
    parts,
    picture,
    result,
    system,
    tool,
    user,
)

G3 = "gemini-3-flash-preview"
G25 = "gemini-2.5-flash"
NEW = "gemini-3.8-flash"
HI: Json = {"role": "user", "parts": [{"text": "Hi"}]}


# --- the URL -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "stream", "path"),
    [
        pytest.param(G3, False, "/models/gemini-3-flash-preview:generateContent", id="G-001 whole"),
        pytest.param(
            G3, True, "/models/gemini-3-flash-preview:streamGenerateContent?alt=sse", id="G-001 stream"
        ),
        pytest.param("models/gemini-2.5-pro", False, "/models/gemini-2.5-pro:generateContent", id="G-003"),
        pytest.param("tunedModels/mine", False, "/tunedModels/mine:generateContent", id="tuned"),
        pytest.param("a b?c:d", False, "/models/a%20b%3Fc%3Ad:generateContent", id="escaped"),
    ],
)
def test_the_path_names_model_and_method(model: str, stream: bool, path: str) -> None:
    """G-001, G-003."""
    built = call(model, user("Hi"), stream=stream)
    assert (built.path, built.stream, built.method) == (path, stream, "POST")


def test_a_model_name_cannot_climb_out_of_its_folder() -> None:
    with pytest.raises(RequestError, match="not a model name"):
        call("google/../../v1/files", user("Hi"))


def test_neither_path_nor_headers_hold_a_key() -> None:
    """G-002: keys are added by the sender; a call has no place for one."""
    built = call(G3, user("Hi"))
    assert dict(built.headers) == {}
    assert "key" not in built.path


def test_the_minimal_request() -> None:
    assert body(G3, system("Be brief."), user("Hi"), max_tokens=64, temperature=1) == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [HI],
        "generationConfig": {"maxOutputTokens": 64, "temperature": 1},
    }


# --- system --------------------------------------------------------------------------------------


def test_leading_system_and_developer_texts_become_parts_in_order() -> None:
    """G-004, G-005."""
    developer = Message("developer", parts("b", "", "c"))
    assert body(G3, system("a"), developer, user("Hi")) == {
        "systemInstruction": {"parts": [{"text": "a"}, {"text": "b"}, {"text": "c"}]},
        "contents": [HI],
    }


def test_a_later_system_message_is_hoisted() -> None:
    """G-006."""
    built = body(G3, system("a"), user("Hi"), system("b"), user("Again"))
    assert built == {
        "systemInstruction": {"parts": [{"text": "a"}, {"text": "b"}]},
        "contents": [{"role": "user", "parts": [{"text": "Hi"}, {"text": "Again"}]}],
    }


def test_inline_a_later_system_message_stays_behind_the_results() -> None:
    """G-006."""
    built = contents(
        G25,
        user("Hi"),
        assistant(calls=calls(("a1", "w", {}))),
        system("Be quick."),
        tool("a1", "sun"),
        options={"mid_system": "inline"},
    )
    assert built == [
        HI,
        {"role": "model", "parts": [{"functionCall": {"name": "w", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "w", "response": {"output": "sun"}}}]},
        {"role": "user", "parts": [{"text": "Be quick."}]},
    ]


def test_system_messages_alone_ask_the_last_one() -> None:
    """G-007."""
    assert body(G3, system("a"), system("b")) == {
        "systemInstruction": {"parts": [{"text": "a"}]},
        "contents": [{"role": "user", "parts": [{"text": "b"}]}],
    }


def test_no_messages_are_refused() -> None:
    """G-008."""
    with pytest.raises(RequestError) as caught:
        call(G3)
    assert (caught.value.status, caught.value.attribute) == (400, "messages")


def test_gemma_reads_the_system_text_as_the_users() -> None:
    assert body("gemma-3-27b-it", system("Be brief."), user("Hi")) == {
        "contents": [{"role": "user", "parts": [{"text": "Be brief."}, {"text": "Hi"}]}]
    }
    assert contents("gemma-3-27b-it", system("Be brief."), assistant("A"), user("Hi"))[0] == {
        "role": "user",
        "parts": [{"text": "Be brief."}],
    }


def test_a_picture_in_a_system_message_is_refused() -> None:
    with pytest.raises(RequestError) as caught:
        call(G3, system(picture()), user("Hi"))
    assert caught.value.attribute == "messages[0].parts"


# --- turns ---------------------------------------------------------------------------------------


def test_assistant_turns_have_the_role_model() -> None:
    """G-009."""
    assert [one["role"] for one in contents(G3, user("A"), assistant("B"), user("C"))] == [
        "user",
        "model",
        "user",
    ]


def test_an_unknown_role_is_refused() -> None:
    """G-010."""
    with pytest.raises(RequestError) as caught:
        call(G3, user("Hi"), Message("narrator", parts("x")))  # type: ignore[arg-type]
    assert caught.value.attribute == "messages[1].role"


def test_history_that_starts_with_the_assistant_and_users_that_follow_each_other() -> None:
    """G-011, G-013, G-014."""
    assert contents(G3, assistant("Earlier answer"), user("A"), user("B", "")) == [
        {"role": "user", "parts": [{"text": ""}]},
        {"role": "model", "parts": [{"text": "Earlier answer"}]},
        {"role": "user", "parts": [{"text": "A"}, {"text": "B"}]},
    ]


def test_text_after_results_stands_in_its_own_content() -> None:
    """G-012."""
    built = contents(G25, user("Hi"), assistant(calls=calls(("a", "w", {}))), tool("a", "1"), user("And?"))
    assert built[2:] == [
        {"role": "user", "parts": [{"functionResponse": {"name": "w", "response": {"output": "1"}}}]},
        {"role": "user", "parts": [{"text": "And?"}]},
    ]


def test_empty_messages_leave_no_content() -> None:
    """G-014, G-015."""
    assert contents(G3, user("Hi"), assistant(""), user("")) == [HI]
    assert contents(G3, user("")) == [{"role": "user", "parts": [{"text": " "}]}]


def test_an_empty_text_with_a_signature_is_kept() -> None:
    """G-014."""
    built = contents(G3, user("Hi"), assistant(TextPart("", "U0lH")), user("Go"))
    assert built[1] == {"role": "model", "parts": [{"text": "", "thoughtSignature": "U0lH"}]}
    assert contents(G3, user("Hi"), assistant(signature="U0lH"), user("Go"))[1] == built[1]
    assert len(contents("gemini-2.0-flash", user("Hi"), assistant(TextPart("", "U0lH")), user("Go"))) == 1


def test_no_content_means_calls_alone_and_text_comes_before_calls() -> None:
    """G-016, G-017."""
    asked = calls(("", "w", {"c": 1}))
    assert contents(G25, user("Hi"), assistant(calls=asked))[1]["parts"] == [
        {"functionCall": {"name": "w", "args": {"c": 1}}}
    ]
    assert contents(G25, user("Hi"), assistant("Wait", calls=asked))[1]["parts"] == [
        {"text": "Wait"},
        {"functionCall": {"name": "w", "args": {"c": 1}}},
    ]


def test_names_of_participants_are_left_out_and_named() -> None:
    """G-018."""
    built = call(G3, user("Hi", name="ann"), assistant("Yes", name="bot"), user("Good"))
    assert built.body["contents"] == [
        HI,
        {"role": "model", "parts": [{"text": "Yes"}]},
        {"role": "user", "parts": [{"text": "Good"}]},
    ]
    assert built.dropped == ("messages[0].name", "messages[1].name")


def test_names_are_written_before_the_text_where_the_provider_wants_it() -> None:
    built = call(
        G3,
        user("Hi", picture(), name="ann"),
        user("Ho", name="bob"),
        assistant("Yes", name="bot"),
        user("-"),
        options={"name_prefix": True},
    )
    assert [part.get("text") for one in built.body["contents"] for part in one["parts"]] == [
        "ann: Hi",
        None,
        "bob: Ho",
        "bot: Yes",
        "-",
    ]
    assert built.dropped == ()


@pytest.mark.parametrize("model", ["gemini-2.5-pro", G3, "gemini-3.1-pro-preview", "gemini-pro-latest"])
def test_older_models_continue_the_assistants_words(model: str) -> None:
    """G-019."""
    assert contents(model, user("Hi"), assistant("Once")) == [
        HI,
        {"role": "model", "parts": [{"text": "Once"}]},
    ]


@pytest.mark.parametrize("model", ["gemini-3.5-flash", NEW, "gemini-4-argon", "gemini-flash-latest"])
def test_newer_models_are_asked_to_continue(model: str) -> None:
    """G-020."""
    assert contents(model, user("Hi"), assistant("Once")) == [
        HI,
        {"role": "model", "parts": [{"text": "Once"}]},
        {"role": "user", "parts": [{"text": "Please continue."}]},
    ]
    assert contents(model, user("Hi"), assistant("Once"), options={"prefill_text": "Go on."})[2] == {
        "role": "user",
        "parts": [{"text": "Go on."}],
    }


def test_reasoning_is_resent_only_on_request_and_refusals_are_text() -> None:
    """G-021, G-022."""
    said = assistant("No.", reasoning="Hm", refusal="I cannot.")
    assert contents(G3, user("Hi"), said, user("Why"))[1]["parts"] == [{"text": "No."}, {"text": "I cannot."}]
    built = contents(G3, user("Hi"), said, user("Why"), options={"resend_reasoning": True})
    assert built[1]["parts"][0] == {"text": "Hm", "thought": True}


# --- media ---------------------------------------------------------------------------------------


def test_text_picture_and_sound_in_one_message() -> None:
    """G-023, G-024, G-026, G-034, G-038: the bytes say PNG, whatever was declared."""
    wav = MediaPart("audio", Slice(b"UklGRg=="), mime="audio/wav")
    built = contents(G3, user("Compare", picture(mime="image/jpg", detail="high"), wav))
    assert built == [
        {
            "role": "user",
            "parts": [
                {"text": "Compare"},
                {
                    "inlineData": {"mimeType": "image/png", "data": PNG},
                    "mediaResolution": {"level": "MEDIA_RESOLUTION_HIGH"},
                },
                {"inlineData": {"mimeType": "audio/wav", "data": Slice(b"UklGRg==")}},
            ],
        }
    ]
    assert built[0]["parts"][1]["inlineData"]["data"] is PNG


def inline(**fields: Any) -> Json:
    part: Json = contents(G3, user(MediaPart(**fields)))[0]["parts"][0]
    found: Json = part.get("inlineData") or part["fileData"]
    return found


# data whose first bytes tell nothing
PLAIN = Slice.of(b"just words, nothing magic")


def test_an_answer_that_comes_first_has_a_blank_before_it_at_vertex() -> None:
    """Vertex refuses a part with an empty text."""
    said = assistant("Hi, how can I help?"), user("x")
    first = {kind: contents(G3, *said, options={"kind": kind})[0] for kind in ("developer", "vertex")}
    assert first == {
        "developer": {"role": "user", "parts": [{"text": ""}]},
        "vertex": {"role": "user", "parts": [{"text": " "}]},
    }


@pytest.mark.parametrize(
    ("fields", "mime"),
    [
        pytest.param({"kind": "image", "data": JPEG, "mime": "image/jpg"}, "image/jpeg", id="G-024"),
        pytest.param(
            {"kind": "image", "data": JPEG, "mime": "IMAGE/PNG; charset=x"}, "image/jpeg", id="G-026"
        ),
        pytest.param({"kind": "image", "data": PLAIN, "mime": "image/JPG;q=1"}, "image/jpeg", id="G-025"),
        pytest.param({"kind": "image", "data": PNG}, "image/png", id="undeclared"),
        pytest.param({"kind": "audio", "data": PLAIN, "mime": "audio/mpeg"}, "audio/mp3", id="G-034"),
        pytest.param({"kind": "audio", "data": PLAIN, "mime": "audio/pcm"}, "audio/pcm", id="pcm"),
        pytest.param(
            {"kind": "file", "data": Slice.of(b"%PDF-1.7\n"), "mime": "text/html"}, "text/html", id="text"
        ),
        pytest.param(
            {"kind": "file", "data": Slice.of(b"%PDF-1.7\n"), "filename": "a.bin"},
            "application/pdf",
            id="G-035",
        ),
        pytest.param({"kind": "file", "data": PLAIN, "filename": "notes.MD"}, "text/markdown", id="by name"),
        pytest.param(
            {"kind": "file", "data": PLAIN, "mime": "application/json"}, "text/plain", id="json is text"
        ),
        *(
            pytest.param({"kind": "file", "data": PLAIN, "mime": mime}, read, id=mime)
            for mime, read in (
                ("application/x-yaml", "text/plain"),
                ("application/yaml; charset=utf-8", "text/plain"),
                ("application/toml", "text/plain"),
                ("application/sql", "text/plain"),
                ("application/x-sh", "text/plain"),
                ("application/ld+json", "text/plain"),
                ("application/atom+xml", "text/plain"),
                ("application/xml", "text/xml"),
                ("application/javascript", "text/javascript"),
            )
        ),
        pytest.param(
            {"kind": "video", "data": Slice.of(b"\0\0\0\x14ftypisom\0\0\0\0mp41"), "mime": "video/quicktime"},
            "video/mov",
            id="same container",
        ),
        pytest.param(
            {"kind": "audio", "data": Slice.of(b"\x1aE\xdf\xa3" + b"\0" * 20), "mime": "audio/webm"},
            "audio/webm",
            id="sound in a container",
        ),
        pytest.param(
            {"kind": "image", "data": Slice.of(b"\0\0\0\x18ftypmif1\0\0\0\0mif1"), "mime": "image/heic"},
            "image/heic",
            id="heic",
        ),
    ],
)
def test_the_type_of_inline_data(fields: Json, mime: str) -> None:
    """G-023 to G-026, G-034, G-035."""
    assert inline(**fields) == {"mimeType": mime, "data": fields["data"]}


@pytest.mark.parametrize(
    ("data", "mime", "named"),
    [
        (Slice.of(b"II*\0" + b"\0" * 60), "image/png", "image/tiff"),
        (Slice.of(b"GIF89a" + b"\0" * 60), None, "image/gif"),
        (PLAIN, "image/svg+xml", "image/svg"),
        (PLAIN, "application/msword", "application/msword"),
        (PLAIN, None, "type of the data is not known"),
    ],
)
def test_a_type_that_gemini_does_not_read_is_refused(data: Slice, mime: str | None, named: str) -> None:
    """G-044."""
    with pytest.raises(RequestError, match=named) as caught:
        call(G3, user(MediaPart("image", data, mime=mime, where="messages[0].content[0].image_url.url")))
    assert (caught.value.status, caught.value.param) == (400, "messages[0].content[0].image_url.url")


def test_empty_data_is_refused() -> None:
    with pytest.raises(RequestError, match="empty"):
        call(G3, user(MediaPart("image", Slice(b""), mime="image/png")))


FILE = "https://generativelanguage.googleapis.com/v1beta/files/abc-123"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"url": FILE}, {"fileUri": FILE}, id="G-031"),
        pytest.param({"file_id": FILE}, {"fileUri": FILE}, id="G-031 id"),
        pytest.param({"file_id": "files/abc-123"}, {"fileUri": FILE}, id="short id"),
        pytest.param(
            {"url": "https://youtu.be/x"},
            {"fileUri": "https://youtu.be/x", "mimeType": "video/mp4"},
            id="G-032",
        ),
        pytest.param(
            {"url": "gs://b/a.PDF"}, {"fileUri": "gs://b/a.PDF", "mimeType": "application/pdf"}, id="G-033"
        ),
        pytest.param(
            {"url": "gs://b/a", "mime": "video/mp4"},
            {"fileUri": "gs://b/a", "mimeType": "video/mp4"},
            id="G-033 explicit",
        ),
        pytest.param(
            {"url": "https://x.org/a.jpg?v=1"},
            {"fileUri": "https://x.org/a.jpg?v=1", "mimeType": "image/jpeg"},
            id="G-030",
        ),
    ],
)
def test_addresses_that_the_model_reads_become_file_data(fields: Json, expected: Json) -> None:
    """G-030 to G-033."""
    assert inline(kind="file", **fields) == expected


@pytest.mark.parametrize("fields", [{}, {"file_id": "file-abc"}, {"file_id": "ftp://x"}])
def test_a_file_without_data_or_usable_id_is_refused(fields: Json) -> None:
    """G-036."""
    with pytest.raises(RequestError) as caught:
        call(G3, user(MediaPart("file", where="messages[0].content[0].file", **fields)))
    assert caught.value.param == "messages[0].content[0].file"


@pytest.mark.parametrize(
    ("url", "inline_mode", "passthrough"),
    [
        ("https://example.org/a.png", False, True),
        ("http://example.org/a.png", False, True),
        (FILE, True, True),
        ("gs://bucket/a.png", True, True),
        ("https://www.youtube.com/watch?v=1", True, True),
        ("https://youtu.be/1", True, True),
        ("https://evil.example/youtu.be/1", False, True),
        ("data:image/png;base64,AAAA", False, False),
    ],
)
def test_which_addresses_the_model_reads_itself(url: str, inline_mode: bool, passthrough: bool) -> None:
    """G-030, G-031, G-032, G-033."""
    wire = GeminiWire()
    assert wire.keeps_url(url, Target("google", G3)) is inline_mode
    assert wire.keeps_url(url, Target("google", G3, options={"media_mode": "passthrough"})) is passthrough


def test_a_film_with_frame_rate_and_cut() -> None:
    """G-037."""
    film = MediaPart("video", url="gs://b/a.mp4", video={"fps": 1, "start_offset": "10s", "end_offset": 40})
    assert contents(G3, user(film))[0]["parts"] == [
        {
            "fileData": {"fileUri": "gs://b/a.mp4", "mimeType": "video/mp4"},
            "videoMetadata": {"fps": 1, "startOffset": "10s", "endOffset": "40s"},
        }
    ]
    with pytest.raises(RequestError, match="fps"):
        call(G3, user(MediaPart("video", url="gs://b/a.mp4", video={"fps": 25})))


def test_detail_on_an_older_model_is_one_setting_and_the_highest_wins() -> None:
    """G-038, G-040, G-041."""
    shown = [picture(detail=detail) for detail in ("low", "auto", "original")]
    built = body(G25, user(*shown))
    assert built["generationConfig"] == {"mediaResolution": "MEDIA_RESOLUTION_HIGH"}
    assert built["contents"][0]["parts"] == [{"inlineData": {"mimeType": "image/png", "data": PNG}}] * 3
    assert body(G25, user(picture(detail="low")))["generationConfig"] == {
        "mediaResolution": "MEDIA_RESOLUTION_LOW"
    }


def test_detail_on_a_newer_model_goes_to_each_part() -> None:
    """G-038, G-039, G-041."""
    built = body(
        G3, user(*[picture(detail=detail) for detail in (None, "auto", "low", "medium", "original")])
    )
    assert [part.get("mediaResolution") for part in built["contents"][0]["parts"]] == [
        None,
        None,
        {"level": "MEDIA_RESOLUTION_LOW"},
        {"level": "MEDIA_RESOLUTION_MEDIUM"},
        {"level": "MEDIA_RESOLUTION_ULTRA_HIGH"},
    ]
    assert "generationConfig" not in built


def test_detail_where_the_model_has_no_setting_is_named() -> None:
    shown = picture(detail="low", where="messages[0].content[0].image_url.url")
    assert call("gemma-3-27b-it", user(shown)).dropped == ("messages[0].content[0].image_url.detail",)


def test_a_picture_the_model_made_goes_back_into_its_turn() -> None:
    """G-043."""
    drawn = contents("gemini-2.5-flash-image", user("Draw"), assistant("Here", picture()), user("Bigger"))
    assert drawn[1] == {
        "role": "model",
        "parts": [{"text": "Here"}, {"inlineData": {"mimeType": "image/png", "data": PNG}}],
    }


def test_newer_picture_models_get_every_picture_signed() -> None:
    """G-043: chat history with unsigned pictures may be refused there."""
    shown = assistant(picture(signature="U0lH"), picture())
    built = contents("gemini-3-pro-image", user("Draw"), shown, user("Bigger"))
    assert [part["thoughtSignature"] for part in built[1]["parts"]] == ["U0lH", SENTINEL]


def test_a_message_signature_goes_before_the_sentinel_of_its_picture() -> None:
    """G-043: in markdown the signature of a picture is the message's, for text has no place for it."""
    shown = assistant("Here", picture(), signature="U0lH")
    built = contents("gemini-3-pro-image", user("Draw"), shown, user("Bigger"))
    assert signatures(built) == [None, "U0lH"]


def test_vertex_wants_a_text_beside_media() -> None:
    built = contents(G3, user(picture()), options={"kind": "vertex"})
    assert built[0]["parts"] == [{"inlineData": {"mimeType": "image/png", "data": PNG}}, {"text": " "}]


# --- calls and results ---------------------------------------------------------------------------


def test_parallel_calls_with_results_in_another_order() -> None:
    """G-081, G-082, G-086, G-087, G-090, G-091, G-098."""
    built = contents(
        G3,
        user("Weather in Paris and London"),
        assistant(
            calls=calls(("a1", "w", {"c": "Paris"}, "U0lH_-+/"), ("a2", "w", {"c": "London"})),
        ),
        tool("a2", "12C"),
        tool("a1", '{"temp":15}'),
    )
    assert built == [
        {"role": "user", "parts": [{"text": "Weather in Paris and London"}]},
        {
            "role": "model",
            "parts": [
                {
                    "functionCall": {"id": "a1", "name": "w", "args": {"c": "Paris"}},
                    "thoughtSignature": "U0lH_-+/",
                },
                {"functionCall": {"id": "a2", "name": "w", "args": {"c": "London"}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "a1", "name": "w", "response": {"temp": 15}}},
                {"functionResponse": {"id": "a2", "name": "w", "response": {"output": "12C"}}},
            ],
        },
    ]


def responses(built: list[Json]) -> list[Json]:
    return [part["functionResponse"] for one in built for part in one["parts"] if "functionResponse" in part]


def test_a_lost_result_is_replaced_so_that_counts_match() -> None:
    """G-083: also for a call at the very end."""
    asked = calls(("a", "w", {}), ("b", "v", {}))
    missing = {"error": "no result was provided for this call"}
    built = contents(G25, user("Hi"), assistant(calls=asked), tool("b", "1"))
    assert responses(built) == [
        {"name": "w", "response": missing},
        {"name": "v", "response": {"output": "1"}},
    ]
    assert call(G25, user("Hi"), assistant(calls=asked), tool("b", "1")).dropped == ("messages[1].calls",)
    assert responses(contents(G25, user("Hi"), assistant(calls=asked)))[1] == {
        "name": "v",
        "response": missing,
    }


def test_a_result_without_a_call_is_told_in_words() -> None:
    """G-084."""
    built = call(G25, user("Hi"), tool("x", "42", name="w"), user("So?"))
    assert built.body["contents"] == [
        {"role": "user", "parts": [{"text": "Hi"}, {"text": "Tool result (w): 42"}, {"text": "So?"}]}
    ]
    assert built.dropped == ("messages[1].call_id",)
    legacy = Message("user", (ResultPart(None, "w", (TextPart("42"),)),), index=1)
    assert call(G25, user("Hi"), legacy).dropped == ("messages[1].result_name",)


def test_a_result_that_a_later_one_overrules_is_named() -> None:
    asked = assistant(calls=calls(("c", "w", {})))
    built = call(G25, user("Hi"), asked, tool("c", "1"), tool("c", "2"))
    assert [one["response"] for one in responses(built.body["contents"])] == [{"output": "2"}]
    assert built.dropped == ("messages[2].call_id",)


def test_reused_ids_belong_to_the_nearest_earlier_call() -> None:
    """G-085."""
    again = assistant(calls=calls(("call_0", "w", {})))
    built = contents(G25, user("Hi"), again, tool("call_0", "1"), again, tool("call_0", "2"))
    assert [one["response"] for one in responses(built)] == [{"output": "1"}, {"output": "2"}]


def test_of_two_results_for_one_call_the_last_holds() -> None:
    """G-083."""
    built = contents(G25, user("Hi"), assistant(calls=calls(("a", "w", {}))), tool("a", "1"), tool("a", "2"))
    assert responses(built) == [{"name": "w", "response": {"output": "2"}}]


def test_calls_that_share_an_id_are_answered_in_order() -> None:
    """G-085."""
    asked = assistant(calls=calls(("x", "w", {}), ("x", "v", {})))
    built = contents(G25, user("Hi"), asked, tool("x", "1"), tool("x", "2"))
    assert responses(built) == [
        {"name": "w", "response": {"output": "1"}},
        {"name": "v", "response": {"output": "2"}},
    ]


def test_without_an_id_the_name_decides_then_the_order() -> None:
    """G-084, G-085: the legacy role function has only a name."""
    asked = assistant(calls=calls(("", "w", {}), ("", "v", {}), ("", "u", {})))
    built = contents(
        G25, user("Hi"), asked, tool(None, "V", name="v"), tool("lost", "W"), tool(None, "U", name="u")
    )
    assert [(one["name"], one["response"]["output"]) for one in responses(built)] == [
        ("w", "W"),
        ("v", "V"),
        ("u", "U"),
    ]


def test_results_that_come_late_still_follow_their_calls() -> None:
    """G-081."""
    asked = assistant(calls=calls(("a", "w", {}), ("b", "v", {})))
    built = contents(G25, user("Hi"), asked, tool("a", "1"), user("Well?"), tool("b", "2"))
    assert [one["role"] for one in built] == ["user", "model", "user", "user"]
    assert len(responses(built[2:3])) == 2
    assert built[3] == {"role": "user", "parts": [{"text": "Well?"}]}


BIG = 2**53 + 1


@pytest.mark.parametrize(
    ("text", "response"),
    [
        pytest.param("12C", {"output": "12C"}, id="G-086 text"),
        pytest.param("", {"output": ""}, id="G-086 empty"),
        pytest.param("[1,2]", {"output": "[1,2]"}, id="G-086 array"),
        pytest.param('{"a":{"b":[1.5,null]}}', {"a": {"b": [1.5, None]}}, id="G-087"),
        pytest.param(' {"error":"no"}', {"error": "no"}, id="G-087 error"),
        pytest.param('{"a":[{"$ref":"x"}]}', {"output": '{"a":[{"$ref":"x"}]}'}, id="G-088"),
        pytest.param(f'{{"a":{BIG}}}', {"output": f'{{"a":{BIG}}}'}, id="beyond a double"),
        pytest.param('{"a":1,"a":2}', {"output": '{"a":1,"a":2}'}, id="twice the same key"),
        pytest.param('{"a":NaN}', {"output": '{"a":NaN}'}, id="NaN"),
        pytest.param('{"a":1e999}', {"output": '{"a":1e999}'}, id="infinite"),
        pytest.param('{"a":"\\ud83d"}', {"output": '{"a":"\\ud83d"}'}, id="half an emoji"),
        pytest.param('{"a":"\\ud83d\\ude00"}', {"a": "😀"}, id="a whole emoji"),
        pytest.param("{not json", {"output": "{not json"}, id="not JSON"),
        pytest.param("{" * 5000, {"output": "{" * 5000}, id="nested without end"),
    ],
)
def test_what_a_tool_returned(text: str, response: Json) -> None:
    """G-086, G-087, G-088."""
    built = contents(G25, user("Hi"), assistant(calls=calls(("a", "w", {}))), tool("a", text))
    assert responses(built) == [{"name": "w", "response": response}]


@pytest.mark.parametrize("one", ["0", "[]", '{"a":0}', '""'])
def test_a_result_of_too_many_values_stays_a_text(one: str) -> None:
    """To parse it would keep everybody waiting."""
    text = '{"a":[' + ",".join([one] * 400_000) + "]}"
    built = contents(G25, user("Hi"), assistant(calls=calls(("a", "w", {}))), tool("a", text))
    assert responses(built) == [{"name": "w", "response": {"output": text}}]


def test_a_long_result_of_few_values_is_an_object() -> None:
    said = {"a": ["1,2,[{" * 100_000]}
    built = contents(G25, user("Hi"), assistant(calls=calls(("a", "w", {}))), tool("a", json.dumps(said)))
    assert responses(built) == [{"name": "w", "response": said}]


def test_several_texts_of_a_result_are_joined() -> None:
    """G-087."""
    built = contents(G25, user("Hi"), assistant(calls=calls(("a", "w", {}))), tool("a", '{"a":', "1}"))
    assert responses(built) == [{"name": "w", "response": {"a": 1}}]


def test_texts_of_a_result_stay_apart() -> None:
    """Servers of tools give one for each thing that they found."""
    built = contents(G25, user("Hi"), assistant(calls=calls(("a", "w", {}))), tool("a", "Oslo: 9C", "Rome"))
    assert responses(built) == [{"name": "w", "response": {"output": "Oslo: 9C\nRome"}}]
    orphan = call(G25, user("Hi"), tool("x", "Oslo: 9C", "Rome", name="w"))
    assert orphan.body["contents"][0]["parts"][1] == {"text": "Tool result (w): Oslo: 9C\nRome"}


def test_a_picture_in_a_result_goes_inside_on_newer_models() -> None:
    """G-089."""
    asked = assistant(calls=calls(("a", "look", {}, "U0lH")))
    sound = MediaPart("audio", PLAIN, mime="audio/wav")
    built = contents(G3, user("Hi"), asked, tool("a", "seen", picture(), sound))
    assert built[2:] == [
        {
            "role": "user",
            "parts": [
                {
                    "functionResponse": {
                        "id": "a",
                        "name": "look",
                        "response": {"output": "seen"},
                        "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}],
                    }
                }
            ],
        },
        {
            "role": "user",
            "parts": [
                {"text": "The result of look (a) holds:"},
                {"inlineData": {"mimeType": "audio/wav", "data": PLAIN}},
            ],
        },
    ]


def test_a_picture_in_a_result_follows_in_its_own_content_on_older_models() -> None:
    """G-089, G-012."""
    asked = assistant(calls=calls(("a", "look", {})))
    built = contents(G25, user("Hi"), asked, tool("a", "seen", picture()), user("And?"))
    assert built[2:] == [
        {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {"output": "seen"}}}]},
        {
            "role": "user",
            "parts": [
                {"text": "The result of look (a) holds:"},
                {"inlineData": {"mimeType": "image/png", "data": PNG}},
            ],
        },
        {"role": "user", "parts": [{"text": "And?"}]},
    ]


def ids(model: str, **options: Any) -> list[Any]:
    asked = assistant(calls=calls(("a", "w", {}, "s")))
    built = contents(model, user("Hi"), asked, tool("a", "1"), options=options)
    return [built[1]["parts"][0]["functionCall"].get("id"), responses(built)[0].get("id")]


def test_ids_travel_on_both_parts_or_on_neither() -> None:
    """G-090."""
    assert ids(G3) == ["a", "a"]
    assert ids(G25) == [None, None]
    assert ids(G3, kind="vertex") == [None, None]
    assert ids(G3, kind="vertex", function_ids=True) == ["a", "a"]
    assert ids(G3, function_ids=False) == [None, None]


# --- signatures ----------------------------------------------------------------------------------


def signatures(built: list[Json]) -> list[str | None]:
    return [part.get("thoughtSignature") for one in built if one["role"] == "model" for part in one["parts"]]


def step(*ids_: str, signature: str | None = None) -> list[Message]:
    asked = [CallPart(id_, "w", {}) for id_ in ids_]
    asked[0] = CallPart(ids_[0], "w", {}, signature)
    return [assistant(calls=tuple(asked)), *(tool(id_, "1") for id_ in ids_)]


def test_unsigned_steps_of_the_current_turn_carry_the_sentinel_on_their_first_call() -> None:
    """G-094, G-095: the earlier turn is not validated and gets none."""
    history = [user("One"), *step("a"), assistant("Done"), user("Two"), *step("b", "c"), *step("d")]
    assert signatures(contents(G3, *history)) == [None, None, SENTINEL, None, SENTINEL]


def test_every_step_is_a_content_of_its_own_with_its_results() -> None:
    """G-081, G-094."""
    built = contents(G25, user("Hi"), *step("a"), *step("b"), assistant("Done"), user("Go"))
    assert [one["role"] for one in built] == ["user", "model", "user", "model", "user", "model", "user"]


def test_real_signatures_stay_and_siblings_get_nothing() -> None:
    """G-091, G-095."""
    built = contents(G3, user("Hi"), *step("a", "b", signature="U0lH"))
    assert signatures(built) == ["U0lH", None]


def test_older_models_get_no_sentinel_but_what_they_signed() -> None:
    """G-096."""
    assert signatures(contents(G25, user("Hi"), *step("a"))) == [None]
    assert signatures(contents(G25, user("Hi"), *step("a", signature="U0lH"))) == ["U0lH"]
    assert signatures(contents("gemini-2.0-flash", user("Hi"), *step("a", signature="U0lH"))) == [None]


def test_a_signature_is_never_on_two_parts() -> None:
    """G-097."""
    asked = calls(("a", "w", {}, "U0lH"), ("b", "w", {}, "U0lH"))
    said = assistant(TextPart("T", "U0lH"), calls=asked, signature="U0lH")
    built = contents(G3, user("Hi"), said, tool("a", "1"), tool("b", "1"))
    assert signatures(built) == ["U0lH", SENTINEL, None]


def test_a_message_signature_belongs_to_the_first_call_or_the_last_part() -> None:
    """G-091, G-093: memory fills it in where the client's history lost it."""
    built = contents(G3, user("Hi"), assistant("A", picture(), signature="U0lH"), user("Go"))
    assert signatures(built) == [None, "U0lH"]
    asked = assistant("A", calls=calls(("a", "w", {}), ("b", "w", {})), signature="U0lH")
    assert signatures(contents(G3, user("Hi"), asked)) == [None, "U0lH", None]


def test_a_foreign_signature_was_taken_away_and_becomes_the_sentinel() -> None:
    """G-099: the memory of signatures clears what another kind of upstream issued."""
    assert signatures(contents(G3, user("Hi"), *step("a", signature=None))) == [SENTINEL]


def test_signed_and_unsigned_texts_stay_apart() -> None:
    """G-100."""
    built = contents(G3, user("Hi"), assistant(TextPart("A", "U0lH")), assistant("B"), user("Go"))
    assert built[1]["parts"] == [{"text": "A", "thoughtSignature": "U0lH"}, {"text": "B"}]


def test_repaired_requests_sign_anew() -> None:
    """G-101, G-217."""
    history = [user("One"), *step("a", signature="bad"), user("Two"), *step("b", signature="worse")]
    assert signatures(contents(G3, *history, repairs=frozenset({"resign"}))) == [SENTINEL, SENTINEL]
    unsigned = [user("Hi"), *step("a")]
    assert signatures(contents(G3, *unsigned, repairs=frozenset({"sentinel_base64"}))) == [
        "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
    ]


def test_calls_that_gemini_answered_itself_are_echoed() -> None:
    """G-108."""
    searched: list[Json] = [
        {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "id": "t1", "args": {}}, "thoughtSignature": "U0lH"},
        {"toolResponse": {"toolType": "GOOGLE_SEARCH_WEB", "id": "t1", "response": {}}},
    ]
    said = assistant(
        "Found", extra={"parts": [*searched, {"text": "no"}, "nor this"], "finish_reason": "STOP"}
    )
    assert contents(G3, user("Hi"), said, user("Go"))[1]["parts"] == [*searched, {"text": "Found"}]
    for model, options in ((G25, {}), (G3, {"kind": "vertex"})):
        built = contents(model, user("Hi"), said, user("Go"), options=options)
        assert built[1]["parts"] == [{"text": "Found"}]


# --- any conversation ----------------------------------------------------------------------------

IDS = st.sampled_from(["a", "b", "c", ""])
TEXTS = st.sampled_from(["", "x", '{"a":1}'])
MESSAGES = st.one_of(
    st.builds(system, TEXTS),
    st.builds(user, TEXTS),
    st.builds(
        lambda text, wanted: assistant(text, calls=tuple(CallPart(id_, "w", {}) for id_ in wanted)),
        TEXTS,
        st.lists(IDS, max_size=3),
    ),
    st.builds(lambda id_, text: tool(id_ or None, text, name="w"), IDS, TEXTS),
)
OPTIONS = st.sampled_from([{}, {"mid_system": "inline"}, {"kind": "vertex"}])


@given(st.lists(MESSAGES, min_size=1, max_size=10), st.sampled_from([G25, G3, NEW, "gemma-3"]), OPTIONS)
def test_any_conversation_obeys_the_rules_of_turns(
    messages: list[Message], model: str, options: Json
) -> None:
    """G-012, G-013, G-015, G-081, G-083, G-095."""
    built = contents(model, *messages, options=options)
    json.dumps(built)
    assert built[0]["role"] == "user"
    for number, content in enumerate(built):
        kinds = {next(iter(part.keys() - {"thoughtSignature"})) for part in content["parts"]}
        assert content["parts"]
        assert kinds == {"functionResponse"} or "functionResponse" not in kinds
        asked = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
        if asked:
            answers = [part["functionResponse"] for part in built[number + 1]["parts"]]
            assert [(one["name"], one.get("id")) for one in answers] == [
                (one["name"], one.get("id")) for one in asked
            ]
        elif kinds == {"functionResponse"}:
            assert any("functionCall" in part for part in built[number - 1]["parts"])
        signed = [part for part in content["parts"] if "thoughtSignature" in part]
        assert len(signed) <= 1


# --- parts in the order they happened --------------------------------------------------------------


def test_calls_and_texts_keep_their_order() -> None:
    first, second = calls(("a", "w", {}, "U0lH"), ("b", "v", {}))
    built = contents(G3, user("Hi"), assistant(first, "and", second), tool("a", "1"), tool("b", "2"))
    assert built[1]["parts"] == [
        {"functionCall": {"id": "a", "name": "w", "args": {}}, "thoughtSignature": "U0lH"},
        {"text": "and"},
        {"functionCall": {"id": "b", "name": "v", "args": {}}},
    ]
    assert [one["id"] for one in responses(built[2:3])] == ["a", "b"]


def test_what_a_user_says_beside_results_is_a_turn_behind_them() -> None:
    """G-012: as the dialects of Messages and Gemini send it, in whichever order."""
    asked = assistant(calls=calls(("a", "w", {}), ("b", "v", {})))
    built = contents(G25, user("Hi"), asked, user("So?", result("b", "2"), picture(), result("a", "1")))
    assert built[2:] == [
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "w", "response": {"output": "1"}}},
                {"functionResponse": {"name": "v", "response": {"output": "2"}}},
            ],
        },
        {
            "role": "user",
            "parts": [{"text": "So?"}, {"inlineData": {"mimeType": "image/png", "data": PNG}}],
        },
    ]


@pytest.mark.parametrize("text", ["no such file", '{"code":5}'])
def test_a_tool_that_failed_returns_an_error(text: str) -> None:
    asked = assistant(calls=calls(("a", "w", {})))
    built = contents(G25, user("Hi"), asked, user(result("a", text, failed=True)))
    assert responses(built) == [{"name": "w", "response": {"error": text}}]


@pytest.mark.parametrize(
    ("after", "signed"),
    [
        pytest.param(("A",), [None, "U0lH"], id="text"),
        pytest.param((picture(), "A"), [None, None, "U0lH"], id="text behind a picture"),
        pytest.param(calls(("a", "w", {})), [None, "U0lH"], id="call"),
        pytest.param((TextPart("A", "T1dO"), "B"), [None, "T1dO", None], id="it has its own"),
        pytest.param((), [None, "U0lH"], id="nothing"),
    ],
)
def test_the_signature_of_a_thought_that_is_not_resent_goes_to_what_follows(
    after: tuple[Any, ...], signed: list[str | None]
) -> None:
    built = contents(G3, user("Hi"), assistant("Before", ThoughtPart("hm", "U0lH"), *after), user("Go"))
    assert signatures(built) == signed


def test_the_signature_of_a_thought_that_is_resent_stays_on_it() -> None:
    said = assistant(ThoughtPart("hm", "U0lH"), "A")
    assert contents(G3, user("Hi"), said, user("Go"), options={"resend_reasoning": True})[1]["parts"] == [
        {"text": "hm", "thought": True, "thoughtSignature": "U0lH"},
        {"text": "A"},
    ]


@pytest.mark.parametrize("name", [None, "w"], ids=["by id", "by name"])
def test_ten_thousand_calls_are_paired_in_one_pass(name: str | None) -> None:
    """Looking through all calls for each result took 5 s."""
    count = 20_000
    ids_ = ["" if name else str(number) for number in range(count)]
    asked = assistant(calls=tuple(CallPart(id_, "w", {}) for id_ in ids_))
    given = [result(id_ or None, str(number), name=name) for number, id_ in enumerate(ids_)]
    found = pairing.pair([asked, user(*given)])
    assert [found.answers[0, number].parts for number in (0, 1, count - 1)] == [
        (TextPart("0"),),
        (TextPart("1"),),
        (TextPart(str(count - 1)),),
    ]
    assert len(found.answers) == count


def test_one_call_each_in_thousands_of_turns_is_paired_in_one_pass() -> None:
    turns = [step(str(number)) for number in range(10_000)]
    late = [user(result(str(number), "late")) for number in range(10_000)]
    found = pairing.pair([*(message for turn in turns for message in turn), *late])
    assert {one.parts[0] for one in found.answers.values()} == {TextPart("late")}
    assert len(found.answers) == 10_000
