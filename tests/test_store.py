"""The store: made by its first use, brought up to date once by many, exact in money, the same on both."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from proxy.store import engines
from proxy.store import tasks as stored_tasks
from proxy.store.database import Database
from proxy.store.tables import HEAD, keys, ledger, metadata, tasks

ROW = {
    "at": 1.5,
    "day": 0,
    "request_id": "req_1",
    "call": 0,
    "attempt": 1,
    "kind": "settle",
    "key": "app",
    "model": "flash",
    "target": "google/flash",
    "operation": "chat",
    "outcome": "ok",
    "currency": "USD",
    "amount": Decimal("0.000000037512"),
    "images": 0,
    "prompt_tokens": 3,
    "completion_tokens": 4,
    "estimated": False,
}
TASK = {
    "id": "task_1",
    "key": "app",
    "request_id": "req_1",
    "endpoint": "/images/generations",
    "model": "wan",
    "waits": False,
    "state": "completed",
    "created_at": 1.0,
    "digest": b"",
    "asked": "{}",
    "orders": "{}",
    "repeatable": True,
    "epoch": 1,
    "tries": 1,
    "cancel_asked": False,
    "callback_tries": 0,
}


@pytest.mark.anyio
async def test_nothing_is_there_before_the_first_work(tmp_path: Path) -> None:
    database = Database(f"sqlite:{tmp_path}/state/dragoman.db")
    assert not (tmp_path / "state").exists()
    assert await database.run(lambda connection: connection.execute(sa.select(keys)).all()) == []
    await database.close()
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert [file.name for file in (tmp_path / "state").iterdir()] == ["dragoman.db"]


@pytest.mark.anyio
async def test_a_row_comes_back_as_it_was_written(store_address: str) -> None:
    database = Database(store_address)
    await database.run(lambda connection: connection.execute(sa.insert(ledger), [ROW]))
    (row,) = await database.run(lambda connection: connection.execute(sa.select(ledger)).mappings().all())
    await database.close()
    assert {name: row[name] for name in ROW} == ROW
    assert row["vendor_amount"] is None


@pytest.mark.anyio
async def test_money_adds_up_to_the_last_step(store_address: str) -> None:
    database = Database(store_address)
    amounts = [Decimal(text) for text in ("0.1", "0.2", "0.000000000001", "-0.05", "1234567")]
    rows = [{**ROW, "call": number, "amount": amount} for number, amount in enumerate(amounts)]
    await database.run(lambda connection: connection.execute(sa.insert(ledger), rows))
    total = await database.run(
        lambda connection: connection.execute(sa.select(sa.func.sum(ledger.c.amount))).scalar()
    )
    await database.close()
    assert total == Decimal("1234567.250000000001")


@pytest.mark.anyio
async def test_a_try_is_booked_once(store_address: str) -> None:
    database = Database(store_address)
    await database.run(lambda connection: connection.execute(sa.insert(ledger), [ROW]))
    with pytest.raises(sa.exc.IntegrityError):
        await database.run(lambda connection: connection.execute(sa.insert(ledger), [ROW]))
    await database.close()


@pytest.mark.anyio
async def test_work_that_fails_changes_nothing(store_address: str) -> None:
    database = Database(store_address)

    def fails(connection: sa.Connection) -> None:
        connection.execute(sa.insert(ledger), [ROW])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.run(fails)
    assert await database.run(lambda connection: connection.execute(sa.select(ledger)).all()) == []
    await database.close()


def test_the_revisions_come_to_the_tables(store_address: str) -> None:
    """A database that alembic brought up to date, and one that was made at once, are the same."""
    engine = engines.connect(store_address)
    with engine.begin() as connection:
        command.upgrade(engines.configuration(connection), "head")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert context.get_current_revision() == HEAD
        assert compare_metadata(context, metadata) == []
    assert engines.migrate(engine) == HEAD
    engine.dispose()


def test_tables_of_an_older_release_are_brought_up_to_date(store_address: str) -> None:
    engine = engines.connect(store_address)
    with engine.begin() as connection:
        command.upgrade(engines.configuration(connection), "head")
        command.downgrade(engines.configuration(connection), "base")
    assert engines.migrate(engine) is None
    with engine.connect() as connection:
        assert sa.inspect(connection).has_table("ledger")
    engine.dispose()


def _open(address: str, go: object) -> None:
    go.wait(20)  # type: ignore[attr-defined]
    database = Database(address)
    database.do(lambda connection: connection.execute(sa.select(ledger)).all())


def test_many_processes_may_come_first(store_address: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    go = spawn.Event()
    processes = [spawn.Process(target=_open, args=(store_address, go)) for _ in range(4)]
    for process in processes:
        process.start()
    go.set()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]


@pytest.mark.anyio
async def test_writers_of_two_processes_wait_for_each_other(tmp_path: Path) -> None:
    """SQLite: a transaction that reads first and writes then would else fail at once."""
    address = f"sqlite:{tmp_path}/dragoman.db"
    one, two = Database(address), Database(address)

    def counts_and_adds(connection: sa.Connection) -> None:
        there = connection.execute(sa.select(sa.func.count()).select_from(ledger)).scalar()
        connection.execute(sa.insert(ledger), [{**ROW, "call": there}])

    await asyncio.gather(*(database.run(counts_and_adds) for _ in range(20) for database in (one, two)))
    rows = await one.run(lambda connection: connection.execute(sa.select(ledger.c.call)).scalars().all())
    await one.close()
    await two.close()
    assert sorted(rows) == list(range(40))


@pytest.mark.anyio
async def test_a_new_file_that_another_process_writes_to_is_waited_for(tmp_path: Path) -> None:
    """Until the file has a log of its own SQLite says at once that it is locked, for all its patience."""
    other = sqlite3.connect(tmp_path / "dragoman.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    asyncio.get_running_loop().call_later(0.2, other.execute, "COMMIT")
    database = Database(f"sqlite:{tmp_path}/dragoman.db")
    await database.open()
    assert await database.run(lambda connection: connection.execute(sa.select(ledger)).all()) == []
    await database.close()
    other.close()


@pytest.mark.anyio
async def test_a_database_in_memory_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    database = Database("sqlite::memory:")
    await database.run(lambda connection: connection.execute(sa.insert(ledger), [ROW]))
    assert len(await database.run(lambda connection: connection.execute(sa.select(ledger)).all())) == 1
    await database.close()
    assert os.listdir(tmp_path) == []


@pytest.mark.anyio
async def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "dragoman.db").write_text("not a database, but long enough to be looked at " * 20)
    database = Database(f"sqlite:{tmp_path}/dragoman.db")
    with pytest.raises(sa.exc.DatabaseError):
        await database.open()
    await database.close()


@pytest.mark.anyio
async def test_whether_there_are_tasks_is_asked_without_loading_what_keeps_them(store_address: str) -> None:
    """A server of chats pays nothing for tasks that nobody has."""
    database = Database(store_address)
    assert await database.read(stored_tasks.exist) is False
    await database.run(lambda connection: connection.execute(sa.insert(tasks), [TASK]))
    assert await database.read(stored_tasks.exist) is True
    await database.close()
