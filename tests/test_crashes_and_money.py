"""Whatever dies: each order is given once, ends once, and the ledger says what the vendors' invoices say.

Short here; `DRAGOMAN_LONG=N` makes each run N times as long.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from proxy.simulators.server import Running, start
from proxy.store import tables
from tests import stores
from tests.gateway import KEY
from tests.picture_vendors import HEAD, providers
from tests.served import Served, run, serving, waited
from tests.test_tasks_crash import ENVIRONMENT, asked, kill

LONG = int(os.environ.get("DRAGOMAN_LONG", "1"))
HEADERS = {"authorization": f"Bearer {KEY}"}
FILE = (
    HEAD
    + providers("jlike", extra="private: true, currency: CNY, timeouts: {total: 6s}")
    + providers("dashscope", extra="private: true, currency: CNY, timeouts: {total: 6s}")
    + providers("grsai", extra="private: true, currency: points, timeouts: {total: 6s}")
    + providers("runware", extra="private: true, timeouts: {total: 6s}")
    + """
models:
  wan: {targets: [jlike.wan/wan2.7-t2i-plus], price: {image: 0.2}, poll: {every: 50ms}}
  dash: {targets: [dashscope/wan2.7-image], price: {image: 0.2}, poll: {every: 50ms}}
  points: {targets: [grsai/nano-banana-pro], price: {image: 440}, poll: {every: 50ms}}
  whole: {targets: [grsai/nano-banana-pro], price: {image: 440}, options: {reply_type: json}}
  asks: {targets: [runware/some-model], price: {image: 0.0038}, poll: {every: 50ms}}
  hasty: {targets: [jlike.wan/wan2.7-t2i-plus], price: {image: 0.2}, poll: {every: 50ms, give_up: 300ms}}
"""
)
POLLED = ("wan", "dash", "points", "asks", "hasty")
OPEN = ("pending", "running")


@pytest.fixture
def vendors() -> Iterator[Running]:
    with start() as running:
        yield running


@dataclass
class Place:
    """Servers come and go; the store and the vendors stay."""

    folder: Path
    store: str
    vendors: Running
    more: str = ""

    @contextmanager
    def served(self, *arguments: str, lease: str = "1s", **options: Any) -> Iterator[Served]:
        state = f'server: {{state: "{self.store}", files: {{folder: "{self.folder}/files"}}{self.more}}}\n'
        file = (
            FILE.replace("http://SIMULATORS", self.vendors.base_url) + state + f"tasks: {{lease: {lease}}}\n"
        )
        environment = {**ENVIRONMENT, **options.pop("environment", {})}
        folder = self.folder / options.pop("name", "server")
        folder.mkdir(exist_ok=True)
        with serving(folder, file, *arguments, environment=environment, **options) as server:
            yield server

    def rows(self, table: sa.Table) -> list[dict[str, Any]]:
        if self.store.startswith("sqlite:") and not Path(self.store.removeprefix("sqlite:")).exists():
            return []
        query = sa.select(table)
        return asked(  # type: ignore[no-any-return]
            self.store, lambda connection: [dict(row) for row in connection.execute(query).mappings()]
        )

    def open_holds(self) -> list[dict[str, Any]]:
        rows = self.rows(tables.ledger)
        ended = {_try(row) for row in rows if row["kind"] in ("settle", "refund")}
        return [row for row in rows if row["kind"] == "hold" and _try(row) not in ended]

    def settled(self) -> bool:
        """Nothing goes on any more: no task is open, and nothing is watched."""
        return not self.rows(tables.watches) and not self._open()

    def resolve(self) -> int:
        """Do what an operator does: what is uncertain was paid where the vendor's invoice has more than our
        ledger. How many there were. All orders are of one picture at the vendor's one price."""

        def dragoman(*arguments: str) -> str:
            folder = self.folder / "server"
            code, out, said = run("tasks", *arguments, cwd=folder, environment=ENVIRONMENT)
            assert code == 0, said
            return out

        invoiced = Counter(
            order.vendor for order in self.vendors.log.ledger.tasks() if order.amount("settle")
        )
        settled = Counter(
            row["target"].partition("/")[0].partition(".")[0]
            for row in self.rows(tables.ledger)
            if row["kind"] == "settle"
        )
        more = invoiced - settled
        # What ended with its process is nobody's any more when it is older than any request.
        older = sa.update(tables.ledger).values(at=tables.ledger.c.at - 3600)
        asked(self.store, lambda connection: connection.execute(older).rowcount)
        found = json.loads(dragoman("--uncertain", "--json"))
        for one in found:
            (order,) = one["orders"].values()
            vendor = order["target"].partition("/")[0].partition(".")[0]
            dragoman("resolve", one["id"], "--paid" if more[vendor] > 0 else "--failed")
            more[vendor] -= 1
        return len(found)

    def until_settled(self) -> None:
        until = time.monotonic() + 30 + 30 * LONG
        while not self.settled():
            assert time.monotonic() < until, (self.rows(tables.watches), self._open())
            time.sleep(0.1)

    def _open(self) -> list[dict[str, Any]]:
        return [row for row in self.rows(tables.tasks) if row["state"] in OPEN]

    # --- what must hold

    def check_ends(self) -> None:
        ends = Counter(_try(row) for row in self.rows(tables.ledger) if row["kind"] in ("settle", "refund"))
        assert [count for count in ends.values() if count > 1] == []
        assert self.open_holds() == []

    def check_orders(self) -> None:
        orders = Counter(order.prompt for order in self.vendors.log.ledger.tasks())
        assert {prompt: count for prompt, count in orders.items() if count > 1} == {}

    def check_invoices(self) -> None:
        invoices: Counter[str] = Counter()
        for order in self.vendors.log.ledger.tasks():
            invoices[order.unit] += order.amount("settle")  # type: ignore[assignment]
        made: Counter[str] = Counter()
        for row in self.rows(tables.ledger):
            made[row["currency"]] += row["amount"] if row["kind"] == "settle" else 0
        assert {unit: sum_ for unit, sum_ in made.items() if sum_} == dict(invoices)


def _try(row: dict[str, Any]) -> tuple[str, int, int]:
    return row["request_id"], row["call"], row["attempt"]


def post(base_url: str, model: str, prompt: str, **more: Any) -> httpx.Response | None:
    """None where the server died before it answered."""
    body = {"model": model, "prompt": prompt, **more}
    try:
        return httpx.post(f"{base_url}/v1/images/generations", json=body, headers=HEADERS, timeout=30)
    except httpx.TransportError:
        return None


# --- a kill at every step


STEPS = 6 if LONG == 1 else 8


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("background", [True, False], ids=["task", "waited-for"])
def test_a_kill_at_every_write_of_an_orders_life(
    tmp_path: Path, store_address: str, vendors: Running, when: str, background: bool
) -> None:
    """Each dies by its own hand, before or after it has committed; then one comes that finishes all."""
    place = Place(tmp_path, store_address, vendors)
    dying = (sys.executable, "-m", "tests.dying")
    kills = 0
    for turn in range(LONG):
        for step in range(1, STEPS + 1):
            death = {"DIE_AT": str(step), "DIE_WHEN": when}
            model = ("wan", "asks", "whole")[(step + turn) % 3]
            with place.served(lease="6s", command=dying, environment=death) as server:
                prompt = f"Turn {turn} step {step} of {model}"
                post(server.base_url, model, prompt, background=background)
                kills += _until_dead_or_over(place, server)
                kill(server)
    with place.served():
        place.until_settled()
    uncertain = place.resolve()
    place.check_orders()
    place.check_ends()
    place.check_invoices()
    assert kills >= (4 if background else 2) * LONG
    assert uncertain <= STEPS * LONG


def _until_dead_or_over(place: Place, server: Served) -> bool:
    """Whether it died."""

    def over() -> bool:
        return server.process.poll() is not None or (place.settled() and not place.open_holds())

    until = time.monotonic() + 3  # what an earlier one left may be open for good
    while time.monotonic() < until and not over():
        time.sleep(0.02)
    return server.process.poll() is not None


# --- at random


ORDERS = ("", "", "", "sim:polls:4", "sim:slow:0.5", "sim:moderate", "sim:fail:X", "sim:http:503",
          "sim:poll-fail:2", "sim:http:429")  # fmt: skip


def test_mixed_jobs_with_faults_and_crashes_come_to_the_invoices(
    tmp_path: Path, store_address: str, vendors: Running
) -> None:
    place, chance = Place(tmp_path, store_address, vendors), random.Random(20261126)
    jobs = 0
    for turn in range(3 * LONG):
        with place.served() as server, ThreadPoolExecutor(8) as pool:
            for number in range(40):
                prompt = f"Job {turn}.{number} {chance.choice(ORDERS)}"
                pool.submit(
                    post, server.base_url, chance.choice(POLLED), prompt, background=chance.random() < 0.6
                )
                jobs += 1
            time.sleep(0.5 + chance.random())
            kill(server)
    with place.served():
        place.until_settled()
    place.resolve()
    assert jobs == 120 * LONG
    place.check_orders()
    place.check_ends()
    place.check_invoices()
    assert len(place.rows(tables.ledger)) > 40 * LONG


# --- many machines


def test_one_of_two_machines_is_killed(
    tmp_path: Path, postgresql: str, redis_server: stores.RedisServer, vendors: Running
) -> None:
    """Two workers each, on one PostgreSQL and Redis; the limit of both is exact."""
    store = stores.fresh(postgresql)
    shared = f', shared: "{redis_server.address}"'
    place = Place(tmp_path, store, vendors, shared)
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(place.served("--workers", "2", name=name, lease="2s"))
            for name in ("server", "other")
        )
        with ThreadPoolExecutor(8) as pool:
            replies = [
                pool.submit(
                    post,
                    (one, other)[number % 2].base_url,
                    POLLED[number % 4],
                    f"Load {number} sim:slow:1",
                    background=True,
                )
                for number in range(40 * LONG)
            ]
            accepted = [reply.result() for reply in replies]
        assert all(reply is not None and reply.status_code == 202 for reply in accepted)
        _kill_with_workers(other)
        place.until_settled()
        states = Counter(row["state"] for row in place.rows(tables.tasks))
        assert set(states) <= {"completed", "uncertain"}
        place.resolve()
    place.check_orders()
    place.check_ends()
    place.check_invoices()
    assert sum(states.values()) == 40 * LONG


def _kill_with_workers(served: Served) -> None:
    """The whole machine."""
    children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()
    for pid in (served.process.pid, *map(int, children)):
        os.kill(pid, signal.SIGKILL)
    served.process.wait()


# --- a store that is away


def test_a_store_that_is_away_for_a_while_loses_nothing(
    tmp_path: Path, postgresql: str, vendors: Running
) -> None:
    import psycopg

    store = stores.fresh(postgresql)
    name = store.partition("?")[0].rpartition("/")[2]

    def admit(allowed: bool) -> None:
        with psycopg.connect(postgresql, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {allowed}")
            connection.execute(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            )

    place = Place(tmp_path, store, vendors)
    with place.served() as server:
        reply = post(server.base_url, "wan", "Under way sim:slow:3", background=True)
        assert reply is not None
        assert reply.status_code == 202
        waited(lambda: vendors.log.ledger.tasks("jlike"))
        admit(False)
        until, waited_for, refused = time.monotonic() + 4 * LONG, 0, 0
        while time.monotonic() < until:
            drawn = post(server.base_url, "dash", f"Meanwhile {waited_for}")
            assert drawn is not None
            assert drawn.status_code == 200
            waited_for += 1
            task = post(server.base_url, "dash", "Refused", background=True)
            assert task is not None
            assert (task.status_code, task.json()["error"]["code"]) == (503, "store_unavailable")
            refused += 1
        admit(True)
        waited(lambda: len(place.rows(tables.ledger)) == 2 * (waited_for + 1))
        place.until_settled()
    assert [row["state"] for row in place.rows(tables.tasks)] == ["completed"]
    assert refused > 0
    place.check_orders()
    place.check_ends()
    place.check_invoices()
