"""The vectors of a reply, whatever order their calls came in."""

from __future__ import annotations

from collections.abc import Iterable

from proxy.types import Event, Usage, Vector


def collected(events: Iterable[Event]) -> tuple[list[Vector], Usage]:
    """In the order of the inputs, and what was counted."""
    vectors: list[Vector] = []
    counted = Usage()
    for event in events:
        if isinstance(event, Vector):
            vectors.append(event)
        elif isinstance(event, Usage):
            counted = event
    vectors.sort(key=lambda one: (one.choice, one.index))
    return vectors, counted
