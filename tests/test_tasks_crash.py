"""A task outlives the process that works at it: real servers, killed at each step, on both stores.

The simulated vendors outlive the servers and count: whatever happens, a picture is ordered once.
"""

from __future__ import annotations

import functools
import json
import random
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from proxy.simulators.server import Running, start
from proxy.store import engines, tasks
from proxy.store.tables import ledger
from tests.gateway import KEY, open_gateway
from tests.picture_vendors import HEAD, providers, watching
from tests.served import Served, run, serving, waited

FILE = (
    HEAD
    + providers("dashscope", "grsai")
    + """
models:
  wan: {targets: [dashscope/wan2.7-image], poll: {every: 100ms}}
  whole: {targets: [grsai/nano-banana], options: {reply_type: json}, poll: {every: 100ms}}
  by-talk: {targets: [google/gemini-3-pro-image]}
  either: {targets: [google/gemini-3-pro-image], fallback: [grsai/nano-banana], poll: {every: 100ms}}
"""
)
ENVIRONMENT = {"TEST_KEY": KEY, "VENDOR_KEY": "vendor-key", "PAIR_KEY": "vendor-key:simulated-secret"}
HEADERS = {"authorization": f"Bearer {KEY}"}
OVER = ("completed", "failed", "cancelled")


@pytest.fixture
def vendors() -> Iterator[Running]:
    with start() as running:
        yield running


class Place:
    """A file, a store and vendors, which servers come and go at."""

    def __init__(self, folder: Path, store: str, vendors: Running, settings: str = "lease: 1s") -> None:
        self.folder = folder
        self.store = store
        self.vendors = vendors
        state = f'server: {{state: "{store}"}}\ntasks: {{{settings}}}\n'
        self.file = FILE.replace("http://SIMULATORS", vendors.base_url) + state

    @contextmanager
    def served(self) -> Iterator[Served]:
        with serving(self.folder, self.file, environment=ENVIRONMENT) as server:
            yield server

    def orders(self, prompt: str) -> int:
        """How often the vendors were asked to make it."""
        log = self.vendors.log
        return sum(each.method == "POST" and prompt in json.dumps(each.body) for each in log.exchanges())

    def booked(self, task: str) -> list[tuple[str, str]]:
        """What happened to its money."""
        wanted = sa.select(ledger.c.kind, ledger.c.outcome).order_by(ledger.c.id)
        wanted = wanted.where(ledger.c.request_id == self.row(task)["request_id"])
        return asked(self.store, lambda connection: [tuple(row) for row in connection.execute(wanted)])

    def row(self, task: str) -> dict[str, Any]:
        found = asked(self.store, lambda connection: tasks.get(connection, task))
        assert found is not None
        return found


def asked(store: str, work: Callable[[sa.Connection], Any]) -> Any:
    """What `work` finds in the store."""
    engine = _engine(store)
    try:
        with engine.begin() as connection:
            return work(connection)
    finally:
        engine.dispose()


@functools.lru_cache(maxsize=1)
def _engine(store: str) -> sa.Engine:
    """With tables; it keeps no connection, but knows the server, which takes it longest."""
    engine = engines.connect(store)
    engines.migrate(engine)
    return engine


def begun(server: Served, model: str, prompt: str, **fields: Any) -> str:
    body = {"model": model, "prompt": prompt, "background": True, **fields}
    reply = httpx.post(f"{server.base_url}/v1/images/generations", json=body, headers=HEADERS, timeout=20)
    assert reply.status_code == 202, reply.text
    task: str = reply.json()["id"]
    return task


def shown(server: Served, task: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(
        f"{server.base_url}/v1/tasks/{task}", headers=HEADERS, timeout=20
    ).json()
    return found


def ended(server: Served, task: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = shown(server, task)
        return found if found["status"] in OVER else None

    over: dict[str, Any] = waited(look)
    return over


def kill(server: Served) -> None:
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()


def _polled(place: Place, prompt: str) -> Callable[[], bool]:
    return lambda: any(task.polls_ms for task in place.vendors.log.ledger.tasks(prompt=prompt))


def _downloading(place: Place, prompt: str) -> Callable[[], bool]:
    return lambda: bool(place.vendors.log.exchanges("files"))


@pytest.mark.parametrize(
    ("order", "step"),
    [("sim:polls:8", _polled), ("sim:file:slow:1", _downloading)],
    ids=["polled", "downloading"],
)
def test_a_task_that_a_vendor_took_goes_on_with_the_next_process(
    tmp_path: Path, store_address: str, vendors: Running, order: str, step: Any
) -> None:
    place, prompt = Place(tmp_path, store_address, vendors), f"Survives {order}"
    with place.served() as server:
        task = begun(server, "wan", prompt)
        waited(step(place, prompt))
        kill(server)
    with place.served() as server:
        over = ended(server, task)
        assert over["status"] == "completed"
        assert httpx.get(over["results"][0]).content.startswith(b"\x89PNG")
    assert place.orders(prompt) == 1
    assert place.booked(task) == [("hold", "ordered"), ("settle", "ok")]
    tries = sa.select(ledger.c.attempt).where(ledger.c.request_id == place.row(task)["request_id"])
    assert asked(store_address, lambda connection: connection.execute(tries).scalars().all()) == [1, 1]


def test_what_a_vendor_was_not_told_is_known_to_the_next_process(
    tmp_path: Path, store_address: str, vendors: Running
) -> None:
    """The first target is down, and would have been told the `seed`."""
    place, prompt = Place(tmp_path, store_address, vendors), "Sown sim:error:503 sim:polls:8"
    with place.served() as server:
        task = begun(server, "either", prompt, seed=7, style="vivid")
        waited(_polled(place, prompt))
        kill(server)
    with place.served() as server:
        assert ended(server, task)["status"] == "completed"
        found = httpx.get(f"{server.base_url}/v1/tasks/{task}", headers=HEADERS)
    assert found.headers["x-proxy-dropped"] == "seed, style"


@pytest.mark.parametrize(("model", "order"), [("whole", "sim:slow:2"), ("by-talk", "sim:slow:2")])
def test_an_order_that_nobody_heard_of_is_uncertain_and_not_repeated(
    tmp_path: Path, store_address: str, vendors: Running, model: str, order: str
) -> None:
    place, prompt = Place(tmp_path, store_address, vendors), f"Unheard {model} {order}"
    with place.served() as server:
        task = begun(server, model, prompt)
        waited(lambda: place.orders(prompt))
        kill(server)
    with place.served() as server:
        waited(lambda: shown(server, task)["task_info"].get("uncertain"))
        time.sleep(1.5)  # longer than a lease
        found = shown(server, task)
    assert (found["status"], found["task_info"]) == ("processing", {"can_cancel": False, "uncertain": True})
    assert place.orders(prompt) == 1
    assert place.row(task)["state"] == "uncertain"


def test_what_was_not_ordered_yet_starts_anew(tmp_path: Path, store_address: str, vendors: Running) -> None:
    place = Place(tmp_path, store_address, vendors, "lease: 1s, at_once: 1")
    with place.served() as server:
        begun(server, "wan", "In front sim:polls:9999")
        task = begun(server, "wan", "Waiting")
        waited(_polled(place, "In front sim:polls:9999"))
        assert shown(server, task)["status"] == "pending"
        kill(server)
    place = Place(tmp_path, store_address, vendors)
    with place.served() as server:
        assert ended(server, task)["status"] == "completed"
    assert place.orders("Waiting") == 1


def test_a_reply_that_went_on_from_another_is_taken_over_with_it(tmp_path: Path, vendors: Running) -> None:
    """What came before it is read again where it is taken over; see test_responses_state.py."""
    place, prompt = Place(tmp_path, f"sqlite:{tmp_path}/state/dragoman.db", vendors), "Redder sim:polls:8"
    body: dict[str, Any] = {"model": "wan", "input": "A hat"}
    headers = {**HEADERS, "idempotency-key": "hat-1"}

    def ask(server: Served) -> httpx.Response:
        return httpx.post(f"{server.base_url}/v1/responses", json=body, headers=headers, timeout=20)

    with place.served() as server:
        first = httpx.post(f"{server.base_url}/v1/responses", json=body, headers=HEADERS, timeout=20)
        body = {"model": "wan", "input": prompt, "previous_response_id": first.json()["id"]}
        with ThreadPoolExecutor(1) as aside:
            waiting = aside.submit(ask, server)
            waited(_polled(place, prompt))
            kill(server)
            with pytest.raises(httpx.TransportError):
                waiting.result()
    with place.served() as server:
        waited(lambda: _states(place) == {"completed"})
        reply = ask(server)
    assert [item["type"] for item in reply.json()["output"]] == ["image_generation_call"]
    assert place.orders(prompt) == 1


def _states(place: Place) -> set[str]:
    return set(
        asked(
            place.store,
            lambda connection: connection.execute(sa.text("SELECT state FROM tasks")).scalars().all(),
        )
    )


def test_several_pictures_of_one_task_are_each_ordered_once(
    tmp_path: Path, store_address: str, vendors: Running
) -> None:
    """What is made before the crash stays made."""
    place, prompt = Place(tmp_path, store_address, vendors), "Six of them sim:slow:0.6"
    with place.served() as server:
        task = begun(server, "by-talk", prompt, n=6)
        waited(lambda: '"done"' in place.row(task)["orders"])
        kill(server)
    with place.served():
        waited(lambda: place.row(task)["state"] in (*OVER, "uncertain"))
    row = place.row(task)
    unheard = row["orders"].count('"intended"')
    assert (row["state"] == "completed") is (unheard == 0)
    assert 6 - unheard <= place.orders(prompt) <= 6


def test_a_server_that_is_told_to_end_leaves_its_tasks_at_once(
    tmp_path: Path, store_address: str, vendors: Running
) -> None:
    place, prompt = Place(tmp_path, store_address, vendors, "lease: 60s"), "Handed over sim:polls:8"
    with place.served() as server:
        task = begun(server, "wan", prompt)
        waited(_polled(place, prompt))
        assert server.stop() == 0
    assert (place.row(task)["owner"], place.row(task)["tries"]) == (None, 0)
    with place.served() as server:
        assert ended(server, task)["status"] == "completed"
    assert place.orders(prompt) == 1


def test_a_task_that_ended_three_processes_is_parked(
    tmp_path: Path, store_address: str, vendors: Running
) -> None:
    place, prompt = Place(tmp_path, store_address, vendors), "Deadly sim:polls:9999"
    with place.served() as server:
        task = begun(server, "wan", prompt)
        waited(_polled(place, prompt))
        kill(server)
    for tries in (2, 3):
        with place.served() as server:
            waited(lambda tries=tries: place.row(task)["tries"] == tries)
            kill(server)
    with place.served() as server:
        waited(lambda: place.row(task)["state"] == "parked")
        assert shown(server, task)["task_info"]["uncertain"] is True
    assert place.orders(prompt) == 1


def test_killed_at_random_each_picture_is_ordered_once(
    tmp_path: Path, store_address: str, vendors: Running
) -> None:
    place, made = Place(tmp_path, store_address, vendors), {}
    for number in range(4):
        with place.served() as server:
            for model in ("wan", "whole", "by-talk"):
                prompt = f"Random {number} {model} sim:slow:0.3"
                made[prompt] = begun(server, model, prompt)
            time.sleep(random.random() * 1.2)
            kill(server)
    with place.served():
        waited(
            lambda: all(place.row(task)["state"] in (*OVER, "uncertain", "parked") for task in made.values())
        )
    states = {prompt: place.row(task)["state"] for prompt, task in made.items()}
    assert {prompt: place.orders(prompt) for prompt in made if place.orders(prompt) > 1} == {}
    for prompt, state in states.items():
        if state == "completed":
            assert place.orders(prompt) == 1
    assert "failed" not in states.values()


def test_a_lost_lease_stops_whoever_worked_at_it(tmp_path: Path, store_address: str) -> None:
    """Another took it over: here nothing is polled, ordered or written any more."""
    state = f'server: {{state: "{store_address}"}}\ntasks: {{lease: 1s}}\n'
    file = FILE + state
    with open_gateway(tmp_path, file) as own, watching(own) as seen:
        body = {"model": "wan", "prompt": "Stolen sim:polls:9999", "background": True}
        reply = own.http.post(f"{own.base_url}/v1/images/generations", json=body, headers=HEADERS)
        task = reply.json()["id"]
        waited(lambda: any(order.polls_ms for order in seen.tasks("Stolen sim:polls:9999")))
        table = tasks.tasks
        theirs = (
            sa.update(table)
            .where(table.c.id == task)
            .values(owner="another", epoch=table.c.epoch + 1, lease_until=time.time() + 60)
        )
        asked(store_address, lambda connection: connection.execute(theirs).rowcount)
        keeper = own.application.house.services.keeper  # type: ignore[union-attr]
        waited(lambda: task not in keeper.running)
        (order,) = seen.tasks("Stolen sim:polls:9999")
        polls = len(order.polls_ms)
        time.sleep(0.5)  # five polls
        assert len(order.polls_ms) <= polls + 1
        assert not order.cancelled
        found = asked(store_address, lambda connection: tasks.get(connection, task))
        assert (found["owner"], found["state"]) == ("another", "running")


def test_an_operator_resolves_what_is_uncertain(tmp_path: Path, store_address: str, vendors: Running) -> None:
    place = Place(tmp_path, store_address, vendors)
    prompts = [f"Unheard of {number} sim:slow:2" for number in range(4)]
    with place.served() as server:
        made = [begun(server, "whole", prompt) for prompt in prompts]
        waited(lambda: all(map(place.orders, prompts)))
        kill(server)

    def dragoman(*arguments: str) -> tuple[int, str, str]:
        return run("tasks", *arguments, cwd=tmp_path, environment=ENVIRONMENT)

    with place.served() as server:
        waited(lambda: all(place.row(task)["state"] == "uncertain" for task in made))
        code, out, _ = dragoman("--uncertain", "--json")
        assert (code, sorted(row["id"] for row in json.loads(out))) == (0, sorted(made))
        assert "Unheard" not in out
        fates = (["--failed"], ["--again"], ["--number", "no-such-job"], ["--paid"])
        for task, how in zip(made, fates, strict=True):
            code, _, said = dragoman("resolve", task, *how)
            assert (code, said) == (0, f"{task} is resolved\n"), said
        over = [ended(server, task) for task in made]
        assert [one["status"] for one in over] == ["failed", "completed", "failed", "failed"]
        assert [over[0]["error"]["code"], over[3]["error"]["code"]] == ["order_lost", "result_lost"]
        assert [place.orders(prompt) for prompt in prompts] == [1, 2, 1, 1]
        assert place.booked(made[0]) == [("hold", "ordered"), ("refund", "resolved")]
        assert place.booked(made[1]) == [
            ("hold", "ordered"), ("refund", "resolved"), ("hold", "ordered"), ("settle", "ok"),
        ]  # fmt: skip
        assert place.booked(made[3]) == [("hold", "ordered"), ("settle", "resolved")]
        assert json.loads(dragoman("--uncertain", "--json")[1]) == []
        assert dragoman("resolve", made[0], "--again")[0] == 1
        assert dragoman("show", "task_unknown")[0] == 1
        assert json.loads(dragoman("show", made[1])[1])["callbacks"] == []
        assert made[1] in dragoman()[1]
