"""A provider's keys, used in turn; a key that was refused rests."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from time import monotonic

from proxy.errors import ErrorClass, UpstreamError
from proxy.upstream import Account

# How long a key rests when the vendor does not say; seconds.
_REST_S = {ErrorClass.AUTH: 300.0, ErrorClass.QUOTA: 600.0, ErrorClass.RATE_LIMITED: 2.0}
_MOST_RESTS = 10_000

_Place = tuple[str, str]  # an account, and the model that was refused


class Rests:
    """Which keys rest for which model, and until when. Outlives the configuration: a reload wakes nobody."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._until: dict[_Place, float] = {}
        self.known = False  # whether any key rests, or did so lately

    def rest(self, place: _Place, seconds: float) -> None:
        """A shorter rest never shortens a longer one."""
        now = self._clock()
        if len(self._until) >= _MOST_RESTS:
            self._until = {known: until for known, until in self._until.items() if until > now}
        self.known = True
        self._until[place] = max(now + seconds, self._until.get(place, 0.0))

    def models_of(self, name: str) -> set[str]:
        """The models for which an account rests, or did so lately."""
        return {model for account, model in self._until if account == name}

    def left_s(self, place: _Place) -> float:
        """How long the key still rests; 0 or less when it does not."""
        until = self._until.get(place)
        return 0.0 if until is None else until - self._clock()


class KeyPool:
    """A provider's `accounts`, one for each key, used in turn."""

    def __init__(self, accounts: Sequence[Account], rests: Rests | None = None) -> None:
        self.accounts = tuple(accounts)
        self._names = [account.identity or f"{account.provider} {at}" for at, account in enumerate(accounts)]
        self._rests = Rests() if rests is None else rests
        self._next = 0

    def pick(self, model: str, tried: Collection[int] = ()) -> int | None:
        """The index of the next key that is neither tried nor resting, None if there is none."""
        count = len(self.accounts)
        for step in range(count):
            index = (self._next + step) % count
            if index not in tried and (not self._rests.known or self.rests_s(index, model) <= 0):
                self._next = index + 1
                return index
        return None

    def refused(self, index: int, model: str, error: UpstreamError) -> None:
        """Rest the key for as long as the vendor says, or as its kind of refusal asks for."""
        self.rest(index, model, error.retry_after_s or _REST_S[error.error_class])

    def rest(self, index: int, model: str, seconds: float) -> None:
        self._rests.rest((self._names[index], model), seconds)

    def rests_s(self, index: int, model: str) -> float:
        return self._rests.left_s((self._names[index], model))

    def resting(self) -> dict[str, float]:
        """The models that no key may be asked for now, and for how many seconds yet."""
        if not self._rests.known:
            return {}
        waits = {model: self.wakes_first(model)[0] for model in self._rests.models_of(self._names[0])}
        return {model: wait_s for model, wait_s in waits.items() if wait_s > 0}

    def wakes_first(self, model: str) -> tuple[float, int]:
        """How long the key still rests that wakes first, and which it is."""
        return min((self.rests_s(index, model), index) for index in range(len(self.accounts)))
