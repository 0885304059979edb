"""The head of a reply as it may be written: what was paid for must not fail for a word in its head."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain

Header = tuple[bytes, bytes]

_VALUE_BYTES = 4000  # common clients and proxies take 8 kB for all headers together, some 4 kB for one
_ITEM_BYTES = 200
_CUT = b"..."
_PLAIN = bytes(range(0x20, 0x7F))
_NOT_PLAIN = re.compile(rb"[^\x20-\x7e]")


def written(headers: Iterable[Header]) -> list[Header]:
    """The headers with values of printable ASCII, each at most 4,000 bytes. Names are our own words."""
    lines = list(headers)
    text = b"".join(chain.from_iterable(lines))  # all of them are looked at at once
    if len(text) <= _VALUE_BYTES and is_plain(text):
        return lines
    return [(name, _bounded(_NOT_PLAIN.sub(b"?", value))) for name, value in lines]


def parted(headers: list[Header], own: list[Header]) -> tuple[list[Header], bytes]:
    """The same of two lists, the second as the lines of a head, each with its end."""
    lines = b"\r\n".join(map(b": ".join, own)) + b"\r\n"
    text = b"".join((lines, *chain.from_iterable(headers)))
    ends = 2 * len(own)  # any other such byte stands in a value
    if len(text) <= _VALUE_BYTES and len(text.translate(None, _PLAIN)) == ends:
        return headers, lines
    return written(headers), b"\r\n".join(map(b": ".join, written(own))) + b"\r\n"


def is_plain(value: bytes) -> bool:
    return not value.translate(None, _PLAIN)


def listed(names: Iterable[str]) -> bytes:
    """Names of fields as the value of one header; a name that is very long is cut."""
    return b", ".join(_short(name.encode("ascii", "replace")) for name in names)


def _short(name: bytes) -> bytes:
    return name if len(name) <= _ITEM_BYTES else name[: _ITEM_BYTES - len(_CUT)] + _CUT


def _bounded(value: bytes) -> bytes:
    """Cut between the items of a list where there is a place, and say so."""
    if len(value) <= _VALUE_BYTES:
        return value
    item = value.rfind(b", ", 0, _VALUE_BYTES - len(_CUT) - 1)
    return value[: item + 2] + _CUT if item > 0 else value[: _VALUE_BYTES - len(_CUT)] + _CUT
