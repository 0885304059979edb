"""Rows of replies, the same on both stores."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from proxy import app
from proxy import config as configuration
from proxy.store import replies, tables
from proxy.store.database import Database


def row(identity: str, key: str = "app", size: int = 10, **more: Any) -> dict[str, Any]:
    return {
        "id": identity,
        "key": key,
        "created_at": time.time(),
        "expires_at": time.time() + 60,
        "size": size,
        "told": b'{"a":1}',
        "context": b'{"b":2}',
        "events": None,
        "running": False,
        "alive_until": None,
        "cancel_asked": False,
        **more,
    }


async def names(database: Database, key: str, *wanted: str) -> list[str]:
    found = await database.read(
        lambda connection: replies.get(connection, key, dict.fromkeys(wanted, False), 1 << 20)
    )
    return sorted(one["id"] for one in found)


@pytest.mark.anyio
async def test_rows_are_found_by_key_until_they_are_too_old(store_address: str) -> None:
    database = Database(store_address)
    old = row("r3", expires_at=time.time() - 1)
    await database.run(lambda connection: replies.write(connection, [row("r1"), row("r2", "other"), old]))
    assert await names(database, "app", "r1", "r2", "r3", "r4") == ["r1"]
    await database.run(
        lambda connection: replies.write(connection, [row("r1", told=b"{}", events=b"e")], ["r1"])
    )
    [found] = await database.read(lambda connection: replies.get(connection, "app", {"r1": False}, 99))
    assert (bytes(found["told"]), bytes(found["events"])) == (b"{}", b"e")
    assert await database.run(lambda connection: replies.delete(connection, "other", "r1")) is False
    assert await database.run(lambda connection: replies.delete(connection, "app", "r1")) is True
    assert await names(database, "app", "r1") == []
    await database.close()


@pytest.mark.anyio
async def test_what_is_being_made_hears_that_it_shall_end(store_address: str) -> None:
    database = Database(store_address)
    rows = [row("r1", running=True, alive_until=1.0), row("r2", running=True, alive_until=1.0), row("r3")]
    await database.run(lambda connection: replies.write(connection, rows))
    for identity in ("r2", "r3"):
        await database.run(lambda connection, one=identity: replies.ask_cancel(connection, "app", one))
    words = [
        await database.run(lambda connection, one=identity: replies.alive(connection, one, 0, 99.0))
        for identity in ("r1", "r2", "r3", "r9")
    ]
    assert words == ["go on", "end", "gone", "gone"]
    found = await database.read(
        lambda connection: replies.get(connection, "app", {"r1": False, "r3": False}, 99)
    )
    assert {one["id"]: (one["alive_until"], one["cancel_asked"]) for one in found} == {
        "r1": (99.0, False),
        "r3": (None, False),
    }
    await database.close()


@pytest.mark.anyio
async def test_one_takes_over_what_nobody_makes_any_more(store_address: str) -> None:
    """Whoever made it before, and was thought to be dead, changes nothing from then on."""
    database = Database(store_address)
    lost = row("r1", running=True, alive_until=1.0, body=b"j{}", asked="{}")
    alive = row("r2", running=True, alive_until=time.time() + 60, body=None, asked=None)
    await database.run(lambda connection: replies.write(connection, [lost, alive]))
    for key, identity in (("other", "r1"), ("app", "r2"), ("app", "r3")):
        named = (key, identity, time.time() + 60)
        assert await database.run(lambda connection, named=named: replies.claim(connection, *named)) is None
    until = time.time() + 60
    claims = [
        await database.run(lambda connection: replies.claim(connection, "app", "r1", until)) for _ in range(2)
    ]
    assert claims[0] is not None
    assert (bytes(claims[0]["body"]), claims[0]["tries"], claims[1]) == (b"j{}", 1, None)
    assert await database.run(lambda connection: replies.alive(connection, "r1", 0, 1.0)) == "gone"
    await database.run(lambda connection: replies.let_go(connection, "r1", 0))
    await database.run(lambda connection: replies.end(connection, "r1", 0, b"{}", is_lost=False))
    assert await database.run(lambda connection: replies.alive(connection, "r1", 1, until)) == "go on"
    await database.run(lambda connection: replies.let_go(connection, "r1", 1))
    again = await database.run(lambda connection: replies.claim(connection, "app", "r1", until))
    assert again is not None
    await database.run(
        lambda connection: replies.end(connection, "r1", again["tries"], is_lost=False, told=b'{"over":1}')
    )
    [found] = await database.read(lambda connection: replies.get(connection, "app", {"r1": False}, 99))
    assert (bytes(found["told"]), found["running"], found["asked"]) == (b'{"over":1}', False, None)
    await database.close()


@pytest.mark.anyio
async def test_a_request_that_comes_again_finds_its_reply_while_that_is_kept(store_address: str) -> None:
    database = Database(store_address)

    async def opened(identity: str, within_s: float | None = None, **more: Any) -> str | None:
        """Whose place it takes; None for its own."""
        new = row(identity, running=True, alive_until=1.0, **{"idempotency": None, **more})
        found = await database.run(lambda connection: replies.open_or_join(connection, new, within_s))
        return None if found is None else found["id"]

    keyed: Any = {"idempotency": "k", "digest": b"d"}
    assert await opened("r1", **keyed) is None
    assert await opened("r2", **keyed) == "r1"
    assert await opened("r3", **{**keyed, "digest": b"e"}) == "r1"
    assert await opened("r4", **{**keyed, "key": "other"}) is None
    assert await opened("r5", digest=b"d") is None
    assert await opened("r6", 60.0, digest=b"d") == "r5"
    ended = {"running": False, "created_at": time.time() - 30}
    await database.run(lambda connection: connection.execute(sa.update(tables.replies).values(**ended)))
    assert await opened("r7", 60.0, digest=b"e") is None
    assert await opened("r8", 20.0, digest=b"d") is None
    old = {"expires_at": time.time() - 1}
    await database.run(lambda connection: connection.execute(sa.update(tables.replies).values(**old)))
    assert await opened("r9", 60.0, digest=b"d") is None
    assert await opened("r10", **keyed) is None
    assert await names(database, "app", *(f"r{number}" for number in range(1, 11))) == ["r10", "r9"]
    await database.close()


@pytest.mark.anyio
async def test_a_reply_whose_key_is_anothers_by_now_is_kept_all_the_same(store_address: str) -> None:
    """Of a process that was thought to be dead; the other rows of its turn are kept too."""
    database = Database(store_address)
    keyed: Any = {"idempotency": "k", "digest": b"d"}
    plain: Any = {"idempotency": None, "digest": None}
    await database.run(lambda connection: replies.write(connection, [row("r2", **keyed)]))
    late = [row("r1", **keyed), row("r3", **plain)]
    await database.run(lambda connection: replies.write(connection, late, ["r1"]))
    assert await names(database, "app", "r1", "r2", "r3") == ["r1", "r2", "r3"]
    again = row("r4", **keyed)
    found = await database.run(lambda connection: replies.open_or_join(connection, again, None))
    assert found is not None
    assert found["id"] == "r2"
    await database.close()


@pytest.mark.anyio
async def test_what_many_change_at_once_loses_nothing(store_address: str) -> None:
    one, other = Database(store_address), Database(store_address)
    until = time.time() + 60
    await one.run(lambda connection: replies.write(connection, [row("c1", context=b"")]))

    async def add(database: Database, letter: bytes) -> None:
        def more(told: bytes, context: bytes) -> tuple[bytes, bytes]:
            return told, context + letter

        assert await database.run(lambda connection: replies.change(connection, "app", "c1", more, until))

    await asyncio.gather(*(add(each, letter) for each in (one, other) for letter in (b"a", b"b", b"c")))
    [found] = await one.read(lambda connection: replies.get(connection, "app", {"c1": True}, 99))
    assert sorted(bytes(found["context"])) == sorted(b"aabbcc")
    assert (found["size"], found["expires_at"]) == (len(found["told"]) + 6, until)

    def nothing(told: bytes, context: bytes) -> tuple[bytes, bytes]:
        raise AssertionError("there is none")

    for key, identity in (("other", "c1"), ("app", "c2")):
        wanted = (key, identity, nothing, until)
        changed = await one.run(lambda connection, wanted=wanted: replies.change(connection, *wanted))
        assert changed is None
    await one.close()
    await other.close()


@pytest.mark.anyio
async def test_the_oldest_of_a_key_that_has_too_much_go(store_address: str) -> None:
    database = Database(store_address)
    rows = [row(f"r{number}", created_at=1000.0 + number) for number in range(5)]
    rows += [
        row("running", running=True, created_at=1.0),
        row("mine", "other", 25),
        row("old", expires_at=1.0),
    ]
    await database.run(lambda connection: replies.write(connection, rows))
    await database.run(lambda connection: replies.sweep(connection, 35))
    assert await names(database, "app", "r0", "r1", "r2", "r3", "r4", "running") == ["r3", "r4", "running"]
    assert await names(database, "other", "mine") == ["mine"]
    await database.close()


@pytest.mark.anyio
async def test_the_context_is_read_where_it_is_wanted_and_not_more_than_there_is_room_for(
    store_address: str,
) -> None:
    database = Database(store_address)
    await database.run(lambda connection: replies.write(connection, [row("r1"), row("r2")]))
    wanted = {"r1": True, "r2": False}
    found = await database.read(lambda connection: replies.get(connection, "app", wanted, 21))
    assert {one["id"]: bytes(one["context"]) for one in found} == {"r1": b'{"b":2}', "r2": b""}
    with pytest.raises(OverflowError):
        await database.read(lambda connection: replies.get(connection, "app", wanted, 20))
    await database.close()


@pytest.mark.anyio
async def test_what_is_too_old_goes_while_nobody_stores_more(tmp_path: Path, store_address: str) -> None:
    file = tmp_path / "providers.yaml"
    file.write_text(f'version: 1\nauth: {{mode: open}}\nmodels: {{}}\nserver: {{state: "{store_address}"}}\n')
    loaded = configuration.load(file)
    assert loaded.config is not None
    application = app.create(loaded.config, loaded.off)
    house = await application.open()
    database = house.services.database
    rows = [row("old", expires_at=time.time() - 1), row("young")]
    await database.run(lambda connection: replies.write(connection, rows))
    await house.sweep()
    left = sa.select(tables.replies.c.id)
    assert await database.read(lambda connection: connection.execute(left).scalars().all()) == ["young"]
    await application.close()
