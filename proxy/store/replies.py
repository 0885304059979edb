"""Rows of replies that clients come back to. Loaded by the first of them.

Plain functions over a connection, for `Database.run` and `read`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from proxy.store import joining
from proxy.store.tables import replies

Row = dict[str, Any]

_BY_NOBODY: Row = {"digest": None, "idempotency": None}  # a repeated request does not find it

_SWEPT_AT_ONCE = 1000


def write(connection: Connection, rows: Sequence[Row], written_before: Sequence[str] = ()) -> None:
    """Insert; those that were `written_before`, when they were being made, are replaced. One whose
    idempotency key is another's by now is kept without it."""
    if written_before:
        connection.execute(sa.delete(replies).where(replies.c.id.in_(written_before)))
    connection.execute(sa.insert(replies), [_without_anothers(connection, row) for row in rows])


def _without_anothers(connection: Connection, row: Row) -> Row:
    key = row.get("idempotency")
    if key is None:
        return row
    taken = sa.select(replies.c.id).where(replies.c.key == row["key"], replies.c.idempotency == key)
    return row if connection.execute(taken).first() is None else {**row, "idempotency": None}


def open_or_join(connection: Connection, row: Row, retried_within_s: float | None) -> Row | None:
    """Insert what is being made from now on; or else, where its request came before, `id` and `digest` of
    what that is answered by. What is lost is found no more."""
    now = time.time()
    if row["idempotency"] is not None:
        own = (replies.c.key == row["key"]) & (replies.c.idempotency == row["idempotency"])
        connection.execute(sa.delete(replies).where(own, replies.c.expires_at <= now))
    find = partial(_same_or_lost, connection, row, retried_within_s, now)
    return joining.insert_or_find(connection, replies, row, find)


def _same_or_lost(connection: Connection, row: Row, retried_within_s: float | None, now: float) -> Row | None:
    while (found := _same(connection, row, retried_within_s, now)) is not None and _is_lost(found, row):
        connection.execute(sa.update(replies).where(replies.c.id == found["id"]).values(_BY_NOBODY))
    return found


def begun_before(connection: Connection, same: Row, retried_within_s: float | None) -> Row | None:
    """What `open_or_join` would join; None where it would insert."""
    now = time.time()
    found = _same(connection, same, retried_within_s, now)
    return None if found is None or _is_lost(found, same) or found["expires_at"] <= now else found


def _is_lost(found: Row, row: Row) -> bool:
    """Whether the same request would have it made anew."""
    return bool(found["is_lost"]) and found["digest"] == row["digest"]


def _same(connection: Connection, row: Row, retried_within_s: float | None, now: float) -> Row | None:
    recent = None
    if retried_within_s is not None:  # what is over was written when it ended
        recent = replies.c.running | (replies.c.created_at > now - retried_within_s)
        recent &= replies.c.expires_at > now
    newest = (replies.c.running.desc(), replies.c.created_at.desc())
    # Words whose stream broke off with their process: another reply would not belong to their beginning.
    is_lost = replies.c.running & (replies.c.alive_until < now)
    is_lost &= replies.c.body.is_(None) & replies.c.asked.is_not(None)
    columns = (replies.c.id, replies.c.digest, replies.c.expires_at, is_lost.label("is_lost"))
    return joining.same(connection, replies, columns, row, recent, newest)


def get(connection: Connection, key: str, wanted: Mapping[str, bool], most_bytes: int) -> list[Row]:
    """Those that are this key's and not too old, in no order, without the body; the `context` only of those
    where that is wanted, else it is empty. Raises `OverflowError` when they are more than `most_bytes`."""
    mine = (replies.c.key == key) & (replies.c.expires_at > time.time())
    with_context = replies.c.id.in_([identity for identity, whole in wanted.items() if whole])
    context = sa.case((with_context, replies.c.context), else_=sa.literal(b""))
    mine &= replies.c.id.in_(list(wanted))
    size = sa.func.sum(sa.func.length(replies.c.told) + sa.func.length(context))
    if (connection.execute(sa.select(size).where(mine)).scalar() or 0) > most_bytes:
        raise OverflowError
    columns = [column for column in replies.c if column.name not in ("context", "body")]
    rows = connection.execute(sa.select(*columns, context.label("context")).where(mine))
    return [dict(row) for row in rows.mappings()]


def change(
    connection: Connection,
    key: str,
    identity: str,
    change: Callable[[bytes, bytes], tuple[bytes, bytes]],
    expires_at: float,
) -> tuple[bytes, bytes] | None:
    """What is told of one and its context, as `change` makes them of what they were; one after the other,
    whoever changes it. None where there is none."""
    mine = (replies.c.key == key) & (replies.c.id == identity) & (replies.c.expires_at > time.time())
    row = connection.execute(
        sa.select(replies.c.told, replies.c.context).where(mine).with_for_update()
    ).first()
    if row is None:
        return None
    told, context = change(bytes(row.told), bytes(row.context))
    values = {"told": told, "context": context, "size": len(told) + len(context), "expires_at": expires_at}
    connection.execute(sa.update(replies).where(mine).values(values))
    return told, context


def delete(connection: Connection, key: str, identity: str) -> bool:
    mine = (replies.c.key == key) & (replies.c.id == identity)
    return bool(connection.execute(sa.delete(replies).where(mine)).rowcount)


def ask_cancel(connection: Connection, key: str, identity: str) -> None:
    mine = (replies.c.key == key) & (replies.c.id == identity) & replies.c.running
    connection.execute(sa.update(replies).where(mine).values(cancel_asked=True))


def alive(connection: Connection, identity: str, tries: int, until: float) -> Literal["go on", "end", "gone"]:
    """Say that it is being made, and hear whether it shall be; `gone` when it is another's now."""
    mine = _being_made(identity, tries)
    connection.execute(sa.update(replies).where(mine).values(alive_until=until))
    asked = connection.execute(sa.select(replies.c.cancel_asked).where(mine)).scalar()
    return "gone" if asked is None else "end" if asked else "go on"


def let_go(connection: Connection, identity: str, tries: int) -> None:
    """Whoever asks for it next makes it."""
    connection.execute(sa.update(replies).where(_being_made(identity, tries)).values(alive_until=0.0))


def claim(connection: Connection, key: str, identity: str, until: float) -> Row | None:
    """Take over what nobody makes any more. None where somebody does, or has."""
    lost = (replies.c.key == key) & (replies.c.id == identity) & replies.c.running
    lost &= replies.c.alive_until < time.time()
    taken = sa.update(replies).where(lost).values(alive_until=until, tries=replies.c.tries + 1)
    if not connection.execute(taken).rowcount:
        return None
    row = connection.execute(sa.select(replies).where(replies.c.id == identity)).mappings().one()
    return dict(row)


def end(connection: Connection, identity: str, tries: int, told: bytes, *, is_lost: bool) -> None:
    """Write that no more will come of it. What `is_lost` starts anew for who asks again."""
    over = {"told": told, "running": False, "alive_until": None, "body": None, "asked": None}
    over |= _BY_NOBODY if is_lost else {}
    connection.execute(sa.update(replies).where(_being_made(identity, tries)).values(over))


def _being_made(identity: str, tries: int) -> Any:
    return (replies.c.id == identity) & (replies.c.tries == tries) & replies.c.running


def sweep(connection: Connection, max_bytes: int) -> None:
    """Remove what is too old, then of each key the oldest of what is too much."""
    connection.execute(sa.delete(replies).where(replies.c.expires_at <= time.time()))
    total = sa.func.sum(replies.c.size)
    crowded = connection.execute(
        sa.select(replies.c.key, total).group_by(replies.c.key).having(total > max_bytes)
    ).all()
    for key, size in crowded:
        oldest = sa.select(replies.c.id, replies.c.size).where(replies.c.key == key, ~replies.c.running)
        surplus = size - max_bytes
        while surplus > 0:
            rows = connection.execute(oldest.order_by(replies.c.created_at).limit(_SWEPT_AT_ONCE)).all()
            gone = []
            for row in rows:
                if surplus <= 0:
                    break
                gone.append(row.id)
                surplus -= row.size
            if not gone:
                break
            connection.execute(sa.delete(replies).where(replies.c.id.in_(gone)))
