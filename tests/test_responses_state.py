"""Responses that are kept: gone on from, referred to, read, deleted, made in the background, called off."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from proxy.memory.signatures import SignatureMemory
from proxy.simulators import pictures
from tests import responses_law
from tests.gateway import FILE, KEY, Gateway, open_gateway
from tests.served import waited
from tests.test_responses import WEATHER, ask, post
from tests.vendor_socket import read_request, vendor

NARROW = "sk-test-narrow"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with a store on disk."""
    with on_disk(tmp_path_factory.mktemp("kept")) as opened:
        yield opened


def on_disk(folder: Path, more: str = "") -> Any:
    server = f'server: {{state: "sqlite:{folder}/state/dragoman.db"{more}}}\n'
    return open_gateway(folder, FILE + server)


def contents(gateway: Gateway) -> Any:
    """What the newest request had in it at Google."""
    return gateway.sent()[-1].body["contents"]


def texts(gateway: Gateway) -> list[tuple[str, str]]:
    return [
        (one["role"], "".join(part.get("text", "") for part in one["parts"])) for one in contents(gateway)
    ]


def finished(gateway: Gateway, identity: str) -> Any:
    return until(gateway, identity, "completed", "incomplete", "failed", "cancelled")


def until(gateway: Gateway, identity: str, *states: str) -> Any:
    deadline = time.monotonic() + 10
    while True:
        reply = gateway.client().responses.retrieve(identity)
        if reply.status in states:
            return reply
        assert time.monotonic() < deadline
        time.sleep(0.02)


def refused(call: Any) -> tuple[int, str | None, str | None]:
    with pytest.raises(openai.APIStatusError) as caught:
        call()
    return caught.value.status_code, caught.value.param, caught.value.code


# --- going on


def test_a_reply_is_kept_unless_the_client_says_otherwise(kept: Gateway) -> None:
    """R-062, R-063."""
    reply = ask(kept, "Hi")
    assert reply.store is True
    assert kept.client().responses.retrieve(reply.id).model_dump() == reply.model_dump()
    own = ask(kept, "Hi", store=False)
    assert own.store is False
    assert refused(lambda: kept.client().responses.retrieve(own.id)) == (404, None, "not_found")
    assert refused(lambda: ask(kept, "Hi", previous_response_id=own.id)) == (
        400,
        "previous_response_id",
        "previous_response_not_found",
    )


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_conversation_goes_on_from_its_last_reply(kept: Gateway, stream: bool) -> None:
    """R-061, R-012, S-002: all of it; instructions are those of the new request."""

    def said(input: str, **fields: Any) -> Any:
        with kept.client().responses.stream(model="gemini-flash", input=input, **fields) as opened:
            return opened.get_final_response()

    tell = said if stream else lambda input, **fields: ask(kept, input, **fields)
    first = tell("One", instructions="Be brief.")
    second = tell("Two", previous_response_id=first.id)
    third = tell("Three", previous_response_id=second.id, instructions="Be long.")
    assert third.previous_response_id == second.id
    assert texts(kept) == [
        ("user", "One"),
        ("model", "You said: One"),
        ("user", "Two"),
        ("model", "You said: Two"),
        ("user", "Three"),
    ]
    assert kept.sent()[-1].body["systemInstruction"] == {"parts": [{"text": "Be long."}]}


def test_a_call_is_answered_by_its_output_alone(kept: Gateway) -> None:
    """R-030, R-061, section 0.2: the call and its signature are in the store, whatever is remembered."""
    counts = kept.vendors.log.counts
    before = counts["google.signatures.sentinels"]
    first = ask(kept, "Weather in Paris?", tools=[WEATHER])
    assert kept.application.house is not None
    kept.application.house.services.signatures = SignatureMemory()
    output: Any = [{"type": "function_call_output", "call_id": first.output[0].call_id, "output": "18 C"}]
    second = ask(kept, output, tools=[WEATHER], previous_response_id=first.id)
    assert "18 C" in second.output_text
    assert counts["google.signatures.sentinels"] == before


def test_references_are_what_they_refer_to(kept: Gateway) -> None:
    """R-065: two turns as Vercel's provider sends them. S-006: the third step finds them too."""
    first = ask(kept, "hi", reasoning={"effort": "low", "summary": "auto"})
    rs, msg = first.output
    turns: Any = [
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "item_reference", "id": rs.id},
        {"type": "item_reference", "id": msg.id},
        {"role": "user", "content": [{"type": "input_text", "text": "again"}]},
    ]
    second = ask(kept, turns)
    assert texts(kept) == [("user", "hi"), ("model", "You said: hi"), ("user", "again")]
    ask(kept, "more", previous_response_id=second.id)
    assert texts(kept)[:3] == [("user", "hi"), ("model", "You said: hi"), ("user", "again")]
    listed = kept.client().responses.input_items.list(second.id, order="asc").data
    assert [item.type for item in listed] == ["message", "reasoning", "message", "message"]


def test_a_call_beside_a_reference_to_its_reasoning_keeps_its_signature(kept: Gateway) -> None:
    """R-065, as in `vercel-openai-tool-result`."""
    counts = kept.vendors.log.counts
    before = counts["google.signatures.sentinels"]
    first = ask(kept, "Weather in Paris?", tools=[WEATHER], reasoning={"effort": "low", "summary": "auto"})
    rs, call = first.output
    assert kept.application.house is not None
    kept.application.house.services.signatures = SignatureMemory()
    history: Any = [
        {"role": "user", "content": "Weather in Paris?"},
        {"type": "item_reference", "id": rs.id},
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
        {"type": "function_call_output", "call_id": call.call_id, "output": "18 C"},
    ]
    assert "18 C" in ask(kept, history, tools=[WEATHER]).output_text
    assert counts["google.signatures.sentinels"] == before


@pytest.mark.parametrize("identity", ["msg_" + "0" * 34, "msg_foreign", "rs_" + "f" * 34])
def test_a_reference_to_what_is_not_kept_names_it_and_the_cure(kept: Gateway, identity: str) -> None:
    """R-065, X-008."""
    reply = post(kept, input=[{"role": "user", "content": "x"}, {"type": "item_reference", "id": identity}])
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (400, "input[1].id")
    assert identity in error["message"]
    assert "store: false" in error["message"]


@pytest.mark.parametrize("identity", ["resp_unknown", "resp_" + "0" * 32])
def test_an_unknown_reply_is_refused_and_never_forgotten_in_silence(kept: Gateway, identity: str) -> None:
    """R-061, X-008."""
    assert refused(lambda: ask(kept, "Hi", previous_response_id=identity)) == (
        400,
        "previous_response_id",
        "previous_response_not_found",
    )


def test_replies_are_seen_by_their_own_key_only(kept: Gateway) -> None:
    """R-064, S-004."""
    reply = ask(kept, "Hi")
    other = kept.client(api_key=NARROW)
    assert refused(lambda: other.responses.retrieve(reply.id))[0] == 404
    assert refused(lambda: other.responses.delete(reply.id))[0] == 404
    assert refused(lambda: other.responses.input_items.list(reply.id))[0] == 404
    assert refused(lambda: other.responses.cancel(reply.id))[0] == 404
    with pytest.raises(openai.BadRequestError):
        other.responses.create(model="gemini-flash", input="Hi", previous_response_id=reply.id)
    assert kept.client().responses.retrieve(reply.id).id == reply.id


def test_a_deleted_reply_is_gone_and_what_was_built_on_it_is_not(kept: Gateway) -> None:
    """S-003."""
    first = ask(kept, "One")
    second = ask(kept, "Two", previous_response_id=first.id)
    assert httpx.delete(
        f"{kept.base_url}/v1/responses/{first.id}", headers={"authorization": f"Bearer {KEY}"}
    ).json() == {"id": first.id, "object": "response", "deleted": True}
    assert refused(lambda: kept.client().responses.delete(first.id))[0] == 404
    ask(kept, "Three", previous_response_id=second.id)
    assert texts(kept)[0] == ("user", "One")


def test_what_a_reply_was_made_from_is_listed_page_by_page(kept: Gateway) -> None:
    first = ask(kept, "One")
    second = ask(kept, [{"role": "user", "content": "Two"}], previous_response_id=first.id)
    items = kept.client().responses.input_items
    newest = items.list(second.id).data
    assert [item.content[0].text for item in newest] == ["Two", "You said: One", "One"]  # type: ignore[union-attr]
    page = items.list(second.id, order="asc", limit=2)
    assert [item.id for item in page.data] == [newest[2].id, newest[1].id]
    rest = items.list(second.id, order="asc", after=page.data[-1].id or "")
    assert [item.id for item in rest.data] == [newest[0].id]
    for size in ("0", f"000000001{'0' * 5000}"):
        assert refused(lambda size=size: items.list(second.id, extra_query={"limit": size}))[1] == "limit"  # type: ignore[misc]
    assert refused(lambda: items.list(second.id, after="msg_1"))[1] == "after"


def test_pictures_are_files_and_come_back(kept: Gateway) -> None:
    """S-001: those that were sent and those that were drawn."""
    sent = base64.b64encode(pictures.png(64, 32, "mine", size_bytes=40_000)).decode()
    look: Any = [{"type": "input_image", "image_url": f"data:image/png;base64,{sent}", "detail": "auto"}]
    first = post(
        kept,
        model="nano-banana-pro",
        input=[{"role": "user", "content": [{"type": "input_text", "text": "A cat sim:big:1"}, *look]}],
    ).json()
    drawn = next(item for item in first["output"] if item["type"] == "image_generation_call")
    assert len(drawn["result"]) > 20_000
    shown = kept.client().responses.retrieve(first["id"]).model_dump()
    assert [item["result"] for item in shown["output"] if "result" in item] == [drawn["result"]]
    post(kept, model="nano-banana-pro", input="Redder", previous_response_id=first["id"])
    parts = [part for one in contents(kept) for part in one["parts"] if "inlineData" in part]
    digests = [hashlib.sha256(data.encode()).hexdigest() for data in (sent, drawn["result"])]
    assert [part["inlineData"]["data"].rpartition(" ")[2][:-1] for part in parts] == digests
    assert kept.application.house is not None
    [listed] = kept.client().responses.input_items.list(first["id"]).data
    address = listed.model_dump()["content"][1]["image_url"]
    assert httpx.get(address).content == base64.b64decode(sent)
    address = kept.application.house.services.database.address.removeprefix("sqlite:")
    time.sleep(0.2)  # rows are written a moment later
    assert drawn["result"][:64].encode() not in Path(address).read_bytes()


def test_a_picture_is_changed_by_its_id_alone(kept: Gateway) -> None:
    """As OpenAI's guide for `image_generation` has it, in its order."""
    first = post(kept, model="nano-banana-pro", input="A cat").json()
    drawn = next(item for item in first["output"] if item["type"] == "image_generation_call")
    strict = {"x-proxy-strict": "true"}
    asked = {"role": "user", "content": [{"type": "input_text", "text": "Redder"}]}
    body: Any = {"model": "nano-banana-pro", "input": [asked, {"type": drawn["type"], "id": drawn["id"]}]}
    assert post(kept, strict, **body).status_code == 200
    [picture] = [part for one in contents(kept) for part in one["parts"] if "inlineData" in part]
    assert picture["thoughtSignature"]
    assert contents(kept)[-1] == {"role": "user", "parts": [{"text": "Redder"}]}
    body["input"][1]["id"] = f"ig_{'0' * 34}"
    assert post(kept, **body).headers["x-proxy-dropped"] == "input[1]"
    assert post(kept, strict, **body).json()["error"]["param"] == "input[1]"


def test_a_long_chain_of_pictures_writes_each_once_and_sends_the_last(tmp_path: Path) -> None:
    """S-001: and forgets older ones by name, as a chat does."""
    with on_disk(tmp_path) as own:
        identity = None
        for turn in range(5):
            body = {"input": f"Step {turn} sim:big:1", "previous_response_id": identity}
            reply = post(own, model="nano-banana-pro", **body)
            identity = reply.json()["id"]
        assert reply.headers["x-proxy-dropped"] == "previous_response_id.result"
        parts = [part for one in contents(own) for part in one["parts"] if "inlineData" in part]
        assert len(parts) == 2
        time.sleep(0.2)  # rows are written a moment later
        files = [file for file in (tmp_path / "state" / "files").iterdir() if not file.name.startswith(".")]
        assert len(files) == 5  # the response's own: nobody can ask for its order again


@pytest.mark.parametrize("with_picture", [False, True], ids=["words", "a picture beside"])
def test_words_that_look_like_a_file_of_ours_come_back_as_words(tmp_path: Path, with_picture: bool) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("ours alone")
    forged = {"$file": str(secret), "$head": "data:text/plain;base64,"}
    properties = {
        "a": {"type": "object", "default": forged},
        "b": {"type": "object", "default": {"$$file": 1}},
        "c": {"type": "object", "default": {"$file": 2, "$head": 3}},
    }
    tool = {**WEATHER, "parameters": {"type": "object", "properties": properties}}
    picture = base64.b64encode(pictures.png(64, 32, "mine", size_bytes=40_000)).decode()
    shown = {"type": "input_image", "image_url": f"data:image/png;base64,{picture}", "detail": "auto"}
    said = [{"type": "input_text", "text": "Hi"}, *([shown] if with_picture else [])]
    with on_disk(tmp_path) as own:
        asked = {"input": [{"role": "user", "content": said}], "tools": [tool]}
        reply = post(own, **asked).json()
        assert reply["tools"][0]["parameters"]["properties"] == properties
        headers = {"authorization": f"Bearer {KEY}"}
        address = f"{own.base_url}/v1/responses/{reply['id']}"
        assert own.http.get(address, headers=headers).json() == reply
        items = own.http.get(f"{address}/input_items", headers=headers).json()["data"]
    assert [part["type"] for part in items[0]["content"]] == [part["type"] for part in said]


# --- tokens


def test_the_tokens_of_a_prompt_are_counted_with_all_that_came_before(kept: Gateway) -> None:
    """Section 1.1, `input_tokens`."""
    count = kept.client().responses.input_tokens.count
    one = count(model="gemini-flash", input="Hello there, my friend")
    assert (one.object, one.input_tokens > 0) == ("response.input_tokens", True)
    first = ask(kept, "A long story about courts. " * 20)
    assert count(model="gemini-flash", input="Hi", previous_response_id=first.id).input_tokens > 100
    assert refused(lambda: count(model="gemini-flash", input="Hi", previous_response_id="resp_no"))[0] == 400
    reply = httpx.post(
        f"{kept.base_url}/v1/responses/input_tokens",
        json={"model": "lan-chat", "input": "Hello there"},
        headers={"authorization": f"Bearer {KEY}"},
    )
    assert reply.json()["input_tokens"] > 0
    assert reply.headers["x-proxy-estimated"] == "input_tokens"


# --- the store


def test_a_reply_outlives_its_process(tmp_path: Path) -> None:
    """R-062: also one that was given a moment before the end."""
    with on_disk(tmp_path) as first:
        reply = ask(first, "One")
    with on_disk(tmp_path) as second:
        ask(second, "Two", previous_response_id=reply.id)
        assert texts(second)[0] == ("user", "One")
        assert second.client().responses.retrieve(reply.id).output_text == "You said: One"


def test_replies_have_an_age(tmp_path: Path) -> None:
    """R-062."""
    with on_disk(tmp_path, ", replies: {ttl: 300ms}") as own:
        reply = ask(own, "One")
        assert own.client().responses.retrieve(reply.id).id == reply.id
        time.sleep(0.6)
        assert refused(lambda: own.client().responses.retrieve(reply.id))[0] == 404


def test_a_key_has_room_for_so_much(tmp_path: Path) -> None:
    """S-001: its oldest go, another's stay."""
    with on_disk(tmp_path, ", replies: {max_bytes: 64KiB}") as own:
        other = own.client(api_key=NARROW).responses.create(model="gemini-flash", input="Mine")
        long = "word " * 2000
        replies = []
        for _ in range(12):
            replies.append(ask(own, long).id)
            time.sleep(0.08)
        assert refused(lambda: own.client().responses.retrieve(replies[0]))[0] == 404
        assert own.client().responses.retrieve(replies[-1]).id == replies[-1]
        assert own.client(api_key=NARROW).responses.retrieve(other.id).id == other.id


def test_a_broken_reply_is_kept_as_failed(kept: Gateway) -> None:
    reply = post(kept, input="Hi sim:chunks:5 sim:cut:2", stream=True)
    identity = responses_law.checked(reply.content)[0]["response"]["id"]
    found = kept.client().responses.retrieve(identity)
    assert (found.status, found.error is not None) == ("failed", True)


def test_what_cannot_be_written_is_answered_and_not_kept(kept: Gateway) -> None:
    """A member that nobody reads may nest deeper than any JSON library writes."""
    deep: Any = "x"
    for _ in range(300):
        deep = [deep]
    reply = post(kept, input=[{"role": "user", "content": "Hi", "extra": deep}])
    assert reply.json()["status"] == "completed"
    assert refused(lambda: kept.client().responses.retrieve(reply.json()["id"]))[0] == 404
    reply = post(kept, input=[{"role": "user", "content": "Hi", "extra": deep}], background=True)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "background")


def test_what_is_no_chat_is_not_asked_for_earlier_replies(kept: Gateway) -> None:
    """A body of a wrong shape is refused as any."""
    headers = {"authorization": f"Bearer {KEY}"}
    reply = httpx.post(f"{kept.base_url}/v1/responses", json=[1], headers=headers)
    assert reply.status_code == 400
    reply = post(kept, input="Hi", previous_response_id=7)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "previous_response_id")


# --- in the background


def test_a_background_reply_is_fetched_when_it_is_done(kept: Gateway) -> None:
    """R-074."""
    reply = ask(kept, "Hello sim:slow:0.3", background=True)
    assert (reply.status, reply.output, reply.background) == ("queued", [], True)
    done = finished(kept, reply.id)
    assert (done.id, done.status, done.output_text) == (reply.id, "completed", "You said: Hello")
    assert done.usage.total_tokens > 0
    assert waited(lambda: not kept.application.house.services.shelf._in_store)  # type: ignore[union-attr]
    assert refused(lambda: ask(kept, "x", background=True, store=False))[:2] == (400, "background")


def test_a_background_reply_that_fails_says_why(kept: Gateway) -> None:
    reply = ask(kept, "Hello sim:error:400", background=True)
    done = finished(kept, reply.id)
    assert done.status == "failed"
    assert done.error.code == "invalid_prompt"


def test_what_is_too_large_for_the_background_is_refused_before_it_is_sent(kept: Gateway) -> None:
    before = len(kept.sent())
    assert refused(lambda: ask(kept, "x" * (17 << 20), background=True)) == (
        400,
        "background",
        "not_keepable",
    )
    assert len(kept.sent()) == before


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_what_a_background_request_loses_is_named_as_soon_as_it_is_known(kept: Gateway, stream: bool) -> None:
    """What nobody can carry at once, what its model cannot by the time that its client comes back: it may be
    asked before the first reply has gone. Nothing is named where nothing is lost."""
    assert "x-proxy-dropped" not in post(kept, input="Hello", background=True, stream=stream).headers
    fields: Any = {"truncation": "auto", "text": {"verbosity": "low"}}
    reply = post(kept, input="Hello", background=True, stream=stream, **fields)
    assert reply.headers["x-proxy-dropped"] in ("truncation", "truncation, text.verbosity")
    told = responses_law.parsed(reply.content)[0]["response"] if stream else reply.json()
    finished(kept, told["id"])
    for query in ("", "?stream=true") if stream else ("",):
        address = f"{kept.base_url}/v1/responses/{told['id']}{query}"
        found = kept.http.get(address, headers={"authorization": f"Bearer {KEY}"})
        assert found.headers["x-proxy-dropped"] == "truncation, text.verbosity"


def test_what_a_background_request_loses_is_named_while_it_is_made_and_when_it_is_called_off(
    kept: Gateway,
) -> None:
    """In strict words it has failed."""
    fields: Any = {"background": True, "text": {"verbosity": "low"}}
    told = post(kept, input="Hello sim:slow:20", **fields).json()
    address = f"{kept.base_url}/v1/responses/{told['id']}"
    own = {"authorization": f"Bearer {KEY}"}
    waited(lambda: kept.http.get(address, headers=own).headers.get("x-proxy-dropped") == "text.verbosity")
    kept.client().responses.cancel(told["id"])
    found = kept.http.get(address, headers=own)
    assert (found.json()["status"], found.headers["x-proxy-dropped"]) == ("cancelled", "text.verbosity")
    strict = post(kept, {"x-proxy-strict": "true"}, input="Hello", **fields).json()
    assert "text.verbosity" in finished(kept, strict["id"]).error.message


def test_a_background_reply_that_is_too_large_to_be_kept_has_failed_and_is_bought_once(kept: Gateway) -> None:
    reply = ask(kept, "Go on and on sim:big:17", background=True, metadata={"trace": "t-8"})
    waited(lambda: kept.client().responses.retrieve(reply.id).status not in ("queued", "in_progress"))
    done = kept.client().responses.retrieve(reply.id)
    assert (done.id, done.status, done.output, done.metadata) == (reply.id, "failed", [], {"trace": "t-8"})
    assert (done.error.code, done.completed_at) == ("invalid_prompt", None)
    assert done.error.message == (
        "This response was made, but is too large to be kept: ask for it without 'background'."
    )
    assert done.usage.output_tokens > 4_000_000
    [item] = kept.client().responses.input_items.list(reply.id).data
    assert item.content[0].text == "Go on and on sim:big:17"
    assert prompts(kept, "Go on and on") == 1


def test_a_background_stream_that_is_too_large_with_what_came_before_has_failed_when_it_is_over(
    kept: Gateway,
) -> None:
    """Whoever follows it hears all; the store has no room for both."""
    before = ask(kept, "One sim:big:9")
    stream = ask(kept, "Two sim:big:9", background=True, stream=True, previous_response_id=before.id)
    last = list(stream)[-1]
    assert (last.type, last.response.status) == ("response.completed", "completed")
    done = finished(kept, last.response.id)
    assert (done.status, done.previous_response_id, done.output) == ("failed", before.id, [])
    found = refused(lambda: list(kept.client().responses.retrieve(done.id, stream=True)))
    assert found == (400, "stream", "not_resumable")


def test_a_background_reply_waits_for_a_vendor_that_is_busy(kept: Gateway) -> None:
    """R-074: longer than anybody would who waits for the reply, and as long as the vendor says."""
    busy = "Hello sim:fail-times:5:429:soon"
    assert refused(lambda: ask(kept, busy))[0] == 429
    before = len(kept.sent())
    assert finished(kept, ask(kept, busy, background=True).id).output_text == "You said: Hello"
    assert len(kept.sent()) - before == 5  # the first attempt was the one that was waited for


def test_what_is_waited_for_a_busy_vendor_is_no_part_of_the_time_that_it_has(tmp_path: Path) -> None:
    hasty = FILE.replace("  heartbeat: 300ms", "  heartbeat: 300ms\n  timeouts: {total: 1500ms}")
    with open_gateway(tmp_path, hasty) as own:
        reply = ask(own, "Hello sim:fail-times:1:429 sim:retry-after:3", "lan-chat", background=True)
        assert finished(own, reply.id).output_text == "You said: Hello"


def test_a_background_reply_does_not_wait_for_who_asks_for_no_repetition(tmp_path: Path) -> None:
    asked: list[bytes] = []

    def refuses(connection: socket.socket) -> None:
        asked.append(read_request(connection))
        connection.sendall(
            b"HTTP/1.1 429 Too Many Requests\r\nx-should-retry: false\r\n"
            b"content-length: 0\r\nconnection: close\r\n\r\n"
        )

    with (
        vendor(refuses) as base_url,
        open_gateway(tmp_path, FILE.replace("http://SIMULATORS/openai", base_url)) as own,
    ):
        done = finished(own, ask(own, "Hello", "lan-chat", background=True).id)
    assert (done.status, done.error.code, len(asked)) == ("failed", "rate_limit_exceeded", 1)


def test_a_background_reply_has_its_search_first_as_one_that_is_waited_for(kept: Gateway) -> None:
    search: Any = [{"type": "web_search"}]
    done = finished(kept, ask(kept, "News sim:grounding", background=True, tools=search).id)
    kinds = [item.type for item in done.output if item.type != "reasoning"]
    assert kinds == ["web_search_call", "message"]


def test_a_background_reply_that_waits_can_be_called_off(kept: Gateway) -> None:
    reply = ask(kept, "Hello sim:error:429:minute", background=True)
    waited(lambda: kept.sent() and "429:minute" in str(kept.sent()[-1].body))
    assert kept.client().responses.cancel(reply.id).status == "cancelled"


def test_a_background_reply_does_not_wait_for_what_takes_a_day(kept: Gateway) -> None:
    done = finished(kept, ask(kept, "Hello sim:error:429:day", background=True).id)
    assert (done.status, done.error.code) == ("failed", "insufficient_quota")


def test_a_background_reply_does_not_wait_longer_than_half_an_hour(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """And fails by no fault of ours."""
    with on_disk(tmp_path) as own:
        said = "Hello sim:error:429 sim:retry-after:1801"
        reply = own.client().responses.create(model="lan-chat", input=said, background=True)
        done = finished(own, reply.id)
        assert (done.status, done.error.code) == ("failed", "rate_limit_exceeded")
    logged = capfd.readouterr().err
    assert '"attempt_failed"' in logged
    assert '"crash"' not in logged


def test_replies_that_wait_for_a_busy_vendor_hold_up_no_other(tmp_path: Path) -> None:
    """Of one model as many wait as may be made at once; more of it are told to come back, and who asks again
    for one of them is answered by that."""
    busy = {"model": "gemini-flash", "input": "Hi sim:error:429:minute", "background": True}
    with on_disk(tmp_path) as own:
        responses = f"{own.base_url}/v1/responses"
        headers = {"authorization": f"Bearer {KEY}"}
        keyed = {**headers, "idempotency-key": "first"}
        first = own.http.post(responses, json=busy, headers=keyed).json()["id"]
        for _ in range(255):
            assert own.http.post(responses, json=busy, headers=headers).status_code == 200

        def turned_away() -> httpx.Response | None:
            reply = own.http.post(responses, json=busy, headers=headers)
            return None if reply.status_code == 200 else reply

        refused = waited(turned_away)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        error = refused.json()["error"]
        assert error["code"] == "overloaded"
        assert error["message"].startswith("Too many replies are being made in the background; come back in")
        again = own.http.post(responses, json=busy, headers=keyed)
        assert again.status_code == 200, again.text
        assert (again.json()["id"], again.headers["x-proxy-joined"]) == (first, "running")
        again = own.http.post(responses, json=busy, headers={**headers, "x-stainless-retry-count": "1"})
        assert (again.status_code, again.headers["x-proxy-joined"]) == (200, "running")
        other = own.client().responses.create(model="lan-chat", input="Hi", background=True)
        assert finished(own, other.id).output_text == "You said: Hi"


def test_one_that_is_not_complete_cannot_be_gone_on_from(kept: Gateway) -> None:
    reply = ask(kept, "Hello sim:slow:0.5", background=True)
    assert refused(lambda: ask(kept, "x", previous_response_id=reply.id))[:2] == (400, "previous_response_id")
    finished(kept, reply.id)
    ask(kept, "Go on", previous_response_id=reply.id)
    assert [text for _, text in texts(kept)][1] == "You said: Hello"


def test_cancelling_is_for_the_background_and_can_be_repeated(kept: Gateway) -> None:
    """R-003, R-074: and stops the upstream's work."""
    reply = ask(kept, "Hello sim:slow:20", background=True)
    client = kept.client()
    assert client.responses.cancel(reply.id).status == "cancelled"
    assert client.responses.cancel(reply.id).status == "cancelled"
    assert finished(kept, reply.id).status == "cancelled"
    done = finished(kept, ask(kept, "Hello", background=True).id)
    assert client.responses.cancel(done.id).status == "completed"
    plain = ask(kept, "Hello")
    assert refused(lambda: client.responses.cancel(plain.id))[2] == "not_cancellable"


@pytest.mark.parametrize("later", [False, True], ids=["followed", "taken up"])
def test_a_stream_that_is_called_off_ends_with_an_event(kept: Gateway, later: bool) -> None:
    """R-074: no client waits for what will not come; the response says that it was cancelled."""
    stream = ask(kept, "Hello sim:chunks:50 sim:gap:60", background=True, stream=True)
    events = iter(stream)
    begun = next(events).response.id
    while next(events).type != "response.output_text.delta":
        pass
    assert kept.client().responses.cancel(begun).status == "cancelled"
    if later:
        events = iter(kept.client().responses.retrieve(begun, stream=True, starting_after=3))
    last = list(events)[-1]
    assert (last.type, last.response.status) == ("response.incomplete", "cancelled")
    assert kept.client().responses.retrieve(begun).status == "cancelled"


def test_deleting_calls_off_what_is_being_made(kept: Gateway) -> None:
    """R-075."""
    reply = ask(kept, "Hello sim:slow:20", background=True)
    assert kept.application.house is not None
    kept.client().responses.delete(reply.id)
    shelf = kept.application.house.services.shelf
    assert (shelf.making, shelf._in_store) == ({}, set())
    assert refused(lambda: kept.client().responses.retrieve(reply.id))[0] == 404


@pytest.mark.parametrize("after", ["--5", "-" * 12 + "5", "9" * 5000, "x"])
def test_a_stream_is_not_taken_up_behind_what_is_no_number(kept: Gateway, after: str) -> None:
    query = {"starting_after": after}
    responses = kept.client().responses
    assert refused(lambda: responses.retrieve("resp_" + "0" * 32, stream=True, extra_query=query)) == (
        400,
        "starting_after",
        "invalid_value",
    )


@pytest.mark.parametrize("wait_s", [0.0, 1.5], ids=["running", "done"])
def test_a_background_stream_is_taken_up_again(kept: Gateway, wait_s: float) -> None:
    """R-002, R-074, R-081: from the number that the client has seen last."""
    stream = ask(kept, "Hello sim:chunks:8 sim:gap:60", background=True, stream=True)
    seen = []
    for event in stream:
        seen.append(event)
        if event.sequence_number == 6:
            break
    stream.close()
    identity = seen[0].response.id
    assert [event.type for event in seen[:3]] == [
        "response.created",
        "response.queued",
        "response.in_progress",
    ]
    time.sleep(wait_s)
    rest = list(kept.client().responses.retrieve(identity, stream=True, starting_after=6))
    numbers = [event.sequence_number for event in rest]
    assert numbers == list(range(7, 7 + len(rest)))
    assert rest[-1].type == "response.completed"
    assert finished(kept, identity).status == "completed"


@pytest.mark.parametrize("mib", [4, 3], ids=["events too long", "too long beside the reply"])
def test_a_stream_that_is_too_long_to_be_taken_up_again_still_comes_whole(kept: Gateway, mib: int) -> None:
    """R-002, R-074: of so many MB of events the last come, too, and the reply is kept."""
    body = {
        "model": "gemini-flash",
        "input": f"Go sim:big:{mib} sim:chunks:8",
        "background": True,
        "stream": True,
    }
    reply = kept.http.post(
        f"{kept.base_url}/v1/responses", json=body, headers={"authorization": f"Bearer {KEY}"}
    )
    last = responses_law.parsed(reply.content)[-1]
    assert (last["type"], last["response"]["status"]) == ("response.completed", "completed")
    assert (len(reply.content) > 16 << 20) is (mib > 3)
    identity = last["response"]["id"]
    found = refused(lambda: list(kept.client().responses.retrieve(identity, stream=True)))
    assert found == (400, "stream", "not_resumable")
    assert kept.client().responses.retrieve(identity).status == "completed"


def test_a_background_stream_brings_its_picture(kept: Gateway) -> None:
    image: Any = [{"type": "image_generation"}]
    events = list(ask(kept, "A cat sim:big:1", "nano-banana-pro", background=True, stream=True, tools=image))
    drawn = events[-1].response.output[-1]
    again = list(kept.client().responses.retrieve(events[-1].response.id, stream=True))
    assert (events[-1].type, drawn.type, len(drawn.result) > 1 << 20) == (
        "response.completed", "image_generation_call", True
    )  # fmt: skip
    assert again == events


def test_a_foreground_stream_cannot_be_taken_up_again(kept: Gateway) -> None:
    """R-074."""
    reply = ask(kept, "Hello")
    found = refused(lambda: list(kept.client().responses.retrieve(reply.id, stream=True)))
    assert found == (400, "stream", "not_resumable")


def test_a_background_stream_tells_its_id_before_the_model_says_a_word(kept: Gateway) -> None:
    """R-074: it is for long answers, and a client that is cut off before the first word comes back by it."""
    stream = ask(kept, "Hello sim:slow:20", background=True, stream=True)
    begun = [next(stream) for _ in range(3)]
    assert [event.type for event in begun] == [
        "response.created",
        "response.queued",
        "response.in_progress",
    ]
    stream.close()
    identity = begun[0].response.id
    assert kept.client().responses.retrieve(identity).status == "in_progress"
    assert kept.client().responses.cancel(identity).status == "cancelled"


def test_a_background_reply_says_that_it_is_being_made(kept: Gateway) -> None:
    """R-066, R-074: `queued` is what waits for nothing but its turn."""
    reply = ask(kept, "Hello sim:slow:20", background=True)
    assert until(kept, reply.id, "in_progress").output == []
    kept.client().responses.cancel(reply.id)


def test_a_client_that_leaves_a_background_stream_ends_nothing(kept: Gateway) -> None:
    """R-074: the work is not the connection's."""
    stream = ask(kept, "Hello sim:chunks:8 sim:gap:60", background=True, stream=True)
    identity = next(iter(stream)).response.id
    stream.close()
    assert finished(kept, identity).output_text.startswith("You said: Hello")


def prompts(gateway: Gateway, said: str) -> int:
    """How often the vendors were asked."""
    return sum(said in json.dumps(each.body) for each in gateway.sent())


def test_what_a_stopped_server_was_making_is_made_by_the_next(tmp_path: Path) -> None:
    """R-074: the same reply, at once, from the same conversation."""
    with on_disk(tmp_path) as first:
        before = ask(first, "My name is Ada.")
        reply = ask(
            first,
            "Hello sim:slow:20",
            background=True,
            previous_response_id=before.id,
            metadata={"trace": "t-7"},
        )
        waited(lambda: prompts(first, "sim:slow:20"))
    with on_disk(tmp_path) as second:
        taken = second.client().responses.retrieve(reply.id)
        assert (taken.id, taken.created_at, taken.status) == (reply.id, reply.created_at, "queued")
        waited(lambda: prompts(second, "sim:slow:20"))
        assert texts(second)[0][1] == "My name is Ada."
        second.client().responses.cancel(reply.id)
        assert second.client().responses.retrieve(reply.id).status == "cancelled"
        assert prompts(second, "sim:slow:20") == 1


def test_what_is_made_again_is_made_for_the_same_client(tmp_path: Path) -> None:
    """One that shows no refusals, whoever fetches it then."""
    asks: Any = {"input": "Hello sim:slow:1 sim:block:SAFETY", "background": True}
    with on_disk(tmp_path) as first:
        known = post(first, {"user-agent": "ai/6.0.326 ai-sdk/provider-utils/4.0.66"}, **asks).json()["id"]
        unknown = post(first, **asks).json()["id"]
    with on_disk(tmp_path) as second:
        assert finished(second, known).output_text == (
            "The prompt was blocked by the upstream content filter (SAFETY)."
        )
        assert finished(second, unknown).output == []


def test_a_picture_that_is_made_again_ends_the_turn_of_the_same_agent(tmp_path: Path) -> None:
    """Its name is read to its 300th byte."""
    asks: Any = {"input": "Hello sim:slow:1 sim:image:1 sim:text:", "background": True}
    agents = ("Agents/Python 0.24.0", "x" * 285 + " Agents/Python", "x" * 300 + " Agents/Python")
    with on_disk(tmp_path) as first:
        replies = [post(first, {"user-agent": agent}, **asks).json()["id"] for agent in agents]
    with on_disk(tmp_path) as second:
        found = [[item.type for item in finished(second, one).output] for one in replies]
    picture = "image_generation_call"
    assert found == [[picture, "message"], [picture, "message"], [picture]]


def test_what_may_not_be_made_again_has_failed(tmp_path: Path) -> None:
    """S-005: a stream, whose client has read another beginning, what is bought by the piece, and what is too
    large to be written down twice."""
    image: Any = [{"type": "image_generation"}]
    with on_disk(tmp_path) as first:
        long = ask(first, "Hello sim:slow:20 " + "x" * (9 << 20), background=True)
        stream = ask(first, "Hello sim:slow:20", background=True, stream=True)
        begun = next(iter(stream)).response.id
        stream.close()
        drawn = ask(first, "A cat sim:slow:20", "nano-banana-pro", background=True, tools=image)
    with on_disk(tmp_path) as second:
        for identity in (begun, drawn.id, long.id):
            found = second.client().responses.retrieve(identity)
            assert found.error is not None
            assert (found.status, found.error.code) == ("failed", "server_error")
            assert "being stopped" in found.error.message
        assert prompts(second, "Hello") + prompts(second, "A cat") == 0
        with pytest.raises(openai.APIError, match="being stopped"):  # its events end with it, too
            list(second.client().responses.retrieve(begun, stream=True))


def test_words_with_a_picture_beside_them_are_not_made_again(tmp_path: Path) -> None:
    """S-005: the picture may have been bought."""
    image: Any = [{"type": "image_generation"}]
    drawing = FILE.replace("  heartbeat: 300ms", "  heartbeat: 300ms\n  image_model: nano-banana-pro")
    drawing += f'server: {{state: "sqlite:{tmp_path}/state/dragoman.db"}}\n'
    with open_gateway(tmp_path, drawing) as first:
        reply = ask(first, "Hello sim:slow:20", background=True, tools=image)
        waited(lambda: prompts(first, "sim:slow:20"))
    with open_gateway(tmp_path, drawing) as second:
        assert second.client().responses.retrieve(reply.id).status == "failed"
        assert prompts(second, "Hello") == 0


def test_many_who_ask_at_once_have_it_made_again_once(tmp_path: Path) -> None:
    with on_disk(tmp_path) as first:
        reply = ask(first, "Hello sim:slow:20", background=True)
    with on_disk(tmp_path) as second, ThreadPoolExecutor(16) as pool:
        retrieve = second.client().responses.retrieve
        found = {one.status for one in pool.map(lambda _: retrieve(reply.id), range(16))}
        assert found <= {"queued", "in_progress"}
        waited(lambda: prompts(second, "sim:slow:20"))
        second.client().responses.cancel(reply.id)
        assert prompts(second, "sim:slow:20") == 1


def test_cancelling_or_deleting_what_a_stopped_server_was_making_makes_nothing(tmp_path: Path) -> None:
    """R-074, R-075."""
    with on_disk(tmp_path) as first:
        called_off, forgotten = (ask(first, "Hello sim:slow:20", background=True).id for _ in range(2))
    with on_disk(tmp_path) as second:
        responses = second.client().responses
        assert responses.cancel(called_off).status == "cancelled"
        assert responses.retrieve(called_off).status == "cancelled"
        responses.delete(forgotten)
        assert refused(lambda: responses.retrieve(forgotten))[0] == 404
        assert prompts(second, "Hello") == 0


def test_what_ended_three_processes_has_failed(tmp_path: Path) -> None:
    """S-005: perhaps it is what ends them. Who asks for the same by its key hears that, too."""
    body: Any = {"input": "Hello sim:slow:20", "background": True}
    with on_disk(tmp_path) as gateway:
        identity = post(gateway, {"idempotency-key": "ends"}, **body).json()["id"]
    for status in ("queued", "queued", "failed"):
        with on_disk(tmp_path) as gateway:
            assert gateway.client().responses.retrieve(identity).status == status
            again = post(gateway, {"idempotency-key": "ends"}, **body).json()
            assert (again["id"], again["status"] == "failed") == (identity, status == "failed")


def test_a_model_that_is_gone_ends_what_was_being_made_by_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """And the log says so."""
    with on_disk(tmp_path) as first:
        reply = ask(first, "Hello sim:slow:20", "lan-chat", background=True)
    server = f'server: {{state: "sqlite:{tmp_path}/state/dragoman.db"}}\n'
    with open_gateway(tmp_path, FILE.replace("lan-chat:", "other:") + server) as second:
        assert second.client().responses.retrieve(reply.id).status == "failed"
    logged = capfd.readouterr().err
    assert f'"event":"reply_taken_over","id":"{reply.id}","tries":1}}' in logged
    assert f'"event":"reply_not_made_again","id":"{reply.id}","reason":"' in logged


@pytest.mark.parametrize("background", [False, True], ids=["forgotten", "in the background"])
def test_what_was_written_out_of_turn_leaves_no_turn_behind(
    tmp_path: Path, background: bool, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """A reply waits for its row; who asks to have it forgotten, or for one in the background, does not. The
    turn that was due has nothing to write then, and must not be taken for a store that is away."""
    state = ", files: {folder: " + f'"{tmp_path}/files"' + "}"
    with on_disk(tmp_path, state) as gateway, on_disk(tmp_path, state) as other:
        for _ in range(3):
            reply = ask(gateway, "Hi")
            if background:
                finished(gateway, ask(gateway, "Hi", background=True).id)
            else:
                gateway.client().responses.delete(reply.id)
        last = ask(gateway, "Hi")
        finished(other, last.id)  # of the store, behind what was due before
    logged = capfd.readouterr().err
    assert '"request"' in logged
    assert "replies_not_written" not in logged
    assert caplog.records == []
