"""How many replies that no client waits for find a place."""

from __future__ import annotations

from proxy.fronts.base import Unhurried
from proxy.serve.room import Room


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
