"""Targets that failed several times in a row rest, and one request asks whether they are well again.

Resting is a preference: where all targets of a request rest, one of them is asked all the same
(`attempts.Attempts.first`), for a wrong guess of ours must not refuse what a vendor would have served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Literal

State = Literal["failing", "resting", "probing"]
Verdict = Literal["well", "ill", "unknown"]

# Seconds, but for the counts. Each rest in a row is twice as long as the one before it.
_FAILURES = 5
_FORGOTTEN_S = 60.0  # failures further apart than this are not in a row
_FIRST_REST_S = 5.0
_LONGEST_REST_S = 120.0
_PROBE_S = 60.0  # another may ask when nobody told by then how it went
_MOST_KNOWN = 10_000


@dataclass(slots=True)
class _Health:
    """`failures` in a row until the first rest, `rests` in a row after it. It is left alone until `until`.
    `probed` is when the one was let in that asks whether it is well, None while nobody asks."""

    failures: int = 0
    last: float = 0.0
    rests: int = 0
    rested: float = 0.0
    until: float = 0.0
    probed: float | None = None


class Breakers:
    """How the targets are, by name. `known` are only those that failed last: while all is well, nothing is
    asked. Lives as long as the process."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self.known: dict[str, _Health] = {}

    def admits(self, name: str) -> bool:
        """Whether a request may go there. The first to ask when a rest is over is let in, and alone."""
        health = self.known.get(name)
        if health is None or not health.rests:
            return True
        now = self._clock()
        if now < health.until:
            return False
        health.probed = now
        health.until = now + _PROBE_S
        return True

    def wait_s(self, name: str) -> float:
        """How long it is still left alone; 0 when it is not."""
        health = self.known.get(name)
        return 0.0 if health is None or not health.rests else max(0.0, health.until - self._clock())

    def told(self, name: str, verdict: Verdict, took_s: float) -> None:
        """A try of `took_s` seconds has ended. What began before a rest or a probe says nothing about it."""
        health = self.known.get(name)
        now = self._clock()
        if health is None or not health.rests:
            self._counted(name, health, verdict, now)
        elif verdict == "well" and now - took_s >= health.rested:
            del self.known[name]
        elif health.probed is not None and now - took_s >= health.probed:
            if verdict == "ill":
                _rest(health, now)
            else:
                health.probed, health.until = None, now

    def states(self) -> Iterator[tuple[str, State, float]]:
        """(target, how it is, how long it is still left alone) of all that are not simply well."""
        now = self._clock()
        for name, health in self.known.items():
            state: State = "failing"
            if health.rests:
                state = "resting" if health.probed is None else "probing"
            yield name, state, max(0.0, health.until - now)

    def _counted(self, name: str, health: _Health | None, verdict: Verdict, now: float) -> None:
        if verdict == "well":
            self.known.pop(name, None)
        if verdict != "ill":
            return
        if health is None:
            health = self.known[name] = self._newcomer(now)
        if now - health.last > _FORGOTTEN_S:
            health.failures = 0
        health.failures += 1
        health.last = now
        if health.failures >= _FAILURES:
            _rest(health, now)

    def _newcomer(self, now: float) -> _Health:
        if len(self.known) >= _MOST_KNOWN:  # names come from clients, too
            lately = now - _LONGEST_REST_S
            self.known = {name: one for name, one in self.known.items() if max(one.until, one.last) > lately}
            if len(self.known) >= _MOST_KNOWN:
                self.known = {}
        return _Health()


def _rest(health: _Health, now: float) -> None:
    seconds = min(_FIRST_REST_S * 2**health.rests, _LONGEST_REST_S)
    health.rests = min(health.rests + 1, 10)
    health.rested = now
    health.until = now + seconds
    health.probed = None
