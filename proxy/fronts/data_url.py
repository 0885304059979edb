"""Data URLs and bare base64, taken apart without copying what is already clean."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from proxy.codec import base64_text
from proxy.errors import RequestError
from proxy.types import Slice

_HEADER_MAX = 1024  # characters before the comma; a mime type with parameters needs a few dozen
_ESCAPES_MAX = 100_000  # 30 ms
_BASE64_ESCAPES = (
    (b"%2B", b"+"), (b"%2b", b"+"), (b"%2F", b"/"), (b"%2f", b"/"), (b"%3D", b"="), (b"%3d", b"="),
)  # fmt: skip

# Magic numbers of what a client may send as bare base64, without saying what it is.
_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"GIF8", b"BM", b"%PDF")


def is_data_url(value: str | Slice) -> bool:
    head = value[:5] if isinstance(value, str) else str(Slice(value.raw[:5], value.prefix))[:5]
    return head.lower() == "data:"


def read(value: str | Slice, where: str) -> tuple[str | None, Slice]:
    """Split a data URL into its mime type (lower case, no parameters; None if absent) and its data.

    Percent-encoded text becomes base64 too. Raises `RequestError` naming `where`.
    """
    raw = base64_text.raw(value)
    head = bytes(raw[:_HEADER_MAX])
    comma = head.find(b",")
    if comma < 0:
        raise _bad(where, "the data URL has no comma before its data.")
    mime, *parameters = head[5:comma].decode("latin-1").split(";")
    data = raw[comma + 1 :]
    if any(parameter.strip().lower() == "base64" for parameter in parameters):
        clean = base64(data, where)
    else:
        clean = Slice.of(_unescaped(bytes(data), where))
        if not clean:
            raise _bad(where, "the data URL holds no data.")
    return mime.strip().lower() or None, clean


def base64(value: str | Slice | memoryview, where: str) -> Slice:
    """Return standard padded base64: the same bytes when they are, a normalised copy when they nearly are.

    URL-safe letters, white space, percent signs and missing padding are mended.
    """
    raw = base64_text.raw(value)
    found = base64_text.standard(raw)
    if found is None and b"%" in (text := bytes(raw)):
        raw = memoryview(_unescaped(text, where))
        found = base64_text.standard(raw)
    if found is None:
        is_empty = not bytes(raw[:64]).strip(b"= \t\r\n\f\v")
        raise _bad(where, "there is no data." if is_empty else "the data is not valid base64.")
    return found


def bare_base64(value: str | Slice, where: str) -> Slice | None:
    """The data, if the string is base64 of a known kind of file (some clients forget the `data:` prefix)."""
    raw = base64_text.raw(value)
    if not Slice(raw[:16]).head(8).startswith(_MAGIC):
        return None
    return base64(raw, where)


def _unescaped(text: bytes, where: str) -> bytes:
    """Percent signs read; what base64 itself has to escape at once, as there may be many of it."""
    for escaped, letter in _BASE64_ESCAPES:
        text = text.replace(escaped, letter)
    if text.count(b"%") > _ESCAPES_MAX:
        raise _bad(where, f"more than {_ESCAPES_MAX} percent signs; send the data as base64.")
    return unquote_to_bytes(text)


def _bad(where: str, sentence: str) -> RequestError:
    return RequestError(f"Invalid '{where}': {sentence}", param=where, code="invalid_base64")
