"""Money of tasks that were accepted and not ordered yet: it outlives their process, and others know of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.simulators.server import Running, start
from tests.picture_vendors import HEAD, providers
from tests.served import Served, serving, waited

FILE = (
    HEAD.replace(
        "keys: [{name: app, key: env:TEST_KEY}]",
        "keys: [{name: app, key: env:TEST_KEY, budget: {amount: 2, currency: CNY, period: total}}]",
    )
    + providers("jlike", "grsai", extra="private: true, currency: CNY")
    + """
models:
  wan: {targets: [jlike.wan/wan2.7-t2i-plus], price: {image: 0.2}, poll: {every: 50ms}}
  by-talk: {targets: [google/gemini-3-pro-image], price: {image: 0.2, currency: CNY}}
  banana: {targets: [grsai/nano-banana], price: {image: 0.2}, poll: {every: 50ms}}
tasks: {lease: 1s, at_once: 3}
"""
)
ENVIRONMENT = {"TEST_KEY": "sk-app", "VENDOR_KEY": "vendor-key", "PAIR_KEY": "vendor-key:simulated-secret"}


@pytest.fixture
def vendors() -> Iterator[Running]:
    with start() as running:
        yield running


@pytest.fixture
def served(tmp_path: Path, store_address: str, vendors: Running) -> Iterator[Callable[[], Served]]:
    """Another server each time, all at the same store."""
    file = FILE.replace("http://SIMULATORS", vendors.base_url) + f'server: {{state: "{store_address}"}}\n'
    with ExitStack() as servers:

        def one() -> Served:
            folder = tmp_path / str(time.monotonic_ns())
            folder.mkdir()
            return servers.enter_context(serving(folder, file, environment=ENVIRONMENT))

        yield one


def asked(server: Served, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    own = {"authorization": "Bearer sk-app", **headers}
    return httpx.request(method, f"{server.base_url}/v1/{path}", json=body, headers=own, timeout=20)


def begun(server: Served, prompt: str, **fields: Any) -> httpx.Response:
    body = {"model": "wan", "prompt": prompt, "background": True, **fields}
    return asked(server, "POST", "images/generations", body)


def spent(server: Served) -> str:
    told = asked(server, "GET", "dashboard/billing/subscription").json()["budget"]["spent"]
    return str(told)


def ordered(vendors: Running, word: str) -> int:
    return sum(word in task.prompt for task in vendors.log.ledger.tasks())


@pytest.mark.parametrize("end", ["killed", "told to end", "goes on"])
def test_what_was_accepted_is_reserved_whatever_becomes_of_its_process(
    served: Callable[[], Served], vendors: Running, end: str
) -> None:
    """Ten tasks are all that the money pays, and three of them are ordered at a time."""
    server = served()
    assert [begun(server, f"Fox {n} sim:polls:6").status_code for n in range(10)] == [202] * 10
    assert begun(server, "One too many").status_code == 429
    waited(lambda: ordered(vendors, "Fox") >= 3)
    if end == "killed":
        server.process.kill()
        server.process.wait()
    elif end == "told to end":
        server.stop()
    if end != "goes on":
        server = served()
    assert begun(server, "One too many").status_code == 429
    told: set[str] = set()

    def are_over() -> bool:
        told.add(spent(server))
        listed = asked(server, "GET", "tasks?limit=100").json()["data"]
        return [one["status"] for one in listed] == ["completed"] * 10

    waited(are_over)
    assert told == {"2"}
    assert (ordered(vendors, "Fox"), ordered(vendors, "One too many")) == (10, 0)
    assert begun(server, "One too many").status_code == 429


def test_a_request_that_is_waited_for_and_kept_is_reserved_when_its_process_has_ended(
    served: Callable[[], Served], vendors: Running
) -> None:
    """Four of its ten pictures are ordered at a time."""
    first = served()
    body = {"model": "banana", "prompt": "Foxes sim:polls:9999", "n": 10}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{first.base_url}/v1/images/generations",
            json=body,
            headers={"authorization": "Bearer sk-app", "idempotency-key": "a key"},
            timeout=3.0,
        )
    waited(lambda: ordered(vendors, "Foxes") == 4)
    first.process.kill()
    first.process.wait()
    assert spent(served()) == "2"


def test_another_process_knows_what_was_accepted_and_what_came_to_nothing(
    served: Callable[[], Served], vendors: Running
) -> None:
    first, second = served(), served()
    assert spent(second) == "0"
    tasks = [begun(first, f"Fox {n} sim:polls:9999").json()["id"] for n in range(10)]
    assert spent(first) == "2"
    waited(lambda: spent(second) == "2")
    assert begun(second, "One too many").status_code == 429
    waited(lambda: ordered(vendors, "Fox") == 6)
    assert asked(second, "POST", f"tasks/{tasks[-1]}/cancel").status_code == 200
    for server in first, second:
        waited(lambda server=server: spent(server) == "1.8")  # type: ignore[misc]


def test_what_waits_for_a_busy_vendor_is_reserved_anywhere(
    served: Callable[[], Served], vendors: Running
) -> None:
    """Its order came to nothing, and it will be ordered again."""
    first, second = served(), served()
    for number in range(2):
        fields = {"model": "by-talk", "n": 2}
        assert begun(first, f"Busy {number} sim:error:429:minute", **fields).status_code == 202
    for number in range(2):
        waited(lambda number=number: f"Busy {number}" in str(vendors.log.exchanges()))  # type: ignore[misc]
    first.until_logged("attempt_failed", '"status":429')
    for server in first, second:
        waited(lambda server=server: spent(server) == "0.8")  # type: ignore[misc]
    first.process.kill()
    assert spent(served()) == "0.8"


def test_what_fails_where_it_was_taken_over_gives_its_money_back(
    served: Callable[[], Served], vendors: Running
) -> None:
    first = served()
    for number in range(3):
        assert begun(first, f"In front {number} sim:polls:9999").status_code == 202
    waited(lambda: ordered(vendors, "In front") == 3)
    assert begun(first, "Fails sim:fail:400", n=2).status_code == 202  # waits for room
    assert spent(first) == "1"
    second = served()
    waited(lambda: ordered(vendors, "Fails"))
    waited(lambda: spent(second) == "0.6")
    waited(lambda: spent(first) == "0.6")
