"""A task whose process is gone, as its row tells: what a vendor has is asked for, and not ordered again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from proxy.ledger.entries import insert
from proxy.serve import joining
from proxy.store import tables, tasks
from tests.gateway import Gateway, open_gateway
from tests.raw_http import RawRequest
from tests.served import waited
from tests.test_late import HELD
from tests.test_refused_polls import BY_OUR_ID, DRAWN, RUNNING, Desk, desk, posted
from tests.test_store import TASK
from tests.test_tasks_crash import HEADERS, asked

# The second key and the second target of the file, so that the first ones are seen to be wrong.
FILE = BY_OUR_ID.replace("keys: [env:VENDOR_KEY]", "keys: [env:FIRST_KEY, env:SECOND_KEY]")
KEYS = {"FIRST_KEY": "first-key", "SECOND_KEY": "second-key"}
ID = "task_" + "0" * 32
OUR_ID = "2863661e-37a8-4ccf-995a-589e0234c85e"  # of its first order, in every process
UNKNOWN = {"ok": True, "orders": [{"state": "UNKNOWN"}]}
IS_ASKED = ("Bearer second-key", "/status", {"orders": [OUR_ID]})
IS_ORDERED = ("Bearer second-key", "/orders", {"engine": "obol-2", "prompt": "a door", "order": OUR_ID})


def account(base: str, key: str) -> str:
    """Rows name a key so, in every configuration and every version."""
    return blake2b(f"ob\0{base}\0{key}".encode(), digest_size=12).hexdigest()


def order(base: str, state: str, **more: Any) -> dict[str, Any]:
    task = {"provider": "ob", "model": "obol-2", "references": False, "uuid": OUR_ID}
    place = {"target": "ob/obol-2", "account": account(base, "second-key"), "attempt": 3}
    return {"state": state, **place, "task": task, **more}


BODY = b'j{"model":"two","prompt":"a door","background":true}'


@contextmanager
def taken_over(
    folder: Path,
    base: str,
    orders: dict[str, Any],
    attempt: int,
    *,
    file: str = FILE,
    body: bytes = BODY,
    **more: Any,
) -> Iterator[tuple[Gateway, str]]:
    """A gateway that finds the row, and what is held for this attempt; and its store."""
    store = f"sqlite:{folder}/state/dragoman.db"
    row = {
        **TASK,
        "id": ID,
        "model": "two",
        "state": "running",
        "owner": "gone",
        "lease_until": 1.0,
        "body": body,
        "asked": '{"strict":false,"fallback":true}',
        "orders": json.dumps(orders),
        "repeatable": False,
        **more,
    }
    held = HELD._replace(attempt=attempt, model="two", target="ob/obol-2", amount=Decimal(7))

    def write(connection: sa.Connection) -> None:
        connection.execute(sa.insert(tables.tasks).values(**row))
        insert(connection, [held])

    asked(store, write)
    with open_gateway(folder, file.replace("BASE", base).replace("FOLDER", str(folder)), KEYS) as own:
        yield own, store


def task_of(store: str) -> Any:
    return asked(store, lambda connection: tasks.get(connection, ID))


def over(store: str) -> Any:
    return waited(lambda: row if (row := task_of(store))["ended_at"] or row["owner"] is None else None)


def books(store: str) -> list[tuple[int, str, str, str, str | None, int]]:
    """What happened to its money."""
    names = ("attempt", "target", "kind", "outcome", "released", "images")
    wanted = sa.select(*(tables.ledger.c[name] for name in names)).order_by(tables.ledger.c.id)
    rows = asked(store, lambda connection: connection.execute(wanted).all())
    return [(*row[:4], None if row[4] is None else str(row[4]), row[5]) for row in rows]


SETTLED = [
    (3, "ob/obol-2", "hold", "ordered", None, 0),
    (3, "ob/obol-2", "settle", "ok", "7", 1),
]


@pytest.mark.parametrize(
    ("state", "told", "heard"),
    [
        ("accepted", [RUNNING], [IS_ASKED, IS_ASKED]),
        ("accepted", [UNKNOWN, RUNNING], [IS_ASKED] * 3),
        ("intended", [RUNNING], [IS_ASKED, IS_ASKED]),
        ("intended", [UNKNOWN], [IS_ASKED, IS_ORDERED, IS_ASKED]),
    ],
    ids=["taken", "taken, and not everywhere known", "sent, and arrived", "sent, and never arrived"],
)
def test_its_order_is_looked_for_where_it_was_given(
    tmp_path: Path, state: str, told: list[Any], heard: list[Any]
) -> None:
    """By the same key, the same id and the same number, under which its money is held."""
    with desk(*told) as base:
        orders = {"0": order(base, state, **({"asks": True} if state == "intended" else {}))}
        with taken_over(tmp_path, base, orders, attempt=3) as (own, store):
            assert over(store)["state"] == "completed"
            shown = httpx.get(f"{own.base_url}/v1/tasks/{ID}", headers=HEADERS).json()
            assert httpx.get(shown["results"][0]).content == DRAWN
        assert Desk.heard == heard
    assert books(store) == SETTLED


@pytest.mark.parametrize(
    ("state", "limits"),
    [
        ("accepted", "references: [base64], max_references: 1"),
        ("accepted", "references: []"),
        ("intended", "references: []"),
    ],
    ids=["the picture is gone", "no pictures are taken", "nor were heard of"],
)
def test_what_its_vendor_has_needs_nothing_of_its_request_any_more(
    tmp_path: Path, state: str, limits: str
) -> None:
    """The picture that it went on from cannot be had a second time, or would not be taken today."""
    edit = b'j{"model":"two","prompt":"a door","image":"http://127.0.0.1:9/gone.png","background":true}'
    file = FILE.replace("        result: {", f"        limits: {{{limits}}}\n        result: {{")
    with desk(RUNNING) as base:
        orders = {"0": order(base, state, asks=True)}
        with taken_over(tmp_path, base, orders, attempt=3, file=file, body=edit) as (_, store):
            assert over(store)["state"] == "completed"
    assert (Desk.heard, books(store)) == ([IS_ASKED, IS_ASKED], SETTLED)


def test_an_order_that_arrived_is_known_to_be_taken_while_it_is_made(tmp_path: Path) -> None:
    """So its client sees how far it is."""
    with desk(*[RUNNING] * 5000) as base:
        orders = {"0": order(base, "intended", asks=True)}
        with taken_over(tmp_path, base, orders, attempt=3) as (_, store):
            taken = waited(lambda: one if (one := _first(store))["state"] == "accepted" else None)
            assert {name: taken[name] for name in orders["0"] if name not in ("state", "asks")} == {
                name: value for name, value in orders["0"].items() if name not in ("state", "asks")
            }
            Desk.told.clear()
            assert over(store)["state"] == "completed"
    assert Desk.orders == []


def _first(store: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(task_of(store)["orders"])["0"]
    return found


def test_what_was_held_and_not_ordered_is_given_back_and_it_is_ordered_under_another_number(
    tmp_path: Path,
) -> None:
    with desk() as base, taken_over(tmp_path, base, {}, attempt=1) as (_, store):
        assert over(store)["state"] == "completed"
        assert books(store) == [
            (1, "ob/obol-2", "hold", "ordered", None, 0),
            (1, "ob/obol-2", "refund", "lost", "7", 0),
            (200_001, "ob/obol-1", "hold", "ordered", None, 0),
            (200_001, "ob/obol-1", "settle", "ok", "7", 1),
        ]
    assert len(Desk.orders) == 1


@pytest.mark.parametrize("state", ["intended", "accepted"])
def test_what_is_left_while_its_vendor_is_asked_is_not_given_back(tmp_path: Path, state: str) -> None:
    """It may be made: the vendor's last word decides."""
    asked, written = {"model": "two", "prompt": "a door"}, b'j{"model":"two","prompt":"a door"}'
    by = {"idempotency": "k", "digest": joining.digest("/images/generations", {}, written), "waits": True}
    cancels = FILE.replace("private: true}", "private: true, on_disconnect: cancel}")
    cancels += "tasks: {lease: 1s}\n"
    path, headers = "/v1/images/generations", {"idempotency-key": "k"}
    with desk(*[500 if state == "intended" else RUNNING] * 5000) as base:
        orders = {"0": order(base, state, asks=True)}
        with taken_over(tmp_path, base, orders, 3, file=cancels, body=written, **by) as (own, store):
            waited(lambda: Desk.heard)
            with RawRequest(own, asked, path=path, headers=headers) as leaving:
                leaving.send()
                running = own.application.house.services.keeper.running  # type: ignore[union-attr]
                waited(lambda: [one for one in running.values() if one.watchers])
            assert over(store)["state"] == "cancelled"
            Desk.told.clear()
            waited(lambda: len(books(store)) == 3)
    assert [row[2:] for row in books(store)] == [
        ("hold", "ordered", None, 0),
        ("uncertain", "abandoned", None, 0),
        ("settle", "late", "7", 1),
    ]
    assert Desk.orders == []


@pytest.mark.parametrize("fields", [{"background": True}, {}], ids=["a task", "who waits in vain"])
def test_a_process_that_is_told_to_end_leaves_the_books_open(tmp_path: Path, fields: dict[str, Any]) -> None:
    """Its vendor goes on, and whoever hears of the end closes them."""
    store = f"sqlite:{tmp_path}/state/dragoman.db"
    with desk(*[RUNNING] * 5000) as base, ThreadPoolExecutor(1) as aside:
        file = FILE.replace("BASE", base).replace("FOLDER", str(tmp_path))
        with open_gateway(tmp_path, file, KEYS) as own:
            aside.submit(posted, own.base_url, "images/generations", {"prompt": "a door", **fields})
            waited(lambda: len(Desk.heard) >= 3)
        assert books(store) == [(1, "ob/obol-1", "hold", "ordered", None, 0)]


def test_an_order_of_which_the_vendor_says_nothing_stays_held_and_is_not_given_again(tmp_path: Path) -> None:
    with desk(*[500] * 5) as base:
        orders = {"0": order(base, "intended", asks=True)}
        with taken_over(tmp_path, base, orders, attempt=3) as (own, store):
            assert over(store)["state"] == "uncertain"
            shown = httpx.get(f"{own.base_url}/v1/tasks/{ID}", headers=HEADERS).json()
        assert (shown["task_info"], Desk.heard) == ({"can_cancel": False, "uncertain": True}, [IS_ASKED] * 5)
    assert books(store) == SETTLED[:1]
