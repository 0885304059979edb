"""A reply in the background outlives the process that makes it: real servers, killed, on both stores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from proxy.simulators.exchange import Exchange
from proxy.simulators.server import Running, start
from proxy.store.tables import ledger, replies
from tests import responses_law
from tests.served import Served, serving, waited
from tests.test_tasks_crash import ENVIRONMENT, FILE, HEADERS, asked, kill


@pytest.fixture
def vendors() -> Iterator[Running]:
    with start() as running:
        yield running


def called(server: Served, method: str, path: str, **body: Any) -> Any:
    reply = httpx.request(
        method, f"{server.base_url}/v1/responses{path}", json=body or None, headers=HEADERS, timeout=20
    )
    assert reply.status_code == 200, reply.text
    return reply.json()


def written(vendors: Running, store: str) -> str:
    file = FILE.replace("http://SIMULATORS", vendors.base_url) + f'server: {{state: "{store}"}}\n'
    return file.replace("models:", "models:\n  flash: {targets: [google/gemini-3-flash-preview]}")


def orders(vendors: Running, prompt: str) -> list[Exchange]:
    return [each for each in vendors.log.exchanges() if prompt in json.dumps(each.body)]


def begun(
    server: Served,
    vendors: Running,
    prompt: str,
    *,
    stream: bool = False,
    key: str | None = None,
    model: str = "flash",
) -> Any:
    """A reply in the background that the vendor works at. Who asked for a stream has left it."""
    body = {"model": model, "input": prompt, "background": True}
    if not stream:
        made = called(server, "POST", "", **body)
    else:
        url = f"{server.base_url}/v1/responses"
        headers = HEADERS if key is None else {**HEADERS, "idempotency-key": key}
        with httpx.stream("POST", url, json={**body, "stream": True}, headers=headers) as reply:
            made = next(json.loads(line[6:]) for line in reply.iter_lines() if line[:6] == "data: ")[
                "response"
            ]
    waited(lambda: orders(vendors, prompt))
    return made


def streamed(server: Served, prompt: str, key: str, model: str = "flash") -> httpx.Response:
    body = {"model": model, "input": prompt, "background": True, "stream": True}
    headers = {**HEADERS, "idempotency-key": key}
    return httpx.post(f"{server.base_url}/v1/responses", json=body, headers=headers)


def test_a_killed_process_leaves_its_reply_to_the_next(
    tmp_path: Path, store_address: str, vendors: Running
) -> None:
    """R-074: when its lease has run out; its words are paid once more, as they were said once more."""
    file, prompt = written(vendors, store_address), "Hello sim:slow:1"
    with serving(tmp_path, file, environment=ENVIRONMENT) as first:
        made = begun(first, vendors, prompt)
        kill(first)
    with serving(tmp_path, file, environment=ENVIRONMENT) as second:
        assert called(second, "GET", f"/{made['id']}")["status"] == "queued", "it may live still"
        dead = sa.update(replies).values(alive_until=1.0, created_at=replies.c.created_at + 2)
        asked(store_address, lambda connection: connection.execute(dead))

        def over() -> Any:
            found = called(second, "GET", f"/{made['id']}")
            return found if found["status"] not in ("queued", "in_progress") else None

        found = waited(over)
    assert (found["status"], found["created_at"]) == ("completed", made["created_at"])
    assert found["output"][-1]["content"][0]["text"].startswith("You said: Hello")
    assert len(orders(vendors, prompt)) == 2
    booked, left = sa.select(ledger.c.outcome), sa.select(replies.c.body, replies.c.running)
    assert asked(store_address, lambda connection: connection.execute(booked).scalars().all()) == ["ok"]
    row = asked(store_address, lambda connection: connection.execute(left).one())
    assert tuple(row) == (None, False)


def test_a_stream_of_a_killed_process_has_failed(
    tmp_path: Path, store_address: str, vendors: Running
) -> None:
    """Its client has read a beginning to which another reply would not belong."""
    file, prompt = written(vendors, store_address), "Hello sim:slow:60"
    with serving(tmp_path, file, environment=ENVIRONMENT) as first:
        made = begun(first, vendors, prompt, stream=True)
        kill(first)
    with serving(tmp_path, file, environment=ENVIRONMENT) as second:
        dead = sa.update(replies).values(alive_until=1.0, created_at=replies.c.created_at + 2)
        asked(store_address, lambda connection: connection.execute(dead))
        for _ in range(2):
            assert called(second, "GET", f"/{made['id']}")["status"] == "failed"
    assert len(orders(vendors, prompt)) == 1


# --- while two of them live


SLOW = "Hello sim:slow:60"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_what_one_process_makes_is_called_off_by_another(
    tmp_path: Path, store_address: str, vendors: Running, stream: bool
) -> None:
    file = written(vendors, store_address)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    with (
        serving(tmp_path / "first", file, environment=ENVIRONMENT) as first,
        serving(tmp_path / "second", file, environment=ENVIRONMENT) as second,
    ):
        made = begun(first, vendors, SLOW, stream=stream)
        assert called(second, "POST", f"/{made['id']}/cancel")["status"] == "cancelled"
        waited(lambda: orders(vendors, SLOW)[0].hung_up)
        assert called(first, "GET", f"/{made['id']}")["status"] == "cancelled"


def test_a_request_that_comes_again_at_another_process_joins(
    tmp_path: Path, store_address: str, vendors: Running
) -> None:
    """And hears there what became of it."""
    file, body = written(vendors, store_address), {"model": "flash", "input": SLOW, "background": True}
    for name in ("first", "second"):
        (tmp_path / name).mkdir()

    def asked_at(server: Served, key: str, **more: Any) -> httpx.Response:
        headers = {**HEADERS, "idempotency-key": key}
        url = f"{server.base_url}/v1/responses"
        return httpx.post(url, json={**body, **more}, headers=headers, timeout=20)

    with (
        serving(tmp_path / "first", file, environment=ENVIRONMENT) as first,
        serving(tmp_path / "second", file, environment=ENVIRONMENT) as second,
    ):
        made = asked_at(first, "k").json()
        joined = asked_at(second, "k")
        assert (joined.json()["id"], joined.headers["x-proxy-joined"]) == (made["id"], "running")
        assert asked_at(second, "k", input="Other words").status_code == 409
        assert called(second, "POST", f"/{made['id']}/cancel")["status"] == "cancelled"
        again = asked_at(first, "k")
        assert (again.json()["status"], again.headers["x-proxy-joined"]) == ("cancelled", "done")
    assert len(orders(vendors, SLOW)) == 1


def test_a_process_says_again_and_again_that_it_makes_a_reply(
    tmp_path: Path, store_address: str, vendors: Running
) -> None:
    until = sa.select(replies.c.alive_until)

    def alive_until() -> float:
        found: float = asked(store_address, lambda connection: connection.execute(until).scalar_one())
        return found

    with serving(tmp_path, written(vendors, store_address), environment=ENVIRONMENT) as served:
        made = begun(served, vendors, SLOW)
        for _ in range(2):
            before = alive_until()
            waited(lambda before=before: alive_until() > before)
        assert called(served, "GET", f"/{made['id']}")["status"] == "in_progress"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_process_leaves_what_another_has_taken_over(
    tmp_path: Path, store_address: str, vendors: Running, stream: bool
) -> None:
    """It was thought to be dead: it ends its work, and writes nothing."""
    taken = sa.update(replies).values(tries=replies.c.tries + 1)
    left = sa.select(replies.c.running, replies.c.tries)
    with serving(tmp_path, written(vendors, store_address), environment=ENVIRONMENT) as served:
        begun(served, vendors, SLOW, stream=stream)
        asked(store_address, lambda connection: connection.execute(taken))
        waited(lambda: orders(vendors, SLOW)[0].hung_up)
        assert served.stop() == 0
    assert tuple(asked(store_address, lambda connection: connection.execute(left).one())) == (True, 1)


@pytest.mark.parametrize("fetched", [False, True], ids=["repeated", "fetched first"])
def test_a_stream_of_words_whose_process_was_killed_begins_anew_for_who_asks_again(
    tmp_path: Path, store_address: str, vendors: Running, fetched: bool
) -> None:
    """By another id; the one that broke off has failed. Under its key another body stays refused."""
    file, prompt = written(vendors, store_address), "Hello sim:slow:3"
    with serving(tmp_path, file, environment=ENVIRONMENT) as first:
        made = begun(first, vendors, prompt, stream=True, key="k")
        kill(first)
    with serving(tmp_path, file, environment=ENVIRONMENT) as second:
        dead = sa.update(replies).values(alive_until=1.0)
        asked(store_address, lambda connection: connection.execute(dead))
        assert streamed(second, "Other words", "k").status_code == 409
        if fetched:
            assert called(second, "GET", f"/{made['id']}")["status"] == "failed"
        again = streamed(second, prompt, "k")
        assert "x-proxy-joined" not in again.headers
        told = responses_law.parsed(again.content)
        assert (told[-1]["type"], told[0]["response"]["id"] != made["id"]) == ("response.completed", True)
        assert responses_law.parsed(streamed(second, prompt, "k").content) == told
        assert called(second, "GET", f"/{made['id']}")["status"] == "failed"
    assert len(orders(vendors, prompt)) == 2


def test_a_stream_of_pictures_whose_process_was_killed_says_so_for_who_asks_again(
    tmp_path: Path, store_address: str, vendors: Running
) -> None:
    """It may have been bought: it is not bought again, and the answer is a stream, as was asked for."""
    file, prompt = written(vendors, store_address), "A cat sim:slow:60"
    with serving(tmp_path, file, environment=ENVIRONMENT) as first:
        made = begun(first, vendors, prompt, stream=True, key="k", model="by-talk")
        kill(first)
    with serving(tmp_path, file, environment=ENVIRONMENT) as second:
        dead = sa.update(replies).values(alive_until=1.0)
        asked(store_address, lambda connection: connection.execute(dead))
        again = streamed(second, prompt, "k", model="by-talk")
        assert again.headers["x-proxy-joined"] == "done"
        told = responses_law.checked(again.content)
        assert [event["type"] for event in told[-2:]] == ["error", "response.failed"]
        assert told[-1]["response"]["id"] == made["id"]
        assert told[-2]["message"] == "The server ended before this response was complete."
        assert streamed(second, prompt, "k", model="by-talk").content == again.content
    assert len(orders(vendors, prompt)) == 1
