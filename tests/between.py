"""What stands between a server and the world: a client that is called back, and the way to the vendors.

It hands everything on as it came, and ends a process at a moment that has a name.
"""

from __future__ import annotations

import http.client
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from tests.desks import listening

CALLED = "/called-back"
MOMENTS = (
    *(f"submit {when}" for when in ("comes", "is answered", "is half told", "is told")),
    *(f"poll {when}" for when in ("comes", "is answered", "is told")),
    *(f"result {when}" for when in ("is answered", "is half told", "is told")),
    *(f"download {when}" for when in ("comes", "is half told", "is told")),
    *(f"cancel {when}" for when in ("comes", "is answered", "is told")),
    *(f"callback {when}" for when in ("comes", "is told")),
)


class Between:
    """`calls` are the callbacks that came: their id and body. What `waits` names goes on when it is told."""

    def __init__(self, vendors: str) -> None:
        self.vendors = urlsplit(vendors).netloc
        self.url = ""
        self.calls: list[tuple[str, bytes]] = []
        self.waits: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        self._moment = ""
        self._process = 0

    def arm(self, moment: str, process: int) -> None:
        """End this process at the next such moment, once; "" for never."""
        with self._lock:
            self._moment, self._process = moment, process

    def at(self, moment: str) -> None:
        if moment in self.waits:
            self.waits[moment].wait(10)
        with self._lock:
            if moment != self._moment:
                return
            self._moment = ""
            with suppress(ProcessLookupError):
                os.kill(self._process, signal.SIGKILL)


@contextmanager
def standing(vendors: str) -> Iterator[Between]:
    own = Between(vendors)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            with suppress(ConnectionError):  # who asked has died of it
                if self.path.startswith(CALLED):
                    self._called(body)
                else:
                    self._handed_on(body)

        do_GET = do_POST = do_PUT = _any

        def _called(self, body: bytes) -> None:
            own.calls.append((self.headers["webhook-id"], body))
            own.at("callback comes")
            self._told("callback", 200, {}, b"")

        def _handed_on(self, body: bytes) -> None:
            kind = _kind(self.command, self.path, body)
            own.at(f"{kind} comes")
            line = http.client.HTTPConnection(own.vendors, timeout=30)
            try:
                line.request(self.command, self.path, body or None, dict(self.headers))
                answer = line.getresponse()
                told = answer.read()
            finally:
                line.close()
            if kind == "poll" and b"/files/" in told:
                kind = "result"
            own.at(f"{kind} is answered")
            headers = {"content-type": answer.headers.get("content-type", "")}
            self._told(kind, answer.status, headers, told)

        def _told(self, kind: str, status: int, headers: dict[str, str], told: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(told))}.items():
                self.send_header(name, value)
            self.end_headers()
            half = len(told) // 2
            try:
                self.wfile.write(told[:half])
                own.at(f"{kind} is half told")
                self.wfile.write(told[half:])
            finally:  # also where nobody reads it to its end
                own.at(f"{kind} is told")

        def handle(self) -> None:
            with suppress(ConnectionError):
                super().handle()

        def log_message(self, *_: Any) -> None:
            pass

    with listening(Handler) as own.url:
        yield own


def _kind(method: str, path: str, body: bytes) -> str:
    if "/files/" in path:
        return "download"
    if "cancel" in path:
        return "cancel"
    return "submit" if method == "POST" and b"Life " in body else "poll"
