"""One line per request and per failed attempt: JSON, or words where a person looks at a terminal. Never
prompts, pictures, keys or query strings.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
import threading
import time
import traceback
from typing import Any, BinaryIO

import orjson

_FLUSH_S = 0.1  # under load a system call for each line would cost more than making it
_HELD_BYTES = 1 << 20  # of lines that nobody takes from us
_LAST_WORDS_S = 1.0
_IDLE_S = 5.0

# What a line for people begins with, where it is told.
_FIRST = ("status", "method", "path")


def _line(facts: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(facts, default=str, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # numbers over 64 bits and half characters come from outside, and end no request
        return json.dumps(facts, default=str).encode() + b"\n"


def _words(facts: dict[str, Any]) -> bytes:
    """The same for people: when, what, and `name=value` for the rest, without control characters."""
    told = dict(facts)
    when = time.strftime("%H:%M:%S", time.localtime(told.pop("time")))
    head = " ".join(str(told.pop(name)) for name in ("event", *_FIRST) if told.get(name) is not None)
    rest = "".join(f"  {name}={_word(value)}" for name, value in told.items() if value is not None)
    plain = "".join(char if char.isprintable() else "?" for char in f"{when} {head}{rest}")
    return plain.encode("utf-8", "replace") + b"\n"


def _word(value: Any) -> str:
    return str(value) if isinstance(value, (str, int, float)) else json.dumps(value, default=str)


class _Pen:
    """Writes in a thread of its own: a pipe that nobody empties, or a disk that hangs, keeps no request
    waiting. What is too much by then is lost, and counted. The thread is there while there is work."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._held: list[bytes] = []
        self._size = 0  # with what is being written
        self._lost = 0
        self._works = False
        self._changed = threading.Condition()

    def take(self, lines: list[bytes]) -> None:
        text = b"".join(lines)
        with self._changed:
            if self._size and self._size + len(text) > _HELD_BYTES:
                self._lost += len(lines)
                return
            self._held.append(text)
            self._size += len(text)
            if not self._works:
                self._works = True
                threading.Thread(target=self._work, name="log", daemon=True).start()
            self._changed.notify_all()

    def rest(self, longest_s: float) -> None:
        """Wait until all is written."""
        with self._changed:
            self._changed.wait_for(lambda: not self._size, longest_s)

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._changed.wait_for(lambda: self._held, _IDLE_S):
                    self._works = False
                    return
                text, lost = b"".join(self._held), self._lost
                self._held, self._lost = [], 0
            if lost:
                text += _line({"time": round(time.time(), 3), "event": "log_lines_lost", "lines": lost})
            with contextlib.suppress(OSError):  # a full disk ends no server
                self._write(text)
            with self._changed:
                self._size = sum(map(len, self._held))
                self._changed.notify_all()

    def _write(self, text: bytes) -> None:
        """Past the stream's own buffer: whoever waits for its lock, as the interpreter does at its end, would
        wait as long as we do."""
        try:
            descriptor = self._stream.fileno()
        except io.UnsupportedOperation:
            self._stream.write(text)
            return
        while text:
            text = text[os.write(descriptor, text) :]


class Log:
    """Gathers the lines of a tenth of a second; `None` as the stream keeps quiet. `people`: in words."""

    def __init__(self, stream: BinaryIO | None = None, *, people: bool = False) -> None:
        self._pen = None if stream is None else _Pen(stream)
        self._form = _words if people else _line
        self._lines: list[bytes] = []

    @classmethod
    def to_stderr(cls) -> Log:
        return cls(sys.stderr.buffer, people=sys.stderr.isatty())

    def write(self, event: str, **facts: Any) -> None:
        if self._pen is None:
            return
        self._lines.append(self._form({"time": round(time.time(), 3), "event": event, **facts}))
        if len(self._lines) == 1:
            try:
                asyncio.get_running_loop().call_later(_FLUSH_S, self.flush)
            except RuntimeError:  # outside of a loop nobody is kept waiting
                self.close()

    def flush(self) -> None:
        """Hand over what was gathered, to be written."""
        lines, self._lines = self._lines, []
        if self._pen is not None and lines:
            self._pen.take(lines)

    def close(self) -> None:
        """Write what was gathered, as far as somebody takes it."""
        self.flush()
        if self._pen is not None:
            self._pen.rest(_LAST_WORDS_S)

    def crash(self, request_id: str, error: Exception) -> None:
        """A fault of ours: where it happened, without the values that were in play."""
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-6:]]
        self.write("crash", id=request_id, kind=type(error).__name__, where=where)
