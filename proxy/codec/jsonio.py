"""JSON in and out, with long base64 strings cut aside unparsed.

Parsing and dumping an 8 MB picture as JSON costs 22-31 ms, cutting it out by a byte search and splicing it
back 0.1-0.6 ms. `loads` leaves such strings as `Slice` views into the body it was given.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import orjson

from proxy.codec import base64_text, halves, mending
from proxy.types import Joined, Slice

JSONDecodeError = orjson.JSONDecodeError

CUT_OVER = 16_384  # characters; below, parsing is as cheap as cutting

_TOKEN = f"~{secrets.token_hex(16)}~"
_TOKEN_BYTES = _TOKEN.encode()
_LOOKS_LIKE_BASE64 = re.compile(
    rb"(?:data:[\w.+-]+/[\w.+-]+(?:;[\w.=+-]+)*;base64,)?[A-Za-z0-9+/_-]{64,}={0,2}\Z", re.I
)
_REFUSED = object()
_MAX_DEPTH = 254  # of nesting, orjson's limit when it writes


class JSONEncodeError(ValueError):
    """A value cannot be written as JSON. `where` is its path in the whole, as in `messages[0].seed`."""

    def __init__(self, reason: str, where: str = "") -> None:
        super().__init__(f"{where}: {reason}" if where else reason)
        self.reason = reason
        self.where = where


def loads(
    raw: bytes,
    runs: Sequence[Slice] = (),
    judge: Callable[[bytes], None] | None = None,
    held: halves.Held | None = None,
) -> Any:
    """Parse JSON; strings over `CUT_OVER` characters that look like base64 become `Slice`.

    `runs` stand where `raw` has their `token`. `judge` is shown what is left to be parsed, before it is. What
    the parser refuses is mended and parsed again: a byte order mark is ignored, half a surrogate pair and
    broken UTF-8 become U+FFFD. `held` is what the payloads of one stream keep for each other, see `halves`.
    Raises `JSONDecodeError`, which keeps nothing of the text.
    """
    slices = runs
    if len(raw) > CUT_OVER and (cuts := _find_cuts(raw)):
        raw, slices = _cut(raw, cuts, runs)
    if judge is not None:
        judge(raw)
    try:
        value = orjson.loads(raw)
    except JSONDecodeError as refusal:
        value = _loads_mended(raw, held)
        if value is _REFUSED:
            refusal.doc, raw, runs, slices = "", b"", (), ()  # the traceback keeps this frame
            raise refusal.with_traceback(None) from None
    return _restore(value, slices) if slices else value


def loads_text(text: str) -> Any:
    """Parse JSON that stands in a string, as the arguments of a call do; mended as by `loads`, and whole.
    Raises `JSONDecodeError`."""
    try:
        return orjson.loads(text)
    except JSONDecodeError:
        value = _loads_mended(text.encode("utf-8", "surrogatepass"))
        if value is _REFUSED:
            raise
        return value


def token(number: int) -> bytes:
    """What stands for a string that was cut out; nobody outside can write it."""
    return b"%b%d~" % (_TOKEN_BYTES, number)


def begins_base64(head: bytes) -> bool:
    """Whether a long string that begins like this is base64, or a data URL that holds it."""
    return _LOOKS_LIKE_BASE64.match(head) is not None


def dumps(value: Any) -> list[bytes | memoryview]:
    """Serialise a value that may hold `Slice` or `Joined` leaves, as pieces to be written in order.

    Half a surrogate pair becomes U+FFFD. Raises `JSONEncodeError` for what JSON, or orjson, has no form for.
    """
    cuts: list[Slice] = []
    refused = False
    try:
        text = orjson.dumps(value, default=partial(_stand_in, cuts))
    except TypeError:
        refused = True
    if refused:  # no longer inside of the refusal, which would be kept with every frame
        cuts.clear()
        text = _dumped(_writable(value, ()), cuts)
    if not cuts:
        return [text]
    first, *rest = text.split(_TOKEN_BYTES)
    pieces: list[bytes | memoryview] = [first]
    for cut, after in zip(cuts, rest, strict=True):
        pieces += (cut.prefix, cut.raw, after) if cut.prefix else (cut.raw, after)
    return pieces


def _stand_in(cuts: list[Slice], leaf: Any) -> str:
    """A function of its own: a closure that calls itself is a cycle, and keeps its pictures for long."""
    if isinstance(leaf, Slice):
        cuts.append(leaf)
        return _TOKEN
    if isinstance(leaf, Joined):
        return "".join(_stand_in(cuts, piece) if isinstance(piece, Slice) else piece for piece in leaf.pieces)
    raise TypeError(f"{type(leaf).__name__} is not JSON serializable")


def _dumped(value: Any, cuts: list[Slice]) -> bytes:
    reason = ""
    try:
        return orjson.dumps(value, default=partial(_stand_in, cuts))
    except TypeError as refusal:
        reason = str(refusal)
    raise JSONEncodeError(reason)


def _writable(value: Any, path: tuple[str | int, ...]) -> Any:
    """A copy without halves of surrogate pairs. Raises `JSONEncodeError`, naming the place."""
    if len(path) > _MAX_DEPTH:
        raise JSONEncodeError("it is nested too deeply", _place(path[:1]))
    if isinstance(value, str):
        return whole_characters(value)
    if isinstance(value, dict):
        return {_key(key, path): _writable(item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_writable(item, (*path, number)) for number, item in enumerate(value)]
    if isinstance(value, Joined):
        return Joined(*(whole_characters(one) if isinstance(one, str) else one for one in value.pieces))
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise JSONEncodeError("the number is too large", _place(path))
    return value


def _key(key: Any, path: tuple[str | int, ...]) -> str:
    if not isinstance(key, str):
        raise JSONEncodeError(f"a name is no string but {type(key).__name__}", _place(path))
    return whole_characters(key)


def whole_characters(text: str) -> str:
    """The text with U+FFFD for halves of surrogate pairs, which no encoding has a form for."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _place(path: tuple[str | int, ...]) -> str:
    words = (
        f"[{step}]" if isinstance(step, int) else f".{whole_characters(str(step))[:64]}" for step in path
    )
    return "".join(words).removeprefix(".")


def _cut(raw: bytes, cuts: list[tuple[int, int]], runs: Sequence[Slice]) -> tuple[bytes, list[Slice]]:
    """The text with tokens in place of the cuts, and what stands for all tokens in it."""
    view = memoryview(raw)
    outline: list[bytes | memoryview] = []
    position = 0
    for number, (start, end) in enumerate(cuts, len(runs)):
        outline += (view[position:start], token(number))
        position = end
    outline.append(view[position:])
    return b"".join(outline), [*runs, *(Slice(view[start:end]) for start, end in cuts)]


def _loads_mended(raw: bytes, held: halves.Held | None = None) -> Any:
    """The value of the mended text, `_REFUSED` if that is no JSON either."""
    text = mending.mended(raw, held)
    if text == raw:
        return _REFUSED
    try:
        value = orjson.loads(text)
    except JSONDecodeError:
        return _REFUSED
    return value if held is None else halves.joined(value, held)


def _find_cuts(raw: bytes) -> list[tuple[int, int]]:
    """Positions of long strings without escapes that look like base64.

    Every run longer than `CUT_OVER` covers a multiple of it, so only those positions are looked at.
    After a closing quote only `,:]}` or white space can follow, so a run that begins with a
    base64 character begins a string; a run without a backslash ends at its own quote.
    """
    cuts: list[tuple[int, int]] = []
    position = 0
    for probe in range(CUT_OVER, len(raw), CUT_OVER):
        if probe < position:
            continue
        start = raw.rfind(b'"', position, probe) + 1
        end = raw.find(b'"', probe)
        if end < 0:
            break
        position = end + 1
        if start and end - start > CUT_OVER and _is_base64_run(raw, start, end):
            cuts.append((start, end))
    return cuts


def _is_base64_run(raw: bytes, start: int, end: int) -> bool:
    """Whether a string begins there, not a quote within one, and all of it is base64: what is cut out is
    read by no parser, so nothing may stand in it that a parser would refuse."""
    head = raw[start : start + 512]
    if raw[start - 2 : start - 1] == b"\\" or not begins_base64(head):
        return False
    return base64_text.is_letters(memoryview(raw)[start + head.find(b",") + 1 : end])


def _restore(value: Any, cuts: Sequence[Slice]) -> Any:
    """Put the strings back where their tokens stand, in place: a text may nest deeper than Python calls."""
    whole = [value]
    todo: list[Any] = [whole]
    while todo:
        holder = todo.pop()
        names = False
        for key, item in holder.items() if holder.__class__ is dict else enumerate(holder):
            if item.__class__ is str:
                if item.startswith(_TOKEN):
                    holder[key] = cuts[int(item[len(_TOKEN) : -1])]
            elif item.__class__ is dict or item.__class__ is list:
                todo.append(item)
            names = names or (key.__class__ is str and key.startswith(_TOKEN))
        if names:
            _restore_names(holder, cuts)
    return whole[0]


def _restore_names(holder: dict[str, Any], cuts: Sequence[Slice]) -> None:
    items = list(holder.items())
    holder.clear()
    for key, item in items:
        holder[str(cuts[int(key[len(_TOKEN) : -1])]) if key.startswith(_TOKEN) else key] = item
