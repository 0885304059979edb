"""What one process writes of a task another hears at once, on PostgreSQL; looks come much later here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from proxy.simulators.server import start
from proxy.store import tasks
from proxy.store.database import Database
from proxy.store.wakes import Wakes
from tests import stores
from tests.served import serving, waited
from tests.test_store import TASK
from tests.test_tasks_crash import ENVIRONMENT, FILE, begun, ended, shown

pytestmark = pytest.mark.anyio
PATIENCE_S = 20.0
LATE_S = 600.0
ROW = {
    **TASK,
    "state": "running",
    "owner": "one",
    "idempotency": None,
    "callback_url": None,
    "repeatable": False,
}


@pytest.fixture
def store(postgresql: str) -> str:
    return stores.fresh(postgresql)


@asynccontextmanager
async def listening(store: str) -> AsyncIterator[tuple[Wakes, Database]]:
    """Somebody who hears what is told, and a store to tell at."""
    database, wakes = Database(store), Wakes(lambda: None, again_s=0.05)
    line = asyncio.create_task(wakes.listen(store))
    try:
        await database.run(lambda connection: tasks.open_or_join(connection, dict(ROW), 60, None))
        await wakes.work_within(PATIENCE_S)  # the line is there: nobody knows what was told before
        assert wakes.taken() == {"free", "cancel", "callback"}
        yield wakes, database
    finally:
        line.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await line
        await database.close()


@pytest.mark.parametrize(
    "tell",
    [
        partial(
            tasks.write, identity="task_1", owner="one", epoch=1, lease_s=9, values={"state": "completed"}
        ),
        partial(
            tasks.write, identity="task_1", owner="one", epoch=1, lease_s=9, values={"state": "uncertain"}
        ),
    ],
    ids=["completed", "uncertain"],
)
async def test_who_waits_for_a_task_hears_of_its_end(store: str, tell: Callable[..., Any]) -> None:
    async with listening(store) as (wakes, database), asyncio.timeout(PATIENCE_S):
        with wakes.of("task_1") as woken, wakes.of("task_1") as woken_too:
            await database.run(tell)
            await asyncio.gather(woken(LATE_S), woken_too(LATE_S))
        with wakes.of("task_2") as woken:
            await woken(0.01)  # nobody tells of this one


def pending(connection: sa.Connection) -> None:
    row = {**ROW, "id": "task_2", "state": "pending", "owner": None}
    tasks.open_or_join(connection, row, 60, None)


def uncertain(connection: sa.Connection) -> None:
    connection.execute(sa.update(tasks.tasks).values(state="uncertain", owner=None))


def waiting(connection: sa.Connection) -> None:
    connection.execute(sa.update(tasks.tasks).values(state="pending", owner=None))


@pytest.mark.parametrize(
    ("before", "tell", "work"),
    [
        (None, pending, {"free"}),
        (None, partial(tasks.release, owner="one"), {"free"}),
        (uncertain, partial(tasks.resolve, identity="task_1", values={"state": "pending"}), {"free"}),
        (uncertain, partial(tasks.resolve, identity="task_1", values={"state": "failed"}), {"callback"}),
        (None, partial(tasks.ask_cancel, identity="task_1", key="app"), {"cancel"}),
        (waiting, partial(tasks.ask_cancel, identity="task_1", key="app"), {"callback"}),
    ],
    ids=["pending", "released", "resolved", "failed", "called off", "never begun"],
)
async def test_who_looks_for_work_hears_of_it(
    store: str, before: Callable[..., Any] | None, tell: Callable[..., Any], work: set[str]
) -> None:
    async with listening(store) as (wakes, database), asyncio.timeout(PATIENCE_S):
        if before is not None:
            await database.run(before)
        await database.run(tell)
        await wakes.work_within(LATE_S)
        assert wakes.taken() == work


async def test_what_is_taken_back_is_not_told(store: str) -> None:
    def fails(connection: sa.Connection) -> None:
        tasks.release(connection, "one")
        raise LookupError

    async with listening(store) as (wakes, database), asyncio.timeout(PATIENCE_S):
        with pytest.raises(LookupError):
            await database.run(fails)
        await database.run(partial(tasks.ask_cancel, identity="task_1", key="app"))
        await wakes.work_within(LATE_S)
        assert wakes.taken() == {"cancel"}


async def test_a_line_that_was_cut_is_made_again_and_all_look(store: str) -> None:
    ours = sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
    async with listening(store) as (wakes, database), asyncio.timeout(PATIENCE_S):
        with wakes.of("task_1") as woken:
            await database.run(lambda connection: connection.execute(ours).rowcount)
            await woken(LATE_S)  # nobody knows what was told meanwhile
            assert wakes.taken() == {"free", "cancel", "callback"}
            await database.run(partial(tasks.release, owner="one"))
            await wakes.work_within(LATE_S)
            assert wakes.taken() == {"free"}


async def test_a_store_that_cannot_be_reached_is_tried_again_and_disturbs_nobody() -> None:
    wakes = Wakes(lambda: None, again_s=0.0)
    line = asyncio.create_task(wakes.listen("postgresql://nobody@127.0.0.1:1/none"))
    with wakes.of("task_1") as woken:
        await woken(0.2)
    assert not line.done()
    assert not wakes.hears
    line.cancel()


def test_another_machine_takes_what_one_has_no_room_for_at_once(tmp_path: Path, store: str) -> None:
    """A look comes after forty seconds, longer than anybody waits here."""
    state = f'server: {{state: "{store}", files: {{folder: "{tmp_path}/files"}}}}\n'
    with start() as vendors, ExitStack() as stack:
        file = FILE.replace("http://SIMULATORS", vendors.base_url) + state
        servers = []
        for name, at_once in (("one", 1), ("other", 9)):
            folder = tmp_path / name
            folder.mkdir()
            rules = f"tasks: {{lease: 120s, at_once: {at_once}}}\n"
            servers.append(stack.enter_context(serving(folder, file + rules, environment=ENVIRONMENT)))
        one, other = servers
        assert ended(other, begun(other, "wan", "Its looks begin"))["status"] == "completed"
        in_front = begun(one, "wan", "In front sim:polls:9999")
        waited(lambda: shown(one, in_front)["status"] == "processing")
        task = begun(one, "wan", "Waiting")
        assert ended(one, task)["status"] == "completed"
