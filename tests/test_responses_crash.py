"""A reply in the background outlives the process that makes it: real servers, killed, on both stores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from proxy.simulators.server import Running, start
from proxy.store.tables import ledger, replies
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


def test_a_killed_process_leaves_its_reply_to_the_next(
    tmp_path: Path, store_address: str, vendors: Running
) -> None:
    """R-074: when its lease has run out; its words are paid once more, as they were said once more."""
    file = FILE.replace("http://SIMULATORS", vendors.base_url) + f'server: {{state: "{store_address}"}}\n'
    file = file.replace("models:", "models:\n  flash: {targets: [google/gemini-3-flash-preview]}")
    prompt = "Hello sim:slow:1"

    def orders() -> int:
        return sum(prompt in json.dumps(each.body) for each in vendors.log.exchanges())

    with serving(tmp_path, file, environment=ENVIRONMENT) as first:
        made = called(first, "POST", "", model="flash", input=prompt, background=True)
        waited(orders)
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
    assert orders() == 2
    booked, left = sa.select(ledger.c.outcome), sa.select(replies.c.body, replies.c.running)
    assert asked(store_address, lambda connection: connection.execute(booked).scalars().all()) == ["ok"]
    row = asked(store_address, lambda connection: connection.execute(left).one())
    assert tuple(row) == (None, False)
