"""Whatever dies: each order is given once, ends once, and the ledger says what the vendors' invoices say.

Short here; `DRAGOMAN_LONG=N` makes each run N times as long, and `--junitxml` tells what it came to.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

import httpx
import openai
import pytest
import sqlalchemy as sa

from proxy.simulators.ledger import Task as Ordered
from proxy.simulators.server import Running, start
from proxy.store import tables
from proxy.store.database import Database
from tests import stores
from tests.gateway import KEY
from tests.long import LONG, SEED
from tests.picture_vendors import HEAD, decoded, providers
from tests.served import Served, run, serving, waited
from tests.test_joining import Cutting
from tests.test_tasks_crash import ENVIRONMENT, kill

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
    rules: str = "private: true"
    _orders: dict[tuple[str, str], Ordered] = field(default_factory=dict)

    @contextmanager
    def served(self, *arguments: str, lease: str = "1s", **options: Any) -> Iterator[Served]:
        state = f'server: {{state: "{self.store}", files: {{folder: "{self.folder}/files"}}{self.more}}}\n'
        file = FILE.replace("http://SIMULATORS", self.vendors.base_url).replace("private: true", self.rules)
        file += f"{state}tasks: {{lease: {lease}}}\n"
        environment = {**ENVIRONMENT, **options.pop("environment", {})}
        folder = self.folder / options.pop("name", "server")
        folder.mkdir(exist_ok=True)
        with serving(folder, file, *arguments, environment=environment, **options) as server:
            yield server

    @cached_property
    def database(self) -> Database:
        return Database(self.store)

    def ask(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        if not self.database.may_exist():
            return []
        return self.database.do(
            lambda connection: [dict(row) for row in connection.execute(query).mappings()]
        )

    def rows(self, table: sa.Table) -> list[dict[str, Any]]:
        return self.ask(sa.select(table))

    def open_holds(self) -> list[dict[str, Any]]:
        rows = self.rows(tables.ledger)
        ended = {_try(row) for row in rows if row["kind"] in ("settle", "refund")}
        return [row for row in rows if row["kind"] == "hold" and _try(row) not in ended]

    def states(self) -> Counter[str]:
        """How many tasks are in which."""
        return Counter(row["state"] for row in self.ask(sa.select(tables.tasks.c.state)))

    def settled(self) -> bool:
        """Nothing goes on any more: no task is open, and nothing is watched."""
        return not self.rows(tables.watches) and not self.open_tasks()

    def orders(self) -> list[Ordered]:
        """All that the vendors were asked to make; they know the newest thousands, so ask in between too."""
        self._orders |= {(order.vendor, order.id): order for order in self.vendors.log.ledger.tasks()}
        return list(self._orders.values())

    def invoice(self) -> None:
        """The vendors' work is over, also where nobody asks for it: what was made is billed."""
        for order in self.orders():
            fails = any(word in order.prompt for word in ("sim:fail", "sim:moderate"))
            self.vendors.log.ledger.settle(order, Decimal(0) if fails else order.amount("reserve"))

    def resolve(self) -> int:
        """Do what an operator does: what is uncertain was paid where the vendor's invoice has more than our
        ledger, which must not be more than what is uncertain. How many there were. All orders are of one
        picture at the vendor's one price."""

        def dragoman(*arguments: str) -> str:
            folder = self.folder / "server"
            code, out, said = run("tasks", *arguments, cwd=folder, environment=ENVIRONMENT)
            assert code == 0, said
            return out

        self.invoice()
        more = Counter(order.vendor for order in self.orders() if order.amount("settle"))
        more.subtract(_vendor(row) for row in self.rows(tables.ledger) if row["kind"] == "settle")
        # What ended with its process is nobody's any more when it is older than any request.
        older = sa.update(tables.ledger).values(at=tables.ledger.c.at - 3600)
        self.database.do(lambda connection: connection.execute(older).rowcount)
        unknown: Counter[str] = Counter()
        resolved = 0
        while found := json.loads(dragoman("--uncertain", "--json")):
            for one in found:
                vendors = [
                    _vendor(order)
                    for order in one["orders"].values()
                    if order["state"] in ("intended", "held")  # of all others the vendor has told
                ]
                is_paid = bool(vendors) and more[vendors[0]] > unknown[vendors[0]]
                dragoman("resolve", one["id"], "--paid" if is_paid else "--failed")
                unknown.update(vendors * is_paid)
                resolved += 1
        assert +more == +unknown  # what nobody was uncertain of was in the ledger already
        return resolved

    def end_leases(self) -> None:
        """Let the time pass after which what a dead process had is taken over."""

        def end(connection: sa.Connection) -> None:
            connection.execute(sa.update(tables.tasks).values(lease_until=0))
            connection.execute(sa.update(tables.watches).values(due=0))

        self.database.do(end)

    def until_settled(self) -> None:
        until = time.monotonic() + 90 + 30 * LONG  # a vendor is asked a minute for what never reached it
        while not self.settled():
            assert time.monotonic() < until, (self.rows(tables.watches), self.open_tasks())
            time.sleep(0.1)

    def open_tasks(self) -> list[dict[str, Any]]:
        return self.ask(sa.select(tables.tasks).where(tables.tasks.c.state.in_(OPEN)))

    # --- what must hold

    def check(self) -> None:
        self.check_orders()
        self.check_ends()
        self.check_invoices()

    def check_ends(self) -> None:
        ends = Counter(_try(row) for row in self.rows(tables.ledger) if row["kind"] in ("settle", "refund"))
        assert [count for count in ends.values() if count > 1] == []
        assert self.open_holds() == []
        assert set(self.states()) <= {"completed", "failed", "cancelled"}

    def check_orders(self) -> None:
        orders = Counter(order.prompt for order in self.orders())
        assert {prompt: count for prompt, count in orders.items() if count > 1} == {}

    def check_invoices(self) -> None:
        assert self.booked() == self.invoices()

    def invoices(self) -> dict[str, Decimal]:
        """What the vendors want, by currency."""
        sums: Counter[str] = Counter()
        for order in self.orders():
            sums[order.unit] += order.amount("settle")  # type: ignore[assignment]
        return _more_than_none(sums)

    def booked(self) -> dict[str, Decimal]:
        """What our ledger has charged, by currency."""
        sums: Counter[str] = Counter()
        for row in self.rows(tables.ledger):
            sums[row["currency"]] += row["amount"] if row["kind"] == "settle" else 0
        return _more_than_none(sums)

    def figures(self, **more: Any) -> dict[str, str]:
        """What a run came to."""
        found = {
            "orders": len(self.orders()),
            "requests": len({row["request_id"] for row in self.rows(tables.ledger)}),
            "tasks": dict(self.states()),
            "booked": {unit: str(sum_) for unit, sum_ in self.booked().items()},
            "invoiced": {unit: str(sum_) for unit, sum_ in self.invoices().items()},
        }
        return {name: str(value) for name, value in {**more, **found}.items()}


@pytest.fixture
def place_at(tmp_path: Path, vendors: Running) -> Iterator[Callable[..., Place]]:
    """A place over the store at an address."""
    with ExitStack() as stack:

        def at(store: str, more: str = "") -> Place:
            place = Place(tmp_path, store, vendors, more)
            stack.callback(place.database.release)
            return place

        yield at


def _more_than_none(sums: Counter[str]) -> dict[str, Any]:
    return {unit: sum_ for unit, sum_ in sums.items() if sum_}


def _vendor(row: dict[str, Any]) -> str:
    """Whose target it is."""
    return str(row["target"]).partition("/")[0].partition(".")[0]


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


STEPS = {True: 6, False: 4}  # the writes of an order's life, and one


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("background", [True, False], ids=["task", "waited-for"])
def test_a_kill_at_every_write_of_an_orders_life(
    place_at: Callable[..., Place],
    store_address: str,
    when: str,
    background: bool,
    record_property: Callable[[str, object], None],
) -> None:
    """Each dies by its own hand, before or after it has committed; then one comes that finishes all. The long
    run has lives of two and three orders too."""
    place = place_at(store_address)
    kills = lives = 0
    for turn in range(LONG):
        at_once = 1 + turn % 3
        for step in range(1, STEPS[background] * at_once + 1):
            death = {"DIE_AT": str(step), "DIE_WHEN": when}
            models = [("wan", "asks", "whole")[(step + turn + number) % 3] for number in range(at_once)]
            before = _requests(place)
            with (
                place.served(lease="6s", environment=death, module="tests.dying") as server,
                ThreadPoolExecutor(at_once) as pool,
            ):
                for model in models:
                    prompt = f"Turn {turn} step {step} of {model}"
                    pool.submit(post, server.base_url, model, prompt, background=background)
                kills += _until_dead_or_over(place, server, before)
                lives += 1
                kill(server)
        place.orders()
    place.end_leases()
    with place.served():
        place.until_settled()
    uncertain = place.resolve()
    place.check()
    for name, value in place.figures(lives=lives, kills=kills, uncertain=uncertain).items():
        record_property(name, value)
    assert kills >= (4 if background else 2) * LONG
    assert uncertain <= at_once * lives


def _requests(place: Place) -> set[str]:
    return {row["request_id"] for row in (*place.rows(tables.ledger), *place.rows(tables.tasks))}


def _until_dead_or_over(place: Place, server: Served, before: set[str]) -> bool:
    """Whether it died, which it need not where this step is after the end of what came now."""

    def over() -> bool:
        if server.process.poll() is not None:
            return True
        new = _requests(place) - before
        going_on = (*place.open_holds(), *place.rows(tables.watches), *place.open_tasks())
        return bool(new) and new.isdisjoint(row["request_id"] for row in going_on)

    until = time.monotonic() + 3  # what nobody can ask about is open for good
    while time.monotonic() < until and not over():
        time.sleep(0.02)
    with suppress(TimeoutExpired):
        server.process.wait(0.3)  # between a commit that is seen and the death after it
    return server.process.poll() is not None


def test_what_is_parked_by_a_process_that_dies_is_watched_all_the_same(
    place_at: Callable[..., Place], store_address: str, vendors: Running
) -> None:
    """It is parked and its order is watched, or neither: nobody comes a second time to what is parked."""
    place = place_at(store_address)
    with place.served(lease="3s") as server:
        post(server.base_url, "wan", "Parked sim:slow:1", background=True)
        waited(lambda: '"accepted"' in place.rows(tables.tasks)[0]["orders"])
        kill(server)
    cost_three = sa.update(tables.tasks).values(tries=3)
    place.database.do(lambda connection: connection.execute(cost_three).rowcount)
    place.end_leases()
    death = {"DIE_AT": "1", "DIE_WHEN": "after"}
    with place.served(lease="3s", environment=death, module="tests.dying") as server:
        assert server.process.wait(20) == -signal.SIGKILL
    assert place.states() == {"parked": 1}
    with place.served():
        waited(lambda: place.states() == {"completed": 1})  # with the picture that came without it
    assert [(row["kind"], row["outcome"]) for row in place.rows(tables.ledger)] == [
        ("hold", "ordered"),
        ("settle", "late"),
    ]


# --- at random


ORDERS = ("", "", "", "sim:polls:4", "sim:slow:0.5", "sim:moderate", "sim:fail:X", "sim:http:503:3600",
          "sim:poll-fail:2", "sim:http:429:3600")  # fmt: skip


def test_mixed_jobs_with_faults_and_crashes_come_to_the_invoices(
    place_at: Callable[..., Place],
    store_address: str,
    record_property: Callable[[str, object], None],
) -> None:
    place, chance = place_at(store_address), random.Random(SEED)
    jobs = kills = 0
    for turn in range(2 * LONG):
        with place.served() as server, ThreadPoolExecutor(8) as pool:
            replies = [
                pool.submit(
                    post,
                    server.base_url,
                    chance.choice(POLLED),
                    f"Job {turn}.{number} {chance.choice(ORDERS)}",
                    background=chance.random() < 0.6,
                )
                for number in range(40)
            ]
            _until_answered(replies, chance.randint(10, 40))
            time.sleep(chance.random() / 2)
            kill(server)
            kills += 1
        jobs += len(replies)
        place.orders()
    with place.served():
        place.until_settled()
    uncertain = place.resolve()
    assert jobs == 80 * LONG
    place.check()
    for name, value in place.figures(jobs=jobs, kills=kills, uncertain=uncertain).items():
        record_property(name, value)
    assert len(place.rows(tables.ledger)) > 25 * LONG


def _until_answered(replies: list[Future[httpx.Response | None]], count: int) -> None:
    until = time.monotonic() + 10
    waiting = set(replies)
    while len(replies) - len(waiting) < count and time.monotonic() < until:
        _, waiting = wait(waiting, timeout=until - time.monotonic(), return_when=FIRST_COMPLETED)


# --- many machines


_SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1.5); RETURN NEW; END';
CREATE TRIGGER slow BEFORE UPDATE ON tasks FOR EACH ROW WHEN (NEW.orders LIKE '%intended%')
EXECUTE FUNCTION slow()
"""


def test_one_of_two_machines_is_killed(
    place_at: Callable[..., Place], postgresql: str, redis_server: stores.RedisServer
) -> None:
    """Two workers each, on one PostgreSQL and Redis; the limit of both is exact."""
    store = stores.fresh(postgresql)
    shared = f', shared: "{redis_server.address}"'
    place = place_at(store, shared)
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
        states = place.states()
        assert set(states) <= {"completed", "uncertain"}
        place.resolve()
    place.check()
    assert sum(states.values()) == 40 * LONG


def test_sdks_on_lines_that_break_between_two_machines_buy_each_picture_once(
    place_at: Callable[..., Place], postgresql: str, redis_server: stores.RedisServer
) -> None:
    """Each tries again where chance leads it, until it has its picture."""
    shared = f', shared: "{redis_server.address}"'
    place = place_at(stores.fresh(postgresql), shared)
    with place.served(name="server") as one, place.served(name="other") as other:

        def drawn(number: int) -> str:
            line = Cutting(SEED + number, one.base_url, other.base_url)
            named = {"idempotency-key": f"job {number}"} if number % 2 else {}
            try:  # of its tries two are cut, and another may find a machine that has just called it off
                with openai.OpenAI(base_url=line.base_url, api_key=KEY, timeout=20, max_retries=5) as client:
                    reply = client.images.generate(
                        model=POLLED[number % 4], prompt=f"Cut {number} sim:slow:0.4", extra_headers=named
                    )
                    return (reply.data or ())[0].b64_json or ""
            finally:
                line.close()

        with ThreadPoolExecutor(16) as pool:
            pictures = list(pool.map(drawn, range(16 * LONG)))
        place.until_settled()
    assert all(decoded(picture).width for picture in pictures)
    # On a slow machine some are called off, before they are ordered, until their client is back.
    assert place.states()["completed"] == 16 * LONG
    assert len(place.orders()) == 16 * LONG
    place.invoice()
    place.check()


@pytest.mark.parametrize("model", ["asks", "wan"])
def test_what_is_called_off_before_it_goes_out_is_ordered_once_and_paid_once(
    place_at: Callable[..., Place], postgresql: str, model: str
) -> None:
    """Its client leaves while the order is being written down, and comes back by its key: the vendor may know
    an order by an id of ours, so one that never went out must not be asked for beside the one that did."""
    store = stores.fresh(postgresql)
    place = place_at(store)
    place.rules = "private: true, on_disconnect: cancel"
    headers = {**HEADERS, "idempotency-key": "once"}
    body = {"model": model, "prompt": "A cat sim:slow:0.2"}
    with place.served() as server:
        waited(lambda: place.database.may_exist() and place.states() == {})
        _done(store, _SLOW)
        with _asking(server, body, headers):
            waited(lambda: _done(store, "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))
        waited(lambda: place.states() == {"cancelled": 1})
        assert place.orders() == []
        _done(store, "DROP TRIGGER slow ON tasks")
        reply = httpx.post(f"{server.base_url}/v1/images/generations", json=body, headers=headers, timeout=20)
        assert reply.status_code == 200
        place.until_settled()
    assert [row["outcome"] for row in place.rows(tables.ledger)] == ["ordered", "abandoned", "ordered", "ok"]
    assert [row["kind"] for row in place.rows(tables.ledger)] == ["hold", "refund", "hold", "settle"]
    assert len(place.orders()) == 1
    place.check()


def test_what_is_called_off_at_work_is_another_order_when_its_client_is_back(
    place_at: Callable[..., Place], store_address: str
) -> None:
    """The vendor cannot call it off, and refuses an id that it knows; it bills both."""
    place = place_at(store_address)
    place.rules = "private: true, on_disconnect: cancel"
    headers = {**HEADERS, "idempotency-key": "twice"}
    body = {"model": "asks", "prompt": "A cat sim:slow:2"}
    with place.served() as server:
        with _asking(server, body, headers):
            waited(lambda: any('"accepted"' in row["orders"] for row in place.rows(tables.tasks)))
        waited(lambda: place.states() == {"cancelled": 1})
        reply = httpx.post(f"{server.base_url}/v1/images/generations", json=body, headers=headers, timeout=20)
        assert reply.status_code == 200
        place.until_settled()
    assert len(place.orders()) == 2
    place.check_ends()
    place.check_invoices()


@contextmanager
def _asking(server: Served, body: dict[str, str], headers: dict[str, str]) -> Iterator[None]:
    """A client that waits for as long as the block takes, and leaves."""
    request = httpx.Request("POST", f"{server.base_url}/v1/images/generations", json=body, headers=headers)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.create_connection((request.url.host, request.url.port or 80)) as client:
        client.sendall(f"POST {request.url.path} HTTP/1.1\r\n{head}\r\n".encode() + request.read())
        yield


def _done(store: str, statement: str) -> bool:
    """Whether it found anything."""
    import psycopg

    with psycopg.connect(store, autocommit=True) as connection:
        return connection.execute(statement).rowcount > 0


def _kill_with_workers(served: Served) -> None:
    """The whole machine."""
    children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()
    for pid in (served.process.pid, *map(int, children)):
        os.kill(pid, signal.SIGKILL)
    served.process.wait()


# --- a store that is away


def test_a_store_that_is_away_for_a_while_loses_nothing(
    place_at: Callable[..., Place], postgresql: str, vendors: Running
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

    place = place_at(store)
    with place.served() as server:
        reply = post(server.base_url, "wan", "Under way sim:slow:1", background=True)
        assert reply is not None
        assert reply.status_code == 202
        waited(lambda: vendors.log.ledger.tasks("jlike"))
        admit(False)
        until, waited_for, refused = time.monotonic() + 2 * LONG, 0, 0
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
    place.check()
