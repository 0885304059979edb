"""Giving up is no verdict: a vendor is asked on about what it took, and its last word decides, once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from proxy.ledger import watches
from proxy.ledger.entries import Entry, Watch, insert
from proxy.serve import late
from proxy.serve.told import Told
from proxy.simulators.server import Running, start
from proxy.store import tables, tasks
from proxy.store.database import Database
from tests.gateway import Gateway, open_gateway
from tests.picture_vendors import HEAD, providers
from tests.served import run, serving, waited
from tests.test_store import TASK
from tests.test_tasks_crash import ENVIRONMENT, HEADERS, asked, kill

FILE = (
    HEAD
    + providers("jlike", extra="private: true, currency: CNY")
    + providers(
        "runware", "comfyui", "kling", extra="private: true, timeouts: {first_byte: 500ms, total: 3s}"
    )
    + """
models:
  slow-wan: {targets: [jlike.wan/wan2.7-t2i-plus], price: {image: 0.2}, poll: {every: 30ms, give_up: 300ms}}
  wan:
    targets: [jlike.wan/wan2.7-t2i-plus]
    price: {image: {1K: 0.2, 2K: 0.3}}
    poll: {every: 30ms}
    timeouts: {total: 2s}
  runware: {targets: [runware/some-model], price: {image: 0.04}, poll: {every: 30ms}}
  kling: {targets: [kling/kling-v2-1], price: {image: 0.04}, poll: {every: 30ms}}
  comfyui: {targets: [comfyui/x.safetensors], price: {image: 0.04}, poll: {every: 30ms}}
"""
)

OURS = ["runware", "comfyui", "kling"]  # vendors that find an order by our own id


def state(address: str, folder: Path) -> str:
    return f'server: {{state: "{address}", files: {{folder: "{folder}/files"}}}}\ntasks: {{lease: 1s}}\n'


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path}/state/dragoman.db"


@pytest.fixture
def gateway(tmp_path: Path, store: str) -> Iterator[Gateway]:
    with open_gateway(tmp_path, FILE + state(store, tmp_path)) as opened:
        yield opened


@pytest.fixture
def vendors() -> Iterator[Running]:
    with start() as running:
        yield running


def draw(base_url: str, model: str, prompt: str, **fields: Any) -> httpx.Response:
    body = {"model": model, "prompt": prompt, **fields}
    return httpx.post(f"{base_url}/v1/images/generations", json=body, headers=HEADERS, timeout=20)


def booked(store: str, request_id: str) -> list[tuple[str, str, str | None, int]]:
    wanted = sa.select(tables.ledger).where(tables.ledger.c.request_id == request_id)
    found = asked(store, lambda connection: connection.execute(wanted.order_by("id")).mappings().all())
    return [
        (row["kind"], row["outcome"], None if row["amount"] is None else str(row["amount"]), row["images"])
        for row in found
    ]


def ends(store: str, request_id: str, count: int) -> list[tuple[str, str, str | None, int]]:
    found: list[tuple[str, str, str | None, int]] = waited(
        lambda: rows if len(rows := booked(store, request_id)) >= count else None
    )
    return found


def watched(store: str) -> int:
    counting = sa.select(sa.func.count()).select_from(tables.watches)
    count: int = asked(store, lambda connection: connection.execute(counting).scalar())
    return count


GIVEN_UP = [("hold", "ordered", "0.2", 0), ("uncertain", "timeout", None, 0)]


def test_what_a_vendor_made_too_late_is_settled(gateway: Gateway, store: str) -> None:
    reply = draw(gateway.base_url, "slow-wan", "Too late sim:slow:1.5")
    assert reply.status_code == 504
    request_id = reply.headers["x-request-id"]
    assert ends(store, request_id, 3) == [*GIVEN_UP, ("settle", "late", "0.2", 1)]
    (order,) = gateway.vendors.log.ledger.tasks(prompt="Too late sim:slow:1.5")
    assert order.amount("settle") == Decimal("0.2")
    assert waited(lambda: watched(store) == 0)


def test_a_picture_that_comes_too_late_is_there_for_who_asks_again(gateway: Gateway, store: str) -> None:
    def ask() -> httpx.Response:
        headers = {**HEADERS, "idempotency-key": "late-1"}
        body = {"model": "slow-wan", "prompt": "Asked again sim:slow:1.5"}
        address = f"{gateway.base_url}/v1/images/generations"
        return httpx.post(address, json=body, headers=headers, timeout=20)

    first = ask()
    assert (first.status_code, first.json()["error"]["code"]) == (504, "upstream_timeout")
    ends(store, first.headers["x-request-id"], 3)
    again = ask()
    assert again.status_code == 200, again.text
    assert again.headers["x-proxy-joined"] == "done"
    assert again.headers["x-proxy-cost"] == "0.2 CNY"
    assert len(again.json()["data"]) == 1
    assert len(gateway.vendors.log.ledger.tasks()) == 1


@pytest.mark.parametrize(
    ("orders", "states"),
    [("sim:slow:1.5", ["failed", "completed"]), ("sim:slow:1.5 sim:fail:X", ["failed"])],
    ids=["made", "not made"],
)
def test_a_task_that_was_given_up_is_completed_by_what_comes_late(
    gateway: Gateway, store: str, orders: str, states: list[str]
) -> None:
    task = draw(gateway.base_url, "slow-wan", f"Given up {orders}", background=True).json()["id"]

    def shown() -> dict[str, Any]:
        return httpx.get(f"{gateway.base_url}/v1/tasks/{task}", headers=HEADERS).json()  # type: ignore[no-any-return]

    seen = waited(lambda: found if (found := shown())["status"] == states[0] else None)
    assert seen["error"]["code"] == "upstream_timeout"
    assert waited(lambda: watched(store) == 0)
    over = waited(lambda: found if (found := shown())["status"] == states[-1] else None)
    if states[-1] == "completed":
        assert (over["progress"], over["usage"]["cost"], over.get("error")) == (100, 0.2, None)
        assert httpx.get(over["results"][0]).content.startswith(b"\x89PNG")
    else:
        assert "results" not in over


def test_what_comes_late_is_put_beside_what_came_in_time(store: str) -> None:
    picture = {"kind": "Image", "data": {"$file": "a" * 32}}
    before = {"events": [{"kind": "Started"}, picture, {"kind": "Finish", "reason": "stop"}], "tolds": []}
    orders = {"0": {"state": "done"}, "1": {"state": "accepted", "target": "x/y"}}
    task = {**TASK, "result": json.dumps(before), "orders": json.dumps(orders), "ended_at": 5.0}
    asked(store, lambda connection: connection.execute(sa.insert(tables.tasks).values(**task)).rowcount)
    late_one = {"kind": "Image", "data": {"$file": "b" * 32}}
    came = late.Came([{"kind": "Started"}, late_one, {"kind": "Finish", "reason": "stop"}], Told(images=1))
    asked(store, lambda connection: late.keep(connection, {"request_id": "req_1", "call": 1}, came))
    found = asked(store, lambda connection: tasks.get(connection, "task_1"))
    assert [one["kind"] for one in json.loads(found["result"])["events"]] == [
        "Started", "Image", "Image", "Finish",
    ]  # fmt: skip
    assert json.loads(found["orders"])["1"] == {"state": "done", "target": "x/y"}
    assert (found["state"], found["callback_due"]) == ("completed", None)


def test_what_a_vendor_never_made_is_refunded(gateway: Gateway, store: str) -> None:
    reply = draw(gateway.base_url, "slow-wan", "In vain sim:slow:1.5 sim:fail:UPSTREAM_ERROR")
    assert reply.status_code == 504
    found = ends(store, reply.headers["x-request-id"], 3)
    assert found == [*GIVEN_UP, ("refund", "internal", "0.2", 0)]
    (order,) = gateway.vendors.log.ledger.tasks("jlike")
    assert order.amount("settle") == 0


def test_what_a_vendor_says_nothing_of_is_asked_for_a_day_and_then_refunded(
    gateway: Gateway, store: str
) -> None:
    reply = draw(gateway.base_url, "slow-wan", "Never sim:polls:9999")
    request_id = reply.headers["x-request-id"]
    assert ends(store, request_id, 2) == GIVEN_UP
    (order,) = gateway.vendors.log.ledger.tasks("jlike")
    polls = len(order.polls_ms)
    waited(lambda: len(order.polls_ms) > polls + 1)
    assert booked(store, request_id) == GIVEN_UP
    older = sa.update(tables.watches).values(since=time.time() - 24 * 3600)
    asked(store, lambda connection: connection.execute(older).rowcount)
    assert ends(store, request_id, 3) == [*GIVEN_UP, ("refund", "unheard", "0.2", 0)]


@pytest.mark.parametrize("vendor", OURS)
def test_an_order_without_the_vendors_number_is_asked_for_by_our_own(
    gateway: Gateway, store: str, vendor: str
) -> None:
    """The reply to the submit never comes, and the vendor was told an id of ours: it is asked for by that at
    once, and longer than anybody waits."""
    reply = draw(gateway.base_url, vendor, "Unnumbered sim:stall sim:slow:4")
    assert reply.status_code == 504
    found = ends(store, reply.headers["x-request-id"], 3)
    assert found == [
        ("hold", "ordered", "0.04", 0),
        ("uncertain", "timeout", None, 0),
        ("settle", "late", "0.04", 1),
    ]


def _given_up(place: str, request_id: str) -> Callable[[], bool]:
    return lambda: len(booked(place, request_id)) >= 2


def test_it_is_settled_after_a_crash_too(tmp_path: Path, store_address: str, vendors: Running) -> None:
    file = FILE.replace("http://SIMULATORS", vendors.base_url) + state(store_address, tmp_path)
    with serving(tmp_path, file, environment=ENVIRONMENT) as server:
        reply = draw(server.base_url, "slow-wan", "Crashed sim:slow:2")
        request_id = reply.headers["x-request-id"]
        waited(_given_up(store_address, request_id))
        kill(server)
    with serving(tmp_path, file, environment=ENVIRONMENT):
        assert ends(store_address, request_id, 3) == [*GIVEN_UP, ("settle", "late", "0.2", 1)]
    assert len(vendors.log.ledger.tasks("jlike")) == 1


def test_a_request_that_ended_with_its_process_is_settled_by_the_vendors_word(
    tmp_path: Path, store_address: str, vendors: Running
) -> None:
    """Nothing of it is kept by which its client could ask again, but its money is."""
    file = FILE.replace("http://SIMULATORS", vendors.base_url) + state(store_address, tmp_path)
    with (
        serving(tmp_path, file, environment=ENVIRONMENT) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        lost = pool.submit(draw, server.base_url, "wan", "Forgotten sim:slow:1.5", size="2048x2048")
        waited(lambda: watched(store_address))
        kill(server)
        assert isinstance(lost.exception(), httpx.TransportError)
    request_id = _only_request(store_address)
    with serving(tmp_path, file, environment=ENVIRONMENT):
        assert ends(store_address, request_id, 2) == [
            ("hold", "ordered", "0.3", 0),
            ("settle", "late", "0.3", 1),
        ]
    assert len(vendors.log.ledger.tasks("jlike")) == 1


def _only_request(store: str) -> str:
    wanted = sa.select(tables.ledger.c.request_id).distinct()
    (found,) = asked(store, lambda connection: connection.execute(wanted).scalars().all())
    return str(found)


@pytest.mark.parametrize("vendor", OURS)
def test_an_order_that_nobody_heard_of_goes_on_where_the_vendor_can_be_asked(
    tmp_path: Path, store_address: str, vendors: Running, vendor: str
) -> None:
    """The process ends while it is being sent; the vendor knows it by an id of ours."""
    file = FILE.replace("http://SIMULATORS", vendors.base_url) + state(store_address, tmp_path)
    file = file.replace("first_byte: 500ms, total: 3s", "first_byte: 60s, total: 60s")
    with serving(tmp_path, file, environment=ENVIRONMENT) as server:
        reply = draw(server.base_url, vendor, "Unheard sim:stall", background=True)
        task = reply.json()["id"]
        waited(lambda: vendors.log.ledger.tasks(vendor))
        kill(server)
    with serving(tmp_path, file, environment=ENVIRONMENT) as server:

        def over() -> Any:
            found = httpx.get(f"{server.base_url}/v1/tasks/{task}", headers=HEADERS).json()
            return found if found["status"] in ("completed", "failed") else None

        assert waited(over)["status"] == "completed"
    assert len(vendors.log.ledger.tasks(vendor)) == 1
    assert booked(store_address, _only_request(store_address)) == [
        ("hold", "ordered", "0.04", 0), ("settle", "ok", "0.04", 1),
    ]  # fmt: skip


# --- the books


HELD = Entry(
    at=1795706770.5, request_id="req_1", call=0, attempt=1, kind="hold", key="app", model="wan",
    target="jlike.wan/wan", operation="generate_image", outcome="ordered", currency="CNY",
    amount=Decimal("0.2"), released=None, vendor_amount=None, vendor_unit=None, images=0, prompt_tokens=0,
    completion_tokens=0, estimated=False,
)  # fmt: skip
END = {"released": Decimal("0.2"), "outcome": "ok"}
WATCH = Watch("account", {"id": "1"})


def in_store(address: str, *works: Callable[[sa.Connection], Any]) -> list[Any]:
    database = Database(address)
    try:
        return [database.do(work) for work in works]
    finally:
        asyncio.run(database.close())


@pytest.mark.parametrize("second", ["settle", "refund"])
@pytest.mark.parametrize("first", ["settle", "refund"])
def test_a_try_ends_once_whatever_comes_second(store_address: str, first: Any, second: Any) -> None:
    def ended(kind: Any) -> Callable[[sa.Connection], None]:
        return lambda connection: insert(connection, [HELD._replace(kind=kind, **END)])

    in_store(store_address, lambda connection: insert(connection, [HELD]), ended(first), ended(second))
    assert [row[0] for row in booked(store_address, "req_1")] == ["hold", first]


def test_a_watch_is_over_with_the_end_of_its_try_whoever_books_it(store_address: str) -> None:
    unknown = HELD._replace(kind="uncertain", watch=WATCH)
    _, _, _, again = in_store(
        store_address,
        lambda connection: insert(connection, [HELD, unknown]),
        lambda connection: insert(connection, [HELD._replace(kind="settle", **END)]),
        lambda connection: insert(connection, [unknown]),  # from a file, when it has ended long since
        lambda connection: watches.claim(connection, 10),
    )
    assert again == []
    assert watched(store_address) == 0


def test_what_waits_for_its_hold_is_not_forgotten(store_address: str) -> None:
    unknown = HELD._replace(kind="uncertain", watch=WATCH)
    _, before, _, _, after = in_store(
        store_address,
        lambda connection: insert(connection, [unknown]),
        lambda connection: watches.claim(connection, 10),
        lambda connection: insert(connection, [HELD]),
        lambda connection: watches.again(connection, HELD._asdict(), -1),
        lambda connection: watches.claim(connection, 10),
    )
    assert (before, [row["hold"]["amount"] for row in after]) == ([], [Decimal("0.2")])


def test_a_look_is_one_lookers(store_address: str) -> None:
    unknown = HELD._replace(kind="uncertain", watch=WATCH)
    _, first, second = in_store(
        store_address,
        lambda connection: insert(connection, [HELD, unknown]),
        lambda connection: watches.claim(connection, 10),
        lambda connection: watches.claim(connection, 10),
    )
    assert (len(first), len(second)) == (1, 0)


def test_what_was_held_and_not_ordered_is_given_back_when_a_task_is_taken_over(store_address: str) -> None:
    """The process ended between the two, or before the refund of a try that failed was written."""
    orders = '{"1": {"state": "accepted", "attempt": 2, "account": "a", "task": {"id": "7"}}}'
    row = {"request_id": "req_1", "state": "running", "orders": orders}
    holds = [HELD._replace(call=call, attempt=attempt) for call, attempt in ((0, 1), (1, 1), (1, 2), (2, 1))]
    paid = HELD._replace(call=2, kind="settle", **END)
    in_store(
        store_address,
        lambda connection: insert(connection, [*holds, paid]),
        lambda connection: late.adopted(connection, row),
    )
    wanted = sa.select(tables.ledger).order_by(tables.ledger.c.id)
    found = asked(store_address, lambda connection: connection.execute(wanted).mappings().all())
    assert [(row["call"], row["attempt"], row["kind"]) for row in found[4:]] == [
        (2, 1, "settle"), (0, 1, "refund"), (1, 1, "refund"),
    ]  # fmt: skip
    assert watched(store_address) == 0


def test_the_order_of_a_task_that_is_parked_is_watched(store_address: str) -> None:
    orders = '{"0": {"state": "accepted", "attempt": 1, "account": "a", "task": {"id": "7"}}}'
    row = {"request_id": "req_1", "state": "parked", "orders": orders}
    _, _, (taken,) = in_store(
        store_address,
        lambda connection: insert(connection, [HELD]),
        lambda connection: late.adopted(connection, row),
        lambda connection: watches.claim(connection, 10),
    )
    assert (taken["account"], taken["task"]) == ("a", '{"id":"7"}')


def test_a_request_that_still_holds_money_is_resolved_by_its_operator(tmp_path: Path, store: str) -> None:
    """It is no task, and its vendor cannot be asked."""
    holds = [HELD._replace(request_id=f"req_{name}", at=time.time()) for name in ("lost", "paid", "on")]
    unknown = [held._replace(kind="uncertain", amount=None) for held in holds[:2]]
    in_store(store, lambda connection: insert(connection, [*holds, *unknown]))
    (tmp_path / "providers.yaml").write_text(
        FILE.replace("http://SIMULATORS", "http://127.0.0.1:9") + state(store, tmp_path)
    )

    def dragoman(*arguments: str) -> tuple[int, str]:
        code, out, _ = run("tasks", *arguments, cwd=tmp_path, environment=ENVIRONMENT)
        return code, out

    shown = json.loads(dragoman("--uncertain", "--json")[1])
    assert sorted((row["id"], row["state"]) for row in shown) == [("req_lost", "held"), ("req_paid", "held")]
    assert dragoman("resolve", "req_lost", "--failed")[0] == 0
    assert dragoman("resolve", "req_paid", "--paid")[0] == 0
    assert booked(store, "req_lost")[2:] == [("refund", "resolved", "0.2", 0)]
    assert booked(store, "req_paid")[2:] == [("settle", "resolved", "0.2", 0)]
    assert dragoman("resolve", "req_paid", "--failed")[0] == 1
    assert dragoman("resolve", "req_on", "--failed")[0] == 1
    assert json.loads(dragoman("--uncertain", "--json")[1]) == []
