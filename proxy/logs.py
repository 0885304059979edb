"""One JSON line per request and per failed attempt. Never prompts, pictures, keys or query strings."""

from __future__ import annotations

import sys
import time
import traceback
from typing import Any, BinaryIO

import orjson

from proxy.errors import ProxyError


class Log:
    """Writes lines as they come; `None` as the stream keeps quiet."""

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self._stream = stream

    @classmethod
    def to_stderr(cls) -> Log:
        return cls(sys.stderr.buffer)

    def write(self, event: str, **facts: Any) -> None:
        if self._stream is None:
            return
        line = orjson.dumps(
            {"time": round(time.time(), 3), "event": event, **facts},
            default=str,
            option=orjson.OPT_APPEND_NEWLINE,
        )
        self._stream.write(line)
        self._stream.flush()

    def attempt_failed(self, target: str, error: ProxyError) -> None:
        """The vendor's words may quote the prompt, so only the class and code are kept."""
        self.write("attempt_failed", target=target, status=error.status, code=error.code)

    def crash(self, request_id: str, error: Exception) -> None:
        """A fault of ours: where it happened, without the values that were in play."""
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-6:]]
        self.write("crash", id=request_id, kind=type(error).__name__, where=where)
