"""Rows of tasks: who works at one holds a lease, and every write says by which. Loaded by the first task.

Plain functions over a connection, for `Database.run`. On PostgreSQL those who look for work pass by the rows
that another is looking at; on SQLite one looks at a time.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy import Connection

from proxy.store import joining, wakes
from proxy.store.tables import deliveries, tasks

Row = dict[str, Any]

MOST_TRIES = 3
OPEN = ("pending", "running")
HELD = ("uncertain", "parked")
FINAL = ("completed", "failed", "cancelled")

_CALLBACK_LEASE_S = 12.0  # a try takes ten at most
_ALL_BUT_BODY = [column for column in tasks.c if column.name != "body"]


def now(connection: Connection) -> Any:
    """The store's time, so that machines whose clocks differ agree on leases."""
    if connection.dialect.name == "postgresql":
        return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Float)
    return time.time()


def _tell(connection: Connection, *words: str) -> None:
    """Other processes hear of it when the transaction holds; on SQLite they look."""
    if connection.dialect.name == "postgresql":
        for word in words:
            connection.execute(sa.select(sa.func.pg_notify(wakes.CHANNEL, word)))


# --- a request comes


def open_or_join(
    connection: Connection,
    row: Row,
    lease_s: float,
    retried_within_s: float | None,
    failed_within_s: float | None = None,
) -> tuple[Row, bool]:
    """Insert the row, or find the one that it is a repetition of: that with the same idempotency key or,
    where an SDK says that it tries again, the newest with the same body; where it may try again without a
    word, such a one that was bought and failed with a 5xx. Returns the row as it stands now, and whether it
    is the caller's to work at.

    What has ended without a purchase starts anew.
    """
    row = {**row, **_lease(connection, row["owner"], lease_s)}
    find = partial(_same, connection, row, retried_within_s, failed_within_s)
    found = joining.insert_or_find(connection, tasks, row, find)
    if found is None:
        _tell_if_free(connection, row)
        return row, True
    if not _starts_anew(found, row):
        return found, False
    again = {name: row[name] for name in ("request_id", "state", "body", "asked", "orders", "owner", "tries")}
    fresh = {
        "ended_at": None,
        "error": None,
        "repeatable": False,
        "cancel_asked": False,
        "callback_due": None,
        "callback_tries": 0,
        "epoch": found["epoch"] + 1,
    }
    values = {**again, **fresh, "lease_until": row["lease_until"]}
    condition = (tasks.c.id == found["id"]) & (tasks.c.epoch == found["epoch"])
    done = connection.execute(sa.update(tasks).where(condition).values(**values))
    _tell_if_free(connection, row)
    return {**found, **again, **fresh}, done.rowcount == 1


def begun_before(
    connection: Connection, same: Row, retried_within_s: float | None, failed_within_s: float | None = None
) -> Row | None:
    """What `open_or_join` would join; None where it would be the caller's to work at."""
    found = _same(connection, same, retried_within_s, failed_within_s)
    return None if found is None or _starts_anew(found, same) else found


def _starts_anew(found: Row, row: Row) -> bool:
    return bool(found["repeatable"]) and found["digest"] == row["digest"]


def _same(
    connection: Connection, row: Row, retried_within_s: float | None, failed_within_s: float | None
) -> Row | None:
    recent = None
    if retried_within_s is not None:
        recent = (tasks.c.ended_at.is_(None)) | (tasks.c.ended_at > now(connection) - retried_within_s)
    elif failed_within_s is not None:
        recent = (
            (tasks.c.state == "failed")
            & tasks.c.repeatable.is_(False)
            & (tasks.c.ended_at > now(connection) - failed_within_s)
        )
    found = joining.same(connection, tasks, _ALL_BUT_BODY, row, recent, (tasks.c.id.desc(),))
    by_a_word = row["idempotency"] is not None or retried_within_s is not None
    return found if found is None or by_a_word or _is_asked_again(found) else None


def _is_asked_again(failed: Row) -> bool:
    """Without a word: nobody does that with a 4xx, so that who comes again is a person."""
    error = orjson.loads(failed["error"] or b"{}")
    return bool(error.get("status", 500) >= 500)


def _tell_if_free(connection: Connection, row: Row) -> None:
    if row["owner"] is None:
        _tell(connection, wakes.FREE)


def _lease(connection: Connection, owner: str | None, lease_s: float) -> Row:
    """A row that nobody has yet is free for all."""
    return {"lease_until": None if owner is None else now(connection) + lease_s}


# --- work


def claim(
    connection: Connection, owner: str, lease_s: float, most: int, held_up: Collection[str] = ()
) -> list[Row]:
    """Take over what nobody works at, oldest first, with its body. What has cost as many processes as may be
    is parked instead, and comes without its body. What has not begun of models that are `held_up` stays. Each
    tells whose it `was`."""
    free = (tasks.c.lease_until.is_(None)) | (tasks.c.lease_until < now(connection))
    wanted = sa.select(tasks.c.id, tasks.c.tries, tasks.c.owner).where(tasks.c.state.in_(OPEN), free)
    if held_up:
        wanted = wanted.where((tasks.c.state != "pending") | tasks.c.model.notin_(held_up))
    found = connection.execute(
        wanted.order_by(tasks.c.id).limit(most).with_for_update(skip_locked=True)
    ).all()
    given_up = [row.id for row in found if row.tries >= MOST_TRIES]
    taken = [row.id for row in found if row.tries < MOST_TRIES]
    rows: list[Row] = []
    if given_up:
        parked = {"state": "parked", "owner": None, "lease_until": None, "epoch": tasks.c.epoch + 1}
        statement = sa.update(tasks).where(tasks.c.id.in_(given_up)).values(**parked)
        _tell(connection, *given_up)
        rows += _all(connection.execute(statement.returning(*_ALL_BUT_BODY)))
    if taken:
        mine = {
            "state": "running",
            "owner": owner,
            "epoch": tasks.c.epoch + 1,
            "tries": tasks.c.tries + 1,
            "lease_until": now(connection) + lease_s,
        }
        statement = sa.update(tasks).where(tasks.c.id.in_(taken)).values(**mine)
        rows += _all(connection.execute(statement.returning(tasks)))
    was = {row.id: row.owner for row in found}
    return [{**row, "was": was[row["id"]]} for row in sorted(rows, key=lambda row: str(row["id"]))]


def write(
    connection: Connection, identity: str, owner: str, epoch: int, lease_s: float, values: Mapping[str, Any]
) -> bool:
    """Change a row and renew its lease; False, with nothing done, when the lease is another's by now. A final
    state ends the lease, drops the client's body, and makes a callback due."""
    given = dict(values)
    given["lease_until"] = now(connection) + lease_s
    if given.get("state") in FINAL:
        due = sa.case((tasks.c.callback_url.is_(None), None), else_=now(connection))
        given |= {"ended_at": now(connection), "body": None, "callback_due": due}
    ends = "state" in given and given["state"] not in OPEN
    if ends:
        given |= {"owner": None, "lease_until": None}
    held = (tasks.c.id == identity) & (tasks.c.owner == owner) & (tasks.c.epoch == epoch)
    done = connection.execute(sa.update(tasks).where(held).values(**given)).rowcount == 1
    if done and ends:
        _tell(connection, identity)
    return done


def renew(
    connection: Connection, owner: str, identities: Collection[str], lease_s: float
) -> dict[str, tuple[int, bool]]:
    """Renew the leases that are still the owner's: by id their epoch, and whether a client wants the task
    called off. What is missing is another's."""
    held = (tasks.c.owner == owner) & tasks.c.id.in_(identities)
    values = {"lease_until": now(connection) + lease_s}
    statement = sa.update(tasks).where(held).values(**values)
    rows = connection.execute(statement.returning(tasks.c.id, tasks.c.epoch, tasks.c.cancel_asked))
    return {row.id: (row.epoch, row.cancel_asked) for row in rows}


def release(connection: Connection, owner: str) -> None:
    """A process that ends as it should leaves its tasks to the next at once; that was no fault of theirs."""
    mine = (tasks.c.owner == owner) & tasks.c.state.in_(OPEN)
    values = {"owner": None, "lease_until": None, "tries": sa.func.greatest(tasks.c.tries - 1, 0)}
    if connection.dialect.name == "sqlite":
        values["tries"] = sa.func.max(tasks.c.tries - 1, 0)
    connection.execute(sa.update(tasks).where(mine).values(**values))
    _tell(connection, wakes.FREE)


# --- who asks


def exist(connection: Connection) -> bool:
    return connection.execute(sa.select(tasks.c.id).limit(1)).first() is not None


def get(connection: Connection, identity: str, key: str | None = None) -> Row | None:
    """The row without its body; of that key's alone where one is given."""
    wanted = sa.select(*_ALL_BUT_BODY).where(tasks.c.id == identity)
    return _first(connection.execute(wanted if key is None else wanted.where(tasks.c.key == key)))


def page(
    connection: Connection,
    key: str | None,
    states: Collection[str] = (),
    after: str | None = None,
    most: int = 20,
) -> list[Row]:
    """The newest first, from behind the id `after`."""
    wanted = sa.select(*_ALL_BUT_BODY).order_by(tasks.c.id.desc()).limit(most)
    if key is not None:
        wanted = wanted.where(tasks.c.key == key)
    if states:
        wanted = wanted.where(tasks.c.state.in_(states))
    if after is not None:
        wanted = wanted.where(tasks.c.id < after)
    return _all(connection.execute(wanted))


def ask_cancel(connection: Connection, identity: str, key: str | None) -> Row | None:
    """Call off what nobody works at; whoever works at it is told, at the latest by the next renewal of the
    lease. The row as it stands then."""
    mine = (tasks.c.id == identity) & tasks.c.state.in_(OPEN)
    if key is not None:
        mine &= tasks.c.key == key
    waiting = mine & (tasks.c.state == "pending") & tasks.c.owner.is_(None)
    due = sa.case((tasks.c.callback_url.is_(None), None), else_=now(connection))
    over = {"state": "cancelled", "ended_at": now(connection), "body": None, "callback_due": due}
    if connection.execute(sa.update(tasks).where(waiting).values(**over)).rowcount:
        _tell(connection, identity, wakes.CALLBACK)
    else:
        connection.execute(sa.update(tasks).where(mine).values(cancel_asked=True))
        _tell(connection, wakes.CANCEL)
    return get(connection, identity, key)


def resolve(connection: Connection, identity: str, values: Mapping[str, Any]) -> bool:
    """What an operator knows of a task that is held; False when it is not."""
    given: dict[str, Any] = {**values, "epoch": tasks.c.epoch + 1}
    if given["state"] in FINAL:
        due = sa.case((tasks.c.callback_url.is_(None), None), else_=now(connection))
        given |= {"ended_at": now(connection), "body": None, "callback_due": due}
    held = (tasks.c.id == identity) & tasks.c.state.in_(HELD)
    _tell(connection, identity, wakes.CALLBACK if given["state"] in FINAL else wakes.FREE)
    return connection.execute(sa.update(tasks).where(held).values(**given)).rowcount == 1


def late(connection: Connection, request_id: str) -> Row | None:
    """The task of a request that was given up, or held, and can still be told what came of it: locked until
    the transaction ends."""
    told = tasks.c.state.in_(("failed", "completed", "parked"))
    wanted = sa.select(*_ALL_BUT_BODY).where(tasks.c.request_id == request_id, told)
    return _first(connection.execute(wanted.with_for_update()))


def came_late(connection: Connection, row: Row, orders: str, result: str) -> None:
    """It is completed after all. Its client is called only where it was not told of an end before."""
    due = now(connection) if row["ended_at"] is None and row["callback_url"] is not None else None
    over = {"state": "completed", "ended_at": now(connection), "error": None, "body": None}
    values = {**over, "orders": orders, "result": result, "callback_due": due}
    connection.execute(sa.update(tasks).where(tasks.c.id == row["id"]).values(**values))
    _tell(connection, row["id"], *(() if due is None else (wakes.CALLBACK,)))


def sweep(connection: Connection, keep_s: float) -> None:
    """Forget what has been over for so long. What is held stays until somebody resolves it."""
    old = tasks.c.ended_at < now(connection) - keep_s
    told = deliveries.c.task.in_(sa.select(tasks.c.id).where(old))
    connection.execute(sa.delete(deliveries).where(told))
    connection.execute(sa.delete(tasks).where(old))


# --- callbacks


def due_callbacks(connection: Connection, most: int) -> list[Row]:
    """Take callbacks whose time has come; one that is not delivered is somebody's again after a while."""
    due = sa.select(tasks.c.id).where(tasks.c.callback_due <= now(connection))
    found = connection.execute(
        due.order_by(tasks.c.callback_due).limit(most).with_for_update(skip_locked=True)
    ).scalars()
    values = {
        "callback_due": now(connection) + _CALLBACK_LEASE_S,
        "callback_tries": tasks.c.callback_tries + 1,
    }
    if not (taken := found.all()):
        return []
    statement = sa.update(tasks).where(tasks.c.id.in_(taken)).values(**values)
    return _all(connection.execute(statement.returning(*_ALL_BUT_BODY)))


def delivered(
    connection: Connection,
    identity: str,
    attempt: int,
    status: int | None,
    error: str | None,
    again_s: float | None,
) -> None:
    """Write down how a delivery went, and when it is tried again; None for not any more."""
    entry = {"task": identity, "at": now(connection), "attempt": attempt, "status": status, "error": error}
    connection.execute(sa.insert(deliveries).values(**entry))
    due = None if again_s is None else now(connection) + again_s
    mine = (tasks.c.id == identity) & (tasks.c.callback_tries == attempt)
    connection.execute(sa.update(tasks).where(mine).values(callback_due=due))


def deliveries_of(connection: Connection, identity: str) -> list[Row]:
    wanted = sa.select(deliveries).where(deliveries.c.task == identity).order_by(deliveries.c.id)
    return _all(connection.execute(wanted))


def _first(result: Any) -> Row | None:
    row = result.mappings().first()
    return None if row is None else dict(row)


def _all(result: Any) -> list[Row]:
    return [dict(row) for row in result.mappings().all()]
