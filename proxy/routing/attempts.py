"""What to try next: a provider's keys in turn, a route's targets in order, by the table of error classes.

Decides only; `serve/pipeline.py` does the trying. Budgets and circuit breakers belong into `Attempts.failed`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import Target
from proxy.upstream.client import Account, Deadlines

# How long a key rests when the vendor does not say; seconds.
_REST_S = {ErrorClass.AUTH: 300.0, ErrorClass.QUOTA: 600.0, ErrorClass.RATE_LIMITED: 2.0}


class KeyPool:
    """A provider's keys, used in turn. A refused key rests for the model that was refused."""

    def __init__(self, accounts: Sequence[Account], clock: Callable[[], float] = monotonic) -> None:
        self._accounts = list(accounts)
        self._clock = clock
        self._next = 0
        self._rest_until: dict[tuple[int, str], float] = {}

    def pick(self, model: str, tried: frozenset[int] | set[int] = frozenset()) -> int | None:
        """The index of the next key that is neither tried nor resting, None if there is none."""
        count = len(self._accounts)
        for step in range(count):
            index = (self._next + step) % count
            if index not in tried and self.rests_s(index, model) <= 0:
                self._next = index + 1
                return index
        return None

    def account(self, index: int) -> Account:
        return self._accounts[index]

    def rest(self, index: int, model: str, seconds: float) -> None:
        """Rest a key; a shorter rest never shortens a longer one."""
        until = self._clock() + seconds
        self._rest_until[index, model] = max(until, self._rest_until.get((index, model), 0.0))

    def rests_s(self, index: int, model: str) -> float:
        """How long the key still rests for this model; 0 or less when it does not."""
        if not self._rest_until:
            return 0.0
        return self._rest_until.get((index, model), 0.0) - self._clock()

    def wakes_first(self, model: str) -> tuple[float, int]:
        """How long the key still rests that wakes first, and which it is."""
        return min((self.rests_s(index, model), index) for index in range(len(self._accounts)))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A target, the keys it can be tried with, how long a try may take, and what it speaks."""

    target: Target
    keys: KeyPool
    deadlines: Deadlines
    wire: Any = None  # a types.Wire, or a DeclaredWire where `jobs` is set
    jobs: bool = False
    every_s: float | None = None  # overrides of the profile's rhythm of polling
    give_up_s: float | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try. `repairs` are changes to the request that earlier refusals asked for."""

    candidate: Candidate
    key: int
    repairs: frozenset[str] = frozenset()

    @property
    def target(self) -> Target:
        return self.candidate.target

    @property
    def account(self) -> Account:
        return self.candidate.keys.account(self.key)


class Attempts:
    """The tries of one request. Call `first`, then `failed` after each failure.

    At most `limit` tries; a repair of the request is not counted, for it can happen only once per name. What
    is `paid` by the piece is ordered from the same vendor again only when the first order never left.
    """

    def __init__(self, candidates: Sequence[Candidate], limit: int, *, paid: bool = False) -> None:
        self._candidates = candidates
        self._left = limit
        self._paid = paid
        self._position = 0
        self._tried: set[int] = set()
        self._again = True  # the target may still be tried a second time with the same key
        self.made = 0

    def first(self) -> Attempt:
        """The first try. Resting is a preference: when every key of every target rests, the one that wakes
        first is asked all the same, for the vendor knows better than we do."""
        attempt = self._pick()
        if attempt is not None:
            return attempt
        wakes = [candidate.keys.wakes_first(candidate.target.model) for candidate in self._candidates]
        self._position = min(range(len(wakes)), key=wakes.__getitem__)
        return self._count(Attempt(self._candidates[self._position], wakes[self._position][1]))

    def failed(self, attempt: Attempt, error: UpstreamError, repair: str | None = None) -> Attempt | None:
        """The next try after a failure, None when the error is final.

        A request that may have been served is never sent again.
        """
        policy = error.policy
        if policy.rest_key:
            rest_s = error.retry_after_s or _REST_S[error.error_class]
            attempt.candidate.keys.rest(attempt.key, attempt.target.model, rest_s)
        if error.bought:
            return None
        if repair is not None and repair not in attempt.repairs:
            return Attempt(attempt.candidate, attempt.key, attempt.repairs | {repair})
        if self._left <= 0:
            return None
        if policy.same_target and self._again and (not self._paid or error.error_class is ErrorClass.CONNECT):
            self._again = False
            return self._count(attempt)
        if policy.next_key:
            self._tried.add(attempt.key)
            following = self._pick(stay=True)
            if following is not None:
                return following
        if policy.next_target:
            self._advance()
            return self._pick()
        return None

    def _pick(self, *, stay: bool = False) -> Attempt | None:
        while self._left > 0 and self._position < len(self._candidates):
            candidate = self._candidates[self._position]
            key = candidate.keys.pick(candidate.target.model, self._tried)
            if key is not None:
                return self._count(Attempt(candidate, key))
            if stay:
                return None
            self._advance()
        return None

    def _advance(self) -> None:
        self._position += 1
        self._tried = set()
        self._again = True

    def _count(self, attempt: Attempt) -> Attempt:
        self._left -= 1
        self.made += 1
        return attempt
