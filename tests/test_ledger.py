"""Rows of money: written at once or in batches, each once, and never lost while the store is away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.charges import told
from proxy.ledger.entries import Entry, dump, insert, load
from proxy.ledger.recorder import Ledger
from proxy.store.database import Database
from proxy.store.tables import ledger
from tests import stores

pytestmark = pytest.mark.anyio

ROW = Entry(
    at=1795706770.5,
    request_id="req_1",
    call=0,
    attempt=1,
    kind="settle",
    key="app",
    model="flash",
    target="google/flash",
    operation="chat",
    outcome="ok",
    currency="USD",
    amount=Decimal("0.000000037512"),
    released=None,
    vendor_amount=None,
    vendor_unit=None,
    images=0,
    prompt_tokens=3,
    completion_tokens=4,
    estimated=False,
)


def rows(count: int, **changes: Any) -> list[Entry]:
    return [ROW._replace(request_id=f"req_{number}", **changes) for number in range(count)]


class Log:
    def __init__(self) -> None:
        self.events: list[str] = []
        self.lines: list[dict[str, Any]] = []

    def write(self, event: str, **fields: Any) -> None:
        self.events.append(event)
        self.lines.append(fields)

    async def until(self, event: str) -> None:
        async with asyncio.timeout(20):
            while event not in self.events:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def opened(address: str, folder: Path | None = None) -> AsyncIterator[tuple[Ledger, Database, Log]]:
    database, log = Database(address), Log()
    recorder = Ledger(database, folder, log)
    yield recorder, database, log
    await recorder.close()
    await database.close()


async def written(database: Database) -> list[str]:
    found = await database.run(
        lambda connection: (
            connection.execute(sa.select(ledger.c.request_id).order_by(ledger.c.id)).scalars().all()
        )
    )
    return list(found)


async def test_a_row_that_is_put_is_there(store_address: str) -> None:
    async with opened(store_address) as (recorder, database, _):
        await recorder.put(ROW)
        (row,) = await database.run(lambda connection: connection.execute(sa.select(ledger)).mappings().all())
    expected = {**ROW._asdict(), "id": 1, "day": 20783}
    del expected["watch"]  # what is asked of vendors is no money
    assert {**row} == expected


async def test_a_store_that_is_slow_is_waited_for(postgresql: str) -> None:
    """It is not away: an order that went out without its hold would be nobody's if the process died then."""
    async with opened(stores.fresh(postgresql)) as (recorder, database, _):
        await database.open()
        other = await asyncio.to_thread(psycopg.connect, database.address)
        other.execute("LOCK TABLE ledger IN ACCESS EXCLUSIVE MODE")
        putting = asyncio.create_task(recorder.put(ROW))
        await asyncio.wait((putting,), timeout=3.0)
        assert not putting.done()
        other.close()
        await putting
        assert await written(database) == [ROW.request_id]


async def test_rows_that_may_wait_come_together(store_address: str) -> None:
    async with opened(store_address) as (recorder, database, _):
        await database.open()
        for row in rows(499):
            recorder.add(row, at_once=False)
        assert await written(database) == []
        recorder.add(ROW._replace(request_id="req_last"), at_once=False)
        await recorder.put(ROW._replace(request_id="req_put"))
        assert await written(database) == [*(f"req_{number}" for number in range(499)), "req_last", "req_put"]


async def test_a_row_waits_half_a_second_for_others(store_address: str) -> None:
    async with opened(store_address) as (recorder, database, _):
        recorder.add(ROW, at_once=False)
        async with asyncio.timeout(10):
            while await written(database) != ["req_1"]:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.02)


async def test_what_waits_is_written_at_the_end(store_address: str) -> None:
    async with opened(store_address) as (recorder, _, _):
        for row in rows(1200):
            recorder.add(row, at_once=False)
    async with opened(store_address) as (_, database, _):
        assert await written(database) == [f"req_{number}" for number in range(1200)]


async def test_a_row_is_there_once_whoever_writes_it(store_address: str) -> None:
    async with opened(store_address) as (one, database, _), opened(store_address) as (other, _, log):
        await asyncio.gather(*(each.put(row) for row in rows(20) for each in (one, other, one)))
        assert sorted(await written(database)) == sorted(f"req_{number}" for number in range(20))
    assert log.events == []


@pytest.mark.parametrize("many", [49, 50, 51, 120])
async def test_each_of_many_rows_is_there_as_it_was_and_once(store_address: str, many: int) -> None:
    booked = [
        ROW._replace(request_id=f"req_{number}", amount=Decimal(number) / 8, prompt_tokens=number)
        for number in range(many)
    ]
    async with opened(store_address) as (recorder, database, log):
        await recorder.put(booked[7])
        for row in (*booked, booked[-1]):
            recorder.add(row, at_once=False)
        await recorder.put(booked[0])
        columns = (ledger.c.request_id, ledger.c.amount, ledger.c.prompt_tokens, ledger.c.estimated)
        found = await database.run(lambda connection: connection.execute(sa.select(*columns)).all())
    expected = {(f"req_{number}", Decimal(number) / 8, number, ROW.estimated) for number in range(many)}
    assert len(found) == many
    assert {tuple(row) for row in found} == expected
    assert log.events == []


async def test_kinds_and_tries_are_rows_of_their_own(store_address: str) -> None:
    async with opened(store_address) as (recorder, database, _):
        for row in (ROW, ROW._replace(kind="hold"), ROW._replace(attempt=2), ROW._replace(call=1), ROW):
            await recorder.put(row)
        assert await written(database) == ["req_1"] * 4


# --- a store that is away


async def test_rows_wait_in_memory_for_a_store_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    async with opened(f"sqlite:{tmp_path}/state/dragoman.db") as (recorder, database, log):
        recorder.add(ROW, at_once=True)
        await log.until("store_away")
        async with asyncio.timeout(1):  # nobody waits for it
            await recorder.put(ROW._replace(request_id="req_2"))
        (tmp_path / "state").unlink()
        await log.until("store_back")
        assert await written(database) == ["req_1", "req_2"]
    assert log.events == ["store_away", "store_back"]


async def test_a_server_that_vanishes_loses_no_row(
    postgresql: str, store_address: str, tmp_path: Path
) -> None:
    if not store_address.startswith("postgresql"):
        pytest.skip("only a server vanishes while it is used")
    name = store_address.partition("?")[0].rpartition("/")[2]

    def admit(allowed: bool) -> None:
        with psycopg.connect(postgresql, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {allowed}")
            connection.execute(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            )

    async with opened(store_address, tmp_path) as (recorder, database, log):
        await recorder.put(ROW._replace(request_id="before"))
        admit(False)
        for row in rows(3000):
            recorder.add(row, at_once=True)
            await asyncio.sleep(0)
        await log.until("ledger_waits")
        admit(True)
        recorder.add(ROW._replace(request_id="after"), at_once=True)
        await log.until("ledger_arrived")
        expected = {"before", "after", *(f"req_{number}" for number in range(3000))}
        found = await written(database)
        assert len(found) == len(expected)
        assert set(found) == expected
    assert os.listdir(tmp_path) == []


async def test_at_the_end_rows_wait_in_a_file_for_the_next_process(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    address, room = f"sqlite:{tmp_path}/state/dragoman.db", tmp_path / "room"
    async with opened(address, room) as (recorder, _, _):
        for row in rows(3):
            recorder.add(row, at_once=True)
    assert len(list(room.glob("ledger-*.jsonl"))) == 1
    assert (room.stat().st_mode & 0o777, next(room.iterdir()).stat().st_mode & 0o777) == (0o700, 0o600)
    (tmp_path / "state").unlink()
    async with opened(address, room) as (recorder, database, log):
        recorder.find()
        await log.until("ledger_arrived")
        assert await written(database) == ["req_0", "req_1", "req_2"]
    assert list(room.iterdir()) == []


async def test_a_file_that_was_read_before_adds_nothing(store_address: str, tmp_path: Path) -> None:
    (tmp_path / "ledger-1.jsonl").write_bytes(dump(rows(3)) + b'{"at": 1, "cut o')
    async with opened(store_address, tmp_path) as (recorder, database, _):
        await database.run(lambda connection: insert(connection, rows(2)))
        await recorder.put(ROW._replace(request_id="req_new"))
        recorder.find()
    async with opened(store_address) as (_, database, _):
        assert sorted(await written(database)) == ["req_0", "req_1", "req_2", "req_new"]


async def test_without_a_place_for_files_the_log_has_the_rows(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    async with opened(f"sqlite:{tmp_path}/state/dragoman.db", tmp_path / "state" / "room") as (
        recorder,
        _,
        log,
    ):
        recorder.add(ROW, at_once=True)
    assert log.events == ["store_away", "ledger_unwritable"]
    assert load(log.lines[1]["row"].encode()) == [ROW]


async def test_a_row_that_no_store_takes_stops_no_other(store_address: str) -> None:
    endless = ROW._replace(request_id="req_endless", amount=Decimal(10**9))
    async with opened(store_address) as (recorder, database, log):
        for row in (ROW, endless, ROW._replace(request_id="req_2")):
            recorder.add(row, at_once=False)
        await recorder.put(ROW._replace(request_id="req_3"))
        assert await written(database) == ["req_1", "req_2", "req_3"]
    assert log.events == ["ledger_refused"]


async def test_names_of_clients_fit_into_every_store(store_address: str) -> None:
    async with opened(store_address) as (recorder, database, log):
        await recorder.put(ROW._replace(model="a\0b\ud800" + "c" * 300))
        names = await database.run(
            lambda connection: connection.execute(sa.select(ledger.c.model)).scalars().all()
        )
    assert names == ["ab?" + "c" * 196]
    assert log.events == []


@given(
    st.lists(
        st.builds(ROW._replace, amount=st.none() | st.decimals(0, 10**6, places=12), call=st.integers(0, 9))
    )
)
def test_lines_hold_what_rows_do(entries: list[Entry]) -> None:
    assert load(dump(entries)) == entries
    assert all(json.loads(line)["day"] == 20783 for line in dump(entries).splitlines())


# --- what vendors say


@pytest.mark.parametrize(
    ("vendor", "amount"),
    [
        (None, None),
        ({}, None),
        ({"cost": "0.2", "unit": "CNY"}, (Decimal("0.2"), "CNY")),
        ({"cost": 0.0012, "is_byok": False}, (Decimal("0.0012"), "EUR")),
        ({"cost": 0.0012, "cost_currency": "USD"}, (Decimal("0.0012"), "USD")),
        ({"cost": 0}, (Decimal(0), "EUR")),
        ({"total_cost": "1e-3"}, (Decimal("0.001"), "EUR")),
        ({"credits_used": 12, "credits_reserved": 15}, (Decimal(12), "credits")),
        ({"credits_reserved": 15}, None),
        ({"cost_in_usd_ticks": 37756000}, (Decimal("0.0037756"), "USD")),
        ({"_billing": {"cost": 0.4, "actual_cost": 0.2, "currency": "CNY"}}, (Decimal("0.2"), "CNY")),
        ({"_billing": {"cost": "0.4"}, "cost": 9}, (Decimal("0.4"), "EUR")),
        ({"_billing": "none", "cost": 9}, (Decimal(9), "EUR")),
        ({"cost": True}, None),
        ({"cost": "much"}, None),
        ({"cost": -1}, None),
        ({"cost": float("nan")}, None),
        ({"cost": 1e300}, None),
        ({"cost": {"amount": 1}}, None),
    ],
)  # fmt: skip
def test_a_vendors_charge_is_read(vendor: Any, amount: Any) -> None:
    assert told(vendor, "EUR") == amount
