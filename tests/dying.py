"""The command in a process that kills itself at a certain write.

`DIE_AT` is the number of the transaction with a write to money or tasks, `DIE_WHEN` is before or after it is
committed. It listens to the database's library and changes nothing of the program.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from proxy import __main__ as command

_OF_INTEREST = ("INTO ledger", "INTO tasks", "INTO watches", "UPDATE tasks")
_MARK = "wrote"


class _Death:
    def __init__(self, at: int, when: str) -> None:
        self._left = at
        self._when = when

    def listen(self) -> None:
        event.listen(Engine, "before_cursor_execute", self._executing)
        event.listen(Engine, "commit", self._committing)
        event.listen(Engine, "rollback", self._forgetting)

    def _executing(self, connection: Any, _: Any, statement: str, *__: Any) -> None:
        if any(words in statement for words in _OF_INTEREST):
            connection.info[_MARK] = True

    def _forgetting(self, connection: Any) -> None:
        connection.info.pop(_MARK, None)

    def _committing(self, connection: Any) -> None:
        if not connection.info.pop(_MARK, False):
            return
        self._left -= 1
        if self._left == 0:
            if self._when == "after":
                connection.connection.dbapi_connection.commit()
            os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: Sequence[str]) -> int:
    _Death(int(os.environ["DIE_AT"]), os.environ["DIE_WHEN"]).listen()
    return command.main(arguments)
