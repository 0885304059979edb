"""A file that the workers of one machine share, so that a tool loop may change workers between its turns.

SQLite without durability: losing it costs what losing a process's memory costs. A write takes about 20 us and
happens only for signed replies; a read only when a worker's own memory has nothing.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

_TABLE = "CREATE TABLE IF NOT EXISTS signature (place TEXT PRIMARY KEY, value TEXT, until REAL) WITHOUT ROWID"
_DROP_OLDEST = """
    DELETE FROM signature
    WHERE place IN (SELECT place FROM signature ORDER BY until DESC LIMIT -1 OFFSET ?)
"""
_TIDY_EVERY = 1000  # writes between two clean-ups


class SignatureFile:
    """Bounded in entries and age, like the memory it backs. Safe to open from many processes."""

    def __init__(self, path: Path, *, entries: int = 200_000, ttl_s: float = 6 * 3600) -> None:
        self._entries = entries
        self._ttl_s = ttl_s
        self._writes = 0
        self._database = sqlite3.connect(path, isolation_level=None, timeout=0.05)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute(_TABLE)

    def put(self, place: str, value: str) -> None:
        """Remember; a file that is busy for 50 ms is left alone, the memory of the process still has it."""
        try:
            self._database.execute(
                "INSERT OR REPLACE INTO signature VALUES (?, ?, ?)", (place, value, time.time() + self._ttl_s)
            )
            self._writes += 1
            if self._writes % _TIDY_EVERY == 0:
                self._tidy()
        except sqlite3.OperationalError:
            return

    def get(self, place: str) -> str | None:
        try:
            row = self._database.execute(
                "SELECT value FROM signature WHERE place = ? AND until > ?", (place, time.time())
            ).fetchone()
        except sqlite3.OperationalError:
            return None
        return None if row is None else str(row[0])

    def _tidy(self) -> None:
        self._database.execute("DELETE FROM signature WHERE until < ?", (time.time(),))
        self._database.execute(_DROP_OLDEST, (self._entries,))

    def close(self) -> None:
        self._database.close()
