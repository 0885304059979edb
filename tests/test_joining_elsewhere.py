"""Who joins at one process what another works at, on one store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import responses_law
from tests.gateway import KEY, Gateway, open_gateway
from tests.picture_vendors import HEAD, providers, watching
from tests.raw_http import RawRequest
from tests.served import waited

FILE = (
    HEAD.replace("heartbeat: 60s", "heartbeat: 200ms").replace(
        "keys: [{name: app, key: env:TEST_KEY}]",
        "keys: [{name: app, key: env:TEST_KEY}, {name: two, key: env:KEY_TWO, limits: {requests: 2/hour}}, "
        '{name: money, key: env:KEY_MONEY, budget: {amount: "0.4", currency: CNY, period: total}}]',
    )
    + providers("dashscope", extra="private: true, currency: CNY, on_disconnect: cancel")
    + """
models:
  wan: {targets: [dashscope/wan2.7-image], price: {image: 0.2}, poll: {every: 60ms}}
  flash: {targets: [google/gemini-3-flash-preview]}
"""
)
ENVIRONMENT = {"KEY_TWO": "sk-two", "KEY_MONEY": "sk-money"}
PATH = "/v1/images/generations"
SLOW = {"model": "wan", "prompt": "Slowly sim:polls:20", "stream": True}


@pytest.fixture
def both(tmp_path: Path, store_address: str) -> Iterator[tuple[Gateway, Gateway]]:
    """Two processes, as far as the store knows, with vendors of their own."""
    files = f'server: {{state: "env:STORE", files: {{folder: "{tmp_path}/files"}}}}\n'
    environment = {**ENVIRONMENT, "STORE": store_address}
    for name in "ab":
        (tmp_path / name).mkdir()
    with (
        open_gateway(tmp_path / "a", FILE + files, environment) as first,
        open_gateway(tmp_path / "b", FILE + files, environment) as second,
    ):
        yield first, second


@contextmanager
def joined(gateway: Gateway, headers: dict[str, str]) -> Iterator[httpx.Response]:
    """A stream that has joined another."""
    with httpx.stream("POST", gateway.base_url + PATH, json=SLOW, headers=headers, timeout=30) as reply:
        assert (reply.status_code, reply.headers["x-proxy-joined"]) == (200, "running")
        yield reply


@pytest.mark.parametrize(
    ("caller", "found_by"),
    [
        pytest.param("sk-test-app", {"x-stainless-retry-count": "1"}, id="app"),
        pytest.param("sk-two", {"idempotency-key": "k"}, id="limits"),
        pytest.param("sk-money", {"idempotency-key": "k"}, id="budget"),
    ],
)
def test_what_its_first_client_left_is_begun_for_who_has_joined_elsewhere(
    both: tuple[Gateway, Gateway], caller: str, found_by: dict[str, str]
) -> None:
    """And counts there as its own: what was called off is held until the vendor's last word, so all of the
    money is used."""
    first, second = both
    own = {"authorization": f"Bearer {caller}", **found_by}
    with watching(first) as seen, watching(second) as seen_too:
        with RawRequest(first, SLOW, path=PATH, headers=own) as leaving:
            leaving.send()
            (order,) = waited(lambda: [one for one in seen.tasks(SLOW["prompt"]) if one.polls_ms])
            with joined(second, own) as reply:
                leaving.socket.close()
                waited(lambda: order.cancelled)
                told = reply.read().decode()
        assert "image_generation.completed" in told, told
        assert len(seen_too.tasks(SLOW["prompt"])) == 1
    body, own = {"model": "wan", "prompt": "Another"}, {"authorization": f"Bearer {caller}"}
    another = second.http.post(second.base_url + PATH, json=body, headers=own)
    if caller == "sk-money":
        assert another.status_code == 429
    else:
        assert another.status_code == 200
        assert another.headers.get("x-ratelimit-remaining-requests") == ("0" if caller == "sk-two" else None)


# --- responses in the background


def respond(gateway: Gateway, prompt: str, key: str = "k", **more: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {KEY}", "idempotency-key": key}
    body = {"model": "flash", "input": prompt, "background": True, **more}
    return gateway.http.post(f"{gateway.base_url}/v1/responses", json=body, headers=headers)


def fetched(gateway: Gateway, identity: str) -> Any:
    headers = {"authorization": f"Bearer {KEY}"}
    return gateway.http.get(f"{gateway.base_url}/v1/responses/{identity}", headers=headers).json()


@pytest.mark.parametrize("number", range(3))
def test_what_has_failed_unbought_starts_anew_elsewhere_as_soon_as_that_is_told(
    both: tuple[Gateway, Gateway], number: int
) -> None:
    first, second = both
    failing = f"Fails {number} sim:fail-once:400"
    begun = respond(first, failing).json()["id"]
    waited(lambda: fetched(first, begun)["status"] == "failed")
    again = respond(second, failing)
    assert (again.status_code, "x-proxy-joined" in again.headers) == (200, False)
    assert again.json()["id"] != begun
    assert fetched(second, begun)["status"] == "failed"


@pytest.mark.parametrize("number", range(3))
def test_a_stream_that_has_failed_unbought_starts_anew_elsewhere_as_soon_as_that_is_told(
    both: tuple[Gateway, Gateway], number: int
) -> None:
    first, second = both
    failing = f"Fails {number} sim:fail-once:400"
    told = responses_law.parsed(respond(first, failing, stream=True).content)
    assert told[-1]["type"] == "response.failed"
    again = respond(second, failing, stream=True)
    assert "x-proxy-joined" not in again.headers
    assert responses_law.parsed(again.content)[0]["response"]["id"] != told[0]["response"]["id"]
