"""Gzip that arrives in pieces (RFC 1952): several members in a row are one text, and a cut one is refused."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

_WINDOW_BYTES = 8192  # of packed bytes looked at together: a member's rest is copied once for each member
_OUT_BYTES = 1 << 18


class GunzipError(ValueError):
    """What came is not gzip, or not all of it came. Says which."""


class Gunzip:
    """Feed it the packed bytes, then `close`. Never holds more than a piece of the text."""

    def __init__(self) -> None:
        self._member: Any = None  # None between members
        self._begun = False

    def feed(self, packed: bytes) -> Iterator[bytes]:
        """Yield the text in pieces of at most 256 KiB. Raises `GunzipError`."""
        for start in range(0, len(packed), _WINDOW_BYTES):
            window = packed[start : start + _WINDOW_BYTES]
            while window:
                window, piece = self._step(window)
                if piece:
                    yield piece

    def _step(self, packed: bytes) -> tuple[bytes, bytes]:
        """What is left of the packed bytes, and the text that came out."""
        if self._member is None:
            if self._begun:
                packed = packed.lstrip(b"\0")  # some writers fill a block up behind the last member
                if not packed:
                    return b"", b""
            self._member, self._begun = zlib.decompressobj(wbits=31), True
        try:
            piece: bytes = self._member.decompress(packed, _OUT_BYTES)
        except zlib.error as exc:
            raise GunzipError("it is damaged") from exc
        if not self._member.eof:
            return self._member.unconsumed_tail, piece
        left: bytes = self._member.unused_data
        self._member = None
        return left, piece

    def close(self) -> None:
        """Say that nothing follows. Raises `GunzipError` when the end is missing."""
        if self._member is not None or not self._begun:
            raise GunzipError("its end is missing")
