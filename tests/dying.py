"""The command in a process that kills itself at a certain write.

`DIE_AT` is the number of the transaction with a write to money or tasks, or the name of what it writes (see
`WRITES`); `DIE_WHEN` is before or after it is committed. It listens to the database's library and changes
nothing of the program.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Sequence
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from proxy import __main__ as command

_OF_INTEREST = (
    "INTO ledger", "INTO tasks", "INTO watches", "INTO deliveries", "UPDATE tasks", "UPDATE watches",
    "DELETE FROM watches",
)  # fmt: skip
_WROTE = "wrote"

# What is written, by what the transaction's statements and their values look like; the first that fits.
WRITES = {
    "opened": r"INTO tasks",
    "called back": r"INTO deliveries",
    "callback taken": r"callback_tries=\(tasks\.callback_tries \+",
    "taken over": r"UPDATE tasks SET .*tries=\(tasks\.tries \+",
    "cancel asked": r"UPDATE tasks SET cancel_asked",
    "ended late": r"DELETE FROM watches(?s:.)*INTO ledger",
    "given up": r"INTO watches",
    "looked late": r"UPDATE watches",
    "ended": r"UPDATE tasks(?s:.)*'(completed|failed|cancelled)'",
    "uncertain": r"UPDATE tasks(?s:.)*'uncertain'",
    "made": r'UPDATE tasks(?s:.)*"state":"done"',
    "accepted": r'UPDATE tasks(?s:.)*"state":"accepted"',
    "intended": r'UPDATE tasks(?s:.)*"state":"intended"',
    "renewed": r"UPDATE tasks SET lease_until",
    "held": r"INTO ledger(?s:.)*'hold'",
    "settled": r"INTO ledger(?s:.)*'settle'",
}


def name_of(wrote: str) -> str | None:
    return next((name for name, looks in WRITES.items() if re.search(looks, wrote)), None)


class _Death:
    def __init__(self, at: str, when: str) -> None:
        self._at = at
        self._left = int(at) if at.isdecimal() else 0
        self._when = when

    def listen(self) -> None:
        event.listen(Engine, "before_cursor_execute", self._executing)
        event.listen(Engine, "commit", self._committing)
        event.listen(Engine, "rollback", self._forgetting)

    def _executing(self, connection: Any, _: Any, statement: str, values: Any, *__: Any) -> None:
        if any(words in statement for words in _OF_INTEREST):
            connection.info[_WROTE] = f"{connection.info.get(_WROTE, '')}\n{statement} {values}"

    def _forgetting(self, connection: Any) -> None:
        connection.info.pop(_WROTE, None)

    def _committing(self, connection: Any) -> None:
        wrote = connection.info.pop(_WROTE, None)
        if wrote is None:
            return
        self._left -= 1
        if self._left == 0 or name_of(wrote) == self._at:
            if self._when == "after":
                connection.connection.dbapi_connection.commit()
            os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: Sequence[str]) -> int:
    _Death(os.environ["DIE_AT"], os.environ["DIE_WHEN"]).listen()
    return command.main(arguments)
