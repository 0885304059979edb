"""Who joins at one process what another works at, on one store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from proxy.store import tables, tasks
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


@pytest.mark.parametrize("order", ["", "sim:fail:boom"], ids=["made", "failed"])
def test_who_joins_elsewhere_is_told_its_end_as_the_first_is(
    both: tuple[Gateway, Gateway], order: str
) -> None:
    """Its picture, by address too, what it cost, and what it lost; or why there is none."""
    first, second = both
    body = {
        "model": "wan",
        "prompt": f"Shared sim:polls:8 {order}",
        "style": "vivid",
        "response_format": "url",
    }
    headers = {"authorization": f"Bearer {KEY}", "idempotency-key": "shared"}

    def ask(gateway: Gateway) -> httpx.Response:
        return httpx.post(gateway.base_url + PATH, json=body, headers=headers, timeout=20)

    with watching(first) as seen, watching(second) as seen_too, ThreadPoolExecutor(1) as pool:
        begun = pool.submit(ask, first)
        waited(lambda: seen.tasks(body["prompt"]))
        joined, done = ask(second), ask(second)
        assert (len(seen.submits()), len(seen_too.submits())) == (1, 0)
        replies = [begun.result(), joined, done]
        assert [reply.headers.get("x-proxy-joined") for reply in replies] == [None, "running", "done"]
        assert len({reply.headers["x-proxy-task"] for reply in replies}) == 1
        assert {reply.status_code for reply in replies} == {502 if order else 200}
        if order:
            assert {reply.json()["error"]["code"] for reply in replies} == {"upstream_error"}
            return
        assert {reply.headers["x-proxy-cost"] for reply in replies} == {"0.2 CNY"}
        assert {reply.headers["x-proxy-dropped"] for reply in replies} == {"style"}
        assert len({httpx.get(reply.json()["data"][0]["url"]).content for reply in replies}) == 1


def test_what_is_called_off_is_not_begun_for_who_has_joined_elsewhere(
    both: tuple[Gateway, Gateway],
) -> None:
    """By who asked for it, not for want of somebody who waits."""
    first, second = both
    headers = {"authorization": f"Bearer {KEY}", "x-stainless-retry-count": "1"}
    with watching(first) as seen, watching(second) as seen_too:
        with RawRequest(first, SLOW, path=PATH, headers=headers) as waiting:
            waiting.send()
            waited(lambda: [one for one in seen.tasks(SLOW["prompt"]) if one.polls_ms])
            with joined(second, headers) as reply:
                task = f"{first.base_url}/v1/tasks/{reply.headers['x-proxy-task']}"
                waited(lambda: httpx.get(task, headers=headers).json()["task_info"]["can_cancel"])
                assert httpx.post(f"{task}/cancel", headers=headers).json()["status"] == "cancelled"
                told = reply.read().decode()
        assert "task_cancelled" in told
        assert seen_too.submits() == []


def test_what_is_given_up_elsewhere_for_want_of_news_is_told_as_uncertain(
    both: tuple[Gateway, Gateway],
) -> None:
    first, second = both
    headers = {"authorization": f"Bearer {KEY}", "x-stainless-retry-count": "1"}
    with watching(first) as seen, RawRequest(first, SLOW, path=PATH, headers=headers) as waiting:
        waiting.send()
        waited(lambda: seen.tasks(SLOW["prompt"]))
        with joined(second, headers) as reply:
            store = first.application.house.services.database  # type: ignore[union-attr]
            assert asyncio.run(store.run(_given_up))
            told = reply.read().decode()
    assert "uncertain_outcome" in told


def _given_up(connection: sa.Connection) -> bool:
    row = connection.execute(sa.select(tables.tasks)).mappings().one()
    return tasks.write(connection, row["id"], row["owner"], row["epoch"], 60.0, {"state": "uncertain"})


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
