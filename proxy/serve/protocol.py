"""uvicorn's HTTP protocol with one word more: it says at once when a client has hung up.

ASGI tells it only to whoever waits for the next message, which takes a task for each request (about 10 us).
"""

from __future__ import annotations

from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from proxy.serve.exchange import HANG_UP


class _Joined:
    """Keeps the head of a reply until its first bytes follow: one system call and one packet, not two."""

    __slots__ = ("_cycle", "_head", "_transport")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle: RequestResponseCycle | None = cycle  # None once the head is out
        self._transport = cycle.transport
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        if self._cycle is None:
            self._transport.write(data)
        elif self._head is not None:
            head, self._head, self._cycle = self._head, None, None
            self._transport.writelines((head, data))
        elif self._cycle.response_started:
            self._head = data
        else:  # an interim answer, 100 Continue
            self._transport.write(data)

    def close(self) -> None:
        if self._head is not None:
            self._transport.write(self._head)
        self._transport.close()


class Protocol(HttpToolsProtocol):
    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.scope["method"] == "HEAD":  # nothing follows the head
            return
        if self.cycle is not None and not isinstance(self.cycle.transport, _Joined):
            cast(Any, self.cycle).transport = _Joined(self.cycle)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast(dict[str, Any], self.scope)[HANG_UP] = None

    def on_message_complete(self) -> None:
        super().on_message_complete()
        # A large body stops the reading until somebody asks for the next message, and nobody will: without
        # this the end of the connection would not be seen either.
        if not self.pipeline:
            self.flow.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.cycle is not None and not self.cycle.response_complete:
            hang_up = cast(dict[str, Any], self.cycle.scope)[HANG_UP]
            if hang_up is not None:
                hang_up()
