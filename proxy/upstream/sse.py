"""Server-sent events in, decoded JSON payloads out. Does no I/O, keeps its own state, survives any cut.

Reads what vendors really send under this name: events without blank lines between them, bare JSON lines, and
a raw, pretty-printed error object in the middle of the events.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import orjson

from proxy.codec import jsonio
from proxy.codec.halves import Held
from proxy.codec.spill import SPILL_OVER
from proxy.codec.spool import JsonSpool
from proxy.types import Json

BOM = b"\xef\xbb\xbf"
_OTHER_FIELDS = (b"event", b"id", b"retry")


class PayloadError(Exception):
    """What came is not what was promised. `code` becomes the code of our own error."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def truncated() -> PayloadError:
    return PayloadError("the reply ended in the middle of a message", "upstream_stream_truncated")


def invalid() -> PayloadError:
    return PayloadError("the reply is not the JSON that was asked for", "upstream_invalid_response")


def objects(value: Any) -> list[Json]:
    """The payloads a decoded value stands for: an object, or the objects of a list. Raises `ValueError`.

    Google wraps errors into a list; `null` is what some relays send to keep a connection open.
    """
    if value.__class__ is dict:
        return [value]
    found: list[Json] = []
    todo = [value]  # a list may nest deeper than Python calls
    while todo:
        item = todo.pop()
        if isinstance(item, list):
            todo += reversed(item)
        elif isinstance(item, dict):
            found.append(item)
        elif item is not None:
            raise ValueError(f"a {type(item).__name__} is no payload")
    return found


class SSEDecoder:
    """Feed it reads of any size. When `error` is set after `feed` or `close`, nothing more can come.

    Payloads decoded before the fault are still returned, so that a caller hands them on before it fails.
    `complete` is True once the terminator `[DONE]` was seen.
    """

    def __init__(self) -> None:
        self.error: PayloadError | None = None
        self.complete = False
        self._line: list[bytes] = []  # a picture is one line of megabytes: join it once, at its end
        self._line_size = 0
        self._spool: JsonSpool | None = None  # takes over when a line of data grows too long for memory
        self._data: list[bytes] = []
        self._held: Held = {}
        self._raw = _RawJson(self._held)
        self._after_cr = False
        self._at_start = True
        self._strays = False
        self._fruitful = False

    def feed(self, chunk: bytes) -> Iterator[Json]:
        """Yield the payloads that are complete now, each decoded when it is asked for: a read at full speed
        holds hundreds, and decoded together they would not stay in the processor's cache."""
        if self.error is not None:
            return
        out: list[Json] = []
        if self._spool is not None:
            chunk = self._spooled(self._spool, chunk, out)
        inside = self._is_inside()
        if inside:
            end = _event_end(chunk)
            if end:  # the event that the last read left unfinished
                self._lines(chunk[:end], out)
                chunk = chunk[end:]
                inside = self._is_inside()
        if out:
            self._fruitful = True
            yield from out
            out = []
        if not inside:
            chunk = yield from self._whole_events(chunk)
        if chunk:
            self._lines(chunk, out)
            if out:
                self._fruitful = True
                yield from out

    def _is_inside(self) -> bool:
        return bool(self._line or self._data or self._raw.lines or self._after_cr or self._spool)

    def _whole_events(self, chunk: bytes) -> Generator[Json, None, bytes]:
        """The hot path: read events of one `data` line; return the rest, from the first other event on."""
        has_cr = b"\r" in chunk
        end = b"\r\n\r\n" if has_cr else b"\n\n"
        events = chunk.split(end)
        rest = events.pop()
        for position, event in enumerate(events):
            if event.startswith(b"data:") and b"\n" not in event and not (has_cr and b"\r" in event):
                try:
                    value = (
                        jsonio.loads(event[5:], held=self._held)
                        if len(event) > jsonio.CUT_OVER
                        else orjson.loads(event[5:])
                    )
                except ValueError:
                    pass
                else:
                    if value.__class__ is dict:
                        self._at_start = False
                        self._fruitful = True
                        yield value
                        continue
            return end.join([*events[position:], rest])
        return rest

    def _lines(self, chunk: bytes, out: list[Json]) -> None:
        """Read anything, line by line."""
        lines = self._split(chunk)
        if (self._line or self._at_start) and len(lines) > 1:
            self._line.append(lines[0])
            self._finish_line(out)
            lines = lines[1:]
        if unfinished := lines.pop():
            self._line_size = self._line_size + len(unfinished) if self._line else len(unfinished)
            self._line.append(unfinished)
        for line in lines:
            if self.error is not None:
                break  # what stands behind a fault must not depend on how the bytes were cut
            self._one(line, out)
        if (
            self._line
            and self._line_size > SPILL_OVER
            and not self._data
            and self._line[0].startswith(b"data:")
        ):
            pieces, self._line = self._line, []
            self._spool = JsonSpool()
            self._spool.feed(b"".join(pieces)[5:])

    def _spooled(self, spool: JsonSpool, chunk: bytes, out: list[Json]) -> bytes:
        """Go on with a line of megabytes; return what stands behind its end."""
        ends = [at for at in (chunk.find(b"\n"), chunk.find(b"\r")) if at >= 0]
        if not ends:
            spool.feed(chunk)
            return b""
        end = min(ends)
        spool.feed(chunk[:end])
        self._close_spool(spool, out)
        return chunk[end:]

    def _close_spool(self, spool: JsonSpool, out: list[Json]) -> None:
        self._spool = None
        self._at_start = False
        try:
            value = spool.value()
        except ValueError:
            self._event(spool.text(), out)
        else:
            self._raw.lines.clear()
            self._take(value, out)

    def close(self) -> list[Json]:
        """The bytes are over: return what the last event holds, also without its blank line."""
        out = list(self.feed(b"\n")) if self._line or self._spool is not None else []
        if self._data and self.error is None:
            self._flush(out, last=True)
        if self._raw.lines and self.error is None:
            try:
                self._take(self._raw.finish(), out)
            except ValueError:
                self.error = truncated()
        if self._strays and not self._fruitful and not out and self.error is None:
            self.error = invalid()
        return out

    def _split(self, chunk: bytes) -> list[bytes]:
        """Cut at LF, CRLF and CR, of which the last may be half of a CRLF. The last item is unfinished."""
        if self._after_cr:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return chunk.split(b"\n")

    def _finish_line(self, out: list[Json]) -> None:
        """Join the line that several reads brought, without copying a picture twice."""
        pieces, self._line = self._line, []
        if len(pieces[0]) < 8 or (self._at_start and pieces[0].startswith(BOM)):
            line = b"".join(pieces)
            pieces = [line.removeprefix(BOM) if self._at_start else line]
        self._at_start = False
        if pieces[0].startswith(b"data:"):
            pieces[0] = pieces[0][5:]
            self._event(b"".join(pieces), out)
        else:
            self._one(b"".join(pieces), out)

    def _one(self, line: bytes, out: list[Json]) -> None:
        """Read any line."""
        if not line and not self._raw.lines:
            if self._data:
                self._flush(out)
            return
        colon = line.find(b":")
        field = line if colon < 0 else line[:colon]
        if field == b"data":
            self._event(line[5:], out)
        elif colon == 0 or field in _OTHER_FIELDS:
            pass  # a comment keeps the connection open; names and numbers of events say nothing to us
        elif self._raw.lines or _begins_json(line):
            if self._raw.add(line):
                self._take(self._raw.finish(), out)
        elif line.strip() == b"[DONE]":
            self.complete = True
        else:
            self._strays = True

    def _event(self, data: bytes, out: list[Json]) -> None:
        """Read what follows `data:`."""
        self._raw.lines.clear()  # no JSON has a line that begins like this, so what was there is hopeless
        if self._data:
            self._data.append(data)
            return
        if not data or data == b" ":  # to be told by the parser that this is no JSON takes 5 us
            return
        try:
            value = jsonio.loads(data, held=self._held)
        except ValueError:
            self._keep(data)
        else:
            self._take(value, out)

    def _keep(self, data: bytes) -> None:
        """Data that is no JSON by itself: the terminator, nothing, or the first line of several."""
        data = data.strip()
        if data == b"[DONE]":
            self.complete = True
        elif data:
            self._data.append(data)

    def _flush(self, out: list[Json], *, last: bool = False) -> None:
        """The event of several lines is over. Where blank lines are missing it holds more than one."""
        lines, self._data = self._data, []
        try:
            self._take(jsonio.loads(b"\n".join(lines), held=self._held), out)
            return
        except ValueError:
            pass
        for line in lines:
            try:
                self._take(jsonio.loads(line, held=self._held), out)
            except ValueError:
                if line.strip() == b"[DONE]":
                    self.complete = True
                elif line.strip():
                    self._fail(truncated() if last else invalid())
                    return

    def _take(self, value: Any, out: list[Json]) -> None:
        try:
            found = objects(value)
        except ValueError:
            self._fail(invalid())
            return
        if found:
            self._fruitful = True
            out += found

    def _fail(self, error: PayloadError) -> None:
        self.error = self.error or error


def _event_end(chunk: bytes) -> int:
    """The position behind the first blank line, 0 if there is none."""
    end = chunk.find(b"\n\n")
    crlf = chunk.find(b"\r\n\r\n", 0, end if end >= 0 else len(chunk))
    if crlf >= 0:
        return crlf + 4
    return end + 2 if end >= 0 else 0


def _begins_json(line: bytes) -> bool:
    start = line.lstrip()
    return start.startswith(b"{") or (start.startswith(b"[") and start[1:].lstrip()[:1] in (b"", b"{"))


class _RawJson:
    """Lines of JSON outside of any event, until they are a whole value.

    Counting brackets is only a hint, for strings may hold them; a failed attempt waits for twice the
    size, so the time stays linear.
    """

    def __init__(self, held: Held) -> None:
        self.lines: list[bytes] = []
        self._held = held
        self._depth = 0
        self._size = 0
        self._try_at = 0
        self._value: Any = None

    def add(self, line: bytes) -> bool:
        """Return True when the lines are a whole value; `finish` gives it."""
        if not self.lines:
            self._depth = self._size = self._try_at = 0
        self.lines.append(line)
        self._size += len(line)
        self._depth += line.count(b"{") + line.count(b"[") - line.count(b"}") - line.count(b"]")
        if self._depth > 0 or self._size < self._try_at:
            return False
        try:
            self._value = jsonio.loads(b"\n".join(self.lines), held=self._held)
        except ValueError:
            self._try_at = self._size * 2
            return False
        self.lines = [b""]
        return True

    def finish(self) -> Any:
        """Return the value and forget the lines. Raises `ValueError` when they are not whole."""
        lines, self.lines = self.lines, []
        value, self._value = self._value, None
        return value if value is not None else jsonio.loads(b"\n".join(lines), held=self._held)
