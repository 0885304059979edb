"""Who was refused and asks again at once: one is heard after the other, and not whenever it speaks.

A refusal costs a fifteenth of a small chat, most of it in the system: clients that take no rest would have
two fifths of the server's time for them (`python -m bench.overload`). What comes on a connection that is not
read waits in the system's buffers and costs nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

_TURN_S: Final = 0.02
_SHARE: Final = 50  # of those that wait, one in so many each time: a second, as they were told
_A_TURN: Final = 10  # but no more than 500 a second: at 40 us for each they are 2 % of the time


class Connection(Protocol):
    """It is not read while it waits."""

    def heard_again(self) -> bool:
        """False when nobody is there any more."""
        ...


class WaitingLine:
    """Connections that nobody reads until it is their turn: when there is `room`, or after some seconds."""

    __slots__ = ("_is_asked", "_room", "_turns", "waiting")

    def __init__(self, room: Callable[[], int]) -> None:
        self.waiting: deque[Connection] = deque()
        self._room = room
        self._is_asked = False
        self._turns: asyncio.TimerHandle | None = None

    def join(self, connection: Connection) -> None:
        self.waiting.append(connection)
        if self._turns is None:
            self._turns = asyncio.get_running_loop().call_later(_TURN_S, self._turn)

    def ask(self) -> None:
        """There may be room. Those that are read already come first: the loop looks at them once before."""
        if not self._is_asked:
            self._is_asked = True
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._fill)

    def _fill(self) -> None:
        self._is_asked = False
        room = self._room()
        self._call(room)
        if room > 0 and self.waiting:  # of those that were called, some may have nothing to say
            self.ask()

    def _turn(self) -> None:
        self._turns = None
        self._call(min(_A_TURN, 1 + len(self.waiting) // _SHARE))
        if self.waiting:
            self._turns = asyncio.get_running_loop().call_later(_TURN_S, self._turn)

    def _call(self, count: int) -> None:
        while count > 0 and self.waiting:
            count -= self.waiting.popleft().heard_again()
