"""A client of bytes: sees what arrives when, stops reading, and hangs up in the middle."""

from __future__ import annotations

import json
import socket
import time
from types import TracebackType
from typing import Any, Protocol

import httpx

from proxy.simulators.server import Running
from tests.gateway import KEY

PATIENCE_S = 15.0


class Reachable(Protocol):
    """A gateway, in this process or another, and the vendors behind it."""

    @property
    def base_url(self) -> str: ...
    @property
    def vendors(self) -> Running: ...


class RawRequest:
    """A chat request on a connection of its own, or another `path`'s. `text` is what has been read so far,
    head and chunks. `headers` are added; one that is called like ours replaces it."""

    def __init__(
        self,
        gateway: Reachable,
        body: Any,
        *,
        key: str = KEY,
        buffer_bytes: int = 0,
        path: str = "/v1/chat/completions",
        headers: dict[str, str] | None = None,
    ) -> None:
        address = httpx.URL(gateway.base_url)
        self.socket = socket.socket()
        if buffer_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect((address.host, address.port or 0))
        self.received = b""
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = {
            "host": "gateway",
            "connection": "close",
            "authorization": f"Bearer {key}",
            "content-length": str(len(payload)),
            **(headers or {}),
        }
        named = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.head = f"POST {path} HTTP/1.1\r\n{named}\r\n".encode()
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
    def body(self) -> bytes:
        """What has been read of a chunked body."""
        _, _, left = self.received.partition(b"\r\n\r\n")
        pieces = []
        while left:
            size, _, left = left.partition(b"\r\n")
            end = int(size, 16)
            pieces.append(left[:end])
            left = left[end + 2 :]
        return b"".join(pieces)

    @property
    def text(self) -> str:
        return self.received.decode("utf-8", "replace")

    def hang_up(self) -> float:
        """Close, and tell when."""
        moment = time.time()
        self.socket.close()
        return moment

    def leave(self) -> str:
        """Hang up as a reader sees it, and wait until the server has let go; returns what it still said."""
        self.socket.shutdown(socket.SHUT_WR)
        return self.rest()

    def __enter__(self) -> RawRequest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()


def chat(prompt: str, model: str = "gemini-flash", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": prompt}], **fields}


def form(*parts: tuple[str, bytes, str | None], boundary: str = "XX") -> tuple[bytes, dict[str, str]]:
    """A multipart body of (name, content, file name or None), and its content type."""
    body = b""
    for name, content, filename in parts:
        file = f'; filename="{filename}"\r\ncontent-type: image/png' if filename else ""
        head = f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"{file}\r\n\r\n'
        body += head.encode() + content + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return body, {"content-type": f"multipart/form-data; boundary={boundary}"}


def last_number(gateway: Reachable) -> int:
    sent = list(gateway.vendors.log.exchanges())
    return sent[-1].number if sent else 0


def arrived(gateway: Reachable, after: int, count: int = 1) -> list[Any]:
    """The vendor's records of the requests after a number, when so many have come."""
    return _wait(lambda: gateway.vendors.log.exchanges(after=after), lambda found: len(found) >= count)


def hung_up(gateway: Reachable, after: int, moment: float, count: int = 1) -> float:
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
