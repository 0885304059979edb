"""Which way a reply's bytes become payloads: content type and first bytes decide, for either may lie."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol

from proxy.codec import jsonio
from proxy.codec.halves import Held
from proxy.codec.spill import SPILL_OVER
from proxy.codec.spool import JsonSpool
from proxy.types import Json
from proxy.upstream.sse import BOM, PayloadError, SSEDecoder, invalid, objects, truncated

_SEVERAL = re.compile("nd|lines|seq")  # in types of JSON: each line is a payload


class Decoder(Protocol):
    """Bytes in, payloads out. `complete` after `close`: the bytes alone prove that nothing is missing."""

    error: PayloadError | None
    complete: bool

    def feed(self, chunk: bytes) -> Iterable[Json]: ...

    def close(self) -> list[Json]: ...


def decoder_for(content_type: str, head: bytes) -> Decoder:
    """Choose. `head` is the first read that is not white space only.

    Gemini without `alt=sse` streams one JSON array. Relays label events as JSON, JSON as events and either as
    text; the line decoder reads all of these, and is used for whatever is not surely one JSON body.
    """
    first = head.removeprefix(BOM).lstrip()[:1]
    is_events = "event-stream" in content_type
    if first == b"[" and not is_events:
        return ArrayDecoder()
    if first == b"{" and "json" in content_type and _SEVERAL.search(content_type) is None:
        return WholeDecoder()
    return SSEDecoder()


class WholeDecoder:
    """One JSON body, read when it is all there; JSON lines under a wrong name are read too."""

    def __init__(self) -> None:
        self.error: PayloadError | None = None
        self.complete = False
        self._pieces: list[bytes] = []
        self._size = 0
        self._spool: JsonSpool | None = None  # takes over when the body grows too long for memory

    def feed(self, chunk: bytes) -> tuple[Json, ...]:
        if self._spool is not None:
            self._spool.feed(chunk)
            return ()
        self._pieces.append(chunk)
        self._size += len(chunk)
        if self._size > SPILL_OVER:
            self._spool = JsonSpool()
            for piece in self._pieces:
                self._spool.feed(piece)
            self._pieces = []
        return ()

    def close(self) -> list[Json]:
        body = b"".join(self._pieces)
        try:
            found = objects(jsonio.loads(body) if self._spool is None else self._spool.value())
        except ValueError:
            return self._as_lines(body if self._spool is None else self._spool.text())
        self.complete = True
        return found

    def _as_lines(self, body: bytes) -> list[Json]:
        lines = SSEDecoder()
        out = [*lines.feed(body), *lines.close()]
        self.error = lines.error
        if not out and self.error is None:
            self.error = invalid()
        return out


_OUTSIDE_STRINGS = re.compile(rb'["{}\[\]]')
_INSIDE_STRINGS = re.compile(rb'["\\]')


class ArrayDecoder:
    """The elements of one JSON array, each as soon as its closing bracket is there."""

    def __init__(self) -> None:
        self.error: PayloadError | None = None
        self.complete = False
        self._element = JsonSpool()
        self._held: Held = {}
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def feed(self, chunk: bytes) -> list[Json]:
        out: list[Json] = []
        start = 0  # of the element's part in this chunk
        position = 0
        if self._escaped and chunk:
            self._escaped = False
            position = 1
        while self.error is None and not self.complete:
            wanted = _INSIDE_STRINGS if self._in_string else _OUTSIDE_STRINGS
            found = wanted.search(chunk, position)
            if found is None:
                break
            position = found.end()
            mark = chunk[position - 1]
            if mark == 0x22:  # a quote
                self._in_string = not self._in_string
            elif mark == 0x5C:  # a backslash: what follows is not a mark
                if position == len(chunk):
                    self._escaped = True
                position += 1
            elif mark in b"{[":
                self._depth += 1
                if self._depth == 2:
                    start = position - 1
            else:
                self._depth -= 1
                if self._depth == 1:
                    self._element.feed(chunk[start:position])
                    self._take(out)
                self.complete = self._depth == 0
        if self._depth > 1:
            self._element.feed(chunk[start:] if start else chunk)
        return out

    def close(self) -> list[Json]:
        if not self.complete and self.error is None:
            self.error = truncated()
        return []

    def _take(self, out: list[Json]) -> None:
        element, self._element = self._element, JsonSpool()
        try:
            out += objects(element.value(self._held))
        except ValueError:
            self.error = invalid()
