"""How much of the traffic may be repetition: retries are what turns a hiccup into an outage."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

_WINDOW = 10  # seconds
_ALWAYS = 30  # tries after the first that every window has, however small the traffic


class RetryBudget:
    """Of the requests of the last ten seconds a `share` may be tried again, and always a few. Without a share
    none is."""

    def __init__(self, share: float = 0.2, clock: Callable[[], float] = monotonic) -> None:
        self.share = share
        self.refused = 0
        self._clock = clock
        self._second = int(clock())
        self._requests = [0] * _WINDOW
        self._retries = [0] * _WINDOW

    def asked(self) -> None:
        """A request begins."""
        second = int(self._clock())
        if second != self._second:
            self._turn(second)
        self._requests[second % _WINDOW] += 1

    def allows(self) -> bool:
        self._turn(int(self._clock()))
        allowed = max(_ALWAYS, self.share * sum(self._requests)) if self.share else 0
        if sum(self._retries) < allowed:
            return True
        self.refused += 1
        return False

    def spend(self) -> None:
        """A try after the first begins."""
        self._turn(int(self._clock()))
        self._retries[self._second % _WINDOW] += 1

    def _turn(self, second: int) -> None:
        for passed in range(max(self._second + 1, second - _WINDOW + 1), second + 1):
            self._requests[passed % _WINDOW] = self._retries[passed % _WINDOW] = 0
        self._second = second
