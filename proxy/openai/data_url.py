"""Data URLs and bare base64, taken apart without copying what is already clean."""

from __future__ import annotations

import binascii
from urllib.parse import unquote_to_bytes

import pybase64

from proxy.errors import RequestError
from proxy.types import Slice

_HEADER_MAX = 1024  # characters before the comma; a mime type with parameters needs a few dozen
_WINDOW = 65_536  # a multiple of 4: every window but the last holds whole base64 groups
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_WHITE = b" \t\r\n\f\v"

# Magic numbers of what a client may send as bare base64, without saying what it is.
_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"GIF8", b"BM", b"%PDF")


def is_data_url(value: str | Slice) -> bool:
    head = value[:5] if isinstance(value, str) else str(Slice(value.raw[:5], value.prefix))[:5]
    return head.lower() == "data:"


def read(value: str | Slice, where: str) -> tuple[str | None, Slice]:
    """Split a data URL into its mime type (lower case, no parameters; None if absent) and its data.

    Percent-encoded text becomes base64 too. Raises `RequestError` naming `where`.
    """
    raw = _raw(value)
    head = bytes(raw[:_HEADER_MAX])
    comma = head.find(b",")
    if comma < 0:
        raise _bad(where, "the data URL has no comma before its data.")
    mime, *parameters = head[5:comma].decode("latin-1").split(";")
    data = raw[comma + 1 :]
    if any(parameter.strip().lower() == "base64" for parameter in parameters):
        clean = base64(data, where)
    else:
        clean = Slice.of(unquote_to_bytes(bytes(data)))
        if not clean:
            raise _bad(where, "the data URL holds no data.")
    return mime.strip().lower() or None, clean


def base64(value: str | Slice | memoryview, where: str) -> Slice:
    """Return standard padded base64: the same bytes when they are, a normalised copy when they nearly are.

    URL-safe letters, white space, percent signs and missing padding are mended.
    """
    raw = value if isinstance(value, memoryview) else _raw(value)
    if _is_clean(raw):
        return Slice(raw)
    text = bytes(raw)
    if b"%" in text:
        text = unquote_to_bytes(text)
    text = text.translate(_URL_SAFE, _WHITE).rstrip(b"=")
    if not text:
        raise _bad(where, "there is no data.")
    text += b"=" * (-len(text) % 4)
    if not _is_clean(memoryview(text)):
        raise _bad(where, "the data is not valid base64.")
    return Slice(text)


def bare_base64(value: str | Slice, where: str) -> Slice | None:
    """The data, if the string is base64 of a known kind of file (some clients forget the `data:` prefix)."""
    raw = _raw(value)
    if not Slice(raw[:16]).head(8).startswith(_MAGIC):
        return None
    return base64(raw, where)


def _raw(value: str | Slice) -> memoryview:
    if isinstance(value, Slice):
        return memoryview(value.prefix + bytes(value.raw)) if value.prefix else value.raw
    return memoryview(value.encode("utf-8", "surrogatepass"))


def _is_clean(raw: memoryview) -> bool:
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


def _bad(where: str, sentence: str) -> RequestError:
    return RequestError(f"Invalid '{where}': {sentence}", param=where, code="invalid_base64")
