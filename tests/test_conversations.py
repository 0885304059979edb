"""`/v1/conversations`: kept by key, added to by clients and by responses, read and forgotten. R-073."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from proxy.simulators import pictures
from tests.gateway import Gateway
from tests.test_responses import WEATHER, ask, post, streamed
from tests.test_responses_state import NARROW, finished, on_disk, refused, texts

SAID: Any = [{"type": "message", "role": "user", "content": "My name is Ada."}]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with on_disk(tmp_path_factory.mktemp("talks")) as opened:
        yield opened


def items(gateway: Gateway, identity: str, **query: Any) -> Any:
    return gateway.client().conversations.items.list(identity, order="asc", **query).data


def test_one_is_begun_told_changed_and_forgotten(kept: Gateway) -> None:
    talks = kept.client().conversations
    made = talks.create(metadata={"topic": "names"}, items=SAID)
    assert made.id.startswith("conv_")
    assert (made.object, made.metadata) == ("conversation", {"topic": "names"})
    assert talks.retrieve(made.id) == made
    assert talks.update(made.id, metadata={"topic": "more"}).metadata == {"topic": "more"}
    assert talks.retrieve(made.id).metadata == {"topic": "more"}
    gone = talks.delete(made.id)
    assert (gone.id, gone.object, gone.deleted) == (made.id, "conversation.deleted", True)
    for look in (talks.retrieve, talks.delete, talks.items.list):
        assert refused(lambda look=look: look(made.id))[0] == 404
    assert refused(lambda: ask(kept, "Hi", conversation=made.id)) == (
        404, "conversation", "conversation_not_found"
    )  # fmt: skip


def test_items_are_added_told_and_taken_away(kept: Gateway) -> None:
    talks = kept.client().conversations
    made = talks.create(items=SAID)
    call: Any = {"type": "function_call", "call_id": "c", "name": "get_weather", "arguments": "{}"}
    result: Any = {"type": "function_call_output", "call_id": "c", "output": "9C"}
    added = talks.items.create(made.id, items=[call, result])
    assert [one.type for one in added.data] == ["function_call", "function_call_output"]
    found = items(kept, made.id)
    assert [one.type for one in found] == ["message", "function_call", "function_call_output"]
    assert found[1:] == added.data
    assert talks.items.retrieve(found[0].id, conversation_id=made.id) == found[0]
    assert talks.items.list(made.id, limit=1).data == found[-1:]
    assert [one.id for one in talks.items.list(made.id, order="asc", limit=1)] == [one.id for one in found]
    assert talks.items.delete(found[0].id, conversation_id=made.id).id == made.id
    assert items(kept, made.id) == found[1:]
    assert refused(lambda: talks.items.retrieve(found[0].id, conversation_id=made.id))[0] == 404


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", ["gemini-flash", "lan-chat"])
def test_a_response_goes_on_from_it_and_both_sides_are_said_in_it(
    kept: Gateway, model: str, stream: bool
) -> None:
    greeted: Any = {"type": "message", "role": "assistant", "content": "Hello Ada."}
    identity = kept.client().conversations.create(items=[*SAID, greeted]).id
    for said, named in (("Who am I?", identity), ("Sure?", {"id": identity})):
        if stream:
            reply = streamed(kept, said, model=model, conversation=named)[-1]["response"]
        else:
            reply = post(kept, input=said, model=model, conversation=named).json()
        assert reply["conversation"] == {"id": identity}
    roles = [(one.role, one.content[0].text) for one in items(kept, identity) if one.type == "message"]
    assert roles == [
        ("user", "My name is Ada."), ("assistant", "Hello Ada."),
        ("user", "Who am I?"), ("assistant", "You said: Who am I?"),
        ("user", "Sure?"), ("assistant", "You said: Sure?"),
    ]  # fmt: skip
    if model == "gemini-flash":
        assert texts(kept)[0][1].startswith("My name is Ada.")
        assert texts(kept)[3] == ("model", "You said: Who am I?")


def test_a_tool_loop_needs_nothing_but_its_outputs(kept: Gateway) -> None:
    """With Gemini's signatures, also in another process."""
    identity = kept.client().conversations.create().id
    first = ask(kept, "Weather? sim:parallel:2", tools=[WEATHER], conversation=identity)
    calls = [one for one in first.output if one.type == "function_call"]
    outputs: Any = [{"type": "function_call_output", "call_id": one.call_id, "output": "9C"} for one in calls]
    last = ask(kept, outputs, tools=[WEATHER], conversation=identity)
    assert "9C" in last.output_text
    signed = [part.get("thoughtSignature") for part in kept.sent()[-1].body["contents"][1]["parts"]]
    assert any(signed)


def test_a_reply_in_the_background_is_said_in_it_when_it_is_there(kept: Gateway) -> None:
    identity = kept.client().conversations.create().id
    reply = ask(kept, "Hello", background=True, conversation=identity)
    finished(kept, reply.id)
    assert [one.role for one in items(kept, identity) if one.type == "message"] == ["user", "assistant"]


def test_what_failed_is_not_said(kept: Gateway) -> None:
    identity = kept.client().conversations.create().id
    with pytest.raises(openai.BadRequestError):
        ask(kept, "Hello sim:error:400", conversation=identity)
    assert items(kept, identity) == []


def test_pictures_in_it_are_files(kept: Gateway) -> None:
    png = base64.b64encode(pictures.png(20, 10, "x" * 9000)).decode()
    image: Any = {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{png}"}
    made = kept.client().conversations.create(items=[{"role": "user", "content": [image], "type": "message"}])
    ask(kept, "What is it?", conversation=made.id)
    [sent] = [part for part in kept.sent()[-1].body["contents"][0]["parts"] if "inlineData" in part]
    assert sent["inlineData"]["data"] == png


def test_many_say_something_at_once_and_all_is_kept(kept: Gateway) -> None:
    identity = kept.client().conversations.create().id
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: ask(kept, f"Turn {number}", conversation=identity), range(8)))
    said = [
        one.content[0].text for one in items(kept, identity) if one.type == "message" and one.role == "user"
    ]
    assert sorted(said) == [f"Turn {number}" for number in range(8)]


def test_it_is_its_keys_alone_and_no_response(kept: Gateway) -> None:
    """R-064, S-004."""
    identity = kept.client().conversations.create().id
    other = kept.client(api_key=NARROW)
    assert refused(lambda: other.conversations.retrieve(identity))[0] == 404
    assert (
        refused(lambda: other.responses.create(model="gemini-flash", input="Hi", conversation=identity))[0]
        == 404
    )
    assert refused(lambda: kept.client().responses.retrieve(identity))[0] == 404
    reply = ask(kept, "Hi")
    assert refused(lambda: kept.client().conversations.retrieve(reply.id))[0] == 404


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"conversation": "conv_1", "previous_response_id": "resp_1"}, "conversation"),
        ({"conversation": "conv_1", "store": False}, "conversation"),
        ({"conversation": 5}, "conversation"),
        ({"conversation": {}}, "conversation"),
    ],
)
def test_what_contradicts_itself_is_refused_with_the_field(kept: Gateway, fields: Any, param: str) -> None:
    reply = post(kept, **fields)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"items": "x"}, "items"),
        ({"items": [{"type": "message", "role": "nobody", "content": "x"}]}, "items[0].role"),
        ({"items": [{"type": "computer_call"}]}, "items[0].type"),
        ({"items": SAID * 21}, "items"),
        ({"metadata": []}, "metadata"),
    ],
)
def test_what_could_not_be_read_later_is_refused_now(kept: Gateway, body: Any, param: str) -> None:
    made = refused(lambda: kept.client().post("/conversations", body=body, cast_to=object))
    assert made[:2] == (400, param)


def test_one_that_no_model_could_read_is_told_so(kept: Gateway) -> None:
    talks = kept.client().conversations
    made = talks.create(items=SAID)
    long: Any = [{"type": "message", "role": "user", "content": "word " * (2 << 20)}]
    for _ in range(2):
        talks.items.create(made.id, items=long)
    before = len(kept.sent())
    assert refused(lambda: ask(kept, "Hi", conversation=made.id)) == (400, None, "context_too_large")
    assert len(kept.sent()) == before
    assert refused(lambda: talks.items.create(made.id, items=SAID)) == (413, None, "context_too_large")


def test_it_outlives_its_process(tmp_path: Path) -> None:
    with on_disk(tmp_path) as first:
        identity = first.client().conversations.create(items=SAID).id
        ask(first, "Who am I?", conversation=identity)
    with on_disk(tmp_path) as second:
        ask(second, "Sure?", conversation=identity)
        assert [role for role, _ in texts(second)] == ["user", "model", "user"]
        assert len([one for one in items(second, identity) if one.type == "message"]) == 5
