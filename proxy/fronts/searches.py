"""The order of a reply whose upstream searches by itself: a search comes before the words that it led to."""

from __future__ import annotations

from collections.abc import Iterable

from proxy.types import Event, Finish, Reasoning, Searched, Started

_AHEAD = (Started, Reasoning)


class SearchesFirst:
    """Of an upstream that tells of its searches at the end (`Started.searches_last`) all but its thoughts
    waits for that. What another upstream tells is in order as it comes."""

    def __init__(self) -> None:
        self._waits = False
        self._waiting: list[Event] = []

    def ordered(self, events: Iterable[Event]) -> list[Event]:
        """What can be shown now."""
        found: list[Event] = []
        for event in events:
            kind = type(event)
            if isinstance(event, Started):
                self._waits = event.searches_last
            if kind is Finish:
                found += self.rest()
            if not self._waits or kind is Searched or (kind in _AHEAD and not self._waiting):
                found.append(event)
            else:
                self._waiting.append(event)
        return found

    def rest(self) -> list[Event]:
        """What still waits, for a reply that ends here."""
        rest, self._waiting, self._waits = self._waiting, [], False
        return rest
