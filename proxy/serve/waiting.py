"""Who was refused and asks again at once: one is heard after the other, and not whenever it speaks.

A refusal costs a fifteenth of a small chat, most of it in the system: clients that take no rest would have
two fifths of the server's time for them (`python -m bench.overload`).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

_PATIENCE_S: Final = 1.0  # as they were told
_TURN_S: Final = 0.02
_A_TURN: Final = 10  # no more than 500 a second: at 40 us for each they are 2 % of the time


class Connection(Protocol):
    def heard_again(self) -> bool:
        """What it said is read now. False when nobody is there any more."""
        ...


class WaitingLine:
    """Connections whose request nobody looks at until it is their turn: when there is `room`, or after a
    second, when they are told again. `waiting` tells since when, in the loop's time."""

    __slots__ = ("_is_asked", "_room", "_turns", "waiting")

    def __init__(self, room: Callable[[], int]) -> None:
        self.waiting: OrderedDict[Connection, float] = OrderedDict()
        self._room = room
        self._is_asked = False
        self._turns: asyncio.TimerHandle | None = None

    def join(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        self.waiting.setdefault(connection, loop.time())
        if self._turns is None:
            self._turns = loop.call_later(_TURN_S, self._turn)

    def leave(self, connection: Connection) -> bool:
        """Whether it was there."""
        return self.waiting.pop(connection, None) is not None

    def ask(self) -> None:
        """There may be room. Those that are read already come first: the loop looks at them once before."""
        if not self._is_asked:
            self._is_asked = True
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._fill)

    def _fill(self) -> None:
        self._is_asked = False
        self._call(self._room())
        if self.waiting and self._room() > 0:  # of those that were called, some had nothing to say yet
            self.ask()

    def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        began_by = loop.time() - _PATIENCE_S
        for _ in range(_A_TURN):
            if not self.waiting or next(iter(self.waiting.values())) > began_by:
                break
            self._call(1)
        self._turns = loop.call_later(_TURN_S, self._turn) if self.waiting else None

    def _call(self, count: int) -> None:
        while count > 0 and self.waiting:
            connection, _ = self.waiting.popitem(last=False)
            count -= connection.heard_again()
