"""What to try next: a provider's keys in turn, a route's targets in order, by the table of error classes.

Decides only; `serve/tries.py` does the trying.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from proxy.errors import ErrorClass, UpstreamError
from proxy.routing.breakers import Breakers
from proxy.routing.budget import RetryBudget
from proxy.routing.keys import KeyPool
from proxy.types import Target, Wire
from proxy.upstream import Account, Deadlines

if TYPE_CHECKING:
    from proxy.ledger.prices import Prices
    from proxy.wires.declared import DeclaredWire

SHORT_PAUSE_S = 2.0  # a target that wants more time than this is not waited for
_MOST_REPAIRS = 8  # a vendor might name another limit after each


@dataclass(frozen=True, slots=True)
class Candidate:
    """A target, the keys it can be tried with, how long a try may take, and what it speaks: `chat`, or `jobs`
    where it only makes pictures. One that chats may have a place of its own for `pictures`, made when it is
    first asked there. `every_s` and `give_up_s` override the profile's rhythm of polling.
    `sold_as` is the model of the file that it stands for, else its own name; `prices` are what it costs, None
    where nobody knows, and `currency` is the account's. `forgets` tells whether no target of its model takes
    pictures."""

    target: Target
    keys: KeyPool
    deadlines: Deadlines
    chat: Wire | None = None
    jobs: DeclaredWire | None = None
    pictures: Callable[[], DeclaredWire] | None = None
    every_s: float | None = None
    give_up_s: float | None = None
    sold_as: str = ""
    prices: Prices | None = None
    currency: str = "USD"
    forgets: Callable[[], bool] = bool


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try, with the candidate's `key`, which opens `account`. `repairs` are changes to the request that
    earlier refusals asked for."""

    candidate: Candidate
    key: int
    target: Target
    account: Account
    repairs: frozenset[str] = frozenset()


class Attempts:
    """The tries of one request. Call `first`, then `failed` after each failure, or `passed_over` for a target
    that could not be asked at all.

    At most `limit` tries, and none after the first when `budget` is spent; a repair of the request is not
    counted, for it can happen only once per name, and few times in all. What is sold by the piece is ordered
    from the same vendor again only when the first order never left.
    """

    __slots__ = ("_again", "_breakers", "_budget", "_candidates", "_left", "_limit", "_position", "_tried")

    def __init__(
        self,
        candidates: Sequence[Candidate],
        limit: int,
        breakers: Breakers | None = None,
        budget: RetryBudget | None = None,
    ) -> None:
        self._candidates = candidates
        self._breakers = Breakers() if breakers is None else breakers
        self._budget = RetryBudget() if budget is None else budget
        self._limit = self._left = limit
        self._position = 0
        self._tried: set[int] = set()
        self._again = True  # the target may still be tried a second time with the same key

    def first(self) -> Attempt:
        """The first try. Resting is a preference: when every target or all its keys rest, the one that wakes
        first is asked all the same, for the vendor knows better than we do."""
        self._budget.asked()
        attempt = self._pick()
        if attempt is not None:
            return attempt
        wakes = [self._wakes(candidate) for candidate in self._candidates]
        self._position = min(range(len(wakes)), key=wakes.__getitem__)
        self._left -= 1
        candidate, key = self._candidates[self._position], wakes[self._position][1]
        return Attempt(candidate, key, candidate.target, candidate.keys.accounts[key])

    def anew(self) -> Attempt:
        """The first try of another round, of a request that has waited."""
        self._left, self._position, self._tried, self._again = self._limit, 0, set(), True
        return self.first()

    def failed(self, attempt: Attempt, error: UpstreamError, repair: str | None = None) -> Attempt | None:
        """The next try after a failure, None when the error is final.

        What may have been served, or shall not be repeated, is never sent again.
        """
        policy = error.policy
        if policy.rest_key:
            attempt.candidate.keys.refused(attempt.key, attempt.target.model, error)
        if error.bought or error.forbidden:
            return None
        if repair is not None and repair not in attempt.repairs and len(attempt.repairs) < _MOST_REPAIRS:
            return replace(attempt, repairs=attempt.repairs | {repair})
        if self._left <= 0:
            return None
        # A vendor that does not have the model has done no work: asking another one is no repetition.
        charged = error.error_class is not ErrorClass.NOT_FOUND
        if charged and policy.goes_on and not self._budget.allows():
            return None
        following = self._following(attempt, error)
        if charged and following is not None:
            self._budget.spend()
        return following

    def _following(self, attempt: Attempt, error: UpstreamError) -> Attempt | None:
        policy = error.policy
        if policy.same_target and self._may_ask_again(error):
            self._again = False
            self._left -= 1
            return attempt
        if policy.next_key:
            self._tried.add(attempt.key)
            following = self._pick(stay=True)
            if following is not None:
                return following
        return self._next_target() if policy.next_target else None

    def passed_over(self) -> Attempt | None:
        """The next target, in place of one that was not asked: that was no try."""
        self._left += 1
        return self._next_target()

    def _may_ask_again(self, error: UpstreamError) -> bool:
        if (error.retry_after_s or 0.0) > SHORT_PAUSE_S:
            return False
        if not self._again or (error.by_piece and error.error_class is not ErrorClass.CONNECT):
            return False
        # Targets that were not asked come first; those that rest would not be asked.
        others = self._candidates[self._position + 1 :]
        return self._left > sum(self._wakes(candidate)[0] <= 0 for candidate in others)

    def _next_target(self) -> Attempt | None:
        self._advance()
        return self._pick()

    def _pick(self, *, stay: bool = False) -> Attempt | None:
        known = self._breakers.known
        while self._position < len(self._candidates):
            candidate = self._candidates[self._position]
            key = candidate.keys.pick(candidate.target.model, self._tried)
            # The breakers are asked last: whom they let in may be the one that finds out how the target is.
            if key is not None and (stay or not known or self._breakers.admits(candidate.target.name)):
                self._left -= 1
                return Attempt(candidate, key, candidate.target, candidate.keys.accounts[key])
            if stay:
                return None
            self._advance()
        return None

    def _wakes(self, candidate: Candidate) -> tuple[float, int]:
        """How long a target or all its keys still rest, and the key to ask it with."""
        wait_s, key = candidate.keys.wakes_first(candidate.target.model)
        return max(wait_s, self._breakers.wait_s(candidate.target.name)), key

    def _advance(self) -> None:
        self._position += 1
        self._tried = set()
        self._again = True
