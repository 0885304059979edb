"""Client keys in the store: what is kept of them, who knows them when, what a store that is away means."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from proxy.config.models import NewKey
from proxy.errors import ProxyError, RequestError
from proxy.keys import ClientKey
from proxy.logs import Log
from proxy.store import client_keys
from proxy.store.callers import StoredCallers
from proxy.store.database import Database
from proxy.store.tables import keys
from tests import stores

NOW = 1_800_000_000.0
STRANGER = b"sk-dragoman-" + b"x" * 43


async def made(database: Database, name: str = "app", **fields: object) -> tuple[client_keys.Row, bytes]:
    new = NewKey.model_validate({"name": name, **fields})
    row, secret = await database.run(partial(client_keys.create, new=new, taken={"file"}, now=NOW))
    return row, secret.encode()


@asynccontextmanager
async def opened(address: str, clock: Callable[[], float] = lambda: NOW) -> AsyncIterator[StoredCallers]:
    database = Database(address)
    callers = StoredCallers(database, Log(), clock=clock)
    yield callers
    callers.close()
    await database.close()


@pytest.mark.anyio
async def test_a_secret_is_256_bits_and_not_in_the_store(store_address: str) -> None:
    database = Database(store_address)
    row, secret = await made(database)
    everything = await database.run(lambda connection: connection.execute(sa.select(keys)).all())
    await database.close()
    assert re.fullmatch(rb"sk-dragoman-[A-Za-z0-9_-]{43}", secret)
    assert secret[20:-4].decode() not in str(everything)
    assert len(row["digest"]) == 32
    assert (row["prefix"], row["last_four"]) == (secret[:16].decode(), secret[-4:].decode())


@pytest.mark.anyio
async def test_the_same_secret_comes_to_another_digest_elsewhere(tmp_path: Path) -> None:
    """Digests of two installations cannot be compared: each has a key of its own for them."""
    peppers = []
    for name in ("one", "two"):
        database = Database(f"sqlite:{tmp_path}/{name}.db")
        await made(database)
        peppers.append((await database.run(partial(client_keys.changes, since=0))).pepper)
        await database.close()
    assert len(set(peppers)) == 2


@pytest.mark.anyio
async def test_a_key_is_shown_without_its_secret(store_address: str) -> None:
    database = Database(store_address)
    row, _ = await made(
        database, models=["gemini-*"], limits={"requests": "60/min", "concurrent": 2}, expires_in="1d"
    )
    await database.close()
    shown = client_keys.shown(row, NOW)
    assert shown == {
        "id": row["id"],
        "object": "key",
        "name": "app",
        "state": "active",
        "prefix": row["prefix"],
        "last_four": row["last_four"],
        "models": ["gemini-*"],
        "image_output": None,
        "limits": {"requests": "60/min", "concurrent": 2},
        "budget": None,
        "created_at": 1_800_000_000,
        "expires_at": 1_800_086_400,
        "revoked_at": None,
        "old_secret_until": None,
    }
    assert client_keys.shown(row, NOW + 86_400)["state"] == "expired"


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["app", "file"])
async def test_a_name_is_taken_once(store_address: str, name: str) -> None:
    """Also after its key was revoked: usage is kept by name, and another shall not read it."""
    database = Database(store_address)
    row, _ = await made(database)
    await database.run(partial(client_keys.revoke, identity=row["id"], now=NOW))
    with pytest.raises(RequestError) as caught:
        await made(database, name)
    await database.close()
    assert (caught.value.status, caught.value.code, caught.value.param) == (409, "name_taken", "name")


@pytest.mark.anyio
async def test_pages_follow_each_other(store_address: str) -> None:
    database = Database(store_address)
    ids = sorted([(await made(database, f"k{number}"))[0]["id"] for number in range(5)])
    first = await database.run(partial(client_keys.page, after=None, most=2))
    others = await database.run(partial(client_keys.page, after=first[-1]["id"], most=9))
    await database.close()
    assert [row["id"] for row in (*first, *others)] == ids
    assert len(first) == 2


# --- who knows them when


@pytest.mark.anyio
async def test_a_key_that_is_made_elsewhere_works_at_once(store_address: str) -> None:
    elsewhere = Database(store_address)
    async with opened(store_address) as callers:
        assert await callers.find(STRANGER) is None
        _, secret = await made(elsewhere, models=["a", "b-*"], image_output="parts")
        assert await callers.find(secret) == ClientKey("app", ("a", "b-*"), "parts")
        assert await callers.find(secret[:-1] + b"_") is None
    await elsewhere.close()


@pytest.mark.anyio
@pytest.mark.parametrize("end", ["revoke", "rotate"])
async def test_a_secret_that_is_ended_elsewhere_stops_working_within_a_second(
    store_address: str, end: str
) -> None:
    elsewhere = Database(store_address)
    row, secret = await made(elsewhere)
    async with opened(store_address) as callers:
        watching = asyncio.create_task(callers.watch())
        assert await callers.find(secret) is not None
        if end == "revoke":
            await elsewhere.run(partial(client_keys.revoke, identity=row["id"], now=NOW))
        else:
            await elsewhere.run(partial(client_keys.rotate, identity=row["id"], keep_s=0.0, now=NOW))
        ended, was_known = time.monotonic(), True
        while was_known and time.monotonic() < ended + 10:
            await asyncio.sleep(0.01)
            was_known = await callers.find(secret) is not None
        took_s = time.monotonic() - ended
        watching.cancel()
    await elsewhere.close()
    assert took_s < 1


@pytest.mark.anyio
async def test_a_rotated_key_may_keep_its_old_secret_for_a_time(store_address: str) -> None:
    now = NOW
    database = Database(store_address)
    row, old = await made(database)
    _, new = await database.run(partial(client_keys.rotate, identity=row["id"], keep_s=60.0, now=now))
    async with opened(store_address, lambda: now) as callers:
        assert await callers.find(old) == await callers.find(new.encode()) == ClientKey("app")
        now += 60
        assert await callers.find(old) is None
        assert await callers.find(new.encode()) is not None
    await database.close()


@pytest.mark.anyio
async def test_an_expired_key_is_unknown(store_address: str) -> None:
    now = NOW
    database = Database(store_address)
    _, secret = await made(database, expires_in="10s")
    async with opened(store_address, lambda: now) as callers:
        assert await callers.find(secret) is not None
        now += 10
        assert await callers.find(secret) is None
    await database.close()


@pytest.mark.anyio
async def test_a_store_that_went_back_to_an_earlier_state_is_read_anew(store_address: str) -> None:
    database = Database(store_address)
    _, kept = await made(database, "kept")
    row, lost = await made(database, "lost")
    async with opened(store_address) as callers:
        assert await callers.find(lost) is not None
        await database.run(
            lambda connection: connection.execute(sa.delete(keys).where(keys.c.id == row["id"]))
        )
        await callers.refresh()
        assert await callers.find(lost) is None
        assert await callers.find(kept) is not None
    await database.close()


@pytest.mark.anyio
async def test_a_row_that_cannot_be_read_harms_no_other(store_address: str) -> None:
    database = Database(store_address)
    row, broken = await made(database, "broken")
    await database.run(
        lambda connection: connection.execute(
            sa.update(keys).where(keys.c.id == row["id"]).values(models="not JSON")
        )
    )
    _, whole = await made(database, "whole")
    async with opened(store_address) as callers:
        assert await callers.find(broken) is None
        assert await callers.find(whole) is not None
    await database.close()


# --- what it costs


@pytest.mark.anyio
@pytest.mark.parametrize("secret", [b"sk-test", STRANGER, b"sk-dragoman-\xff" + b"x" * 42])
async def test_without_a_store_nothing_is_made(tmp_path: Path, secret: bytes) -> None:
    async with opened(f"sqlite:{tmp_path}/state/dragoman.db") as callers:
        watching = asyncio.create_task(callers.watch())
        assert await callers.find(secret) is None
        watching.cancel()
    assert os.listdir(tmp_path) == []


class Counted(Database):
    """Counts the looks."""

    looks = 0

    async def read(self, work):  # type: ignore[no-untyped-def]
        self.looks += 1
        return await super().read(work)


@pytest.mark.anyio
async def test_strangers_share_their_looks(tmp_path: Path) -> None:
    database = Counted(f"sqlite:{tmp_path}/dragoman.db")
    await made(database)
    callers = StoredCallers(database, Log(), clock=lambda: NOW)
    began = time.monotonic()
    for _ in range(10):
        await asyncio.gather(*(callers.find(STRANGER) for _ in range(100)))
    took_s = time.monotonic() - began
    callers.close()
    await database.close()
    assert 10 <= database.looks <= 20
    assert took_s >= 9 * 0.05


@pytest.mark.anyio
async def test_a_store_in_memory_is_looked_into_when_there_is_something(tmp_path: Path) -> None:
    database = Counted("sqlite::memory:")
    callers = StoredCallers(database, Log(), clock=lambda: NOW)
    watching = asyncio.create_task(callers.watch())
    assert await callers.find(STRANGER) is None
    assert database.looks == 0
    _, secret = await made(database)
    assert await callers.find(secret) == ClientKey("app")
    watching.cancel()
    callers.close()
    await database.close()


# --- a store that is away


def renamed(server: str, old: str, new: str) -> None:
    """Take a database away from everybody, or give it back."""
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [old])
        connection.execute(f"ALTER DATABASE {old} RENAME TO {new}")


@pytest.mark.anyio
@pytest.mark.skipif(not stores.HAS_POSTGRESQL, reason="no PostgreSQL is installed")
async def test_who_is_known_goes_on_while_the_store_is_away(postgresql: str) -> None:
    address = stores.fresh(postgresql)
    name = urlsplit(address).path.removeprefix("/")
    database = Database(address)
    _, secret = await made(database)
    await database.close()
    async with opened(address) as callers:
        assert await callers.find(secret) is not None
        renamed(postgresql, name, f"{name}_away")
        await callers.refresh()
        assert callers.away == "OperationalError"
        assert await callers.find(secret) == ClientKey("app")
        with pytest.raises(ProxyError) as caught:
            await callers.find(STRANGER)
        assert (caught.value.status, caught.value.code) == (503, "key_store_unavailable")
        renamed(postgresql, f"{name}_away", name)
        assert await callers.find(STRANGER) is None
        assert callers.away is None
