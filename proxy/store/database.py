"""The one way to what is kept in tables: SQLite beside the files, or PostgreSQL for many machines.

Work is a plain function over a connection, run in a thread of the store's own within one transaction. Nothing
of it is loaded before the first work, or before `open`: SQLAlchemy takes 0.1 s and 12 MB.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

T = TypeVar("T")

_THREADS = 4


class Database:
    """`address` is `sqlite:PATH`, `sqlite::memory:` or `postgresql://...`.

    SQLite has one writer, so it gets one thread. Connections that a restart of the server has cut are found
    and replaced.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.is_local = address.startswith("sqlite:")
        self._threads = ThreadPoolExecutor(1 if self.is_local else _THREADS, thread_name_prefix="store")
        # What is in memory has one connection, which is one thread's at a time.
        self._reader = self._threads if self.is_in_memory else ThreadPoolExecutor(1, "store-reader")
        self._engine: Engine | None = None
        self._opening = Lock()

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in a transaction, which holds unless it raises.

        Raises `sqlalchemy.exc.SQLAlchemyError`, and what `work` raises."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.do, work)

    def do(self, work: Callable[[Connection], T]) -> T:
        """The same in the caller's thread."""
        with self._opened().begin() as connection:
            return work(connection)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Like `run`, for `work` that changes nothing: it waits for no writer."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._read, work)

    def _read(self, work: Callable[[Connection], T]) -> T:
        with self._opened().connect() as connection, connection.execution_options(only_reads=True).begin():
            return work(connection)

    @property
    def is_in_memory(self) -> bool:
        return self.is_local and path_of(self.address) is None

    def may_exist(self) -> bool:
        """False where there is no file yet, or nothing was done in memory: then nothing is in it."""
        if self.is_in_memory:
            return self._engine is not None
        path = path_of(self.address)
        return path is None or os.path.exists(path)  # `Path.exists` raises for what it may not look into

    async def open(self) -> None:
        """Connect, and bring the tables up to date."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._opened)

    async def close(self) -> None:
        """Finish what is at work, and let go of all connections."""
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self._reader.shutdown)
        self.release()

    def migrated(self) -> tuple[str | None, str]:
        """Bring the tables up to date in this thread: the version that they had, and the one they have."""
        from proxy.store import engines, tables

        engine = engines.connect(self.address)
        try:
            return engines.migrate(engine), tables.HEAD
        finally:
            engine.dispose()

    def release(self) -> None:
        """Let go of all connections; the next work opens others."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _opened(self) -> Engine:
        with self._opening:
            if self._engine is None:
                from proxy.store import engines

                engine = engines.connect(self.address)
                engines.migrate(engine)
                self._engine = engine
            return self._engine


def path_of(address: str) -> Path | None:
    """The file of a SQLite database; None for one in memory, and for servers."""
    if not address.startswith("sqlite:"):
        return None
    name = address.removeprefix("sqlite:").removeprefix("//")
    return None if name == ":memory:" else Path(name)
