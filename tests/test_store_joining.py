"""Rows of requests that come at once, in one store, by several machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from proxy.store import engines, replies, tables, tasks
from tests import stores
from tests.test_store_replies import row as reply
from tests.test_wakes import ROW


def task(identity: str) -> dict[str, Any]:
    return {**ROW, "id": identity, "idempotency": "k"}


def opened_task(connection: sa.Connection, row: dict[str, Any]) -> str:
    found, is_ours = tasks.open_or_join(connection, row, 60, None)
    return "" if is_ours else str(found["id"])


def opened_reply(connection: sa.Connection, row: dict[str, Any]) -> str:
    found = replies.open_or_join(connection, row, None)
    return "" if found is None else str(found["id"])


def new_reply(identity: str) -> dict[str, Any]:
    return reply(identity, running=True, alive_until=time.time() + 60, digest=b"d", idempotency="k")


KINDS = [
    pytest.param(tables.tasks, task, opened_task, id="task"),
    pytest.param(tables.replies, new_reply, opened_reply, id="reply"),
]


@pytest.fixture
def machines(postgresql: str) -> Iterator[tuple[sa.Engine, sa.Engine]]:
    """Two of them at one PostgreSQL: SQLite has one writer at a time."""
    address = stores.fresh(postgresql)
    both = engines.connect(address), engines.connect(address)
    engines.migrate(both[0])
    yield both
    for engine in both:
        engine.dispose()


class Quicker:
    """Another machine: each time that this one is about to insert its row it has inserted its own, and
    `times` times it has deleted that again before this one looks. In the end its row `stays`, or
    comes no more."""

    def __init__(
        self, machines: tuple[sa.Engine, sa.Engine], table: sa.Table, row: Any, times: int, *, stays: bool
    ) -> None:
        this, self._other = machines
        self._table, self._row, self._left, self._stays = table, row, times, stays
        sa.event.listen(this, "savepoint", self._insert)
        sa.event.listen(this, "rollback_savepoint", self._delete)

    def _insert(self, *_: Any) -> None:
        if self._left or self._stays:
            self._do(sa.insert(self._table).values(**self._row))

    def _delete(self, *_: Any) -> None:
        if self._left:
            self._left -= 1
            self._do(sa.delete(self._table))

    def _do(self, statement: Any) -> None:
        with self._other.begin() as connection:
            connection.execute(statement)


@pytest.mark.parametrize(("table", "row", "opened"), KINDS)
@pytest.mark.parametrize("times", [0, 1, 3])
@pytest.mark.parametrize("stays", [True, False], ids=["stays", "goes"])
def test_a_quicker_row_that_is_gone_when_it_is_looked_at_is_no_fault(
    machines: tuple[sa.Engine, sa.Engine],
    table: sa.Table,
    row: Callable[[str], dict[str, Any]],
    opened: Callable[[sa.Connection, dict[str, Any]], str],
    times: int,
    stays: bool,
) -> None:
    Quicker(machines, table, row("quick"), times, stays=stays)
    with machines[0].begin() as connection:
        assert opened(connection, row("slow")) == ("quick" if stays else "")
    with machines[1].begin() as connection:
        assert connection.execute(sa.select(table.c.id)).scalars().all() == ["quick" if stays else "slow"]


@pytest.mark.parametrize(("table", "row", "opened"), KINDS)
def test_a_row_that_cannot_be_inserted_at_all_is_told(
    machines: tuple[sa.Engine, sa.Engine],
    table: sa.Table,
    row: Callable[[str], dict[str, Any]],
    opened: Callable[[sa.Connection, dict[str, Any]], str],
) -> None:
    """Its id is taken, which is found by no key."""
    with machines[0].begin() as connection:
        assert opened(connection, row("one") | {"idempotency": "other"}) == ""
    with pytest.raises(sa.exc.IntegrityError), machines[0].begin() as connection:
        opened(connection, row("one"))
