"""uvicorn's HTTP protocol with one word more: it says at once when a client has hung up.

ASGI tells it only to whoever waits for the next message, which takes a task for each request (about 10 us).
"""

from __future__ import annotations

from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from proxy.serve.exchange import HANG_UP


class Protocol(HttpToolsProtocol):
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
