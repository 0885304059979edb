"""One call of a request, target after target: each `Try` is opened and closed here and nowhere else.

The next key or target is asked as long as nothing was handed on and nothing can have been bought.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

from proxy.errors import ErrorClass, RequestError, UpstreamError
from proxy.fronts.base import Asked, Unhurried
from proxy.routing.attempts import SHORT_PAUSE_S, Attempt, Attempts, Candidate
from proxy.routing.routes import Route
from proxy.serve import bill
from proxy.serve.house import House
from proxy.serve.speakers import Speaker, speaker_of
from proxy.serve.told import Failure, Told, Try
from proxy.types import (
    ChatRequest,
    EmbedRequest,
    Event,
    ImageRequest,
    ModerationRequest,
    Request,
    SpeechRequest,
    TranscriptRequest,
)

if TYPE_CHECKING:
    from proxy.serve.record import Kept

_SAME_TARGET_PAUSE_S = 0.25
# What passes by itself; of a vendor that does not say when, in seconds; and how long all of it may take.
_BUSY = (ErrorClass.RATE_LIMITED, ErrorClass.OVERLOADED, ErrorClass.UNAVAILABLE)
_BUSY_PAUSE_S = 10.0
_PATIENCE_S = 1800.0
_OPERATIONS: dict[type[Any], str] = {
    ChatRequest: "chat",
    ImageRequest: "generate_image",
    EmbedRequest: "embeddings",
    SpeechRequest: "speech",
    TranscriptRequest: "transcripts",
    ModerationRequest: "moderations",
}


class Tries:
    """The attempts at one call of a request: which is on, and what follows a failure. `kept` is what a task
    knows of the call: one that a vendor has taken is asked for there, and not ordered again. Attempts are
    counted on from those that earlier processes may have made."""

    __slots__ = (
        "_asked",
        "_attempts",
        "_before",
        "_began",
        "_failed",
        "_house",
        "_kept",
        "_patient_until",
        "_request",
        "_sells",
        "on",
        "speaker",
        "told",
    )

    def __init__(
        self,
        house: House,
        request: Request,
        asked: Asked,
        route: Route,
        candidates: tuple[Candidate, ...],
        told: Told,
        kept: Kept | None = None,
    ) -> None:
        self._house = house
        self._request = request
        self._asked = asked
        self.told = told
        self._attempts = Attempts(
            candidates,
            route.attempts if asked.fallback else 1,
            house.services.breakers,
            house.services.retries,
        )
        self._sells = route.draws or not isinstance(request, ChatRequest)
        self._began = monotonic()
        self._failed: UpstreamError | RequestError | None = None
        self._kept = kept
        self._patient_until = self._began + _PATIENCE_S
        self._before = 0 if kept is None else kept.tried_before
        if kept is not None and (resumed := kept.resumed(candidates)) is not None:
            first, number = resumed
            self._before = number - 1
            self._opened(first, is_ordered=True)
            self.on.sent = True
        elif not self._opened(self._attempts.first()):
            raise self.verdict()

    def _opened(self, attempt: Attempt | None, *, is_ordered: bool = False) -> bool:
        """Make this attempt the one that is on, or the next one whose target can serve the request at all.
        What `is_ordered` there already is asked for there, whatever its profile says today."""
        while attempt is not None:
            self.speaker: Speaker = speaker_of(attempt.candidate, self._request)
            refusal = None if is_ordered else self.speaker.unable()
            if refusal is None:
                return self._begun(attempt, self._sells and self.speaker.by_piece())
            self._failed = self._failed or refusal
            attempt = self._attempts.passed_over() if self._asked.fallback else None
        return False

    def _begun(self, attempt: Attempt, by_piece: bool) -> bool:
        """False when there is no time left in which the client would still take an answer."""
        allowed_s = attempt.candidate.deadlines.total_s
        if by_piece:
            # A chat that is late is asked again by the client's SDK; a picture would be bought again.
            allowed_s = min(allowed_s, self._asked.patience_s)
        deadline = self._began + allowed_s
        if self._failed is not None and monotonic() >= deadline:
            return False
        told = self.told
        told.attempts += 1
        told.target = attempt.target.name
        told.unread = self.speaker.unread()
        request = self._request
        operation = _OPERATIONS[type(request)]
        self.on = Try(
            self._before + told.attempts,
            attempt,
            self._asked,
            told,
            deadline,
            by_piece,
            operation,
            request.stream,
        )
        if (prices := attempt.candidate.prices) is not None:
            self.on.tariff = prices.at()
            if self.on.tariff is not None and self.on.tariff.by_size:
                self.on.sizes = []
        if self._kept is not None:
            self.on.kept = self._kept
            self._kept.trying(self.on)
        return True

    async def hold(self) -> None:
        """Write down that a piece will be ordered, and its money held, before it is. What an earlier process
        ordered stands there already, and stays as it is."""
        await self._house.services.ordered(self.on, self._request)

    def close(self, error: UpstreamError | RequestError | None = None, *, left: bool = False) -> None:
        """The attempt that is on has ended, well or badly: whoever counts is told here. `left`: by us."""
        if self._kept is not None:
            self._kept.over()
            if left and not self._kept.may_call_off():
                return  # another process goes on with it, and closes it
        one = self.on
        one.took_s = perf_counter() - one.began
        one.left = left
        if error is not None:
            one.failure = Failure.of(error)
        if one.tariff is not None or left or one.handed_on:
            bill.close(one, self._request)
        self.told.charge = one.charge
        self.told.usage, self.told.images, self.told.upstream_s = one.usage, one.images, one.took_s
        self._house.services.closed(one)

    async def after(self, error: UpstreamError | RequestError, *, handed_on: bool) -> bool:
        """Open the next attempt; False when there is none, and the client shall read the `verdict`."""
        if isinstance(error, UpstreamError):
            error = self._judged(error)
        self.on.handed_on = handed_on
        self.close(error)
        if self._kept is not None:
            await self._kept.refused(error)
        following = None if handed_on else self._following(error)
        if not isinstance(error, RequestError) or self._failed is None:
            self._failed = error  # a target that could not be asked never masks why an earlier one failed
        if following is None and self._asked.unhurried is not None and not handed_on:
            following = await self._waited(self._asked.unhurried)
        elif following == self.on.attempt:
            pause_s = getattr(error, "retry_after_s", None) or _SAME_TARGET_PAUSE_S
            await asyncio.sleep(min(pause_s, SHORT_PAUSE_S))
        return following is not None and self._opened(following)

    async def _waited(self, unhurried: Unhurried) -> Attempt | None:
        """Where nobody waits for the reply, vendors that are busy are asked again when they say, all targets
        in turn, for as long as patience lasts and nothing was bought."""
        error = self._failed
        if not isinstance(error, UpstreamError) or error.error_class not in _BUSY or error.bought:
            return None
        pause_s = error.retry_after_s or _BUSY_PAUSE_S
        if error.forbidden or monotonic() + pause_s > self._patient_until:
            return None
        unhurried.waiting += 1
        try:
            await asyncio.sleep(pause_s)
        finally:
            unhurried.waiting -= 1
        self._began = monotonic()
        return self._attempts.anew()

    def verdict(self) -> UpstreamError | RequestError:
        """Why the request failed. To be raised at once and kept nowhere: an error that a frame of its own
        traceback knows is a cycle, and holds what the frames hold until the collector comes."""
        failed, self._failed = self._failed, None
        assert failed is not None
        return failed

    def _judged(self, error: UpstreamError) -> UpstreamError:
        one = self.on
        return error.without(one.attempt.account.secrets).changed(
            provider=one.attempt.target.provider, by_piece=error.by_piece or one.by_piece
        )

    def _following(self, error: UpstreamError | RequestError) -> Attempt | None:
        if monotonic() >= self.on.deadline:
            return None
        if isinstance(error, RequestError):  # this target cannot be asked for it; another may
            return self._attempts.passed_over() if self._asked.fallback else None
        return self._attempts.failed(self.on.attempt, error, self.speaker.repair(error))


async def whole(tries: Tries, house: House) -> list[Event]:
    """All events of the reply.

    Raises `UpstreamError` when every attempt failed, `RequestError` when no target can carry the request.
    """
    while True:
        try:
            seen: list[Event] = []
            if tries.on.by_piece:
                await tries.hold()
            async for batch in tries.speaker.events(tries.on, house):
                tries.on.note(batch)
                seen += batch
        except (UpstreamError, RequestError) as error:
            if not await tries.after(error, handed_on=False):
                raise tries.verdict() from error.__cause__
        except BaseException:
            tries.close(left=True)
            raise
        else:
            tries.close()
            return seen


async def batches(tries: Tries, house: House) -> AsyncGenerator[list[Event], None]:
    """The reply's events as they come, one batch per upstream read. Raises as `whole` does."""
    while True:
        handed_on = False
        try:
            if tries.on.by_piece:
                await tries.hold()
            async with aclosing(tries.speaker.events(tries.on, house)) as events:
                async for batch in events:
                    tries.on.note(batch)
                    handed_on = True
                    yield batch
        except (UpstreamError, RequestError) as error:
            if not await tries.after(error, handed_on=handed_on):
                raise tries.verdict() from error.__cause__
        except BaseException:
            tries.close(left=True)
            raise
        else:
            tries.close()
            return
