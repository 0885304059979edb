"""Events as Messages: blocks in order, whole and streamed alike, with signatures where clients keep them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from anthropic.types import Message as SdkMessage
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ErrorClass, RequestError, UpstreamError
from proxy.fronts import sealed
from proxy.fronts.anthropic.blocks.incoming import UNSIGNED
from proxy.fronts.anthropic.messages.reply import MessagesRenderer
from proxy.fronts.anthropic.shape import MessagesShape
from proxy.fronts.base import Facts, Parsed
from proxy.types import (
    Audio,
    ChatRequest,
    Citation,
    CodeRun,
    Event,
    Extra,
    Finish,
    Image,
    Reasoning,
    Refusal,
    Searched,
    Slice,
    Started,
    Text,
    ToolCall,
    Usage,
)
from tests.messages_events import checked, decoded

STARTED = Started("r1", "gemini-3-flash", 1, prompt=11, cached=5)
USAGE = Usage(prompt=11, completion=42, reasoning=30, cached=5)
STOP = Finish("stop", "STOP")
PLAIN = Facts(1)
PNG = Slice(b"iVBORw0KGgo=")
COUNTED = {
    "input_tokens": 6,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 5,
    "output_tokens": 42,
    "output_tokens_details": {"thinking_tokens": 30},
    "service_tier": "standard",
}


def renderer(facts: Facts = PLAIN, **shape: Any) -> MessagesRenderer:
    return MessagesRenderer(Parsed(ChatRequest("m", ()), MessagesShape("gemini-flash", **shape)), facts)


def whole(*events: Event, facts: Facts = PLAIN, **shape: Any) -> Any:
    message = orjson.loads(b"".join(renderer(facts, **shape).whole([STARTED, *events])))
    SdkMessage.model_validate(message)
    return message


def frames(batches: Sequence[Sequence[Event]], facts: Facts = PLAIN, **shape: Any) -> list[Any]:
    streamed = renderer(facts, **shape)
    out = [streamed.feed(batch) for batch in batches] + [streamed.finish()]
    return decoded(b"".join(one if isinstance(one, bytes) else b"".join(one) for one in out))


def both(*events: Event, facts: Facts = PLAIN, **shape: Any) -> list[Any]:
    """The blocks, which are the same whole and streamed, one event at a time and all at once."""
    message = whole(*events, facts=facts, **shape)
    for batches in ([[one] for one in (STARTED, *events)], [[STARTED, *events]]):
        assert _without_ids(checked(frames(batches, facts, **shape))) == _without_ids(message)
    content: list[Any] = message["content"]
    return content


def _without_ids(message: Any) -> Any:
    """Those of searches are made by chance."""
    return orjson.loads(re.sub(rb"srvtoolu_\w+", b"", orjson.dumps(message)))


def text(said: str, **more: Any) -> Any:
    return {"type": "text", "text": said, **more}


def thought(said: str, signature: str = UNSIGNED) -> Any:
    return {"type": "thinking", "thinking": said, "signature": signature}


def use(identity: str, **given: Any) -> Any:
    return {"type": "tool_use", "id": identity, "name": "look", "input": given}


def test_a_text_whole() -> None:
    """M-040, M-061."""
    assert whole(Text("Oslo lies "), Text("on a fjord."), USAGE, STOP) == {
        "id": "msg_r1",
        "type": "message",
        "role": "assistant",
        "model": "gemini-flash",
        "content": [{"type": "text", "text": "Oslo lies on a fjord."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": COUNTED,
    }


def test_a_text_streamed() -> None:
    """M-070, M-073: the counts of the prompt are told at the begin, all at the end."""
    usage = {name: COUNTED[name] for name in COUNTED if name != "service_tier"}
    assert frames([[STARTED, Text("Oslo lies")], [Text(" on a fjord.")], [USAGE, STOP]]) == [
        {
            "type": "message_start",
            "message": {
                "id": "msg_r1",
                "type": "message",
                "role": "assistant",
                "model": "gemini-flash",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {
                    "input_tokens": 6,
                    "cache_creation_input_tokens": 0,
                    "cache_read_input_tokens": 5,
                    "output_tokens": 1,
                    "service_tier": "standard",
                },
            },
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Oslo lies"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " on a fjord."}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": usage,
        },
        {"type": "message_stop"},
    ]


# --- thoughts and their signatures


def test_a_thought_carries_the_signature_of_the_call_behind_it() -> None:
    """M-033, M-034, X-011."""
    events = (
        Reasoning("Two "),
        Reasoning("look-ups."),
        ToolCall(0, "call_a1", "look", '{"at":1}', signature="c2ln"),
        ToolCall(1, "call_b2", "look", '{"at":2}'),
        STOP,
    )
    assert both(*events, thinks=True) == [
        thought("Two look-ups.", "c2ln"),
        use("toolu_a1", at=1),
        use("toolu_b2", at=2),
    ]


def test_a_text_between_a_thought_and_its_call_moves_the_signature_before_the_call() -> None:
    """X-011: it is not known yet when the thought ends."""
    events = (Reasoning("Hm."), Text("I look."), ToolCall(0, "a", "look", "{}", signature="c2ln"), STOP)
    assert both(*events, thinks=True) == [thought("Hm."), text("I look."), thought("", "c2ln"), use("a")]


def test_a_signature_without_a_thought_has_an_empty_one() -> None:
    """M-033: `thinking` may be empty."""
    events = (
        ToolCall(0, "a", "look", "{}", signature="one"),
        ToolCall(1, "b", "look", "{}", signature="two"),
        STOP,
    )
    assert both(*events, thinks=True) == [thought("", "one"), use("a"), thought("", "two"), use("b")]


@pytest.mark.parametrize(
    "signed",
    [Text("Yes.", signature="c2ln"), Image("image/png", url="https://v.example/a", signature="c2ln")],
)
def test_a_thought_carries_the_signature_of_what_follows_it(signed: Event) -> None:
    """X-011, X-013: what has a signature is no thought itself."""
    blocks = both(Reasoning("Hm."), signed, STOP, thinks=True)
    assert blocks[0] == thought("Hm.", "c2ln")
    assert blocks[1]["type"] == "text"


def test_a_signature_behind_the_text_makes_no_block() -> None:
    """X-011: the text is known by its content."""
    assert both(Text("Yes."), Text("", signature="c2ln"), STOP, thinks=True) == [text("Yes.")]


def test_who_did_not_ask_for_thoughts_gets_none() -> None:
    """X-012."""
    events = (Reasoning("Hm."), ToolCall(0, "a", "look", "{}", signature="c2ln"), STOP)
    assert both(*events) == [use("a")]


def test_thoughts_behind_a_text_have_a_block_of_their_own() -> None:
    """X-023."""
    events = (Reasoning("A."), Text("B."), Reasoning("C."), Text("D."), STOP)
    assert both(*events, thinks=True) == [thought("A."), text("B."), thought("C."), text("D.")]


# --- calls


@pytest.mark.parametrize("pieces", [["{}"], [""], [], ["{", "}"]])
def test_a_call_without_arguments_has_an_empty_object(pieces: list[str]) -> None:
    """M-072."""
    first, *rest = pieces or [""]
    events: tuple[Event, ...] = (
        ToolCall(0, "a", "look", first),
        *(ToolCall(0, "", "", piece) for piece in rest),
        Finish("tool_calls"),
    )
    assert both(*events) == [use("a")]


def test_calls_that_come_side_by_side_are_told_one_after_the_other() -> None:
    """M-071: blocks never overlap."""
    events = (
        ToolCall(0, "a", "look", '{"at"'),
        ToolCall(1, "b", "look", '{"at":'),
        ToolCall(0, "", "", ":1}"),
        ToolCall(2, "c", "look", ""),
        ToolCall(1, "", "", "2}"),
        Finish("tool_calls"),
    )
    assert both(*events) == [use("a", at=1), use("b", at=2), use("c")]


def test_a_call_that_goes_on_behind_its_end_is_no_answer() -> None:
    events = (STARTED, ToolCall(0, "a", "look", '{"at"'), Text("So."), ToolCall(0, "", "", ":1}"))
    with pytest.raises(UpstreamError, match="went on after it had ended"):
        renderer().feed(events)


def test_arguments_that_were_cut_off_are_handed_on_as_text() -> None:
    events = (ToolCall(0, "a", "look", '{"at":"Osl'), Finish("length"))
    message = whole(*events)
    assert (message["stop_reason"], message["content"]) == ("max_tokens", [use("a", arguments='{"at":"Osl')])


@pytest.mark.parametrize("pieces", [['{"a":'], ['{"a":1}', "1}"], ['{"a": nothing', "}"]])
@pytest.mark.parametrize("behind", [(STOP,), (Text("So."), STOP), (ToolCall(1, "b", "f", "{}"), STOP)])
def test_a_stream_does_not_end_well_with_arguments_that_nobody_can_read(
    pieces: list[str], behind: tuple[Event, ...]
) -> None:
    """M-072: SDKs break on them, or call the function with what they could read."""
    calls = [ToolCall(0, "a", "look", pieces[0]), *(ToolCall(0, "", "", one) for one in pieces[1:])]
    with pytest.raises(UpstreamError, match="'look' are no JSON"):
        frames([[one] for one in (STARTED, *calls, *behind)])
    assert whole(*calls, *behind)["content"][0] == use("a", arguments="".join(pieces))


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_a_stream_that_was_cut_off_may_end_within_arguments(reason: Any) -> None:
    events = frames([[STARTED, ToolCall(0, "a", "look", '{"at":"Osl')], [Finish(reason)]])
    assert events[-1]["type"] == "message_stop"


@pytest.mark.parametrize(
    ("pieces", "given"),
    [
        (["[1]"], "[1]"),
        (['say "', 'hi"'], 'say "hi"'),
        (["7"], "7"),
        (["null"], "null"),
    ],
)
def test_arguments_that_are_no_object_become_one(pieces: list[str], given: str) -> None:
    """M-072: SDKs raise at anything else."""
    events: list[Event] = [
        ToolCall(0, "a", "look", ""),
        *(ToolCall(0, "", "", piece) for piece in pieces),
        STOP,
    ]
    assert both(*events) == [use("a", arguments=given)]
    waiting: list[Event] = [
        ToolCall(0, "a", "look", "{"),
        *(ToolCall(1, "b", "look", piece) for piece in pieces),
    ]
    assert both(*waiting, ToolCall(0, "", "", "}"), STOP) == [use("a"), use("b", arguments=given)]


def test_blank_arguments_are_an_empty_object() -> None:
    assert both(ToolCall(0, "a", "look", " "), STOP) == [use("a")]


# --- pictures


def test_a_picture_is_a_link_in_the_text() -> None:
    """M-060."""
    facts = Facts(1, link=lambda image: "https://gateway.example/p?sig=s" if image.data is PNG else None)
    events = (
        Text("Here it is."),
        Image("image/png", data=PNG),
        Text("And another: "),
        Image("image/png", url="https://vendor.example/b.png"),
        STOP,
    )
    assert both(*events, facts=facts) == [
        text(
            "Here it is.\n\n![picture 1](https://gateway.example/p?sig=s)\n\nAnd another: "
            "\n\n![picture 2](https://vendor.example/b.png)"
        )
    ]


@pytest.mark.parametrize("shape", [{"image_mode": "markdown"}, {}], ids=["asked for", "not stored"])
def test_a_picture_stands_in_the_text_where_it_has_no_address(shape: dict[str, Any]) -> None:
    """M-060."""
    assert both(Image("image/png", data=PNG), STOP, **shape) == [
        text("![picture 1](data:image/png;base64,iVBORw0KGgo=)")
    ]


def test_a_large_picture_is_not_copied() -> None:
    large = Slice(b"iVBO" * 200_000)
    out = renderer(image_mode="markdown").feed([STARTED, Image("image/png", data=large)])
    assert isinstance(out, list)
    assert any(piece is large.raw for piece in out)


# --- searches, code, sound


def test_a_search_and_its_sources() -> None:
    """M-024, M-062, X-022: before the answer that cites it, where all is known. The words of a stream do not
    wait for it, and are cited before they are over."""
    sources = (("https://a.example", "A"), ("https://b.example", ""))
    events = (
        Started("r1"),
        Text("It rains. "),
        Text("Hard."),
        Citation("https://a.example", "A", 3, 9),
        Searched(("weather oslo", "rain"), sources),
        USAGE,
        STOP,
    )
    shape = {"server_tools": {"web_search": 0}}
    used, result, answer = whole(*events, **shape)["content"]
    late = checked(frames([[event] for event in events], **shape))
    early = whole(*events, **shape)
    early["content"] = [answer, used, result]
    assert _without_ids(late) == _without_ids(early)
    assert answer == text(
        "It rains. Hard.",
        citations=[
            {
                "type": "web_search_result_location",
                "url": "https://a.example",
                "title": "A",
                "cited_text": "rains.",
                "encrypted_index": UNSIGNED,
            }
        ],
    )
    assert used["id"].startswith("srvtoolu_")
    assert {**used, "id": ""} == {
        "type": "server_tool_use",
        "id": "",
        "name": "web_search",
        "input": {"query": "weather oslo\nrain"},
    }
    assert result == {
        "type": "web_search_tool_result",
        "tool_use_id": used["id"],
        "content": [
            {
                "type": "web_search_result",
                "url": url,
                "title": title,
                "encrypted_content": UNSIGNED,
                "page_age": None,
            }
            for url, title in sources
        ],
    }
    counted = whole(*events, **shape)["usage"]["server_tool_use"]
    assert counted == {"web_search_requests": 2, "web_fetch_requests": 0}


def test_what_a_search_found_is_told_when_it_is_known() -> None:
    """M-024, X-022: of an upstream that tells of its searches as they happen, each has its result."""
    found = Searched((), (("https://a.example", "A"),))
    live = (Searched(("oslo",)), Text("Hm."), Searched(("rain",)), Text("Wet."))
    blocks = both(*live, found, STOP, server_tools={"web_search": 0})
    kinds = ["server_tool_use", "text", "web_search_tool_result"]
    assert [block["type"] for block in blocks] == [*kinds, *kinds]
    assert [block["tool_use_id"] for block in blocks[2::3]] == [block["id"] for block in blocks[::3]]
    assert [[one["url"] for one in block["content"]] for block in blocks[2::3]] == [[], ["https://a.example"]]
    assert both(*live, STOP, server_tools={"web_search": 0})[5]["content"] == []
    assert [block["type"] for block in both(*live, found, STOP)] == ["text"]


def test_pages_that_were_read_without_a_search_are_told_as_one() -> None:
    read = Searched((), (("https://a.example", "A"),))
    message = whole(Text("Wet."), read, STOP, server_tools={"web_search": 0})
    used, result, _ = message["content"]
    assert (used["type"], used["input"]) == ("server_tool_use", {"query": ""})
    assert [one["url"] for one in result["content"]] == ["https://a.example"]
    assert "server_tool_use" not in message["usage"]


def test_a_search_that_the_client_does_not_know_of_is_only_cited() -> None:
    events = (Text("Wet."), Citation("https://a.example", "", 0, 4), Searched(("q",)), STOP)
    (block,) = both(*events)
    assert [one["url"] for one in block["citations"]] == ["https://a.example"]


def _cited(block: Any) -> list[tuple[str, str]]:
    return [(one["url"], one["cited_text"]) for one in block.get("citations", ())]


def test_citations_that_come_late_stand_on_the_text_they_cite() -> None:
    """Behind a call no empty text is made for them: they name the block that is over."""
    said, call = both(
        Text("It rains. "),
        Text("Hard."),
        ToolCall(0, "c", "look", "{}"),
        Citation("https://a", "", 3, 9),
        STOP,
    )
    assert (said["text"], _cited(said)) == ("It rains. Hard.", [("https://a", "rains.")])
    assert call["type"] == "tool_use"


def test_each_text_has_its_own_citations() -> None:
    """One that cites nothing is of the last text; a picture counts no characters."""
    first, _, second = both(
        Text("Oslo. "),
        Image("image/png", url="https://x.example/1.png"),
        Reasoning("Hm."),
        Text("Bern."),
        Citation("https://b", "", 6, 10),
        Citation("https://o", "", 0, 5),
        Citation("https://page", "", 0, 0),
        STOP,
        thinks=True,
    )
    assert _cited(first) == [("https://o", "Oslo.")]
    assert _cited(second) == [("https://b", "Bern"), ("https://page", "")]


def test_a_citation_where_nothing_was_said_stands_nowhere() -> None:
    (call,) = both(ToolCall(0, "c", "look", "{}"), Citation("https://page", "", 0, 0), STOP)
    assert call["type"] == "tool_use"


def test_code_and_spoken_words_stand_in_the_text() -> None:
    """X-022."""
    events = (
        Text("So:"),
        CodeRun("\n```python\n1\n```\n", "1", "python"),
        CodeRun("", output=""),
        Audio("audio/wav", PNG, "Hello."),
        STOP,
    )
    assert both(*events) == [text("So:\n```python\n1\n```\nHello.")]


def test_what_the_vendor_said_to_its_own_tools_is_sealed_in_a_block() -> None:
    """It wants to hear it again; without `thinking` a client expects no such block."""
    parts = [{"toolCall": {"toolType": "GOOGLE_SEARCH_WEB"}, "thoughtSignature": "U0lH"}]
    events = (ToolCall(0, "c", "look", "{}"), Extra("google", {"parts": parts, "grounding": {}}), STOP)
    call, kept = both(*events, thinks=True)
    assert (call["type"], kept["type"]) == ("tool_use", "redacted_thinking")
    assert sealed.opened(kept["data"]) == {"parts": parts}
    assert [block["type"] for block in both(*events)] == ["tool_use"]
    assert [block["type"] for block in both(Text("Hi"), Extra("google", {}), STOP, thinks=True)] == ["text"]


# --- the end


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        (Finish("stop", "STOP"), "end_turn"),
        (Finish("stop", "A_NEW_WORD"), "end_turn"),
        (Finish("length", "MAX_TOKENS"), "max_tokens"),
        (Finish("content_filter", "SAFETY"), "refusal"),
    ],
)
def test_why_it_ended(finish: Finish, reason: str) -> None:
    """M-042."""
    assert whole(Text("x"), finish)["stop_reason"] == reason


def test_which_stop_sequence_was_met_is_told_where_it_is_known() -> None:
    """M-042."""
    message = whole(Text("x"), Finish("stop", "stop", stopped_by="END"))
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "END")
    message = whole(ToolCall(0, "a", "look", "{}"), Finish("stop", "stop", stopped_by="END"))
    assert (message["stop_reason"], message["stop_sequence"]) == ("tool_use", None)


@pytest.mark.parametrize("finish", [Finish("stop", "STOP"), Finish("tool_calls"), Finish("function_call")])
def test_a_call_ends_with_tool_use(finish: Finish) -> None:
    """M-042: also where the stop came in a chunk of its own."""
    assert whole(ToolCall(0, "a", "look", "{}"), finish)["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("events", "content", "why"),
    [
        (
            [Finish("content_filter", "SAFETY")],
            [],
            "The reply was blocked by the upstream content filter (SAFETY).",
        ),
        ([Finish("content_filter", "SAFETY", message="Too odd.")], [], "Too odd."),
        (
            [Refusal("The prompt was blocked."), Finish("content_filter", "SAFETY")],
            [text("The prompt was blocked.")],
            "The prompt was blocked.",
        ),
    ],
)
def test_a_refusal_says_why(events: list[Event], content: list[Any], why: str) -> None:
    """M-042."""
    assert both(*events) == content
    assert whole(*events)["stop_details"] == {"type": "refusal", "category": None, "explanation": why}


@pytest.mark.parametrize("events", [[], [Text("x")], [Text("x"), USAGE]])
def test_an_end_is_never_invented(events: list[Event]) -> None:
    """M-076."""
    with pytest.raises(UpstreamError) as caught:
        whole(*events)
    streamed = renderer()
    streamed.feed([STARTED, *events])
    with pytest.raises(UpstreamError):
        streamed.finish()
    assert caught.value.code == "upstream_stream_truncated"


def test_nothing_at_all_is_no_reply() -> None:
    with pytest.raises(UpstreamError) as caught:
        renderer().finish()
    assert caught.value.error_class is ErrorClass.EMPTY


def test_a_stream_that_broke_ends_with_an_error() -> None:
    """M-075."""
    streamed = renderer()
    begun = streamed.feed([STARTED, Text("Oslo")])
    error = UpstreamError(ErrorClass.OVERLOADED, "google: the model is overloaded")
    assert isinstance(begun, bytes)
    events = decoded(begun + streamed.error(error, "req_9"))
    assert checked(events)["error"] == {
        "type": "overloaded_error",
        "message": "google: the model is overloaded",
    }


def test_the_heartbeat_is_a_ping() -> None:
    """M-077, X-007: before everything else too."""
    assert decoded(MessagesRenderer.ping) == [{"type": "ping"}]
    begun = renderer().feed([STARTED, Text("x"), STOP])
    assert isinstance(begun, bytes)
    assert decoded(MessagesRenderer.ping + begun)[1]["type"] == "message_start"


def test_what_was_written_into_the_cache_is_told() -> None:
    """M-061: the three of the input add up to the prompt."""
    usage = whole(Text("x"), Usage(prompt=100, cached=60, cache_write=30), STOP)["usage"]
    assert (
        usage["input_tokens"],
        usage["cache_read_input_tokens"],
        usage["cache_creation_input_tokens"],
    ) == (10, 60, 30)


@pytest.mark.parametrize("usage", [Usage(prompt=5, cached=9), Usage(prompt=5, cached=3, cache_write=9)])
def test_counts_that_do_not_add_up_are_never_negative(usage: Usage) -> None:
    told = whole(Text("x"), usage, STOP)["usage"]
    parts = [
        told[name] for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    ]
    assert min(parts) >= 0
    assert sum(parts) == 5


def test_an_unwritable_answer_is_an_error_of_the_upstream() -> None:
    deep = "[" * 300 + "]" * 300
    with pytest.raises(UpstreamError, match="cannot be handed on"):
        whole(ToolCall(0, "a", "look", '{"at":' + deep + "}"), STOP)


_EVENTS = st.one_of(
    st.builds(Text, st.sampled_from(["", "a", "b"]), signature=st.sampled_from([None, "t"])),
    st.builds(Reasoning, st.sampled_from(["", "h"])),
    st.builds(
        Image,
        st.just("image/png"),
        url=st.just("https://v.example/x"),
        signature=st.sampled_from([None, "i"]),
    ),
    st.builds(Refusal, st.just("no")),
    st.builds(Citation, st.just("https://c.example"), st.just(""), st.just(0), st.just(1)),
    st.builds(Searched, st.just(("q",))),
    st.builds(CodeRun, st.sampled_from(["", "code"])),
)


@given(
    st.lists(_EVENTS, max_size=12),
    st.lists(st.sampled_from([None, "c"]), max_size=3),
    st.integers(0, 12),
    st.booleans(),
)
def test_every_stream_is_in_order_and_equals_the_whole(
    events: list[Event], signatures: list[str | None], place: int, thinks: bool
) -> None:
    """M-070..M-072, X-023."""
    calls: list[Event] = [
        ToolCall(number, f"c{number}", "look", "{}", signature=signature)
        for number, signature in enumerate(signatures)
    ]
    events = [*events[:place], *calls, *events[place:], STOP]
    both(*events, thinks=thinks)


def test_a_request_error_names_its_field() -> None:
    error = RequestError("It is too large.", attribute="max_tokens")
    body = orjson.loads(renderer().error(error, "req_1").split(b"data: ")[1])
    assert body["error"] == {"type": "invalid_request_error", "message": "max_tokens: It is too large."}
