"""A file that the workers of one machine share, so that a tool loop may change workers between its turns.

SQLite without durability: losing it costs what losing a process's memory costs. A write takes about 20 us and
happens only for signed replies; a read only when a worker's own memory has nothing.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

_TABLE = """
    CREATE TABLE IF NOT EXISTS kept
    (place TEXT PRIMARY KEY, value TEXT, until REAL, size INTEGER) WITHOUT ROWID
"""
_DROP_OLDEST = """
    DELETE FROM kept WHERE place IN (
        SELECT place FROM (
            SELECT place, ROW_NUMBER() OVER newest AS entries, SUM(size) OVER newest AS bytes
            FROM kept WINDOW newest AS (ORDER BY until DESC ROWS UNBOUNDED PRECEDING)
        ) WHERE entries > ? OR bytes > ?
    )
"""
_TIDY_EVERY = 1000  # writes between two clean-ups, fewer where they are long
_TIDY_SHARE = 8  # of the bytes allowed, what is written between two clean-ups


class SignatureFile:
    """Bounded in bytes, entries and age, like the memory it backs. Safe to open from many processes.

    Each process may be an eighth of `max_bytes` above it for a while. Its threads ask one at a time.
    """

    def __init__(
        self, path: Path, *, max_bytes: int = 256 << 20, entries: int = 200_000, ttl_s: float = 6 * 3600
    ) -> None:
        self._max_bytes = max_bytes
        self._entries = entries
        self._ttl_s = ttl_s
        self._writes = 0
        self._written_bytes = 0
        self._database = sqlite3.connect(path, isolation_level=None, timeout=0.05, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute(_TABLE)

    def put(self, place: str, value: str) -> None:
        """Remember; a file that is busy for 50 ms is left alone, the memory of the process still has it."""
        size = len(place) + len(value)
        if size > self._max_bytes // _TIDY_SHARE:
            return
        try:
            self._database.execute(
                "INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)",
                (place, value, time.time() + self._ttl_s, size),
            )
            self._writes += 1
            self._written_bytes += size
            if self._writes >= _TIDY_EVERY or self._written_bytes >= self._max_bytes // _TIDY_SHARE:
                self._tidy()
        except sqlite3.OperationalError:
            return

    def get(self, place: str) -> str | None:
        try:
            row = self._database.execute(
                "SELECT value FROM kept WHERE place = ? AND until > ?", (place, time.time())
            ).fetchone()
        except sqlite3.OperationalError:
            return None
        return None if row is None else str(row[0])

    def _tidy(self) -> None:
        self._writes = self._written_bytes = 0
        self._database.execute("DELETE FROM kept WHERE until < ?", (time.time(),))
        self._database.execute(_DROP_OLDEST, (self._entries, self._max_bytes))

    def close(self) -> None:
        self._database.close()
