"""A process dies at each step of a task's life, by name: what it has written, what a vendor has heard and
said, what a client was told. Then one comes that finishes all.

Short here; `DRAGOMAN_LONG=N` goes through all steps N times, and `--junitxml` tells how often each was met.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any, NamedTuple

import httpx
import pytest
import sqlalchemy as sa

from proxy.simulators.ledger import KEPT_TASKS
from proxy.simulators.server import Running, start
from proxy.store import tables
from proxy.store.database import Database
from tests.between import CALLED, MOMENTS, Between, standing
from tests.dying import WRITES
from tests.gateway import KEY
from tests.long import LONG, SEED
from tests.picture_vendors import HEAD, providers
from tests.served import Served, run, serving
from tests.test_tasks_crash import ENVIRONMENT, kill

HEADERS = {"authorization": f"Bearer {KEY}"}
PRIVATE = "private: true, timeouts: {total: 20s}"
FILE = (
    HEAD
    + providers("jlike", extra=f"{PRIVATE}, currency: CNY")
    + providers("dashscope", extra=f"{PRIVATE}, currency: CNY")
    + providers("grsai", extra=f"{PRIVATE}, currency: points")
    + providers("runware", "replicate", extra=PRIVATE)
    + """
models:
  polled: {targets: [jlike.wan/wan2.7-t2i-plus], price: {image: 0.2}, poll: {every: 30ms}}
  several: {targets: [replicate/google/nano-banana], price: {image: 0.04}, poll: {every: 30ms}}
  hasty: {targets: [jlike.wan/wan2.7-t2i-plus], price: {image: 0.2}, poll: {every: 30ms, give_up: 100ms}}
  called-off: {targets: [dashscope/wan2.7-image], price: {image: 0.2}, poll: {every: 100ms}}
  asked: {targets: [runware/some-model], price: {image: 0.0038}, poll: {every: 30ms}}
  whole: {targets: [grsai/nano-banana-pro], price: {image: 440}, options: {reply_type: json}}
  kept-nowhere: {targets: [grsai/nano-banana-pro], price: {image: 440}, options: {reply_type: json}}
"""
)
ORDERS = {"hasty": "sim:slow:0.4", "called-off": "sim:polls:40", "several": "sim:slow:0.2"}
OPEN = ("pending", "running")
OVER = {"completed", "failed", "cancelled"}

_LONG_LEASE = "600s"  # so that nobody takes over before the end
_SHORT_LEASE = "1s"  # where it shall be renewed, and what is due be looked for
_RENEWING = ("renewed", "looked late", "ended late", "cancel asked")
_LIFE_S = 6.0


class Step(NamedTuple):
    """Where a process dies: before or after a write that is committed, or at a moment between it and others.
    `models` tell whose order it dies of."""

    name: str
    models: tuple[str, ...]
    write: str = ""
    when: str = ""


_USUAL = ("polled", "asked", "whole")
_WRITTEN = {
    "opened": _USUAL,
    "intended": _USUAL,
    "accepted": ("polled", "asked"),
    "made": ("several",),
    "ended": _USUAL,
    "renewed": ("called-off",),
    "taken over": ("polled", "asked"),
    "uncertain": ("whole",),
    "given up": ("hasty", "called-off"),
    "looked late": ("hasty",),
    "ended late": ("hasty",),
    "cancel asked": ("called-off",),
    "callback taken": ("polled",),
    "called back": ("polled",),
    "held": ("kept-nowhere",),
    "settled": ("kept-nowhere",),
}
_MET = {"submit": _USUAL, "cancel": ("called-off",), "callback": ("whole",), "download": _USUAL}
STEPS = [
    *(Step(f"{when} it is {write}", models, write, when) for write, models in _WRITTEN.items()
      for when in ("before", "after")),
    *(Step(moment, _MET.get(moment.partition(" ")[0], ("polled", "asked"))) for moment in MOMENTS),
]  # fmt: skip


def test_each_write_of_a_life_is_a_step() -> None:
    assert set(_WRITTEN) == set(WRITES)


class Life(NamedTuple):
    """An order of one request: its words are the name of the life, as its idempotency key is."""

    label: str
    model: str
    step: Step

    @property
    def prompt(self) -> str:
        return f"{self.label} {ORDERS.get(self.model, '')}".strip()

    def ask(self, base_url: str, callback: str) -> httpx.Response | None:
        """None where the server died of it."""
        body: dict[str, Any] = {"model": self.model, "prompt": self.prompt}
        headers = dict(HEADERS)
        if self.model != "kept-nowhere":
            body |= {"background": True, "callback_url": callback, "n": 2 if self.model == "several" else 1}
            headers["idempotency-key"] = self.label
        try:
            return httpx.post(f"{base_url}/v1/images/generations", json=body, headers=headers, timeout=20)
        except httpx.TransportError:
            return None

    def call_off(self, base_url: str, task: str) -> bool:
        try:
            reply = httpx.post(f"{base_url}/v1/tasks/{task}/cancel", headers=HEADERS, timeout=20)
        except httpx.TransportError:
            return False
        return reply.status_code == 200


class Place:
    """Servers come and go; the store, the vendors and what is between stay."""

    def __init__(self, folder: Path, store: str, vendors: Running, between: Between) -> None:
        self.folder = folder
        self.store = store
        self.vendors = vendors
        self.between = between
        self.database = Database(store)
        self.lives: list[Life] = []
        self.kills: Counter[str] = Counter()
        self.billed: dict[str, tuple[str, Decimal]] = defaultdict(lambda: ("", Decimal(0)))
        self.orders: Counter[str] = Counter()

    @property
    def callback(self) -> str:
        return f"{self.between.url}{CALLED}"

    @contextmanager
    def served(self, lease: str, **options: Any) -> Iterator[Served]:
        file = (
            FILE.replace("http://SIMULATORS", self.between.url)
            + f'server: {{state: "{self.store}", files: {{folder: "{self.folder}/files"}}}}\n'
            + f"tasks: {{lease: {lease}, callbacks: {{private: true}}}}\n"
        )
        environment = {**ENVIRONMENT, **options.pop("environment", {})}
        folder = self.folder / options.pop("name", "server")
        folder.mkdir(exist_ok=True)
        with serving(folder, file, environment=environment, **options) as server:
            yield server

    def rows(self, table: sa.Table) -> list[dict[str, Any]]:
        if not self.database.may_exist():
            return []
        return self.database.do(
            lambda connection: [dict(row) for row in connection.execute(sa.select(table)).mappings()]
        )

    def change(self, statement: Any) -> int:
        return int(self.database.do(lambda connection: connection.execute(statement).rowcount))

    # --- lives

    def live(self, step: Step, number: int) -> None:
        """One order, and a process that dies of it at this step."""
        model = step.models[number % len(step.models)]
        life = Life(f"Life {number} of {model}, {step.name}", model, step)
        self.lives.append(life)
        lease = _SHORT_LEASE if step.write in _RENEWING else _LONG_LEASE
        elsewhere = step.write in ("taken over", "uncertain", "cancel asked")
        with ExitStack() as stack:
            if elsewhere:  # another process has it
                other = stack.enter_context(self.served(lease, name="other"))
                self._begun_elsewhere(life, other)
                stack.callback(kill, other)
            death = {"environment": {"DIE_AT": step.write, "DIE_WHEN": step.when}, "module": "tests.dying"}
            server = stack.enter_context(self.served(lease, **(death if step.write else {})))
            if not step.write:
                self.between.arm(step.name, server.process.pid)
            self._asked(life, server, elsewhere=elsewhere)
            if self._dies(server):
                self.kills[step.name] += 1
            self.between.arm("", 0)
            kill(server)
        self._lease(life, time.time() + 3600)

    def _lease(self, life: Life, until: float) -> None:
        mine = (tables.tasks.c.idempotency == life.label) & tables.tasks.c.state.in_(OPEN)
        self.change(sa.update(tables.tasks).where(mine).values(lease_until=until))

    def _begun_elsewhere(self, life: Life, other: Served) -> None:
        """Where it shall be taken over, the other one is dead by then, and its lease over."""
        moment = {"taken over": "poll comes", "uncertain": "submit comes"}.get(life.step.write)
        if moment is not None:
            self.between.arm(moment, other.process.pid)
        life.ask(other.base_url, self.callback)
        if moment is not None:
            other.process.wait(_LIFE_S)
            self._lease(life, 0)

    def _asked(self, life: Life, server: Served, *, elsewhere: bool) -> None:
        if not elsewhere:
            life.ask(server.base_url, self.callback)
        if life.model != "called-off" or life.step.write == "renewed":
            return
        until = time.monotonic() + _LIFE_S
        while server.process.poll() is None and time.monotonic() < until:
            if any(life.call_off(server.base_url, task) for task in self._tasks_of(life)):
                return  # before that its vendor has not said yet that it can be
            time.sleep(0.02)

    def _tasks_of(self, life: Life) -> list[str]:
        return [row["id"] for row in self.rows(tables.tasks) if row["idempotency"] == life.label]

    def _dies(self, server: Served) -> bool:
        try:
            server.process.wait(_LIFE_S)
        except TimeoutExpired:
            return False
        return True

    # --- what vendors say

    def invoice(self) -> None:
        """The vendors' work is over, also where nobody asks for it: all that was ordered is billed, but what
        was called off."""
        ledger = self.vendors.log.ledger
        assert len(ledger.tasks()) < KEPT_TASKS
        for order in ledger.tasks():
            ledger.settle(order, order.amount("reserve"))
            self.billed[order.prompt] = order.unit, self.billed[order.prompt][1] + order.amount("settle")
            self.orders[order.prompt] += 1

    # --- the end

    def finish(self) -> None:
        """Let the time pass after which what a dead process had is taken over, and one come that does it."""
        self.change(sa.update(tables.tasks).values(lease_until=0))
        due = tables.tasks.c.callback_due
        self.change(sa.update(tables.tasks).where(due.is_not(None)).values(callback_due=0))
        with self.served("5s") as server:
            self._until_over()
            self._ask_again(server)

    def _until_over(self) -> None:
        until = time.monotonic() + 60 + 30 * LONG
        while self.rows(tables.watches) or self._open():
            assert time.monotonic() < until, self._open()
            self.change(sa.update(tables.watches).values(due=0))  # a vendor here works only while it is asked
            time.sleep(0.5)

    def told(self) -> None:
        """What an operator has resolved is told to its client too."""
        with self.served("5s"):
            self._until_over()

    def _open(self) -> list[dict[str, Any]]:
        rows = self.rows(tables.tasks)
        return [row for row in rows if row["state"] in OPEN or row["callback_due"] is not None]

    def _ask_again(self, server: Served) -> None:
        """As a client does that has lost its line: it finds what it has bought, and buys nothing more."""
        tasks = {row["idempotency"]: row for row in self.rows(tables.tasks)}
        done = [life for life in self.lives if tasks.get(life.label, {}).get("state") == "completed"]
        with ThreadPoolExecutor(4) as pool:
            replies = list(pool.map(lambda life: life.ask(server.base_url, self.callback), done))
        for life, reply in zip(done, replies, strict=True):
            assert reply is not None
            assert (reply.status_code, reply.json()["id"]) == (200, tasks[life.label]["id"]), reply.text

    def resolve(self) -> Counter[str]:
        """Do what an operator does who looks into the vendors' invoices. How many there were, by model."""

        def dragoman(*arguments: str) -> str:
            code, out, said = run("tasks", *arguments, cwd=self.folder / "server", environment=ENVIRONMENT)
            assert code == 0, said
            return out

        older = sa.update(tables.ledger).values(at=tables.ledger.c.at - 3600)
        self.change(older)  # what ended with its process is nobody's any more
        lives = {life.label: life for life in self.lives}
        of = {row["request_id"]: lives[row["idempotency"]] for row in self.rows(tables.tasks)}
        charged = self.charged()
        unkept = sum(amount for prompt, (_, amount) in self.billed.items() if "kept-nowhere" in prompt)
        unkept -= sum(self.charged("kept-nowhere").values())
        resolved: Counter[str] = Counter()
        while found := json.loads(dragoman("--uncertain", "--json")):
            for one in found:
                if (life := of.get(one["request_id"])) is not None:
                    is_paid = self.billed[life.prompt][1] > charged[one["request_id"]]
                else:
                    is_paid = unkept > 0
                    unkept -= 440 * is_paid
                dragoman("resolve", one["id"], "--paid" if is_paid else "--failed")
                resolved[f"{one['model']} {one['state']}"] += 1
        assert unkept == 0
        return resolved

    def charged(self, model: str | None = None) -> dict[str, Decimal]:
        """By request."""
        sums: dict[str, Decimal] = defaultdict(Decimal)
        for row in self.rows(tables.ledger):
            if row["kind"] == "settle" and row["model"] in (row["model"] if model is None else model,):
                sums[row["request_id"]] += row["amount"]
        return sums

    # --- what must hold

    def check(self, resolved: Counter[str]) -> None:
        rows, charged = self.rows(tables.tasks), self.charged()
        assert {row["state"] for row in rows} <= OVER
        lives = {life.label: life for life in self.lives}
        wrong = {
            row["idempotency"]: (row["state"], row["orders"], amount, bill)
            for row in rows
            if (amount := charged[row["request_id"]])
            != (bill := self.billed[lives[row["idempotency"]].prompt][1])
        }
        assert wrong == {}
        for life in self.lives:
            assert self.orders[life.prompt] <= (2 if life.model == "several" else 1), life
        self._check_ends()
        self._check_callbacks(rows)
        assert [which for which in resolved if which.startswith("asked")] == []  # its vendor could be asked
        assert self.booked() == self.invoiced()

    def _check_ends(self) -> None:
        ledger = self.rows(tables.ledger)
        tries = [(row["request_id"], row["call"], row["attempt"], row["kind"]) for row in ledger]
        held = Counter(one[:3] for one in tries if one[3] == "hold")
        ended = Counter(one[:3] for one in tries if one[3] in ("settle", "refund"))
        assert held == ended
        assert set(ended.values()) <= {1}

    def _check_callbacks(self, rows: list[dict[str, Any]]) -> None:
        """Each task was told of, always by one id and in the same words, but for how long its pictures are
        kept."""
        told: dict[str, set[bytes]] = defaultdict(set)
        for identity, body in self.between.calls:
            told[identity.removeprefix("msg_")].add(re.sub(rb"\?[^\"]*", b"", body))
        assert set(told) == {row["id"] for row in rows}
        assert {task: bodies for task, bodies in told.items() if len(bodies) > 1} == {}

    def booked(self) -> dict[str, Decimal]:
        sums: dict[str, Decimal] = defaultdict(Decimal)
        for row in self.rows(tables.ledger):
            sums[row["currency"]] += row["amount"] if row["kind"] == "settle" else 0
        return {unit: amount for unit, amount in sums.items() if amount}

    def invoiced(self) -> dict[str, Decimal]:
        sums: dict[str, Decimal] = defaultdict(Decimal)
        for unit, amount in self.billed.values():
            sums[unit] += amount
        return {unit: amount for unit, amount in sums.items() if amount}


@pytest.fixture
def place(tmp_path: Path, store_address: str) -> Iterator[Place]:
    with start() as vendors, standing(vendors.base_url) as between:
        own = Place(tmp_path, store_address, vendors, between)
        yield own
        own.database.release()


def test_a_process_dies_at_each_step_and_nothing_is_lost_or_bought_twice(
    place: Place, record_property: Callable[[str, object], None]
) -> None:
    """All steps by turns; the short run takes some of them, others on each store."""
    chance = random.Random(SEED)
    some = STEPS[0 if place.store.startswith("sqlite") else 6 :: 12]
    numbers = iter(range(1 << 30))
    for _ in range(LONG):
        for step in chance.sample(STEPS, len(STEPS)) if LONG > 1 else some:
            place.live(step, next(numbers))
    place.finish()
    place.invoice()
    resolved = place.resolve()
    place.told()
    figures = {"lives": len(place.lives), "kills": sum(place.kills.values()), "resolved": dict(resolved)}
    for name, value in {**figures, **place.kills, "booked": place.booked()}.items():
        record_property(str(name), str(value))
    place.check(resolved)
    assert sum(place.kills.values()) >= 0.9 * len(place.lives), place.kills
