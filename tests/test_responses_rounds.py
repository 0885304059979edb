"""Rounds of a conversation by Responses that come back empty, in another order, or to a
server that was started anew."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.simulators import pictures
from tests.gateway import Gateway
from tests.test_responses import WEATHER, ask, post, streamed
from tests.test_responses_state import on_disk, texts

MODELS = ["gemini-flash", "gemini-2.5-flash", "lan-chat"]
PNG = base64.b64encode(pictures.png(20, 10, "x")).decode()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with on_disk(tmp_path_factory.mktemp("rounds")) as opened:
        yield opened


def called(gateway: Gateway, model: str, count: int) -> tuple[Any, list[Any]]:
    reply = ask(gateway, f"Weather? sim:parallel:{count}", model, tools=[WEATHER])
    calls = [one for one in reply.output if one.type == "function_call"]
    assert len(calls) == count
    return reply, calls


@pytest.mark.parametrize("by_id", [False, True], ids=["all items", "previous_response_id"])
@pytest.mark.parametrize("model", MODELS)
def test_parallel_calls_answered_in_reverse_with_nothing(kept: Gateway, model: str, by_id: bool) -> None:
    """R-030."""
    reply, calls = called(kept, model, 3)
    outputs: Any = [
        {"type": "function_call_output", "call_id": one.call_id, "output": empty}
        for one, empty in zip(reversed(calls), ("", [], ""), strict=True)
    ]
    if by_id:
        last = ask(kept, outputs, model, tools=[WEATHER], previous_response_id=reply.id)
    else:
        begun: Any = {"role": "user", "content": "Weather? sim:parallel:3"}
        said = [one.model_dump(exclude_none=True) for one in reply.output]
        last = ask(kept, [begun, *said, *outputs], model, tools=[WEATHER])
    assert last.output_text.startswith("The tools answered")


@pytest.mark.parametrize("model", ["gemini-flash", "lan-chat"])
def test_a_picture_in_a_result_of_a_call_that_is_in_the_store(kept: Gateway, model: str) -> None:
    """R-032."""
    reply, [call] = called(kept, model, 1)
    image = {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{PNG}"}
    output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": [image]}
    assert "20x10" in ask(kept, [output], model, tools=[WEATHER], previous_response_id=reply.id).output_text


def test_a_reference_to_an_item_of_another_process(tmp_path: Path) -> None:
    """R-065."""
    with on_disk(tmp_path) as first:
        reply = ask(first, "One")
    with on_disk(tmp_path) as second:
        reference: Any = {"type": "item_reference", "id": reply.output[-1].id}
        ask(second, [{"role": "user", "content": "One"}, reference, {"role": "user", "content": "Two"}])
        assert texts(second) == [("user", "One"), ("model", "You said: One"), ("user", "Two")]


@pytest.mark.parametrize("order", ["sim:block:SAFETY", "sim:finish:SAFETY"])
def test_what_a_filter_stops_is_incomplete_without_an_item(kept: Gateway, order: str) -> None:
    """R-066: whole and streamed alike."""
    whole = post(kept, input=f"x {order}").json()
    last = streamed(kept, f"x {order}")[-1]["response"]
    for one in (whole, last):
        assert (one["status"], one["incomplete_details"]["reason"]) == ("incomplete", "content_filter")
        assert one["output"] == []


def test_what_a_filter_stops_is_text_to_a_client_that_shows_nothing_else(kept: Gateway) -> None:
    """The AI SDK hands out an empty answer where there is no text."""
    headers = {"user-agent": "ai/6.0.326 ai-sdk/provider-utils/4.0.66 runtime/node.js/v20.20.2"}
    told = post(kept, headers, input="x sim:block:SAFETY").json()
    assert (told["status"], told["incomplete_details"]["reason"]) == ("incomplete", "content_filter")
    [part] = told["output"][0]["content"]
    assert (part["type"], part["text"]) == ("output_text", told["incomplete_details"]["message"])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_stop_sequence_ends_the_answer(kept: Gateway, stream: bool) -> None:
    """Not documented for Responses, and yet sent; Gemini stops at it."""
    fields: Any = {"stop": ["beta"]}
    if stream:
        found = streamed(kept, "alpha beta gamma", **fields)[-1]["response"]
    else:
        found = post(kept, input="alpha beta gamma", **fields).json()
    assert found["output"][-1]["content"][0]["text"] == "You said: alpha "
    assert found["status"] == "completed"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_an_answer_that_is_cut_off_keeps_what_was_said(kept: Gateway, stream: bool) -> None:
    """R-066, R-088."""
    if stream:
        found = streamed(kept, "x sim:finish:MAX_TOKENS")[-1]["response"]
    else:
        found = post(kept, input="x sim:finish:MAX_TOKENS").json()
    assert (found["status"], found["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    [message] = [one for one in found["output"] if one["type"] == "message"]
    assert (message["status"], message["content"][0]["text"]) == ("incomplete", "You said: x")


@pytest.mark.parametrize("model", ["gemini-flash", "lan-chat"])
def test_an_output_without_its_call_is_told_in_words_or_refused_by_its_place(
    gateway: Gateway, model: str
) -> None:
    """A client that cuts its history may have kept the output alone."""
    items: list[Any] = [
        {"role": "user", "content": "Go on"},
        {"type": "function_call_output", "call_id": "call_gone", "output": "42"},
    ]
    reply = post(gateway, model=model, input=items)
    assert (reply.status_code, reply.headers["x-proxy-dropped"]) == (200, "input[1].call_id")
    assert "Tool result (unknown tool): 42" in str(gateway.sent()[-1].body)
    refused = post(gateway, {"x-proxy-strict": "true"}, model=model, input=items)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "input[1].call_id")


@pytest.mark.parametrize("model", ["gemini-flash", "lan-chat"])
def test_a_call_without_its_output_gets_one_and_is_named(gateway: Gateway, model: str) -> None:
    call = {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}
    reply = post(
        gateway,
        model=model,
        input=[{"role": "user", "content": "Go"}, call, {"role": "user", "content": "So?"}],
    )
    assert (reply.status_code, reply.headers["x-proxy-dropped"]) == (200, "input[1].call_id")
    assert "no result was provided for this call" in str(gateway.sent()[-1].body)


@pytest.mark.parametrize("model", ["gemini-flash", "lan-chat"])
@pytest.mark.parametrize("by", ["previous_response_id", "conversation"])
def test_what_is_kept_is_not_named_by_a_place_in_what_was_sent_now(
    kept: Gateway, model: str, by: str
) -> None:
    """Its call was never answered."""
    talk = kept.client().conversations.create().id if by == "conversation" else None
    fields: Any = {} if talk is None else {by: talk}
    reply = ask(kept, "Weather? sim:call:get_weather", model, tools=[WEATHER], **fields)
    assert reply.output[-1].type == "function_call"
    body: Any = {"model": model, "input": [{"role": "user", "content": "So?"}], by: talk or reply.id}
    assert post(kept, {"x-proxy-strict": "true"}, **body).json()["error"]["param"] == f"{by}.call_id"
    assert post(kept, **body).headers["x-proxy-dropped"] == f"{by}.call_id"


@pytest.mark.parametrize("model", ["gemini-flash", "lan-chat"])
def test_of_several_calls_of_a_turn_the_lost_one_is_named(gateway: Gateway, model: str) -> None:
    first, second = (
        {"type": "function_call", "call_id": name, "name": "look", "arguments": "{}"} for name in "ab"
    )
    output = {"type": "function_call_output", "call_id": "a", "output": "1"}
    said = {"type": "message", "role": "assistant", "content": "I look."}
    items: list[Any] = [{"role": "user", "content": "Go"}, said, first, second, output]
    reply = post(gateway, model=model, input=[*items, {"role": "user", "content": "So?"}])
    assert reply.headers["x-proxy-dropped"] == "input[3].call_id"


def test_an_item_behind_a_reference_keeps_its_place(kept: Gateway) -> None:
    """The reply's signatures, which nobody wrote, stand before what they sign."""
    reply = ask(kept, "Weather? sim:call:get_weather", tools=[WEATHER])
    reference = {"type": "item_reference", "id": reply.output[-1].id}
    output = {"type": "function_call_output", "call_id": "gone", "output": "1"}
    begun = {"role": "user", "content": "Weather?"}
    own = {"type": "function_call_output", "call_id": reply.output[-1].call_id, "output": "2"}
    found = post(kept, input=[begun, reference, own, output], tools=[WEATHER])
    assert found.headers["x-proxy-dropped"] == "input[3].call_id"


def test_instructions_that_a_cache_has_already_are_named_as_such(gateway: Gateway) -> None:
    fields: Any = {"instructions": "Be brief", "cached_content": "cachedContents/1", "input": "Hi"}
    found = post(gateway, {"x-proxy-strict": "true"}, **fields)
    assert (found.status_code, found.json()["error"]["param"]) == (400, "instructions")


@pytest.mark.parametrize("model", ["gemini-flash", "lan-chat"])
@pytest.mark.parametrize("by", ["previous_response_id", "conversation", "item_reference"])
def test_what_a_search_for_tools_has_found_can_be_called_later(kept: Gateway, model: str, by: str) -> None:
    """R-037: the client sends what is new; what it found stands in the store."""
    fields: Any = {"tools": [{"type": "tool_search", "execution": "client"}]}
    talk = kept.client().conversations.create().id
    found: Any = [
        {"role": "user", "content": "Weather?"},
        {"type": "tool_search_call", "call_id": "s", "arguments": {"query": "sky"}, "execution": "client"},
        {"type": "tool_search_output", "call_id": "s", "execution": "client", "tools": [WEATHER]},
    ]
    first = ask(kept, found, model, **fields, **({by: talk} if by == "conversation" else {}))
    again: Any = {"role": "user", "content": "And now? sim:call:get_weather"}
    if by == "item_reference":
        items = kept.client().responses.input_items.list(first.id, order="asc").data
        reply = ask(kept, [*({"type": by, "id": item.id} for item in items), again], model, **fields)
    else:
        reply = ask(kept, [again], model, **fields, **{by: talk if by == "conversation" else first.id})
    assert [item.name for item in reply.output if item.type == "function_call"] == ["get_weather"]
