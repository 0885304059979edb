"""The simulated Gemini calls functions, wants their results in order and guards its thought signatures."""

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from proxy.simulators.gemini import signatures
from proxy.simulators.server import Running, start
from tests.simulated import G3, G25, PNG, SENTINEL, TOOLS, WEATHER, ask, google_client, refused, user


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with start() as server:
        yield server


@pytest.fixture
def google(running: Running) -> Iterator[httpx.Client]:
    with google_client(running) as client:
        yield client


def called(google: httpx.Client, prompt: str, model: str = G3) -> dict[str, Any]:
    reply = ask(google, prompt, model=model, tools=TOOLS)
    content: dict[str, Any] = reply.json()["candidates"][0]["content"]
    return content


def result(part: dict[str, Any], **response: Any) -> dict[str, Any]:
    call = part["functionCall"]
    identity = {"id": call["id"]} if "id" in call else {}
    return {"functionResponse": {**identity, "name": call["name"], "response": response}}


def follow(google: httpx.Client, prompt: str, *contents: dict[str, Any], model: str = G3) -> httpx.Response:
    body = {"contents": [user(prompt), *contents], "tools": TOOLS}
    return google.post(f"models/{model}:generateContent", json=body)


def test_a_prompt_that_names_a_tool_calls_it_with_fitting_arguments(google: httpx.Client) -> None:
    content = called(google, "What is the weather in Paris and in London? sim:parallel:2")
    first, second = content["parts"]
    assert first["functionCall"]["args"] == {"city": "Paris", "days": 1}
    assert second["functionCall"]["args"] == {"city": "London", "days": 2}
    assert first["functionCall"]["id"] != second["functionCall"]["id"]
    assert ["thoughtSignature" in part for part in content["parts"]] == [True, False]


def test_results_are_quoted_in_the_answer(google: httpx.Client) -> None:
    prompt = "weather in Paris and London sim:parallel:2"
    content = called(google, prompt)
    first, second = content["parts"]
    results = {"role": "user", "parts": [result(first, temp=15), result(second, output="12C")]}
    reply = follow(google, prompt, content, results).json()
    assert reply["candidates"][0]["content"]["parts"][0]["text"] == (
        'The tools answered: get_weather -> {"temp":15}; get_weather -> {"output":"12C"}.'
    )


def test_several_steps_of_one_turn_each_need_their_signature(google: httpx.Client, running: Running) -> None:
    prompt = "weather sim:steps:2"
    first = called(google, prompt)
    answer = {"role": "user", "parts": [result(first["parts"][0], temp=1)]}
    second = follow(google, prompt, first, answer).json()["candidates"][0]["content"]
    again = {"role": "user", "parts": [result(second["parts"][0], temp=2)]}
    done = follow(google, prompt, first, answer, second, again)
    assert done.json()["candidates"][0]["content"]["parts"][0]["text"].startswith("The tools answered")
    assert running.log.counts["google.signatures.real"] == 3
    bare = {"role": "model", "parts": [{"functionCall": second["parts"][0]["functionCall"]}]}
    error = follow(google, prompt, first, answer, bare, again).json()["error"]["message"]
    assert "missing a thought_signature in functionCall parts" in error
    assert error.endswith("function call `default_api:get_weather`, position 4.")


def test_only_the_current_turn_must_be_signed(google: httpx.Client) -> None:
    """G094: the sentinel is not needed in earlier turns."""
    content = called(google, "weather")
    bare = {"role": "model", "parts": [{"functionCall": content["parts"][0]["functionCall"]}]}
    answer = {"role": "user", "parts": [result(bare["parts"][0], temp=1)]}
    assert follow(google, "weather", bare, answer).status_code == 400
    assert follow(google, "weather", bare, answer, user("thanks")).status_code == 200


@pytest.mark.parametrize(
    "sentinel",
    [
        pytest.param(SENTINEL, id="literal"),
        pytest.param(base64.b64encode(SENTINEL.encode()).decode(), id="G217"),
        pytest.param("context_engineering_is_the_way_to_go", id="the other word"),
    ],
)
def test_a_sentinel_is_taken_and_counted(google: httpx.Client, running: Running, sentinel: str) -> None:
    """G094, G095"""
    call = {"id": "a", "name": "get_weather", "args": {}}
    other = {**call, "id": "b"}
    content = {
        "role": "model",
        "parts": [{"functionCall": call, "thoughtSignature": sentinel}, {"functionCall": other}],
    }
    answers = [result({"functionCall": each}, ok=True) for each in (call, other)]
    assert follow(google, "weather", content, {"role": "user", "parts": answers}).status_code == 200
    counts = httpx.get(f"{running.base_url}/_sim/counters").json()
    assert {name: count for name, count in counts.items() if "signatures" in name} == {
        "google.signatures.real": 0,
        "google.signatures.sentinels": 1,
        "google.signatures.sentinels_on_siblings": 0,
        "google.signatures.sentinels_before_3": 0,
    }


def test_foreign_moved_and_doubled_signatures_are_corrupted(google: httpx.Client) -> None:
    """G097, G098, G099"""
    content = called(google, "weather in Paris sim:parallel:2")
    first, second = content["parts"]
    signature = first["thoughtSignature"]
    unsigned = {"functionCall": first["functionCall"]}
    results = {"role": "user", "parts": [result(first, a=1), result(second, a=2)]}

    def status(*parts: dict[str, Any]) -> tuple[int, str]:
        reply = follow(google, "weather", {"role": "model", "parts": list(parts)}, results)
        return reply.status_code, reply.json().get("error", {}).get("message", "")

    corrupted = (400, "Corrupted thought signature.")
    assert status(first, second) == (200, "")
    assert status({**first, "thoughtSignature": "U0lH"}, second) == corrupted
    assert status(first, {**second, "thoughtSignature": signature}) == corrupted
    assert status({**first, "thoughtSignature": signature[:-4] + "AAA="}, second) == corrupted
    changed = {**first["functionCall"], "args": {"city": "Rome"}}
    assert status({"functionCall": changed, "thoughtSignature": signature}, second) == corrupted
    assert status({"text": "Hm", "thoughtSignature": signature}, unsigned, second) == corrupted


def test_a_signature_outlives_the_simulator(google: httpx.Client) -> None:
    content = called(google, "weather in Paris")
    call = content["parts"][0]
    tally = signatures.check([user("a"), content], required=True)
    assert (tally.real, call["thoughtSignature"]) == (1, signatures.for_call(call["functionCall"]))


PAIRING = [
    ("G083", [0], "equal to the number of function call parts"),
    ("G082", [1, 0], "does not belong to function call"),
    ("G081", [], "equal to the number of function call parts"),
]


@pytest.mark.parametrize(("order", "message"), [row[1:] for row in PAIRING], ids=[row[0] for row in PAIRING])
def test_results_must_follow_their_calls_in_number_and_order(
    google: httpx.Client, order: list[int], message: str
) -> None:
    content = called(google, "weather sim:parallel:2")
    parts = [result(content["parts"][index], a=1) for index in order] or [{"text": "never mind"}]
    assert (
        message
        in follow(google, "weather", content, {"role": "user", "parts": parts}).json()["error"]["message"]
    )


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        pytest.param([{"functionResponse": {"name": "f", "response": {}}}], "equal to the number", id="G084"),
        pytest.param(
            [{"functionResponse": {"name": "f", "response": {"a": [{"$ref": 1}]}}}], "$ref", id="G088"
        ),
        pytest.param(
            [{"functionResponse": {"name": "f", "response": {}}}, {"text": "a"}], "mixes", id="G012"
        ),
    ],
)
def test_stray_and_mixed_results_are_refused(parts: list[dict[str, Any]], message: str) -> None:
    assert message in refused({"contents": [{"role": "user", "parts": parts}]})


@pytest.mark.parametrize(
    ("of_call", "of_result", "message"),
    [
        ({}, {"id": "a"}, "must both have an id"),
        ({"id": "a"}, {"id": "b"}, "does not belong to"),
        ({"id": "a"}, {}, ""),  # google-genai's automatic function calling
        ({"id": "a"}, {"id": "a"}, ""),
        ({}, {}, ""),
    ],
)
def test_an_id_of_a_result_is_that_of_its_call(
    of_call: dict[str, str], of_result: dict[str, str], message: str
) -> None:
    """G090"""
    call = {
        "role": "model",
        "parts": [{"functionCall": {"name": "f", **of_call}, "thoughtSignature": SENTINEL}],
    }
    answer = {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}, **of_result}}]}
    told = refused({"contents": [user("a"), call, answer]})
    assert message in told if message else told == ""


def test_pictures_in_results_need_the_third_generation() -> None:
    """G089"""
    call = {"role": "model", "parts": [{"functionCall": {"name": "f"}, "thoughtSignature": SENTINEL}]}
    media = [{"inlineData": {"mimeType": "image/png", "data": PNG}}]
    answer = {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}, "parts": media}}]}
    request = {"contents": [user("a"), call, answer]}
    assert refused(request, G3) == ""
    assert "Multimodal function responses are not supported" in refused(request, G25)


def test_older_models_need_no_signature_and_give_no_ids(google: httpx.Client) -> None:
    """G090, G096"""
    content = called(google, "weather", model=G25)
    assert set(content["parts"][0]) == {"functionCall", "thoughtSignature"}
    assert "id" not in content["parts"][0]["functionCall"]
    bare = {"role": "model", "parts": [{"functionCall": content["parts"][0]["functionCall"]}]}
    answer = {"role": "user", "parts": [result(bare["parts"][0], temp=1)]}
    assert follow(google, "weather", bare, answer, model=G25).status_code == 200


def test_mode_any_always_calls_and_none_never(google: httpx.Client) -> None:
    """G069, G071"""
    tools = [{"functionDeclarations": [WEATHER, {"name": "other"}]}]

    def parts(prompt: str, **calling: Any) -> list[dict[str, Any]]:
        reply = ask(google, prompt, tools=tools, toolConfig={"functionCallingConfig": calling})
        found: list[dict[str, Any]] = reply.json()["candidates"][0]["content"]["parts"]
        return found

    assert parts("Hi", mode="ANY", allowedFunctionNames=["other"])[0]["functionCall"]["name"] == "other"
    assert parts("weather", mode="NONE")[0]["text"] == "You said: weather"
