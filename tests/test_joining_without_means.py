"""What was ordered already is answered also when its key has nothing left, of its limits or its money."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.gateway import Gateway, open_gateway
from tests.picture_vendors import HEAD, providers
from tests.served import waited
from tests.test_joining import VERCEL

MEANS = {
    "requests": "limits: {requests: 1/hour}",
    "tokens": "limits: {tokens: 20/hour}",
    "images": "limits: {images: 1/day}",
    "concurrent": "limits: {concurrent: 1}",
    "budget": 'budget: {amount: "0.2", currency: CNY, period: total}',
}
# Of each its address and body; what it is asked for is written into it.
HOW: dict[str, tuple[str, dict[str, Any]]] = {
    "waited": ("images/generations", {"model": "banana"}),
    "streamed": ("images/generations", {"model": "banana", "stream": True}),
    "chat": ("chat/completions", {"model": "drawing"}),
    "task": ("images/generations", {"model": "banana", "background": True}),
    "words": ("responses", {"model": "flash", "background": True}),
    "drawn": ("responses", {"model": "drawing", "background": True}),
}
NATIVE = {f"native {model}": (f"models/{model}:generateContent", {}) for model in ("drawing", "banana")}
UNSPENT = {"tokens-waited", "tokens-streamed", "images-words"}  # at the end: the vendor counts no such thing
KEYS = {f"{means}-{how}": rule for means, rule in MEANS.items() for how in HOW}
KEYS |= {f"sdk-{how}": MEANS["requests"] for how in HOW}
KEYS |= {f"reused-{how}": MEANS["requests"] for how in HOW}
KEYS |= {
    "two": "limits: {images: 2/day, concurrent: 2, requests: 2/hour}",
    "money": 'budget: {amount: "0.4", currency: CNY, period: total}',
    "busy": "limits: {requests: 1/hour}",
    "unsaid": "limits: {requests: 1/hour}",
    "native": "limits: {requests: 1/hour}",
}


def variable(caller: str) -> str:
    return f"KEY_{caller.upper().replace('-', '_')}"


FILE = (
    HEAD.replace(
        "keys: [{name: app, key: env:TEST_KEY}]",
        "keys:\n" + "".join(f"  - {{name: {key}, key: env:{variable(key)}, {KEYS[key]}}}\n" for key in KEYS),
    )
    + providers("jlike", extra="private: true, currency: CNY")
    + """
models:
  banana: {targets: [jlike.image/nano-banana-2], price: {image: 0.2}, poll: {every: 50ms}}
  drawing: {targets: [{use: google/gemini-3-pro-image, price: {image: 0.2, currency: CNY}}]}
  flash: {targets: [{use: google/gemini-3-flash-preview, price: {input: 9e3, output: 9e3, currency: CNY}}]}
"""
)
ENVIRONMENT = {variable(name): f"sk-{name}" for name in KEYS}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Every test has a caller of its own."""
    with open_gateway(tmp_path_factory.mktemp("means"), FILE, ENVIRONMENT) as opened:
        yield opened


def send(gateway: Gateway, caller: str, how: str, words: str, **headers: str) -> httpx.Response:
    path, body = (HOW | NATIVE)[how]
    prompt = f"{words} for {caller}, " + "and a fox " * 10
    said = {
        "responses": {"input": prompt},
        "images/generations": {"prompt": prompt},
        "chat/completions": {"messages": [{"role": "user", "content": prompt}]},
    }
    of_google = {"contents": [{"parts": [{"text": prompt}]}]}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    own = {"authorization": f"Bearer sk-{caller}", **named}
    return gateway.http.post(
        f"{gateway.base_url}/v1/{path}", json={**body, **said.get(path, of_google)}, headers=own
    )


def orders(gateway: Gateway, words: str, caller: str) -> int:
    asked = f"{words} for {caller},"
    return sum(each.method == "POST" and asked in json.dumps(each.body) for each in gateway.sent())


def is_over(gateway: Gateway, caller: str, reply: httpx.Response) -> bool:
    """Of what its client does not wait for."""
    path = "tasks" if "/images/" in str(reply.url) else "responses"
    url, own = f"{gateway.base_url}/v1/{path}/{reply.json()['id']}", {"authorization": f"Bearer sk-{caller}"}
    return bool(gateway.http.get(url, headers=own).json()["status"] == "completed")


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("means", MEANS)
def test_a_key_with_nothing_left_is_answered_by_what_it_has_ordered(
    gateway: Gateway, means: str, how: str
) -> None:
    caller, slow = f"{means}-{how}", "Slowly sim:slow:0.5"
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(send, gateway, caller, how, slow, idempotency_key="one")
        waited(lambda: orders(gateway, slow, caller))
        running = send(gateway, caller, how, slow, idempotency_key="one")
        begun = first.result()
    assert begun.status_code in (200, 202), begun.text
    assert running.status_code == begun.status_code, running.text
    if how in ("task", "words", "drawn"):
        waited(lambda: is_over(gateway, caller, begun))
    else:
        assert running.headers["x-proxy-joined"] == "running"
    done = send(gateway, caller, how, slow, idempotency_key="one")
    assert done.status_code == 200, done.text
    assert orders(gateway, slow, caller) == 1
    if caller not in UNSPENT and means != "concurrent":
        assert send(gateway, caller, how, "Another", idempotency_key="two").status_code == 429
        assert orders(gateway, "Another", caller) == 0


@pytest.mark.parametrize("how", HOW)
def test_an_sdks_retry_is_answered_too(gateway: Gateway, how: str) -> None:
    """And a first request with the same body is another one."""
    caller = f"sdk-{how}"
    first = send(gateway, caller, how, "Retried", x_stainless_retry_count="0")
    assert first.status_code in (200, 202)
    assert send(gateway, caller, how, "Retried", x_stainless_retry_count="2").status_code in (200, 202)
    assert send(gateway, caller, how, "Retried", x_stainless_retry_count="0").status_code == 429
    waited(lambda: orders(gateway, "Retried", caller) == 1)


def test_a_client_that_asks_again_without_a_word_is_told_again_what_failed(gateway: Gateway) -> None:
    """What was bought; and only for the same body."""
    replies = [send(gateway, "unsaid", "waited", "Lost sim:badjson", user_agent=VERCEL) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [502, 502], replies[1].text
    assert [reply.headers.get("x-proxy-joined") for reply in replies] == [None, "done"]
    assert orders(gateway, "Lost sim:badjson", "unsaid") == 1
    assert send(gateway, "unsaid", "waited", "Another", user_agent=VERCEL).status_code == 429


@pytest.mark.parametrize("how", HOW)
def test_another_body_under_the_same_key_is_refused_as_such(gateway: Gateway, how: str) -> None:
    caller = f"reused-{how}"
    assert send(gateway, caller, how, "First", idempotency_key="one").status_code in (200, 202)
    refused = send(gateway, caller, how, "Other", idempotency_key="one")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "idempotency_key_reused")


def test_the_same_body_at_another_models_address_is_another(gateway: Gateway) -> None:
    first, again, other = (
        send(gateway, "native", f"native {model}", "Native", idempotency_key="one")
        for model in ("drawing", "drawing", "banana")
    )
    assert [first.status_code, again.status_code, other.status_code] == [200, 200, 409], again.text
    assert again.headers["x-proxy-joined"] == "done"


def test_what_joins_takes_no_place_from_others(gateway: Gateway) -> None:
    """No request of the hour, no picture of the day and no place at the same time, also while it waits."""
    slow = "Slowly sim:slow:2"
    with ThreadPoolExecutor(5) as pool:
        begun = pool.submit(send, gateway, "two", "waited", slow, idempotency_key="one")
        waited(lambda: orders(gateway, slow, "two"))
        joining = [pool.submit(send, gateway, "two", "waited", slow, idempotency_key="one") for _ in range(4)]
        keeper = gateway.application.house.services.keeper  # type: ignore[union-attr]
        waited(lambda: 5 in [running.watchers for running in keeper.running.values()])
        other = send(gateway, "two", "waited", "Other")
        assert (other.status_code, begun.done()) == (200, False)
        assert {one.result().status_code for one in (begun, *joining)} == {200}
    assert send(gateway, "two", "waited", "One more").status_code == 429
    assert orders(gateway, slow, "two") == 1


def test_what_joins_reserves_no_money(gateway: Gateway) -> None:
    slow = "Slowly sim:slow:0.5"
    with ThreadPoolExecutor(3) as pool:
        begun = pool.submit(send, gateway, "money", "waited", slow, idempotency_key="one")
        waited(lambda: orders(gateway, slow, "money"))
        joining = [pool.submit(send, gateway, "money", "waited", slow, idempotency_key="one") for _ in "12"]
        keeper = gateway.application.house.services.keeper  # type: ignore[union-attr]
        waited(lambda: 3 in [running.watchers for running in keeper.running.values()])
        assert send(gateway, "money", "waited", "Other").status_code == 200
        assert {one.result().status_code for one in (begun, *joining)} == {200}
    assert send(gateway, "money", "waited", "One more").status_code == 429


def test_what_starts_anew_is_counted(gateway: Gateway) -> None:
    """It was not bought: nothing of it is there to be joined."""
    busy = "Busy sim:fail-times:1:503"
    assert send(gateway, "busy", "waited", busy, idempotency_key="one").status_code == 503
    again = send(gateway, "busy", "waited", busy, idempotency_key="one")
    assert (again.status_code, again.json()["error"]["type"]) == (429, "requests")
