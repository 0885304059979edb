"""Which result answers which call: clients reuse ids, lose them, and answer in any order."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from proxy.types import CallPart, Message, ResultPart

Place = tuple[int, int]  # position of the message, number of the part in it


@dataclass(slots=True)
class Pairing:
    """`answers` by the place of the call; the places of `orphans`, results that no call asked for, and of
    results that are `overruled` by a later one of the same call."""

    answers: dict[Place, ResultPart] = field(default_factory=dict)
    orphans: set[Place] = field(default_factory=set)
    overruled: set[Place] = field(default_factory=set)


@dataclass(slots=True)
class _Calls:
    """The calls of one message."""

    order: deque[Place] = field(default_factory=deque)
    by_name: dict[str, deque[Place]] = field(default_factory=dict)


def pair(messages: Sequence[Message]) -> Pairing:
    """Pair by id with the nearest earlier message that has it; then by name, then by order, with the nearest
    earlier message that has calls. Of several answers to one call the last holds.
    """
    pairing = Pairing()
    newest: _Calls | None = None
    by_id: dict[str, deque[Place]] = {}
    came: dict[Place, Place] = {}  # where the answer of a call stood
    unmatched: list[tuple[Place, ResultPart, _Calls | None]] = []
    for position, message in enumerate(messages):
        if message.role == "assistant":
            newest = _collect(message, position, by_id) or newest
            continue
        for number, part in enumerate(message.parts):
            if not isinstance(part, ResultPart):
                continue
            called = _by_id(part, by_id, pairing)
            if called is None:
                unmatched.append(((position, number), part, newest))
                continue
            if called in came:
                pairing.overruled.add(came[called])
            came[called] = position, number
    for place, result, calls in unmatched:
        if calls is None or not _by_name_or_order(result, calls, pairing):
            pairing.orphans.add(place)
    return pairing


def _collect(message: Message, position: int, by_id: dict[str, deque[Place]]) -> _Calls | None:
    """The message's calls, None without any; in `by_id` they take the place of earlier ones."""
    calls: _Calls | None = None
    own: dict[str, deque[Place]] = {}
    for number, part in enumerate(message.parts):
        if isinstance(part, CallPart):
            calls = calls or _Calls()
            place = (position, number)
            calls.order.append(place)
            calls.by_name.setdefault(part.name, deque()).append(place)
            own.setdefault(part.id, deque()).append(place)
    by_id.update(own)
    return calls


def _by_id(result: ResultPart, by_id: dict[str, deque[Place]], pairing: Pairing) -> Place | None:
    """The place of the call that it answers."""
    places = by_id.get(result.call_id) if result.call_id else None
    if not places:
        return None
    # Calls that share an id are answered in their order, and the last of them again and again.
    place = places.popleft() if len(places) > 1 else places[0]
    pairing.answers[place] = result
    return place


def _by_name_or_order(result: ResultPart, calls: _Calls, pairing: Pairing) -> bool:
    named = calls.by_name.get(result.name) if result.name else None
    for places in (named, calls.order):
        while places:
            place = places.popleft()
            if place not in pairing.answers:
                pairing.answers[place] = result
                return True
    return False
