"""Base64 as clients and vendors write it, made into the standard kind. Big clean data is not copied."""

from __future__ import annotations

import binascii

import pybase64

from proxy.codec.spill import SPILL_OVER, Spill, forget
from proxy.types import Slice

_WINDOW = 1 << 16
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_WHITE = b" \t\r\n\f\v"
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_="


def standard(raw: memoryview) -> Slice | None:
    """The same bytes when they are standard padded base64, a mended copy when nearly, else None.

    Mended are the URL-safe alphabet, line breaks and missing padding.
    """
    if is_standard(raw):
        return Slice(raw)
    text = bytes(raw).translate(_URL_SAFE, _WHITE).rstrip(b"=")
    text += b"=" * (-len(text) % 4)
    return Slice(text) if is_standard(memoryview(text)) else None


def letters(value: str | Slice, begin: int = 0) -> Slice | None:
    """What stands from there on, when it can stand in JSON as it is; mended when nearly, else None. A `Slice`
    is not looked at again: readers of JSON cut nothing out but these letters."""
    found = raw(value)[begin:]
    return Slice(found) if isinstance(value, Slice) or is_letters(found) else standard(found)


def is_standard(raw: memoryview) -> bool:
    """Decode window by window: quicker than looking for strange letters, and holds 48 kB at a time."""
    size = len(raw)
    if not size or size % 4:
        return False
    try:
        for start in range(0, size, _WINDOW):
            window = raw[start : start + _WINDOW]
            decoded = len(pybase64.b64decode(window, validate=True))
            if decoded * 4 != len(window) * 3 and start + _WINDOW < size:
                return False
    except (binascii.Error, ValueError):
        return False
    finally:
        forget(raw)
    return True


def is_letters(raw: memoryview) -> bool:
    """Whether nothing stands here but letters of base64, of either alphabet, in any order.

    8 MB cost 0.4 ms when standard, 2 ms when URL-safe; a regular expression takes 6 to 15 ms.
    """
    return all(_is_window(raw[at : at + _WINDOW]) for at in range(0, len(raw), _WINDOW))


def _is_window(raw: memoryview) -> bool:
    whole = len(raw) & ~3
    try:
        pybase64.b64decode(raw[:whole], validate=True)
    except (binascii.Error, ValueError):
        whole = 0
    return not bytes(raw[whole:]).translate(None, _LETTERS)


def raw(value: str | bytes | memoryview | Slice) -> memoryview:
    """The characters as bytes; those of a `Slice` are not copied."""
    if isinstance(value, Slice):
        return memoryview(value.prefix + bytes(value.raw)) if value.prefix else value.raw
    return memoryview(value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value)


def encoded(data: bytes) -> Slice:
    """The base64 of bytes that are here already, spilled when it is long."""
    encoder = Encoder()
    encoder.write(data)
    return encoder.finish()


class Encoder:
    """Bytes in as they come, one `Slice` of their base64 out; what is long is spilled."""

    __slots__ = ("_held", "_spill", "size")

    def __init__(self) -> None:
        self._held = bytearray()
        self._spill: Spill | None = None
        self.size = 0  # of the bytes

    def write(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self._held += chunk
        if self.size > SPILL_OVER and len(self._held) >= _WINDOW:
            self._spill = self._spill or Spill()
            self._move(self._spill, len(self._held) // 3 * 3)

    def finish(self) -> Slice:
        """Call it once, at the end."""
        if self._spill is None:
            return Slice.of(bytes(self._held))
        self._move(self._spill, len(self._held))
        return Slice(self._spill.view())

    def _move(self, spill: Spill, size: int) -> None:
        for start in range(0, size, _WINDOW * 3):
            spill.write(pybase64.b64encode(self._held[start : min(start + _WINDOW * 3, size)]))
        del self._held[:size]
