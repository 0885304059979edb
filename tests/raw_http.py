"""A client of bytes: sees what arrives when, stops reading, and hangs up in the middle."""

from __future__ import annotations

import json
import socket
import time
from types import TracebackType
from typing import Any

import httpx

from tests.gateway import KEY, Gateway

PATIENCE_S = 15.0


class RawRequest:
    """A chat request on a connection of its own. `text` is what has been read so far, head and chunks."""

    def __init__(self, gateway: Gateway, body: Any, *, key: str = KEY, buffer_bytes: int = 0) -> None:
        address = httpx.URL(gateway.base_url)
        self.socket = socket.socket()
        if buffer_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect((address.host, address.port or 0))
        self.received = b""
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n"
            f"authorization: Bearer {key}\r\ncontent-length: {len(payload)}\r\n\r\n"
        ).encode()
        self.payload = payload

    def send(self, size: int | None = None) -> RawRequest:
        """Send the head and the body, or only so many bytes of the body."""
        self.socket.sendall(self.head + self.payload[:size])
        return self

    def until(self, marker: str) -> str:
        """Read until the marker has come."""
        while marker.encode() not in self.received:
            piece = self.socket.recv(65536)
            if not piece:
                raise AssertionError(f"{marker!r} did not come: {self.text!r}")
            self.received += piece
        return self.text

    def rest(self) -> str:
        """Read until the server closes."""
        pieces = [self.received]
        while piece := self.socket.recv(1 << 20):
            pieces.append(piece)
        self.received = b"".join(pieces)
        return self.text

    @property
    def text(self) -> str:
        return self.received.decode("utf-8", "replace")

    def hang_up(self) -> float:
        """Close, and tell when."""
        moment = time.time()
        self.socket.close()
        return moment

    def __enter__(self) -> RawRequest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()


def chat(prompt: str, model: str = "gemini-flash", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": prompt}], **fields}


def last_number(gateway: Gateway) -> int:
    sent = gateway.sent()
    return sent[-1].number if sent else 0


def arrived(gateway: Gateway, after: int, count: int = 1) -> list[Any]:
    """The vendor's records of the requests after a number, when so many have come."""
    return _wait(lambda: gateway.vendors.log.exchanges(after=after), lambda found: len(found) >= count)


def hung_up(gateway: Gateway, after: int, moment: float, count: int = 1) -> float:
    """How long after `moment` the vendor saw the last of its clients go; seconds."""
    found = _wait(
        lambda: gateway.vendors.log.exchanges(after=after),
        lambda found: len(found) == count and all(one.hung_up for one in found),
    )
    return max(one.received + one.hung_up_ms / 1000 for one in found) - moment


def _wait(look: Any, enough: Any) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not enough(found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain: {found}")
        time.sleep(0.002)
    return found
