"""A request that is at work in this process, and who watches it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from itertools import chain
from typing import Any

import orjson

from proxy.errors import ErrorClass, ProxyError, StoppingError, UpstreamError
from proxy.fronts import no_picture
from proxy.fronts.base import Front
from proxy.serve import joining, lost
from proxy.serve.answer import Work
from proxy.serve.record import Record, UncertainError, plain_error, plain_told, text_of
from proxy.types import Event, Image, ImageRequest


class Running:
    """A request at work here. Its events stay until the last watcher is gone."""

    def __init__(self, record: Record, work: Work, front: Front, keep: Callable[[Running], None]) -> None:
        self.record = record
        self.work = work
        self._front = front
        self.watchers = 0
        self.is_ending = False  # all of it came, or it failed, and that is being written down
        self.over = False
        self._error: ProxyError | None = None
        self._batches: list[list[Event]] = []
        self._more = asyncio.Event()
        self._ended = keep
        self._task: asyncio.Task[None] | None = None
        self._has_begun = False
        self._called_off = False

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End it here, and wait until it has ended."""
        assert self._task is not None
        self._interrupt()
        await asyncio.wait([self._task])

    def _interrupt(self) -> None:
        """A task that is cancelled before its first step never takes it, and nobody would hear of its end."""
        assert self._task is not None
        if self._has_begun:
            self._task.cancel()
        else:
            asyncio.get_running_loop().call_soon(self._task.cancel)

    def call_off(self, *, repeatable: bool) -> None:
        """Begin to end it for good, at once: what has not gone out by now does not. Once, and not when it has
        come to an end: who interrupts it then interrupts the writing down. Nobody joins it any more."""
        if self.is_ending:
            return
        self.record.cancelling = True
        self.record.repeatable = repeatable
        if not self._called_off:
            self._called_off = True
            self._interrupt()

    async def ended(self) -> None:
        while not self.over:
            await self._more.wait()

    async def is_over_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self.ended()
        except TimeoutError:
            return False
        return True

    async def follow(self, patience_s: float | None = None) -> AsyncGenerator[list[Event], None]:
        """The events from the first, as they come. Raises what the work raised, and `TimeoutError` when it
        takes longer than `patience_s` from now."""
        until = None if patience_s is None else asyncio.get_running_loop().time() + patience_s
        at = 0
        while True:
            while at < len(self._batches):
                yield self._batches[at]
                at += 1
            if self.over:
                if self._error is not None:
                    raise self._error.changed()
                return
            async with asyncio.timeout_at(until):
                await self._more.wait()

    def lost(self) -> Sequence[str]:
        """What its request has lost so far, in its client's words; before a target is asked what was told of
        it when it came."""
        tried = [name for told in self.work.tolds for name in told.dropped]
        foretold: Sequence[str] = orjson.loads(self.record.row["asked"]).get("dropped", ())
        if foretold and not tried:
            return foretold
        return lost.named(self._front, self.work.parsed, tried)

    def _tell(self) -> None:
        """Wake all who wait; who comes later waits for what comes later."""
        more, self._more = self._more, asyncio.Event()
        more.set()

    async def _run(self) -> None:
        self._has_begun = True
        try:
            state, values = await self._outcome()
            self.is_ending = True
            asked = orjson.loads(self.record.row["asked"]) | {"dropped": self.lost()}
            await self.record.end(state, asked=text_of(asked), **values)
        except asyncio.CancelledError:  # what is kept goes on elsewhere, and who asks again finds it
            self._error = StoppingError(bought=self.record.is_ordered and not self.record.is_kept)
        finally:
            self.over = True
            self._tell()
            self._ended(self)

    async def _outcome(self) -> tuple[str, dict[str, Any]]:
        """The state in which the task ends, and what is written down with it."""
        record = self.record
        try:
            result = await self._result()
            if not self._lacks_pictures():
                return "completed", {"result": result}
            self._error = no_picture.Words(chain.from_iterable(self._batches)).error()
            return "failed", {"result": result, "error": text_of(plain_error(self._error))}
        except UncertainError as error:
            self._error = error.changed()
            return "uncertain", {}
        except asyncio.CancelledError:
            if not record.cancelling:
                raise
            self._error = cancelled()
            record.withdraw()
            left = {"repeatable": record.repeatable}
            return "cancelled", {"error": text_of(plain_error(self._error)), **left}
        except Exception as error:
            if record.is_uncertain:  # of several calls another failed as well
                self._error = UncertainError()
                return "uncertain", {}
            if not isinstance(error, ProxyError):
                record.services.log.crash(record.identity, error)
            self._error = _ours(error)
            plain = text_of(plain_error(self._error))
            return "failed", {"error": plain, "repeatable": joining.starts_anew(error)}

    def _lacks_pictures(self) -> bool:
        """Whether nothing but words came of a request for pictures: a model that chats may refuse so."""
        came = map(type, chain.from_iterable(self._batches))
        return Image not in came and isinstance(self.work.parsed.request, ImageRequest)

    async def _result(self) -> str:
        async with aclosing(self.work.batches()) as batches:
            async for batch in batches:
                if self.record.is_kept and Image in map(type, batch):
                    await self.record.save(batch)  # a client may want them by address
                self._batches.append(batch)
                self._tell()
        self.is_ending = True
        if self.record.is_uncertain:
            raise UncertainError
        if not self.record.is_kept:
            return ""
        seen = [event for batch in self._batches for event in batch]
        tolds = [plain_told(told) for told in self.work.tolds]
        return text_of({"events": await self.record.save(seen), "tolds": tolds})


def cancelled() -> UpstreamError:
    return UpstreamError(
        ErrorClass.CANCELED, "The task was cancelled.", status=409, code="task_cancelled", bought=False
    )


def _ours(error: Exception) -> ProxyError:
    """Without its traceback, which knows frames that know the pictures."""
    if not isinstance(error, ProxyError):
        return ProxyError("The proxy could not complete this request because of an internal error.")
    ours = error.changed()
    ours.__cause__ = None
    return ours
