"""Bytes kept aside while they come: one at a time in a region of memory that is used again, others in a file
without a name.

A file is a third of what it costs to hand a picture on, and new memory costs as much. Where files have no
room, a reply that was paid for still has: who writes bounds what is written.
"""

from __future__ import annotations

import errno
import mmap
import resource
import sys
import tempfile
from threading import Lock
from typing import IO

SPILL_OVER = 1 << 20  # bytes or characters; what is shorter is kept with the rest of its text
REGION = 12 << 20  # bytes: a picture of 8 MB as base64

_region = bytearray()  # REGION bytes from its first use on
_lock = Lock()


def _borrowed() -> memoryview | None:
    """The region, None while somebody looks at it: then it cannot change its size."""
    with _lock:
        try:
            if _region:
                _region.append(0)
                _region.pop()
            else:
                _region.extend(bytes(REGION))
        except BufferError:
            return None
        return memoryview(_region)


class Spill:
    """`write` as it comes, then take the `view` of it all. Dropped with its last reference, file and all."""

    __slots__ = ("_file", "_lent", "_memory", "size")

    def __init__(self) -> None:
        self._lent = _borrowed()
        self._file = _open() if self._lent is None else None
        self._memory = bytearray()
        self.size = 0

    def write(self, part: bytes | memoryview) -> None:
        """Add to it. A disk that is full, or that takes less than it is given, moves all to memory."""
        left = memoryview(part)
        if self._lent is not None:
            if self.size + len(left) <= REGION:
                self._lent[self.size : self.size + len(left)] = left
                self.size += len(left)
                return
            self._move(self._lent[: self.size])
        if self._file is not None:
            try:
                left = _written(self._file, left)
            except OSError:
                self._to_memory()
        self._memory += left
        self.size += len(part)

    def view(self) -> memoryview:
        """All that was written; call it once, at the end."""
        if self._lent is not None:
            return self._lent[: self.size].toreadonly()
        if self._file is not None and self.size:
            try:
                return memoryview(_mapped(self._file))
            except OSError:  # no descriptor or no address space is left
                self._to_memory()
            finally:
                self._close()
        return memoryview(self._memory).toreadonly()

    def _move(self, lent: memoryview) -> None:
        """Out of the region, which is too small."""
        self._lent, self._file = None, _open()
        if self._file is not None:
            try:
                _written(self._file, lent)
                return
            except OSError:
                self._close()
        self._memory += lent

    def _to_memory(self) -> None:
        """What is in the file by now; a last write that failed in the middle is written again behind it."""
        assert self._file is not None
        self._file.seek(0)
        while len(self._memory) < self.size:
            piece = self._file.read(min(SPILL_OVER, self.size - len(self._memory)))
            if not piece:
                raise OSError(errno.EIO, "a temporary file has lost its end")
            self._memory += piece
        self._close()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def __del__(self) -> None:
        self._close()


def forget(view: memoryview) -> None:
    """Give back the memory of what was read from a spilled string; its file still has it."""
    if isinstance(view.obj, mmap.mmap):
        view.obj.madvise(mmap.MADV_DONTNEED)


def _open() -> IO[bytes] | None:
    """None where files are not to be had. The last quarter of the descriptors is left to connections."""
    try:
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by the spill
    except OSError:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and file.fileno() >= limit - limit // 4:
        file.close()
        return None
    return file


def _written(file: IO[bytes], left: memoryview) -> memoryview:
    """Write until nothing is left. Raises `OSError`."""
    while left:
        taken = file.write(left)
        if not taken:
            raise OSError(errno.ENOSPC, "a temporary file takes no more")
        left = left[taken:]
    return left


def _mapped(file: IO[bytes]) -> mmap.mmap:
    if sys.version_info >= (3, 13):
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ, trackfd=False)
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # it keeps a descriptor of its own
