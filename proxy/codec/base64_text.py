"""Base64 as clients and vendors write it, made into the standard kind. Big clean data is not copied."""

from __future__ import annotations

import binascii

import pybase64

from proxy.types import Slice

_WINDOW = 1 << 16
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_WHITE = b" \t\r\n\f\v"


def standard(raw: memoryview) -> Slice | None:
    """The same bytes when they are standard padded base64, a mended copy when nearly, else None.

    Mended are the URL-safe alphabet, line breaks and missing padding.
    """
    if is_standard(raw):
        return Slice(raw)
    text = bytes(raw).translate(_URL_SAFE, _WHITE).rstrip(b"=")
    text += b"=" * (-len(text) % 4)
    return Slice(text) if is_standard(memoryview(text)) else None


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
    return True


def raw(value: str | bytes | memoryview | Slice) -> memoryview:
    """The characters as bytes; those of a `Slice` are not copied."""
    if isinstance(value, Slice):
        return memoryview(value.prefix + bytes(value.raw)) if value.prefix else value.raw
    return memoryview(value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value)
