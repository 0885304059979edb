"""Which way a reply's bytes become payloads: content type and first bytes decide, for either may lie."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol

from proxy.codec import jsonio
from proxy.codec.spool import JsonSpool
from proxy.types import Json
from proxy.upstream.sse import PayloadError, SSEDecoder, invalid, objects, truncated


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
    first = head.lstrip()[:1]
    is_events = "event-stream" in content_type
    if first == b"[" and not is_events:
        return ArrayDecoder()
    if (
        first == b"{"
        and "json" in content_type
        and not any(word in content_type for word in ("nd", "lines", "seq"))
    ):
        return WholeDecoder()
    return SSEDecoder()


class WholeDecoder:
    """One JSON body, read when it is all there; JSON lines under a wrong name are read too."""

    def __init__(self) -> None:
        self.error: PayloadError | None = None
        self.complete = False
        self._body = JsonSpool()

    def feed(self, chunk: bytes) -> list[Json]:
        self._body.feed(chunk)
        return []

    def close(self) -> list[Json]:
        try:
            found = objects(self._body.value())
        except ValueError:
            return self._as_lines(self._body.text())
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
        self._element: list[bytes] = []
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
                    self._element.append(chunk[start:position])
                    self._take(out)
                self.complete = self._depth == 0
        if self._depth > 1:
            self._element.append(chunk[start:] if start else chunk)
        return out

    def close(self) -> list[Json]:
        if not self.complete and self.error is None:
            self.error = truncated()
        return []

    def _take(self, out: list[Json]) -> None:
        raw, self._element = b"".join(self._element), []
        try:
            out += objects(jsonio.loads(raw))
        except ValueError:
            self.error = invalid()
