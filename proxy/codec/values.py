"""How many values a JSON text has, known before it is parsed."""

from __future__ import annotations

import re

MOST = 400_000  # of one text; while a parser reads that many, some 100 ms, nobody else runs
MOST_IN_TEXTS = 3 * MOST  # of the JSON in the texts of a body: parsed one by one, and kept all
_MOST_QUOTES = 4 * MOST  # a name and a value have two each
_BEGINS_AS_JSON = re.compile(rb"(?:\s|\\[nrt])*[\[{]").match


def too_many(text: str | bytes) -> bool:
    """Whether the text has more than `MOST`, which no short one has."""
    if len(text) <= MOST:
        return False
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return _separators(raw) > MOST and _values(raw) > MOST


def too_many_in_texts(raw: bytes) -> bool:
    """Whether the texts of a JSON text that are JSON themselves, as arguments of calls and results of tools
    are, have more than `MOST_IN_TEXTS` together."""
    if _separators(raw) <= MOST_IN_TEXTS:
        return False
    texts = _plain(raw).split(b'"')[1::2]
    return sum(_separators(text) for text in texts if _BEGINS_AS_JSON(text)) > MOST_IN_TEXTS


def _separators(raw: bytes) -> int:
    """No JSON has more values than this: all but the first of a list or an object stand behind a comma."""
    return raw.count(b",") + raw.count(b"[") + raw.count(b"{")


def _values(raw: bytes) -> int:
    """The same without what stands in strings, which may be prose, or a table."""
    plain = _plain(raw)
    quotes = plain.count(b'"')
    return quotes if quotes > _MOST_QUOTES else _separators(b"".join(plain.split(b'"')[::2]))


def _plain(raw: bytes) -> bytes:
    """Without the backslashes and quotes that stand in texts."""
    return raw.replace(b"\\\\", b"").replace(b'\\"', b"")
