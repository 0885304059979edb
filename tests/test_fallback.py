"""Which key and which target a request goes to next, seen from what the vendors received."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.simulators.exchange import Exchange
from tests.gateway import KEY, Gateway, open_gateway
from tests.raw_http import arrived, chat, last_number

FILE = """
version: 1
keys: [{name: app, key: env:TEST_KEY}]
defaults: {heartbeat: 10s, timeouts: {idle: 300ms}}
providers:
  google:
    wire: gemini
    base_url: "http://SIMULATORS/gemini/v1beta"
    keys: [env:FIRST_KEY, env:SECOND_KEY]
    private: true
  lan: {wire: openai, base_url: "http://SIMULATORS/openai/v1", keys: [env:LAN_KEY], private: true}
  closed: {wire: openai, base_url: "http://127.0.0.1:1/v1", keys: [env:LAN_KEY], private: true}
models:
  alone: {targets: [google/gemini-2.5-flash]}
  backed: {targets: [google/gemini-2.5-flash], fallback: [lan/llama]}
  renamed: {targets: [google/gemini-that-is-gone], fallback: [lan/llama]}
  drawn: {targets: [google/gemini-3-pro-image], fallback: [google/gemini-2.5-flash-image]}
  unreachable: {targets: [closed/llama, lan/llama]}
  weighted:
    targets: [{use: google/gemini-2.5-flash, weight: 3}, {use: lan/llama, weight: 1}, {use: lan/x, weight: 0}]
"""


def opened(folder: Path, first: str = "first", second: str = "second", lan: str = "lan") -> Any:
    return open_gateway(folder, FILE, {"FIRST_KEY": first, "SECOND_KEY": second, "LAN_KEY": lan})


def post(gateway: Gateway, body: Any, **headers: str) -> httpx.Response:
    named = {"authorization": f"Bearer {KEY}"} | {name.replace("_", "-"): it for name, it in headers.items()}
    return httpx.post(f"{gateway.base_url}/v1/chat/completions", json=body, headers=named, timeout=20)


def keys(exchanges: list[Exchange]) -> list[str]:
    return [exchange.key for exchange in exchanges]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("first", "second", "lan", "tried"),
    [
        pytest.param("busy-1", "good-2", "good-3", ["busy-1", "good-2"], id="rate limited: next key"),
        pytest.param("spent-1", "good-2", "good-3", ["spent-1", "good-2"], id="quota: next key"),
        pytest.param("bad-1", "good-2", "good-3", ["bad-1", "good-2"], id="invalid: next key"),
        pytest.param("leaked-1", "good-2", "good-3", ["leaked-1", "good-2"], id="blocked: next key"),
        pytest.param(
            "down-1", "good-2", "good-3", ["down-1", "down-1", "good-2"], id="down: again, next key"
        ),
        pytest.param(
            "bad-1", "spent-2", "good-3", ["bad-1", "spent-2", "good-3"], id="no key left: fallback"
        ),
    ],
)
def test_a_refused_request_goes_on_to_the_next_key_and_target(
    tmp_path: Path, first: str, second: str, lan: str, tried: list[str], stream: bool
) -> None:
    """G-193, G-194, G-196, G-199"""
    with opened(tmp_path, first, second, lan) as own:
        reply = post(own, chat("Hi sim:text:here I am", "backed", stream=stream))
        assert reply.status_code == 200
        assert "here I am" in reply.text.replace('"}}]}\n', "") or stream
        assert keys(own.sent()) == tried


def test_when_all_have_refused_the_last_word_counts(tmp_path: Path) -> None:
    with opened(tmp_path, "bad-1", "spent-2", "busy-3") as own:
        reply = post(own, chat("Hi", "backed"))
        assert keys(own.sent()) == ["bad-1", "spent-2", "busy-3"]
    assert (reply.status_code, reply.json()["error"]["code"]) == (429, "rate_limit_exceeded")


def test_a_refused_key_rests_while_another_works(tmp_path: Path) -> None:
    with opened(tmp_path, "busy-1", "good-2") as own:
        for _ in range(3):
            assert post(own, chat("Hi", "alone")).status_code == 200
        assert keys(own.sent()) == ["busy-1", "good-2", "good-2", "good-2"]


def test_keys_take_turns(tmp_path: Path) -> None:
    with opened(tmp_path) as own:
        for _ in range(4):
            assert post(own, chat("Hi", "alone")).status_code == 200
        assert keys(own.sent()) == ["first", "second", "first", "second"]


def test_a_model_that_is_gone_goes_to_the_fallback(tmp_path: Path) -> None:
    """G-197"""
    with opened(tmp_path) as own:
        assert post(own, chat("Hi", "renamed")).status_code == 200
        assert [(one.vendor, one.status) for one in own.sent()] == [("google", 404), ("openai", 200)]


def test_an_unreachable_target_is_passed_over(tmp_path: Path) -> None:
    with opened(tmp_path) as own:
        assert post(own, chat("Hi", "unreachable")).status_code == 200
        assert keys(own.sent()) == ["lan"]


def test_one_that_fails_once_is_asked_again(tmp_path: Path) -> None:
    """G-200"""
    with opened(tmp_path) as own:
        assert post(own, chat("Hi sim:fail-once:503", "backed")).status_code == 200
        assert keys(own.sent()) == ["first", "first"]


@pytest.mark.parametrize(
    ("order", "stream", "status"),
    [
        pytest.param("sim:error:400", False, 400, id="their own mistake"),
        pytest.param("sim:error:400", True, 400, id="their own mistake, streamed"),
        pytest.param("sim:drop", False, 502, id="dropped after the request was sent"),
        pytest.param("sim:drop", True, 502, id="dropped after the request was sent, streamed"),
        pytest.param("sim:cut:0", False, 502, id="cut before the answer"),
        pytest.param("sim:cut:1", False, 502, id="cut within a whole answer"),
        pytest.param("sim:stall:1", False, 504, id="silent within a whole answer"),
        pytest.param("sim:cut:2 sim:chunks:5", True, 200, id="cut within a stream"),
        pytest.param("sim:stall:2 sim:chunks:5", True, 200, id="silent within a stream"),
        pytest.param("sim:error-after:2:503 sim:chunks:5", True, 200, id="error within a stream"),
    ],
)
@pytest.mark.parametrize("model", ["backed", "lan/llama"])
def test_what_may_have_been_served_is_never_sent_again(
    tmp_path: Path, model: str, order: str, stream: bool, status: int
) -> None:
    """G-187, G-189"""
    with opened(tmp_path) as own:
        reply = post(own, chat(f"Hi {order} sim:text:one two three four five", model, stream=stream))
        assert len(own.sent()) == 1
    assert reply.status_code == status
    assert '"error":{' in reply.text
    assert "[DONE]" not in reply.text


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("order", ["sim:empty", "sim:empty-candidate"])
def test_who_says_nothing_is_passed_over(tmp_path: Path, order: str, stream: bool) -> None:
    """Not a byte of it has reached the client, though the reply has begun at the vendor."""
    with opened(tmp_path) as own:
        reply = post(own, chat(f"Hi {order}", "backed", stream=stream))
        assert [one.vendor for one in own.sent()] == ["google", "google", "openai"]
    assert (reply.status_code, '"error":' in reply.text) == (200, False)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_status_sells_no_words_and_may_have_sold_a_picture(tmp_path: Path, stream: bool) -> None:
    with opened(tmp_path) as own:
        said = post(own, chat("Hi sim:error:500", "backed", stream=stream))
        assert [one.vendor for one in own.sent()] == ["google", "google", "openai"]
    with opened(tmp_path) as own:
        drawn = post(own, chat("Hi sim:error:500", "drawn", stream=stream))
        assert len(own.sent()) == 1
    assert [one.status_code for one in (said, drawn)] == [502, 502]
    assert [one.headers.get("x-should-retry") for one in (said, drawn)] == [None, "false"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("yes", ["true", "True", "1"])
def test_a_client_can_forbid_fallback(tmp_path: Path, stream: bool, yes: str) -> None:
    with opened(tmp_path, "busy-1", "good-2", "good-3") as own:
        reply = post(own, chat("Hi", "backed", stream=stream), x_proxy_no_fallback=yes)
        assert keys(own.sent()) == ["busy-1"]
    assert reply.status_code == 429


def test_weights_share_the_load(tmp_path: Path) -> None:
    with opened(tmp_path) as own:
        with httpx.Client(base_url=own.base_url, headers={"x-api-key": KEY}) as client:
            for _ in range(160):
                client.post("/v1/chat/completions", json=chat("Hi", "weighted")).raise_for_status()
        google = sum(exchange.vendor == "google" for exchange in own.sent())
        assert 90 <= google <= 150  # 120 and five and a half standard deviations to each side
        assert {exchange.body["model"] for exchange in own.sent() if exchange.vendor == "openai"} == {"llama"}


def test_a_target_is_a_model_name_for_who_may_use_everything(gateway: Gateway) -> None:
    before = last_number(gateway)
    reply = post(gateway, chat("Hi", "google/gemini-2.5-flash-lite"))
    assert reply.json()["model"] == "google/gemini-2.5-flash-lite"
    [exchange] = arrived(gateway, before)
    assert exchange.path == "/v1beta/models/gemini-2.5-flash-lite:generateContent"


@pytest.mark.parametrize("name", ["google/", "/x", "google/../../x", "nobody/gpt", "google//x"])
def test_a_target_that_is_none_is_not_found(gateway: Gateway, name: str) -> None:
    reply = post(gateway, chat("Hi", name))
    assert reply.status_code in (400, 404)
    assert reply.json()["error"]["code"] == "model_not_found"


def test_who_may_use_one_model_may_not_name_targets(gateway: Gateway) -> None:
    before = last_number(gateway)
    reply = httpx.post(
        f"{gateway.base_url}/v1/chat/completions",
        json=chat("Hi", "google/gemini-2.5-pro"),
        headers={"x-api-key": "sk-test-narrow"},
    )
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")
    assert last_number(gateway) == before


def test_models_are_listed_without_googles_prefix_and_answer_with_it(gateway: Gateway) -> None:
    """G-213"""
    listed = [model.id for model in gateway.client().models.list()]
    assert [name for name in listed if name.startswith("models/")] == []
    assert post(gateway, chat("Hi", "models/gemini-flash")).status_code == 200
