"""The rules of counting, the same wherever the counts are kept; `shared.py` has them in Redis's language too.

A window opens with the first that is counted in it, lasts as long as the limit says, and then the next opens.
What does not fit is refused whole and counts for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from proxy.keys import Limits

Kind = Literal["requests", "tokens", "images", "concurrent"]

KINDS: tuple[Kind, ...] = ("requests", "tokens", "images")  # those of the windows, in the order of counts
NOTHING = (0.0,) * (2 * len(KINDS))


class Wanted(NamedTuple):
    """What a request will take, as far as that is known before."""

    requests: int = 1
    tokens: int = 0
    images: int = 0


@dataclass(slots=True)
class Taken:
    """What was counted for a request, or why it was `refused`: then there is room after `wait_s`, which is
    infinite where there never is, and 0 where nobody knows.

    `counts` are begin and count of each window (a begin of 0: never), `at` the time of their clock; `by` is
    who keeps them, and `slot` what it knows the request by.
    """

    caller: str
    limits: Limits
    wanted: Wanted
    counts: Sequence[float]
    at: float
    by: Counters
    slot: str = ""
    refused: Kind | None = None
    wait_s: float = 0.0


class Counters(Protocol):
    def give_back(self, taken: Taken, tokens: int, images: int) -> None:
        """The request is over; it came to these. At once: what takes time happens later."""
        ...


class LocalCounters(Counters, Protocol):
    def take(self, caller: str, limits: Limits, wanted: Wanted) -> Taken: ...


def take(
    counts: list[float], running: int, limits: Limits, wanted: Wanted, now: float
) -> tuple[Kind, float] | None:
    """Add what is wanted to the counts; or tell what has no room and for how many seconds, of several the one
    that lasts longest, and the counts are spoilt."""
    refusal: tuple[Kind, float] | None = None
    for place, most, per_s in limits.bounded:
        more, at = wanted[place], 2 * place
        begin = counts[at]
        if begin and begin <= now < begin + per_s:
            count = counts[at + 1] = counts[at + 1] + more
        else:
            begin, count = counts[at], counts[at + 1] = now, float(more)
        if count > most and more:
            wait_s = begin + per_s - now if more <= most else math.inf
            if refusal is None or wait_s > refusal[1]:
                refusal = KINDS[place], wait_s
    if refusal is None and limits.concurrent is not None and running >= limits.concurrent:
        refusal = "concurrent", 0.0
    return refusal


def correct(counts: list[float], taken: Taken, tokens: int, images: int) -> None:
    """Count what came instead of what was wanted, in windows that are still open."""
    limits, wanted, then = taken.limits, taken.wanted, taken.counts
    if limits.tokens is not None and counts[2] == then[2]:
        counts[3] = max(0.0, counts[3] + tokens - wanted.tokens)
    if limits.images is not None and counts[4] == then[4]:
        counts[5] = max(0.0, counts[5] + images - wanted.images)
