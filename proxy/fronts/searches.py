"""The order of a whole reply whose upstream searched by itself: a search comes before the words that it led
to. A stream tells of it when the upstream does, for words do not wait."""

from __future__ import annotations

from collections.abc import Iterable

from proxy.types import Citation, Event, Extra, Finish, Logprobs, Reasoning, Searched, Started, Usage

_AHEAD = (Started, Usage, Reasoning)
_FACTS = (Searched, Citation, Logprobs, Extra, Usage, Finish)  # they say nothing themselves


def first(events: Iterable[Event]) -> list[Event]:
    """Searches that are told behind all that was said come to its front, behind thoughts; others stay."""
    found = list(events)
    kinds = list(map(type, found))
    if Searched not in kinds or not all(kind in _FACTS for kind in kinds[kinds.index(Searched) :]):
        return found
    begin = next(place for place, kind in enumerate(kinds) if kind not in _AHEAD)
    searches = [event for event in found if type(event) is Searched]
    rest = [event for event in found[begin:] if type(event) is not Searched]
    return [*found[:begin], *searches, *rest]
