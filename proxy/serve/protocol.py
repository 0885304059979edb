"""uvicorn's HTTP protocol with one word more: it says at once when a client has hung up.

ASGI tells it only to whoever waits for the next message, which takes a task for each request (about 10 us).

Private members of uvicorn are used here, so its version is bounded; tests/test_shell_private.py names them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from proxy.serve.exchange import GONE, HANG_UP


class _Joined:
    """A transport that keeps the head of a reply until its first bytes follow: one system call and one
    packet, not two. What it does not change is the transport's own."""

    __slots__ = ("_cycle", "_head", "_transport")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle: RequestResponseCycle | None = cycle  # None once the head is out
        self._transport = cycle.transport
        self._head: bytes | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._cycle is None:
            self._transport.write(data)
        elif self._head is not None:
            self.writelines((data,))
        elif self._cycle.response_started:
            self._head = data
        else:  # an interim answer, 100 Continue
            self._transport.write(data)

    def writelines(self, pieces: Iterable[bytes]) -> None:
        if self._head is not None:
            pieces = (self._head, *pieces)
            self._head = self._cycle = None
        self._transport.writelines(pieces)

    def write_eof(self) -> None:
        self._let_go()
        self._transport.write_eof()

    def close(self) -> None:
        self._let_go()
        self._transport.close()

    def _let_go(self) -> None:
        """Nothing will follow the head."""
        if self._head is not None:
            self.writelines(())


class Protocol(HttpToolsProtocol):
    def on_headers_complete(self) -> None:
        cast(dict[str, Any], self.scope)[HANG_UP] = None
        super().on_headers_complete()
        if self.scope["method"] == "HEAD":  # nothing follows the head
            return
        if self.cycle is not None and not isinstance(self.cycle.transport, _Joined):
            cast(Any, self.cycle).transport = _Joined(self.cycle)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        # A large body stops the reading until somebody asks for the next message, and nobody will: without
        # this the end of the connection would not be seen either.
        if not self.pipeline:
            self.flow.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.cycle is not None and not self.cycle.response_complete:
            scope = cast(dict[str, Any], self.cycle.scope)
            hang_up, scope[HANG_UP] = scope[HANG_UP], GONE
            if hang_up is not None:
                hang_up()
