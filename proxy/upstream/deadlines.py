"""How long an upstream may take, phase by phase, watched by one timer for each reply."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds. `connect_s` covers waiting for a free connection, name, TCP and TLS; `first_byte_s` all until
    the first byte of the answer's body; `idle_s` the time between two reads; `total_s` everything."""

    connect_s: float = 5.0
    first_byte_s: float = 120.0
    idle_s: float = 60.0
    total_s: float = 600.0


def nothing(phase: str) -> None:
    """What a watch calls that nobody listens to."""


class Watch:
    """Calls `expire` with the phase's name when the upstream is too slow, until `stop`. The time that a slow
    client takes counts for the total only.

    A read costs one look at the clock: the timer is never moved, it looks at `waiting_since` when it fires.
    `asyncio.timeout` costs five times as much for each call, and interrupts a task instead of a connection.
    """

    __slots__ = ("_answered", "_deadlines", "_handle", "_loop", "_started", "expire", "time", "waiting_since")

    def __init__(
        self,
        deadlines: Deadlines,
        loop: asyncio.AbstractEventLoop,
        started: float,
        expire: Callable[[str], None],
    ) -> None:
        self._deadlines = deadlines
        self._loop = loop
        self.time = loop.time
        self._started = started
        self._answered = False
        self.expire = expire
        self.waiting_since: float | None = started
        due = started + min(deadlines.first_byte_s, deadlines.total_s)
        self._handle: asyncio.TimerHandle | None = self._loop.call_at(due, self._look)

    def answer(self) -> None:
        """The first byte of the body has come."""
        self._answered = True
        if self._handle is not None:
            self._handle.cancel()
            self._look()

    def stop(self) -> None:
        self.expire = nothing  # it holds who holds us: a cycle for each call keeps the collector busy
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _look(self) -> None:
        now = self._loop.time()
        limits = self._deadlines
        total_due = self._started + limits.total_s
        idle_due = (now if self.waiting_since is None else self.waiting_since) + limits.idle_s
        if not self._answered and self.waiting_since is not None:
            # An upstream that sends headers early may still think before it speaks.
            idle_due = self._started + limits.first_byte_s
        due = min(total_due, idle_due)
        if due <= now:
            self._handle = None
            self.expire("total" if total_due <= idle_due else "idle" if self._answered else "first_byte")
        else:
            self._handle = self._loop.call_at(due, self._look)
