"""Counts of one process, in its memory."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from proxy.keys import Limits
from proxy.limits.counting import NOTHING, Taken, Wanted, correct, take


class MemoryCounters:
    """Callers stay in it: there are as many as there are keys."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._counts: dict[str, list[float]] = {}
        self._running: dict[str, int] = {}

    def take(self, caller: str, limits: Limits, wanted: Wanted) -> Taken:
        now = self._clock()
        before = self._counts.get(caller, NOTHING)
        counts, running = list(before), self._running.get(caller, 0)
        refusal = take(counts, running, limits, wanted, now)
        if refusal is not None:
            return Taken(caller, limits, wanted, before, now, self, "", *refusal)
        self._counts[caller] = counts
        self._running[caller] = running + 1
        return Taken(caller, limits, wanted, counts, now, self)

    def give_back(self, taken: Taken, tokens: int, images: int) -> None:
        self._running[taken.caller] -= 1
        correct(self._counts[taken.caller], taken, tokens, images)
