"""How many replies that no client waits for find a place."""

from __future__ import annotations

from functools import partial

import pytest

from proxy.fronts.base import Unhurried
from proxy.serve.room import Room
from proxy.store import tasks
from proxy.store.database import Database
from tests.test_store import TASK


def resting(calls: int = 1) -> Unhurried:
    found = Unhurried()
    found.waiting = calls
    return found


def test_what_is_made_has_a_place_whether_its_client_waits_or_not() -> None:
    room = Room(3, [("a", None), ("b", Unhurried())])
    assert (room.left, room.takes("a"), room.takes("b")) == (1, True, True)
    assert not Room(2, [("a", None), ("b", Unhurried())]).takes("c")


def test_what_waits_for_a_busy_vendor_needs_none() -> None:
    room = Room(2, [("a", resting()), ("b", resting(4)), ("b", None)])
    assert (room.left, room.held_up) == (1, frozenset())
    assert room.takes("a")


def test_as_many_of_one_model_wait_as_have_a_place() -> None:
    room = Room(2, [("a", resting()), ("a", resting()), ("b", resting())])
    assert (room.left, room.held_up) == (2, frozenset({"a"}))
    assert (room.takes("a"), room.takes("b"), room.takes("c")) == (False, True, True)


@pytest.mark.anyio
async def test_what_has_begun_is_taken_over_whatever_waits(store_address: str) -> None:
    """Its vendor is asked about what it has ordered, and needs no place for a new order."""
    database = Database(store_address)
    own = {**TASK, "owner": None, "idempotency": None, "callback_url": None, "repeatable": False}
    rows = [("task_1", "m", "pending"), ("task_2", "m", "running"), ("task_3", "other", "pending")]
    for identity, model, state in rows:
        row = {**own, "id": identity, "model": model, "state": state}
        await database.run(partial(tasks.open_or_join, row=row, lease_s=60, retried_within_s=None))
    expectations = [(frozenset({"m"}), ["task_2", "task_3"]), (frozenset(), ["task_1"])]
    for held_up, expected in expectations:
        claim = partial(tasks.claim, owner="one", lease_s=60, most=9, held_up=held_up)
        taken = await database.run(claim)
        assert [row["id"] for row in taken] == expected
    await database.close()
