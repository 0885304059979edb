"""What is counted of requests and attempts, told when they end. Reading it: `scrape.py`.

A record is one call and a microsecond. Labels are bounded: the models of the file, some that clients name
themselves, and `other`.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from proxy.codec.exposition import Histogram

if TYPE_CHECKING:
    from proxy.serve.told import Try

# Seconds and tokens: the bounds that OpenTelemetry asks for, the seconds three steps further, for pictures.
SECONDS = tuple(0.01 * 2**step for step in range(17))
TOKENS = tuple(4**step for step in range(14))
LAG_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

OTHER = "other"
_NAMED_BY_CLIENTS = 100  # models without an entry in the file that are told apart

Labels = tuple[str, str, str]  # operation, provider, the upstream's name of the model


class OfTarget:
    """What attempts at a target came to. `durations` are by outcome: `ok`, `abandoned`, an error's class."""

    __slots__ = ("durations", "first_event", "images", "input", "output", "retries")

    def __init__(self) -> None:
        self.durations: dict[str, Histogram] = {}
        self.first_event = Histogram(SECONDS)
        self.input = Histogram(TOKENS)
        self.output = Histogram(TOKENS)
        self.images = 0
        self.retries = 0


class Metrics:
    """The counts of this process. `common` labels stand on all of them."""

    def __init__(self, common: Mapping[str, str] | None = None) -> None:
        self.common = dict(common or {})
        self.started = time.time()
        self.lag = Histogram(LAG_SECONDS)
        self.requests: dict[tuple[str, int], Histogram] = {}
        self.targets: dict[Labels, OfTarget] = {}
        self._named: set[tuple[str, str]] = set()
        self._by_clients = 0

    def name(self, targets: Iterable[tuple[str, str]]) -> None:
        """Tell these apart from now on: (provider, model) of the file."""
        self._named.update(targets)

    def request(self, route: str, status: int, took_s: float) -> None:
        durations = self.requests.get((route, status))
        if durations is None:
            durations = self.requests[route, status] = Histogram(SECONDS)
        durations.counts[bisect_left(SECONDS, took_s)] += 1
        durations.sum += took_s

    def attempt(self, one: Try) -> None:
        target, took_s = one.attempt.target, one.took_s
        place = (one.operation, target.provider, target.model)
        of = self.targets.get(place)
        if of is None:
            of = self._of(place)
        failure = one.failure
        outcome = failure.error_class if failure is not None else "abandoned" if one.left else "ok"
        durations = of.durations.get(outcome)
        if durations is None:
            durations = of.durations[outcome] = Histogram(SECONDS)
        durations.counts[bisect_left(SECONDS, took_s)] += 1
        durations.sum += took_s
        if one.stream and one.first_event_s is not None:
            of.first_event.note(one.first_event_s)
        if (usage := one.usage) is not None:
            of.input.counts[bisect_left(TOKENS, usage.prompt)] += 1
            of.input.sum += usage.prompt
            of.output.counts[bisect_left(TOKENS, usage.completion)] += 1
            of.output.sum += usage.completion
        of.images += one.images
        of.retries += one.number > 1

    def _of(self, place: Labels) -> OfTarget:
        operation, provider, model = place
        if (provider, model) not in self._named:
            if self._by_clients >= _NAMED_BY_CLIENTS:
                place = (operation, provider, OTHER)
                if place in self.targets:
                    return self.targets[place]
            else:
                self._by_clients += 1
                self._named.add((provider, model))
        of = self.targets[place] = OfTarget()
        return of
