"""Orders whose end nobody knows yet, in the store: who looks at one next, and the money that waits for it.

Works over a connection. A row goes when its try has ended in the ledger, whoever ended it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy import Connection

from proxy.ledger.entries import Entry, insert
from proxy.store.tables import ledger, tasks, watches
from proxy.store.tasks import HELD, OPEN, Row, now

_TRY = ("request_id", "call", "attempt")
_ENDS = ("settle", "refund")
_OVER_S = 3600.0  # no request takes longer
_LOOK_S = 60.0  # a look takes less; then it is somebody else's turn


def follow(connection: Connection, entries: Sequence[Entry]) -> None:
    """Begin the watch of what is uncertain, and end that of what has ended."""
    if begun := [_row(entry) for entry in entries if entry.kind not in _ENDS]:
        connection.execute(_beginning(connection.dialect.name), begun)
    if ended := [_tried(entry) for entry in entries if entry.kind in _ENDS]:
        connection.execute(_ENDING, ended)


@cache
def _beginning(store: str) -> Any:
    """Every order has one: to put the statement together would cost as much as to do it."""
    from sqlalchemy.dialects import postgresql, sqlite

    adds = (postgresql.insert if store == "postgresql" else sqlite.insert)(watches)
    sooner = {"due": adds.excluded.due, "task": adds.excluded.task}
    return adds.on_conflict_do_update(index_elements=list(_TRY), set_=sooner)


def _tried(entry: Entry) -> Row:
    return {f"its_{name}": getattr(entry, name) for name in _TRY}


_ENDING = sa.delete(watches).where(*(watches.c[name] == sa.bindparam(f"its_{name}") for name in _TRY))


def _row(entry: Entry) -> Row:
    watch = entry.watch
    assert watch is not None
    return {
        **{name: getattr(entry, name) for name in _TRY},
        "account": watch.account,
        "task": orjson.dumps(watch.task).decode(),
        "size": watch.size,
        "since": entry.at,
        "due": entry.at + watch.after_s,
    }


def exist(connection: Connection) -> bool:
    return connection.execute(sa.select(watches.c.call).limit(1)).first() is not None


def claim(connection: Connection, most: int) -> list[Row]:
    """Take those whose time has come, each with its hold as `hold`; they come again unless they are ended, or
    put off by `again`. What has no hold in the ledger yet waits for it."""
    due = sa.select(watches).where(watches.c.due <= now(connection)).order_by(watches.c.due).limit(most)
    found = [dict(row) for row in connection.execute(due.with_for_update(skip_locked=True)).mappings()]
    taken = []
    for row in found:
        if _has_ended(connection, row):
            connection.execute(sa.delete(watches).where(*_is(watches, row)))
            continue
        again(connection, row, _LOOK_S)
        if (held := hold_of(connection, row)) is not None:
            taken.append({**row, "hold": held})
    return taken


def again(connection: Connection, row: Row, after_s: float) -> None:
    later = sa.update(watches).where(*_is(watches, row)).values(due=now(connection) + after_s)
    connection.execute(later)


def hold_of(connection: Connection, row: Row) -> Row | None:
    wanted = sa.select(ledger).where(*_is(ledger, row), ledger.c.kind == "hold")
    found = connection.execute(wanted).mappings().first()
    return None if found is None else dict(found)


def open_holds(connection: Connection, request_id: str) -> list[Row]:
    """The holds of a request whose end is not in the ledger."""
    wanted = sa.select(ledger).where(ledger.c.request_id == request_id, *_is_open())
    return [dict(row) for row in connection.execute(wanted.order_by(ledger.c.id)).mappings()]


def stuck(connection: Connection, most: int) -> list[Row]:
    """Holds that nothing will end by itself: nobody works at what was ordered, and no vendor can be asked."""
    uncertain = sa.alias(ledger)
    said = sa.exists().where(*_are_same(ledger, uncertain), uncertain.c.kind == "uncertain")
    of_a_task = sa.exists().where(
        tasks.c.request_id == ledger.c.request_id, tasks.c.state.in_((*OPEN, *HELD))
    )
    wanted = sa.select(ledger).where(
        *_is_open(), ~_is_watched(), ~of_a_task, said | (ledger.c.at < now(connection) - _OVER_S)
    )
    found = connection.execute(wanted.order_by(ledger.c.id.desc()).limit(most))
    return [dict(row) for row in found.mappings()]


def end(connection: Connection, held: Row, *, at: float, outcome: str, **changes: Any) -> bool:
    """Close the try of this hold, unless that has happened: with a refund, or what `changes` say instead.
    Whether this has ended its watch."""
    names = (*_TRY, "key", "model", "target", "operation", "currency")
    given = {"kind": "refund", "amount": held["amount"], **changes}
    entry = Entry(
        **{name: held[name] for name in names},
        at=at,
        outcome=outcome,
        kind=given["kind"],
        amount=given["amount"],
        released=held["amount"],
        vendor_amount=given.get("vendor_amount"),
        vendor_unit=given.get("vendor_unit"),
        images=given.get("images", 0),
        prompt_tokens=given.get("prompt_tokens", 0),
        completion_tokens=given.get("completion_tokens", 0),
        estimated=False,
    )
    ended = connection.execute(sa.delete(watches).where(*_is(watches, held))).rowcount == 1
    insert(connection, [entry])
    return ended


def _has_ended(connection: Connection, row: Row) -> bool:
    ended = sa.select(ledger.c.id).where(*_is(ledger, row), ledger.c.kind.in_(_ENDS))
    return connection.execute(ended).first() is not None


def _is_open() -> list[Any]:
    ends = sa.alias(ledger)
    ended = sa.exists().where(*_are_same(ledger, ends), ends.c.kind.in_(_ENDS))
    return [ledger.c.kind == "hold", ~ended]


def _is_watched() -> Any:
    return sa.exists().where(*_are_same(ledger, watches))


def _is(table: Any, row: Row) -> list[Any]:
    return [table.c[name] == row[name] for name in _TRY]


def _are_same(one: Any, other: Any) -> list[Any]:
    return [one.c[name] == other.c[name] for name in _TRY]
