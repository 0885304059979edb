"""Pictures that a model of words has drawn beside its answer: bought as any other, and shown where it was
asked for them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from proxy.simulators import pictures
from tests.gateway import FILE, Gateway, open_gateway
from tests.served import waited
from tests.test_responses import WEATHER, streamed

BUDGETS = {"rich": "1", "pair": "0.5", "poor": "0.3"}
LIMITS = {
    "few": "{images: 3/day}",
    "one": "{images: 1/day}",
    "wordy": "{tokens: 100000/day}",
    "both": "{concurrent: 2}",
    "broken": "{images: 3/day, concurrent: 2}",
}
BOUNDS = {
    **{
        name: f"budget: {{amount: '{amount}', currency: USD, period: day}}"
        for name, amount in BUDGETS.items()
    },
    **{name: f"limits: {said}" for name, said in LIMITS.items()},
}
KEYS = "".join(f"  - {{name: {name}, key: env:{name.upper()}, {said}}}\n" for name, said in BOUNDS.items())
PRICED = (
    FILE.replace("keys:\n", f"keys:\n{KEYS}", 1)
    .replace("  heartbeat: 300ms", "  heartbeat: 60s\n  image_model: nano-banana-pro")
    .replace("gemini-3-pro-image], price: unpriced", "gemini-3-pro-image], price: {image: 0.2}")
    .replace("gemini-3-flash-preview]}", "gemini-3-flash-preview], price: {input: 0, output: 0}}")
)
TOOL: Any = {"type": "image_generation"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Every test has a caller of its own, or one without bounds."""
    environment = {name.upper(): f"sk-{name}" for name in BOUNDS}
    with open_gateway(tmp_path_factory.mktemp("asides"), PRICED, environment) as opened:
        yield opened


def ask(gateway: Gateway, caller: str, prompt: str, **fields: Any) -> httpx.Response:
    body = {"model": "gemini-flash", "input": prompt, "tools": [TOOL], **fields}
    headers = {"authorization": f"Bearer sk-{caller}"}
    return gateway.http.post(f"{gateway.base_url}/v1/responses", json=body, headers=headers)


def kinds(reply: httpx.Response) -> list[str]:
    assert reply.status_code == 200, reply.text
    return [item["type"] for item in reply.json()["output"]]


def left(gateway: Gateway, caller: str) -> str:
    url = f"{gateway.base_url}/v1/dashboard/billing/subscription"
    headers = {"authorization": f"Bearer sk-{caller}"}
    found: str = gateway.http.get(url, headers=headers).json()["budget"]["left"]
    return found


# --- where it is shown


def test_a_picture_and_a_call_of_the_clients_own_tool(gateway: Gateway) -> None:
    reply = ask(gateway, "both", "Go sim:parallel:2", tools=[WEATHER, TOOL])
    assert sorted(kinds(reply)) == ["function_call", "image_generation_call"]
    [call] = [item for item in reply.json()["output"] if item["type"] == "function_call"]
    assert (call["name"], "city" in call["arguments"]) == ("get_weather", True)


@pytest.mark.parametrize("model", ["gemini-flash", "lan-chat"])
def test_each_call_is_a_picture(gateway: Gateway, model: str) -> None:
    assert kinds(ask(gateway, "both", "Go sim:parallel:2", model=model)) == ["image_generation_call"] * 2
    found = streamed(gateway, "Go sim:parallel:2", model=model, tools=[TOOL])[-1]["response"]["output"]
    assert [item["type"] for item in found] == ["image_generation_call"] * 2


def test_what_was_thought_before_comes_before(gateway: Gateway) -> None:
    reply = ask(gateway, "both", "Go sim:call:image_generation sim:thoughts", reasoning={"summary": "auto"})
    assert kinds(reply) == ["reasoning", "image_generation_call"]


def test_it_is_drawn_as_the_tool_says(gateway: Gateway) -> None:
    tool = {**TOOL, "size": "1536x1024"}
    [drawn] = ask(gateway, "both", "Go sim:call:image_generation", tools=[tool]).json()["output"]
    seen = pictures.look(base64.b64decode(drawn["result"]))
    assert (seen.width, seen.height) == (1264, 848)


def test_a_model_that_draws_is_given_no_function(gateway: Gateway) -> None:
    tool = {**TOOL, "size": "1536x1024"}
    reply = ask(gateway, "both", "A cat", model="nano-banana-pro", tools=[tool])
    assert kinds(reply)[-1] == "image_generation_call"
    sent = gateway.sent()[-1].body
    assert "tools" not in sent
    assert sent["generationConfig"]["imageConfig"]["aspectRatio"] == "3:2"


def test_a_reply_that_was_cut_is_incomplete_with_its_picture(gateway: Gateway) -> None:
    reply = ask(gateway, "both", "Go sim:call:image_generation sim:finish:MAX_TOKENS")
    assert kinds(reply) == ["image_generation_call"]
    told = reply.json()
    assert (told["status"], told["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})


# --- what it counts


def test_a_picture_counts_once(gateway: Gateway) -> None:
    assert kinds(ask(gateway, "few", "Go sim:call:image_generation")) == ["image_generation_call"]
    second = ask(gateway, "few", "Again sim:call:image_generation")
    assert second.headers["x-ratelimit-remaining-images"] == "2"
    third = ask(gateway, "few", "Once more sim:call:image_generation")
    assert third.headers["x-ratelimit-remaining-images"] == "1"
    refused = ask(gateway, "few", "And again sim:call:image_generation")
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "images")


def test_the_tokens_of_a_picture_count_once(gateway: Gateway) -> None:
    asked = ask(gateway, "wordy", "Go sim:call:image_generation").headers["x-request-id"]
    headers = {"authorization": "Bearer sk-wordy"}

    def booked() -> int:
        listed = gateway.http.get(f"{gateway.base_url}/v1/usage/requests?limit=50", headers=headers).json()
        rows = [row for row in listed["data"] if row["request_id"] == asked]
        return sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows) if len(rows) == 3 else 0

    tokens = waited(booked)
    assert tokens > 1000
    after = ask(gateway, "wordy", "Hello", tools=[])
    assert 0 <= 100_000 - tokens - int(after.headers["x-ratelimit-remaining-tokens"]) < 50


def test_one_that_failed_counts_for_nothing_and_frees_its_place(gateway: Gateway) -> None:
    for _ in range(3):
        failed = ask(gateway, "broken", "Go sim:call:image_generation sim:error:400")
        assert failed.status_code == 400
    reply = ask(gateway, "broken", "Go sim:call:image_generation")
    assert (kinds(reply), reply.headers["x-ratelimit-remaining-images"]) == (["image_generation_call"], "3")


def test_a_picture_is_paid_from_the_budget_of_the_key(gateway: Gateway) -> None:
    reply = ask(gateway, "poor", "Go sim:call:image_generation")
    assert (kinds(reply), reply.headers["x-proxy-cost"]) == (["image_generation_call"], "0.2 USD")
    waited(lambda: left(gateway, "poor") == "0.1")
    before = len(gateway.sent())
    refused = ask(gateway, "poor", "Again sim:call:image_generation")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
    assert [one.path.rpartition("/")[2] for one in gateway.sent()[before:]] == [
        "gemini-3-flash-preview:generateContent"
    ]
    assert left(gateway, "poor") == "0.1"


def test_two_pictures_of_one_reply_are_paid_one_after_the_other(gateway: Gateway) -> None:
    reply = ask(gateway, "pair", "Go sim:parallel:2")
    assert (kinds(reply), reply.headers["x-proxy-cost"]) == (["image_generation_call"] * 2, "0.4 USD")
    waited(lambda: left(gateway, "pair") == "0.1")


def test_the_second_that_is_refused_does_not_take_the_first_along(gateway: Gateway) -> None:
    """It is paid; an error would have it bought again."""
    reply = ask(gateway, "one", "Go sim:parallel:2")
    assert kinds(reply) == ["image_generation_call"]
    assert reply.headers["x-proxy-partial"] == "1/2"
    refused = ask(gateway, "one", "Again sim:parallel:2")
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "images")
