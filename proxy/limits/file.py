"""Counts that the workers of one machine share: a small file in memory, with a lock of the system.

A request costs 6 us at its begin and end together, which is what SQLite takes for a single statement. The
system gives the lock back when its holder dies. What runs is counted for each worker apart, so that a worker
that died takes nothing with it: its column is cleared when its successor comes, or when room is needed.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from hashlib import blake2b
from pathlib import Path
from time import monotonic

from proxy.keys import Limits
from proxy.limits.counting import NOTHING, Taken, Wanted, correct, take

_WORKERS = 64
_HEAD = struct.Struct("<II")  # callers, and those there is room for
_PIDS = struct.Struct(f"<{_WORKERS}q")
_NAME_BYTES = 16
_COUNTS = struct.Struct(f"<{len(NOTHING)}d")
_RUNNING = struct.Struct(f"<{_WORKERS}H")
_CELL = struct.Struct("<H")

_PIDS_AT = 8
_FIRST_AT = 1024
_COUNTS_AT = _NAME_BYTES
_RUNNING_AT = _COUNTS_AT + _COUNTS.size
_ENTRY = _RUNNING_AT + _RUNNING.size

_FIRST_CALLERS = 64


class FileCounters:
    """Safe to open from many processes, and once in each. Raises `OSError` for more than 64 of them.

    Its clock is the machine's time since boot, which all processes share.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._places: dict[bytes, int] = {}
        self._known: dict[str, int] = {}  # the same by caller, of those that were asked for
        self._read = 0  # callers whose place is known
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            if os.fstat(self._file).st_size == 0:
                os.ftruncate(self._file, _size(_FIRST_CALLERS))
                os.pwrite(self._file, _HEAD.pack(0, _FIRST_CALLERS), 0)
            self._map = mmap.mmap(self._file, 0)
            self._column = self._settle_in()
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def take(self, caller: str, limits: Limits, wanted: Wanted) -> Taken:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            now = monotonic()
            place = self._known.get(caller) or self._place(caller)
            before = _COUNTS.unpack_from(self._map, place + _COUNTS_AT)
            counts, running = list(before), 0 if limits.concurrent is None else self._running(place)
            refusal = take(counts, running, limits, wanted, now)
            if refusal is not None and refusal[0] == "concurrent" and self._bury():
                counts = list(before)
                refusal = take(counts, self._running(place), limits, wanted, now)
            if refusal is not None:
                return Taken(caller, limits, wanted, list(before), now, self, "", *refusal)
            _COUNTS.pack_into(self._map, place + _COUNTS_AT, *counts)
            self._add_running(place, 1)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        return Taken(caller, limits, wanted, counts, now, self)

    def give_back(self, taken: Taken, tokens: int, images: int) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            place = self._known[taken.caller]
            counts = list(_COUNTS.unpack_from(self._map, place + _COUNTS_AT))
            correct(counts, taken, tokens, images)
            _COUNTS.pack_into(self._map, place + _COUNTS_AT, *counts)
            self._add_running(place, -1)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        self._map.close()
        os.close(self._file)

    # --- callers

    def _place(self, caller: str) -> int:
        name = blake2b(caller.encode(), digest_size=_NAME_BYTES).digest()
        place = self._places.get(name)
        if place is None:
            self._read_places()
            place = self._places.get(name) or self._new_place(name)
        self._known[caller] = place
        return place

    def _read_places(self) -> None:
        """Those that other workers have made."""
        callers, room = _HEAD.unpack_from(self._map, 0)
        if len(self._map) < _size(room):
            self._map.close()
            self._map = mmap.mmap(self._file, _size(room))
        for number in range(self._read, callers):
            place = _size(number)
            self._places[self._map[place : place + _NAME_BYTES]] = place
        self._read = callers

    def _new_place(self, name: bytes) -> int:
        callers, room = _HEAD.unpack_from(self._map, 0)
        if callers == room:
            room *= 2
            os.ftruncate(self._file, _size(room))
            self._map.close()
            self._map = mmap.mmap(self._file, _size(room))
        place = _size(callers)
        self._map[place : place + _NAME_BYTES] = name
        _HEAD.pack_into(self._map, 0, callers + 1, room)
        self._places[name] = place
        self._read = callers + 1
        return place

    # --- workers

    def _settle_in(self) -> int:
        """Take the column of nobody, or of somebody who died."""
        self._bury()
        pids = _PIDS.unpack_from(self._map, _PIDS_AT)
        if 0 not in pids:
            raise OSError(f"limits are shared by at most {_WORKERS} workers")
        column = pids.index(0)
        struct.pack_into("<q", self._map, _PIDS_AT + 8 * column, os.getpid())
        return column

    def _bury(self) -> bool:
        """Clear the columns of those who died; whether there were any."""
        pids = _PIDS.unpack_from(self._map, _PIDS_AT)
        dead = [column for column, pid in enumerate(pids) if pid and not _is_alive(pid)]
        if not dead:
            return False
        self._read_places()
        for column in dead:
            for place in self._places.values():
                _CELL.pack_into(self._map, place + _RUNNING_AT + _CELL.size * column, 0)
            struct.pack_into("<q", self._map, _PIDS_AT + 8 * column, 0)
        return True

    def _running(self, place: int) -> int:
        return sum(_RUNNING.unpack_from(self._map, place + _RUNNING_AT))

    def _add_running(self, place: int, more: int) -> None:
        at = place + _RUNNING_AT + _CELL.size * self._column
        (count,) = _CELL.unpack_from(self._map, at)
        _CELL.pack_into(self._map, at, min(max(0, count + more), 0xFFFF))


def _size(callers: int) -> int:
    """Of a file with so many callers; where the next one stands."""
    return _FIRST_AT + callers * _ENTRY


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
