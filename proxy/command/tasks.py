"""`dragoman tasks`: what runs and what has become of it, and what an operator has to find out."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from proxy.checking.tables import table
from proxy.command import opening
from proxy.command.opening import say
from proxy.store.database import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection

_COLUMNS = ("id", "key", "model", "state", "begun", "ordered at")
_MOST = 1000
_LOST = {
    "class": "proxy",
    "message": "The vendor did not take this order, as its operator found out. Nothing was bought.",
    "status": 502,
    "code": "order_lost",
    "headers": {},
}
_PAID = {
    **_LOST,
    "message": "The vendor took this order and was paid, as its operator found out. Its pictures are lost.",
    "code": "result_lost",
}


def run(file: Path | None, options: Namespace) -> int:
    """Exit 1 for a wrong file or id, and for a store that cannot be used."""
    opened = opening.read(file)
    if opened is None:
        return 1

    def work(database: Database) -> int:
        if not database.may_exist():
            if options.action is None:
                return _listed([], as_json=options.json)
            say(f"there is no task {options.id}: the store that server.state names is not made yet")
            return 1
        return _ACTIONS[options.action](database, options)

    return opening.in_store(opened[0], "GET /v1/tasks", work)


def _list(database: Database, options: Namespace) -> int:
    from proxy.store import tasks

    states = tasks.HELD if options.uncertain else ()
    rows = database.do(partial(tasks.page, key=None, states=states, most=_MOST))
    if options.uncertain:
        from proxy.ledger import watches

        rows += map(_as_task, database.do(partial(watches.stuck, most=_MOST)))
    return _listed(rows, as_json=options.json)


def _as_task(held: Mapping[str, Any]) -> dict[str, Any]:
    """A hold of a request that is no task, in the shape of one."""
    order = {"state": "held", "target": held["target"]}
    return {
        **{name: held[name] for name in ("key", "request_id", "model")},
        "id": held["request_id"],
        "endpoint": None,
        "state": "held",
        "created_at": held["at"],
        "ended_at": None,
        "tries": held["attempt"],
        "orders": orjson.dumps({str(held["call"]): order}).decode(),
        "error": None,
    }


def _listed(rows: list[dict[str, Any]], *, as_json: bool) -> int:
    if as_json:
        print(orjson.dumps([_plain(row) for row in rows], option=orjson.OPT_INDENT_2).decode())
    else:
        print(table(_COLUMNS, map(_cells, rows)))
    return 0


def _show(database: Database, options: Namespace) -> int:
    """One task, with the calls to its client."""
    from proxy.store import tasks

    row = database.do(partial(tasks.get, identity=options.id))
    if row is None:
        say(f"there is no task {options.id}")
        return 1
    told = database.do(partial(tasks.deliveries_of, identity=options.id))
    callbacks = [{name: one[name] for name in ("at", "attempt", "status", "error")} for one in told]
    print(orjson.dumps({**_plain(row), "callbacks": callbacks}, option=orjson.OPT_INDENT_2).decode())
    return 0


def _resolve(database: Database, options: Namespace) -> int:
    from proxy.store import tasks

    def work(connection: Connection) -> str:
        """What is wrong, "" when it is done."""
        row = tasks.get(connection, options.id)
        if row is None and (options.failed or options.paid) and _resolved_holds(connection, options):
            return ""
        if row is None or row["state"] not in tasks.HELD:
            return f"{options.id} is no task that is uncertain or parked"
        orders = orjson.loads(row["orders"])
        unheard = {name: order for name, order in orders.items() if order["state"] == "intended"}
        values: dict[str, Any] = {"state": "pending", "owner": None, "lease_until": None, "tries": 0}
        if options.number is not None:
            if len(unheard) != 1 or not all("task" in order for order in unheard.values()):
                return "a number fits where one order is unheard of, at a vendor that takes tasks"
            ((name, order),) = unheard.items()
            taken = {**order["task"], "id": options.number}
            orders[name] = {**order, "state": "accepted", "task": taken}
        else:
            orders = {name: order for name, order in orders.items() if name not in unheard}
        if options.failed or options.paid:
            error = orjson.dumps(_PAID if options.paid else _LOST).decode()
            values = {"state": "failed", "error": error, "repeatable": not options.paid}
        values["orders"] = orjson.dumps(orders).decode()
        if not tasks.resolve(connection, options.id, values):
            return "it was resolved meanwhile"
        if options.number is None:
            tries = {(int(name), order["attempt"]) for name, order in unheard.items()}
            _end_holds(connection, row["request_id"], tries, paid=options.paid)
        return ""

    wrong = database.do(work)
    say(wrong or f"{options.id} is resolved")
    return 1 if wrong else 0


def _resolved_holds(connection: Connection, options: Namespace) -> bool:
    """What is held for a request that is no task; False where nothing is."""
    from proxy.ledger import watches

    stuck = [row for row in watches.stuck(connection, _MOST) if row["request_id"] == options.id]
    tries = {(row["call"], row["attempt"]) for row in stuck}
    _end_holds(connection, options.id, tries, paid=options.paid)
    return bool(tries)


def _end_holds(
    connection: Connection, request_id: str, tries: Collection[tuple[int, int]], *, paid: bool
) -> None:
    """Settle or refund by the operator's word: what is held, since nobody knows what came."""
    from proxy.ledger import watches

    for held in watches.open_holds(connection, request_id):
        if (held["call"], held["attempt"]) in tries:
            kind = "settle" if paid else "refund"
            watches.end(connection, held, at=time.time(), outcome="resolved", kind=kind)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """What an operator may see: neither what the client wrote nor what it got."""
    shown = ("id", "key", "request_id", "endpoint", "model", "state", "created_at", "ended_at", "tries")
    orders = orjson.loads(row["orders"])
    error = orjson.loads(row["error"]) if row["error"] else None
    return {
        **{name: row[name] for name in shown},
        "orders": {
            number: {name: value for name, value in order.items() if name in ("state", "target", "task")}
            for number, order in orders.items()
        },
        "error": error and error.get("code"),
    }


def _cells(row: Mapping[str, Any]) -> list[str]:
    orders = orjson.loads(row["orders"]).values()
    begun = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["created_at"]))
    places = dict.fromkeys(f"{order['target']} ({order['state']})" for order in orders)
    return [row["id"], row["key"], row["model"], row["state"], begun, ", ".join(places) or "-"]


_ACTIONS: dict[str | None, Callable[[Database, Namespace], int]] = {
    None: _list,
    "show": _show,
    "resolve": _resolve,
}
