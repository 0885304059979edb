"""How many values a JSON text has, known before it is parsed."""

from __future__ import annotations

MOST = 400_000  # of one text; while a parser reads that many, some 100 ms, nobody else runs
_MOST_QUOTES = 4 * MOST  # a name and a value have two each


def too_many(text: str | bytes) -> bool:
    """Whether the text has more than `MOST`, which no short one has."""
    if len(text) <= MOST:
        return False
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return _separators(raw) > MOST and _values(raw) > MOST


def _separators(raw: bytes) -> int:
    """No JSON has more values than this: all but the first of a list or an object stand behind a comma."""
    return raw.count(b",") + raw.count(b"[") + raw.count(b"{")


def _values(raw: bytes) -> int:
    """The same without what stands in strings, which may be prose, or a table."""
    plain = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    quotes = plain.count(b'"')
    return quotes if quotes > _MOST_QUOTES else _separators(b"".join(plain.split(b'"')[::2]))
