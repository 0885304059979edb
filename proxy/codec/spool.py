"""One JSON text that arrives in pieces, its pictures kept apart from it, and many of them in files.

A base64 string of more than `SPILL_OVER` characters is written aside while it comes (see `spill`), and is
read from there when it is sent on: sixteen pictures of 8 MB at once cost 40 megabytes, not 170.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxy.codec import base64_text, jsonio
from proxy.codec.halves import Held
from proxy.codec.spill import SPILL_OVER, Spill, forget
from proxy.types import Slice

__all__ = ["JsonSpool", "forget"]


class JsonSpool:
    """Feed it the text, then ask for its `value`."""

    __slots__ = ("_mark", "_pieces", "_refused", "_run", "_runs", "_since_quote")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._mark = (0, 0)  # piece and place in it behind the last quote
        self._since_quote = 0
        self._refused = False  # the string at hand is long, but no base64
        self._run: Spill | None = None  # where the string at hand goes
        self._runs: list[Slice] = []

    def feed(self, chunk: bytes) -> None:
        if self._run is not None:
            chunk = self._go_on(self._run, chunk)
        last = chunk.rfind(b'"')
        if last >= 0:
            self._mark = len(self._pieces), last + 1
            self._since_quote = len(chunk) - last - 1
            self._refused = False
        else:
            self._since_quote += len(chunk)
        self._pieces.append(chunk)
        if self._since_quote > SPILL_OVER and not self._refused:
            self._begin_run()

    def value(self, held: Held | None = None) -> Any:
        """Parse the whole text. Raises `JSONDecodeError`; the text stays readable by `text`. `held`: see
        `jsonio.loads`."""
        if self._run is not None:
            return jsonio.loads(self.text())  # cut off in the middle of a string: raises
        return jsonio.loads(b"".join(self._pieces), self._runs, held=held)

    def text(self) -> bytes:
        """The text as it came; loads everything into memory."""
        return b"".join(self._as_they_came())

    def head(self, size: int) -> bytes:
        """The first bytes of the text as it came."""
        head = bytearray()
        for piece in self._as_they_came():
            head += memoryview(piece)[: size - len(head)]
            if len(head) == size:
                break
        return bytes(head)

    def _as_they_came(self) -> Iterator[bytes | memoryview]:
        if self._run is not None:
            self._put_back(self._run)
        number = 0
        for piece in self._pieces:
            if number < len(self._runs) and piece == jsonio.token(number):
                yield self._runs[number].raw
                number += 1
            else:
                yield piece

    def _begin_run(self) -> None:
        index, start = self._mark
        tail = b"".join(self._pieces[index:])
        head = tail[start : start + 512]
        # A quote behind a backslash stands inside of a string.
        before = tail[start - 2 : start - 1] if start > 1 else self._pieces[index - 1][-1:] if index else b""
        if before == b"\\" or not jsonio.begins_base64(head):
            self._refused = True
            return
        letters = memoryview(tail)[start:]
        if not base64_text.is_letters(letters[head.find(b",") + 1 :]):
            self._refused = True
            return
        self._pieces[index:] = [tail[:start]]
        self._run = Spill()
        self._run.write(letters)

    def _go_on(self, run: Spill, chunk: bytes) -> bytes:
        """Write what belongs to the string aside; return what follows it."""
        end = chunk.find(b'"')
        part = memoryview(chunk)[: None if end < 0 else end]
        if not base64_text.is_letters(part):
            # Some servers write every slash as \/ ; broken bytes and line breaks are for the parser to judge.
            self._put_back(run)
            self._refused = True
            return chunk
        run.write(part)
        if end < 0:
            return b""
        self._run = None
        self._pieces.append(jsonio.token(len(self._runs)))
        self._runs.append(Slice(run.view()))
        return chunk[end:]

    def _put_back(self, run: Spill) -> None:
        self._run = None
        self._pieces.append(bytes(run.view()))
