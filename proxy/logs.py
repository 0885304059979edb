"""One line per request and per failed attempt: JSON, or words where a person looks at a terminal. Never
prompts, pictures, keys or query strings.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import traceback
from typing import Any, BinaryIO

import orjson

from proxy.errors import ProxyError

_FLUSH_S = 0.1  # under load a system call for each line would cost more than making it


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


class Log:
    """Gathers the lines of a tenth of a second; `None` as the stream keeps quiet. `people`: in words."""

    def __init__(self, stream: BinaryIO | None = None, *, people: bool = False) -> None:
        self._stream = stream
        self._form = _words if people else _line
        self._lines: list[bytes] = []

    @classmethod
    def to_stderr(cls) -> Log:
        return cls(sys.stderr.buffer, people=sys.stderr.isatty())

    def write(self, event: str, **facts: Any) -> None:
        if self._stream is None:
            return
        self._lines.append(self._form({"time": round(time.time(), 3), "event": event, **facts}))
        if len(self._lines) == 1:
            try:
                asyncio.get_running_loop().call_later(_FLUSH_S, self.flush)
            except RuntimeError:  # outside of a loop nobody is in a hurry
                self.flush()

    def flush(self) -> None:
        """Write what was gathered; called at the end, too."""
        lines, self._lines = self._lines, []
        if self._stream is not None and lines:
            self._stream.write(b"".join(lines))
            self._stream.flush()

    def attempt_failed(self, target: str, error: ProxyError) -> None:
        """The vendor's words may quote the prompt, so only the class and code are kept."""
        self.write("attempt_failed", target=target, status=error.status, code=error.code)

    def crash(self, request_id: str, error: Exception) -> None:
        """A fault of ours: where it happened, without the values that were in play."""
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-6:]]
        self.write("crash", id=request_id, kind=type(error).__name__, where=where)
