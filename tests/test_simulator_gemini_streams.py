"""The simulated Gemini streams in Google's shapes, fails on order, and notices a client that goes away."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from proxy.simulators.exchange import Exchange
from proxy.simulators.server import Running, start
from tests.simulated import G3, G25, TOOLS, ask, google_client, hello, payloads, user


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with start() as server:
        yield server


@pytest.fixture
def google(running: Running) -> Iterator[httpx.Client]:
    with google_client(running) as client:
        yield client


def parts(payload: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = payload["candidates"][0].get("content", {}).get("parts", [])
    return found


def stream(google: httpx.Client, prompt: str, query: str = "?alt=sse", model: str = G3) -> httpx.Response:
    body = {"contents": [user(prompt)]}
    return google.post(f"models/{model}:streamGenerateContent{query}", json=body)


# Streams ----------------------------------------------------------------------------------------------------


def test_a_stream_is_chunks_then_a_signature_on_an_empty_text_with_the_finish(google: httpx.Client) -> None:
    """G193"""
    chunks = payloads(google, "one two three four")
    texts = [parts(chunk)[0]["text"] for chunk in chunks]
    assert texts == ["You ", "said: ", "one ", "two ", "three four", ""]
    assert [chunk["candidates"][0].get("finishReason") for chunk in chunks] == [None] * 5 + ["STOP"]
    assert "thoughtSignature" in parts(chunks[-1])[0]
    assert len({chunk["responseId"] for chunk in chunks}) == 1
    counts = [chunk["usageMetadata"]["candidatesTokenCount"] for chunk in chunks]
    assert counts == sorted(counts)


def test_older_models_finish_in_the_last_text_chunk(google: httpx.Client) -> None:
    last = payloads(google, "Hi", model=G25)[-1]["candidates"][0]
    assert last == {
        "content": {"parts": [{"text": "Hi"}], "role": "model"},
        "finishReason": "STOP",
        "index": 0,
    }


def test_calls_come_one_by_one_and_the_finish_in_a_chunk_of_its_own(google: httpx.Client) -> None:
    """G176"""
    chunks = payloads(google, "weather sim:parallel:2", tools=TOOLS)
    assert [next(iter(parts(chunk)[0])) for chunk in chunks] == ["functionCall", "functionCall", "text"]
    assert chunks[2]["candidates"][0] == {
        "content": {"parts": [{"text": ""}], "role": "model"},
        "finishReason": "STOP",
        "index": 0,
    }


@pytest.mark.parametrize(
    ("prompt", "model", "fields"),
    [
        pytest.param("one two three sim:unicode", G3, {}, id="text"),
        pytest.param("Hi sim:thoughts", G25, {"generationConfig": {"candidateCount": 3}}, id="candidates"),
        pytest.param("weather sim:parallel:3", G3, {"tools": TOOLS}, id="calls"),
        pytest.param("cat sim:image:2", "gemini-3.1-flash-image", {}, id="pictures"),
        pytest.param("a b c d sim:chunks:1", G3, {}, id="one chunk"),
        pytest.param("sim:grounding", G3, {}, id="grounding"),
    ],
)
def test_whole_equals_streamed(google: httpx.Client, prompt: str, model: str, fields: dict[str, Any]) -> None:
    whole = ask(google, prompt, model=model, **fields).json()
    chunks = payloads(google, prompt, model=model, **fields)
    assert chunks[-1]["usageMetadata"] == whole["usageMetadata"]

    def said(payload: dict[str, Any]) -> dict[int, str]:
        found: dict[int, str] = {}
        for candidate in payload["candidates"]:
            for part in candidate.get("content", {}).get("parts", ()):
                shown = (
                    part.get("text") if "text" in part else json.dumps(part.get("functionCall", "picture"))
                )
                index = candidate["index"]
                found[index] = found.get(index, "") + str(shown)
        return found

    joined: dict[int, str] = {}
    for chunk in chunks:
        for index, text in said(chunk).items():
            joined[index] = joined.get(index, "") + text
    assert joined == said(whole)


def test_one_chunk_can_hold_text_and_a_picture(google: httpx.Client) -> None:
    chunks = payloads(google, "cat sim:chunks:1", model="gemini-3-pro-image")
    assert [[next(iter(part)) for part in parts(chunk)] for chunk in chunks] == [["text", "inlineData"]]


def test_usage_adds_up_in_every_chunk(google: httpx.Client) -> None:
    """G165"""
    for chunk in payloads(google, "one two sim:thoughts sim:code"):
        usage = chunk["usageMetadata"]
        names = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "toolUsePromptTokenCount")
        assert usage["totalTokenCount"] == sum(usage.get(name, 0) for name in names)


def test_without_alt_sse_the_stream_is_one_json_array(google: httpx.Client) -> None:
    """G185"""
    reply = stream(google, "one two three", "")
    assert reply.headers["content-type"] == "application/json; charset=UTF-8"
    assert "}\n,\r\n{" in reply.text
    assert "".join(parts(each)[0]["text"] for each in reply.json()) == "You said: one two three"
    assert stream(google, "sim:error:503", "").json()[0]["error"]["status"] == "UNAVAILABLE"


def test_line_ends_comments_and_small_pieces_are_on_order(google: httpx.Client) -> None:
    """G181, G182"""
    text = stream(google, "sim:lf sim:comments").text
    assert text.startswith(": simulated\n\ndata: {")
    assert "\r" not in text
    with google.stream(
        "POST",
        f"models/{G3}:streamGenerateContent?alt=sse",
        json=hello(contents=[user("sim:unicode sim:split:5")]),
    ) as reply:
        pieces = list(reply.iter_raw())
    assert len(pieces) > 50
    assert "東京" in b"".join(pieces).decode()


# Failures on order ------------------------------------------------------------------------------------------


ERRORS = [
    ("400", 400, "INVALID_ARGUMENT"),
    ("400:API_KEY_INVALID", 400, "INVALID_ARGUMENT"),
    ("400:location", 400, "FAILED_PRECONDITION"),
    ("403", 403, "PERMISSION_DENIED"),
    ("404", 404, "NOT_FOUND"),
    ("429", 429, "RESOURCE_EXHAUSTED"),
    ("429:day", 429, "RESOURCE_EXHAUSTED"),
    ("429:minute", 429, "RESOURCE_EXHAUSTED"),
    ("499", 499, "CANCELLED"),
    ("500", 500, "INTERNAL"),
    ("503", 503, "UNAVAILABLE"),
    ("504", 504, "DEADLINE_EXCEEDED"),
]


@pytest.mark.parametrize(("order", "status", "word"), ERRORS, ids=[row[0] for row in ERRORS])
def test_every_error_is_on_order(google: httpx.Client, order: str, status: int, word: str) -> None:
    for reply in (ask(google, f"Hi sim:error:{order}"), stream(google, f"Hi sim:error:{order}")):
        assert (reply.status_code, reply.json()["error"]["code"]) == (status, status)
        assert reply.json()["error"]["status"] == word


def test_a_daily_quota_has_googles_details(google: httpx.Client) -> None:
    """G196, G197"""
    details = ask(google, "sim:error:429:day").json()["error"]["details"]
    assert details[0]["violations"][0]["quotaId"] == "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
    assert details[1] == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}


def test_error_bodies_come_in_every_wrapping(google: httpx.Client) -> None:
    """G203"""
    page = ask(google, "sim:error:html502")
    assert (page.status_code, page.headers["content-type"]) == (502, "text/html; charset=UTF-8")
    assert ask(google, "sim:error:503 sim:array-error").json()[0]["error"]["code"] == 503
    nested = ask(google, "sim:error:503 sim:nested-error").json()["error"]["message"]
    assert json.loads(nested)["error"]["status"] == "UNAVAILABLE"
    assert ask(google, "sim:error:429 sim:retry-after:7").headers["retry-after"] == "7"


def test_only_the_first_attempts_of_a_prompt_fail(google: httpx.Client) -> None:
    once = [ask(google, "a sim:fail-once:503").status_code for _ in range(3)]
    twice = [ask(google, "b sim:fail-times:2:429:minute").status_code for _ in range(4)]
    assert (once, twice) == ([503, 200, 200], [429, 429, 200, 200])


REASONS = ("SAFETY", "RECITATION", "OTHER", "NO_IMAGE", "MALFORMED_FUNCTION_CALL", "SOMETHING_NEW")


@pytest.mark.parametrize("reason", REASONS)
def test_every_finish_reason_is_on_order(google: httpx.Client, reason: str) -> None:
    candidate = ask(google, f"Hi sim:finish:{reason}").json()["candidates"][0]
    assert candidate["finishReason"] == reason
    assert not candidate.get("content")
    last = payloads(google, f"sim:finish:{reason} sim:text:So far")[-1]["candidates"][0]
    assert (last["finishReason"], last["content"]["parts"][0]["text"]) == (reason, "far")


def test_a_prompt_can_be_blocked_or_answered_by_nothing(google: httpx.Client) -> None:
    blocked = ask(google, "sim:block:PROHIBITED_CONTENT").json()
    assert blocked["promptFeedback"] == {"blockReason": "PROHIBITED_CONTENT"}
    assert "candidates" not in blocked
    assert "candidates" not in ask(google, "sim:empty").json()
    bare = ask(google, "sim:empty-candidate").json()["candidates"]
    assert bare == [{"finishReason": "STOP", "index": 0}]
    assert "usageMetadata" not in ask(google, "sim:nousage").json()


def test_an_error_can_come_in_the_middle_of_a_stream(google: httpx.Client) -> None:
    """G187, G188"""
    frames = stream(google, "one two three sim:error-after:2").text.split("\r\n\r\n")
    assert json.loads(frames[2].removeprefix("data: "))["error"]["code"] == 503
    raw = stream(google, "one two three sim:raw-error-after:1:500").text.split("\r\n\r\n")
    assert raw[1].startswith('{\n  "error": {\n    "code": 500,')


def test_a_stream_can_end_without_a_finish(google: httpx.Client) -> None:
    """G189"""
    assert all("finishReason" not in each["candidates"][0] for each in payloads(google, "Hi sim:nofinish"))


@pytest.mark.parametrize("prompt", ["Hi there sim:cut:1", "Hi there sim:cut:0", "sim:drop"])
def test_replies_can_be_cut_at_any_place(google: httpx.Client, prompt: str) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        stream(google, prompt)
    with pytest.raises(httpx.RemoteProtocolError):
        ask(google, prompt)


def test_replies_can_be_slow(google: httpx.Client, running: Running) -> None:
    """A timer of the loop may fire a millisecond early."""
    began = time.monotonic()
    stream(google, "one two sim:slow:0.1 sim:gap:20")
    assert time.monotonic() - began >= 0.1 + 0.02 * 3 - 0.01
    assert (running.log.exchanges()[-1].first_byte_ms or 0) >= 95


# The log ----------------------------------------------------------------------------------------------------


def ended(running: Running) -> Exchange:
    """The newest exchange, once it has ended."""
    deadline = time.monotonic() + 5
    while (exchange := running.log.exchanges()[-1]).ended_ms is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return exchange


@pytest.mark.parametrize("prompt", ["one two sim:stall:1", "sim:slow:30"])
def test_a_client_that_hangs_up_is_noticed_at_once(
    google: httpx.Client, running: Running, prompt: str
) -> None:
    began = time.time()
    with pytest.raises(httpx.ReadTimeout):
        google.post(
            f"models/{G3}:streamGenerateContent?alt=sse", json={"contents": [user(prompt)]}, timeout=0.2
        )
    left = time.time()
    exchange = ended(running)
    assert exchange.hung_up
    assert not exchange.complete
    noticed = exchange.received + (exchange.hung_up_ms or 0) / 1000
    # The promise is 100 ms; a loaded machine may take longer to run this test's own threads.
    assert began < noticed < left + 0.5


def test_the_log_shows_what_was_received(google: httpx.Client, running: Running) -> None:
    ask(google, "Hi", {"inlineData": {"mimeType": "image/png", "data": "x" * 5000}})
    rows = httpx.get(f"{running.base_url}/_sim/log").json()["requests"]
    row = rows[0]
    assert len(rows) == 1
    assert (row["vendor"], row["method"], row["status"]) == ("google", "POST", 400)
    assert row["path"] == f"/v1beta/models/{G3}:generateContent"
    assert row["headers"]["x-goog-api-key"] == "sim-key"
    blob = row["body"]["contents"][0]["parts"][1]["inlineData"]
    assert blob["data"].startswith("<5000 characters, sha256 ")
    assert (row["hung_up"], row["complete"]) == (False, True)
    assert "Unable to process input image" in row["notes"]["refused"]
    httpx.post(f"{running.base_url}/_sim/reset")
    assert httpx.get(f"{running.base_url}/_sim/log").json() == {"requests": [], "counters": {}}


def test_a_long_key_is_not_shown(google: httpx.Client, running: Running) -> None:
    secret = "AIza" + "s" * 35
    ask(google, "Hi")
    google.get("models", headers={"x-goog-api-key": secret})
    assert secret not in httpx.get(f"{running.base_url}/_sim/log").text
    assert running.log.exchanges()[-1].key == secret


def test_a_wrong_path_says_where_the_simulators_are(running: Running) -> None:
    reply = httpx.get(f"{running.base_url}/v1beta/models")
    assert reply.status_code == 404
    assert "/gemini/v1beta" in reply.json()["error"]


def test_a_second_stop_does_nothing() -> None:
    server = start()
    server.stop()
    server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.base_url)


def test_a_fault_of_the_simulator_is_not_taken_for_the_vendors(running: Running) -> None:
    reply = httpx.get(f"{running.base_url}/_sim/log?after=x")
    assert reply.status_code == 500
    assert "the simulator crashed" in reply.json()["error"]
