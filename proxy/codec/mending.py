"""JSON that a strict parser refuses, mended: half a surrogate pair and broken UTF-8 become U+FFFD, a byte
order mark goes. Piece by piece, for a step in C keeps all other threads waiting.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from proxy.codec import halves

AT_ONCE = 1 << 20  # bytes; 20 ms where each escape is half a pair

_BOM = b"\xef\xbb\xbf"
_HIGH = rb"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW = rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_ENDS_HIGH = re.compile(rb"%b\Z" % _HIGH)
_BEGINS_LOW = re.compile(_LOW)
_LONE_HIGH = re.compile(rb"%b(?!%b)" % (_HIGH, _LOW))
_LONE_LOW = re.compile(rb"%b(?<!%b%b)" % (_LOW, _HIGH, _LOW))
_ESCAPE = 6  # bytes, at most
_PAIR_OF_BACKSLASHES = b"\xff\xff"  # stands for one while escapes are mended; no UTF-8 has such bytes


def mended(raw: bytes, held: halves.Held | None = None, at_once: int = AT_ONCE) -> bytes:
    """The text as Unicode wants it, in linear time. Where halves are `held` it is one payload of a stream, is
    marked for `halves.joined`, and mended at once: a mark depends on the quote beside it."""
    text = _whole_utf8(raw.removeprefix(_BOM), at_once)
    if held is None:
        return b"".join(map(_whole_pairs, pieces(text, at_once)))
    return _whole_pairs(text, marks=True)


def pieces(text: bytes, at_once: int) -> Iterator[bytes]:
    """All of a JSON text, cut outside of escapes and of pairs of them; `at_once` is 16 bytes or more."""
    start = 0
    while start < len(text):
        end = start + at_once
        if end < len(text):
            end = _seam(text, start, end)
        yield text[start:end]
        start = end


def _seam(text: bytes, start: int, end: int) -> int:
    """The last place to cut at, up to `end`; `start` was one too."""
    last = text.rfind(b"\\", start, end)
    if last < 0 or end - last > _ESCAPE:
        return end
    run = last + 1 - start - len(text[start : last + 1].rstrip(b"\\"))
    if run % 2 == 0:  # it begins no escape, and is the second of the last one
        return last + 1
    if run == 1 and _BEGINS_LOW.match(text, last) and _ENDS_HIGH.match(text[last - _ESCAPE : last]):
        return _seam(text, start, last - _ESCAPE + 1)  # before its high half, if that is none of `\\ud83d`
    return last


def _whole_utf8(text: bytes, at_once: int) -> bytes:
    if text.isascii():
        return text
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    starts = range(0, len(text), at_once)
    whole = [decoder.decode(text[start : start + at_once]).encode() for start in starts]
    return b"".join((*whole, decoder.decode(b"", final=True).encode()))


def _whole_pairs(text: bytes, *, marks: bool = False) -> bytes:
    text = text.replace(b"\\\\", _PAIR_OF_BACKSLASHES)  # so that no escape seems to begin with its second
    if marks:
        text = halves.marked(text)
    text = _LONE_LOW.sub(rb"\\ufffd", _LONE_HIGH.sub(rb"\\ufffd", text))
    return text.replace(_PAIR_OF_BACKSLASHES, b"\\\\")
