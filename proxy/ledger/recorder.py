"""Brings rows into the store without making anybody wait: in batches, what is sold by the piece at once.

While the store is away rows wait in memory, then in files beside it, and arrive when it is back, none twice:
the store knows each row by its try and kind. A process that is killed loses the chats of its last half
second.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any, Protocol

from proxy.ledger.entries import Entry, dump, insert, load
from proxy.store.database import Database

_BATCH = 500  # rows that do not wait for others, and the most in a transaction
_PAUSE_S = 0.5  # how long a row waits for others
_IN_MEMORY = 2000  # rows; more than these wait in a file
_HOLD_WAIT_S = 10.0  # for the row of an order to be there, which a store that is away ends sooner
_CLOSE_WAIT_S = 5.0
_PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0)  # between the tries to reach a store that is away
_FILES = "ledger-*.jsonl"


class Log(Protocol):
    def write(self, event: str, **fields: Any) -> None: ...


class Ledger:
    """The rows of this process. `folder` is where they wait for a store that is away, None for nowhere."""

    def __init__(self, database: Database, folder: Path | None, log: Log) -> None:
        self._database = database
        self._folder = folder
        self._log = log
        self._waiting: list[Entry] = []
        self._written: list[asyncio.Future[None]] = []  # resolved when what waits now is in the store
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self._failed = 0  # tries in a row to reach the store
        self._collected = False  # the files of earlier processes

    def add(self, entry: Entry, *, at_once: bool) -> None:
        self._waiting.append(entry)
        if at_once or len(self._waiting) >= _BATCH:
            self._start()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PAUSE_S, self._start)

    async def put(self, entry: Entry) -> None:
        """Add a row and wait for it to be in the store, but not for a store that is away."""
        written = asyncio.get_running_loop().create_future()
        self._written.append(written)
        self.add(entry, at_once=True)
        if not self._failed:
            await asyncio.wait((written,), timeout=_HOLD_WAIT_S)

    def find(self) -> None:
        """Bring in what an earlier process had to leave in files."""
        if self._files():
            self._start()

    async def close(self) -> None:
        """Write what waits: into the store, or else into a file."""
        self._stop_timer()
        if self._waiting or self._writing is not None:
            self._failed = 0
            self._start()
            assert self._writing is not None
            await asyncio.wait((self._writing,), timeout=_CLOSE_WAIT_S)
        self._stop_timer()
        if self._writing is not None:
            self._writing.cancel()
        if self._waiting:
            await self._leave()

    def _start(self) -> None:
        """Write now, unless that is going on or the store is being waited for."""
        if self._writing is not None:
            return
        if not self._failed or self._timer is None:
            self._stop_timer()
            self._writing = asyncio.get_running_loop().create_task(self._write())
        elif len(self._waiting) > _IN_MEMORY:
            self._writing = asyncio.get_running_loop().create_task(self._make_room())

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _write(self) -> None:
        try:
            while self._waiting or not self._collected:
                await (self._write_some() if self._waiting else self._collect())
                if self._failed:
                    self._failed = 0
                    self._log.write("store_back")
        except Exception as error:  # whatever it is, rows must not be lost by it
            self._stay(error)
            if len(self._waiting) > _IN_MEMORY:
                await self._leave()
        finally:
            self._writing = None

    async def _write_some(self) -> None:
        entries = self._waiting[:_BATCH]
        whole = len(entries) == len(self._waiting)
        written, self._written = (self._written, []) if whole else ([], self._written)
        try:
            await self._insert(entries)
        except BaseException:
            self._written = written + self._written
            raise
        del self._waiting[: len(entries)]
        _let_go(written)

    def _stay(self, error: Exception) -> None:
        """The store is away: come back later."""
        _let_go(self._written)
        self._written = []
        if not self._failed:
            self._log.write("store_away", error=type(error).__name__, rows=len(self._waiting))
        pause_s = _PAUSES_S[min(self._failed, len(_PAUSES_S) - 1)]
        self._failed += 1
        self._timer = asyncio.get_running_loop().call_later(pause_s, self._again)

    def _again(self) -> None:
        self._timer = None
        self._start()

    async def _make_room(self) -> None:
        try:
            await self._leave()
        finally:
            self._writing = None

    async def _insert(self, entries: Sequence[Entry]) -> None:
        """All of them at once; where the store refuses one of them, each by itself."""
        if not entries:
            return
        try:
            await self._database.run(partial(insert, entries=entries))
        except Exception as error:
            if _is_away(error):
                raise
            for entry in entries:
                await self._insert_one(entry)

    async def _insert_one(self, entry: Entry) -> None:
        try:
            await self._database.run(partial(insert, entries=[entry]))
        except Exception as error:
            if _is_away(error):
                raise
            self._log.write("ledger_refused", row=dump([entry]).decode(), error=type(error).__name__)

    # --- files

    async def _leave(self) -> None:
        """Put what waits into a file. Where none is to be had, the log is the last place."""
        entries = self._waiting[:]
        try:
            name = await asyncio.to_thread(_written, entries, self._folder)
        except OSError as error:
            for entry in entries:
                self._log.write("ledger_unwritable", row=dump([entry]).decode(), error=type(error).__name__)
        else:
            self._collected = False
            self._log.write("ledger_waits", file=name, rows=len(entries))
        del self._waiting[: len(entries)]

    async def _collect(self) -> None:
        """Rows of files, those of other processes too: read twice they are still there once."""
        for place in await asyncio.to_thread(self._files):
            try:
                entries = load(await asyncio.to_thread(place.read_bytes))
            except OSError:  # another process has brought it in
                continue
            for start in range(0, len(entries), _BATCH):
                await self._insert(entries[start : start + _BATCH])
            with contextlib.suppress(OSError):
                place.unlink()
            self._log.write("ledger_arrived", file=place.name, rows=len(entries))
        self._collected = True

    def _files(self) -> list[Path]:
        with contextlib.suppress(OSError):  # a folder that nobody may look into holds none of ours
            return [] if self._folder is None else sorted(self._folder.glob(_FILES))
        return []


def _written(entries: Sequence[Entry], folder: Path | None) -> str:
    """The name of a new file, complete before it has it: nobody reads what is still written."""
    if folder is None:
        raise FileNotFoundError
    place = folder / f"ledger-{token_hex(8)}.jsonl"
    draft = place.with_suffix(".part")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(dump(entries))
    draft.replace(place)
    return place.name


def _let_go(waiting: Sequence[asyncio.Future[None]]) -> None:
    for future in waiting:
        if not future.done():
            future.set_result(None)


def _is_away(error: Exception) -> bool:
    """Whether the store was not reached, rather than refused a row."""
    from sqlalchemy import exc

    refusals = (exc.DataError, exc.IntegrityError, exc.StatementError)
    if isinstance(error, exc.DBAPIError):
        return error.connection_invalidated or not isinstance(error, (exc.DataError, exc.IntegrityError))
    return not isinstance(error, (*refusals, OverflowError, UnicodeError, ValueError))
