"""What other processes tell of tasks, heard at once where PostgreSQL carries it.

Polling stays the net: what is not heard is late by a look and no more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

CHANNEL = "dragoman"
FREE, CANCEL, CALLBACK = "free", "cancel", "callback"  # work for somebody; any other word is a task's id

_WORK = frozenset((FREE, CANCEL, CALLBACK))


class Wakes:
    """`on_work` is called when there is work for whoever is first. `hears`: what is told arrives. A line that
    was cut is made again after `again_s`."""

    def __init__(self, on_work: Callable[[], None], again_s: float = 5.0) -> None:
        self.hears = False
        self._on_work = on_work
        self._again_s = again_s
        self._work: set[str] = set()
        self._some = asyncio.Event()
        self._waiting: dict[str, set[asyncio.Event]] = {}

    # --- who waits

    async def work_within(self, seconds: float) -> None:
        """Wait so long, or until there is work."""
        await _within(seconds, self._some)

    def taken(self) -> set[str]:
        """The kinds of work that were told of since the last time."""
        work, self._work = self._work, set()
        self._some.clear()
        return work

    @contextlib.contextmanager
    def of(self, task: str) -> Iterator[Callable[[float], Awaitable[None]]]:
        """While it is open, `await woken(seconds)` waits so long, or until the task is told of."""
        told = asyncio.Event()
        self._waiting.setdefault(task, set()).add(told)

        async def woken(seconds: float) -> None:
            await _within(seconds, told)
            told.clear()

        try:
            yield woken
        finally:
            self._waiting[task].remove(told)
            if not self._waiting[task]:
                del self._waiting[task]

    # --- who tells

    def heard(self, word: str) -> None:
        if word in _WORK:
            self._work.add(word)
            self._some.set()
            self._on_work()
        for told in self._waiting.get(word, ()):
            told.set()

    def _look(self) -> None:
        """Nobody knows what was told before: all look."""
        self._work |= _WORK
        self._some.set()
        for waiting in self._waiting.values():
            for told in waiting:
                told.set()

    async def listen(self, address: str) -> None:
        """Hear what is told at this PostgreSQL, until cancelled."""
        while True:
            with contextlib.suppress(Exception):  # whatever a driver raises: meanwhile who waits looks
                await self._listen(address)
            await asyncio.sleep(self._again_s)

    async def _listen(self, address: str) -> None:
        """Raises what the driver does when there is no line, or it is cut."""
        from proxy.store import engines

        connecting = asyncio.ensure_future(asyncio.to_thread(engines.listening, address, CHANNEL))
        try:
            connection = await asyncio.shield(connecting)
        except asyncio.CancelledError:
            connecting.add_done_callback(_let_go)
            raise
        loop, number = asyncio.get_running_loop(), connection.fileno()
        cut: asyncio.Future[None] = loop.create_future()

        def readable() -> None:
            try:
                connection.pgconn.consume_input()
                while (note := connection.pgconn.notifies()) is not None:
                    self.heard(note.extra.decode())
            except Exception as error:
                loop.remove_reader(number)  # at once: the number is another's soon
                cut.set_exception(error)

        try:
            loop.add_reader(number, readable)
            self.hears = True
            self._look()
            await cut
        finally:
            self.hears = False
            if not cut.done() or cut.cancelled():
                loop.remove_reader(number)
            connection.close()


async def _within(seconds: float, event: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _let_go(connecting: asyncio.Future[Any]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().close()
