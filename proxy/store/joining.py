"""Rows that a repeated request is answered from: found by the client's own key, or by what it asked for.

A table of such rows has `key`, whose they are, and `idempotency` and `digest`, by which they are found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Table

Row = dict[str, Any]

_MOST_LOOKS = 10


def same(
    connection: Connection,
    table: Table,
    columns: Sequence[Any],
    row: Mapping[str, Any],
    recent: Any,
    newest: Sequence[Any],
) -> Row | None:
    """What a new row is a repetition of: that with the same idempotency key or, where there is none, the
    first in the order of `newest` with the same digest that is `recent`, a condition; None where an equal
    one is no repetition."""
    wanted = sa.select(*columns).where(table.c.key == row["key"])
    if row["idempotency"] is not None:
        wanted = wanted.where(table.c.idempotency == row["idempotency"])
    elif recent is not None:
        wanted = wanted.where(table.c.digest == row["digest"], recent).order_by(*newest).limit(1)
    else:
        return None
    found = connection.execute(wanted).mappings().first()
    return None if found is None else dict(found)


def insert_or_find(
    connection: Connection, table: Table, row: Mapping[str, Any], find: Callable[[], Row | None]
) -> Row | None:
    """What `find` finds; or else None, and the row is inserted. Where another was quicker with the same
    idempotency key, that is found, or is gone again by then."""
    for looks_left in reversed(range(_MOST_LOOKS)):
        if (found := find()) is not None:
            return found
        savepoint = connection.begin_nested()
        try:
            connection.execute(sa.insert(table).values(**row))
        except sa.exc.IntegrityError:
            savepoint.rollback()
            if not looks_left:
                raise
        else:
            savepoint.commit()
            break
    return None
