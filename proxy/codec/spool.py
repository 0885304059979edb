"""One JSON text that arrives in pieces, its pictures kept in files instead of in memory.

A base64 string of more than `SPOOL_OVER` characters is written to an unlinked temporary file while it comes,
and is read from there when it is sent on: sixteen pictures of 8 MB at once cost a few megabytes, not 170.
"""

from __future__ import annotations

import mmap
import tempfile
from typing import IO, Any

from proxy.codec import jsonio
from proxy.types import Slice

SPOOL_OVER = 1 << 20


class JsonSpool:
    """Feed it the text, then ask for its `value`."""

    def __init__(self) -> None:
        self._outline = bytearray()
        self._runs: list[Slice] = []
        self._file: IO[bytes] | None = None
        self._escaped = False
        self._since_quote = 0
        self._refused = False  # the string at hand is long, but no base64

    def feed(self, chunk: bytes) -> None:
        if self._file is not None:
            end = chunk.find(b'"')
            self._write(chunk if end < 0 else chunk[:end])
            if end < 0:
                return
            self._end_run()
            chunk = chunk[end:]
        self._outline += chunk
        last = chunk.rfind(b'"')
        if last >= 0:
            self._since_quote = len(chunk) - last - 1
            self._refused = False
        else:
            self._since_quote += len(chunk)
        if self._since_quote > SPOOL_OVER and not self._refused:
            self._begin_run()

    def __del__(self) -> None:
        if self._file is not None:  # the text broke off in the middle of a picture
            self._file.close()

    def value(self) -> Any:
        """Parse the whole text. Raises `JSONDecodeError`; the text stays readable by `text`."""
        if self._file is not None:
            return jsonio.loads(self.text())  # cut off in the middle of a string: raises
        return jsonio.loads(bytes(self._outline), self._runs)

    def text(self) -> bytes:
        """The text as it came; loads everything into memory."""
        if self._file is not None:
            self._end_run()
        return jsonio.rejoined(bytes(self._outline), self._runs)

    def _begin_run(self) -> None:
        start = len(self._outline) - self._since_quote
        if not jsonio.begins_base64(bytes(self._outline[start : start + 512])):
            self._refused = True
            return
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed at the end of the run
        self._escaped = False
        self._write(bytes(self._outline[start:]))
        del self._outline[start:]

    def _write(self, part: bytes) -> None:
        assert self._file is not None
        self._escaped = self._escaped or b"\\" in part
        self._file.write(part)

    def _end_run(self) -> None:
        file, self._file = self._file, None
        assert file is not None
        with file:
            pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if self._escaped:  # some servers write every slash as \/ : no picture can be handed on like that
            self._outline += pages[:]
            return
        self._outline += jsonio.token(len(self._runs))
        self._runs.append(Slice(memoryview(pages)))


def forget(view: memoryview) -> None:
    """Give back the memory of what was read from a spooled string; its file still has it."""
    if isinstance(view.obj, mmap.mmap):
        view.obj.madvise(mmap.MADV_DONTNEED)
