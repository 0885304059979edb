"""Characters that a stream of JSON cuts in two: `\\ud83d` ends a string of one payload, and `\\ude00` begins
the same string of a later one. No text can hold half a surrogate pair.

Only what the parser refuses comes here, so a stream of whole characters pays nothing.
"""

from __future__ import annotations

import re
import secrets
from typing import Any

Place = tuple[str | int, ...]
Held = dict[Place, int]  # the first halves that came, by where their strings stand

_FIRSTS, _SECONDS = 0xD800, 0xDC00  # where the two kinds of halves begin
_MOST = 64  # places with a half that no other has followed yet
_MARK = f"^{secrets.token_hex(16)}^"  # nobody outside can write it
_FIRST = re.compile(rb'\\u([dD][89abAB][0-9a-fA-F]{2})(?=")')
_SECOND = re.compile(rb'(?<=")\\u([dD][c-fC-F][0-9a-fA-F]{2})')
_MARKED = re.compile(rf"{re.escape(_MARK)}[0-9a-fA-F]{{4}}")
_SIZE = len(_MARK) + 4


def marked(text: bytes) -> bytes:
    """JSON, without doubled backslashes, with marks for the halves that end or begin a string."""
    mark = _MARK.encode() + rb"\1"
    return _SECOND.sub(mark, _FIRST.sub(mark, text))


def joined(value: Any, held: Held) -> Any:
    """The value of a text that was `marked`, in place. A first half is kept in `held`, and left out where no
    second one follows; a second one that follows none becomes U+FFFD."""
    whole = [value]
    todo: list[tuple[Any, Place]] = [(whole, ())]
    for holder, place in todo:  # it grows: a text may nest deeper than Python calls
        if holder.__class__ is list:
            for number, item in enumerate(holder):
                holder[number] = _joined(item, _of_item(item, place), held, todo)
        else:
            items = list(holder.items())
            holder.clear()
            for name, item in items:
                holder[_MARKED.sub("\ufffd", name)] = _joined(item, (*place, name), held, todo)
    return whole[0]


def _joined(item: Any, place: Place, held: Held, todo: list[tuple[Any, Place]]) -> Any:
    if item.__class__ is dict or item.__class__ is list:
        todo.append((item, place))
        return item
    return _whole(item, place, held) if item.__class__ is str and _MARK in item else item


def _of_item(item: Any, place: Place) -> Place:
    """Where an item of a list stands: by its own number, for a later list need not hold those before it."""
    index = item.get("index") if item.__class__ is dict else None
    return (*place, index) if index.__class__ is int else place


def _whole(text: str, place: Place, held: Held) -> str:
    if (second := _half(text[:_SIZE])) >= _SECONDS and (first := held.pop(place, 0)):
        text = chr(0x10000 + ((first - _FIRSTS) << 10) + second - _SECONDS) + text[_SIZE:]
    if _FIRSTS <= (half := _half(text[-_SIZE:])) < _SECONDS and len(held) < _MOST:
        held[place] = half
        text = text[:-_SIZE]
    return _MARKED.sub("\ufffd", text)


def _half(mark: str) -> int:
    """The half that is marked so; 0 where that is none."""
    return int(mark[len(_MARK) :], 16) if _MARKED.fullmatch(mark) else 0
