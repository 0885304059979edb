"""What is said while there is too much to do: a reply that is ready, to a request that is not even parsed.

A refusal by an endpoint costs a third of a small chat: at five times of what a server can do it would do
little but refuse.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from proxy.serve.endpoint import Row
from proxy.serve.load import refusal

_MOST_DIGITS: Final = 6  # of the bytes of a body that is read over
# Who says one of these is answered by whoever understands it.
_SPECIAL: Final = (
    b"\r\nexpect:",
    b"\r\ntransfer-encoding:",
    b"\r\nupgrade:",
    b"\r\nconnection: close",
    b"\r\norigin:",
)
_LENGTH: Final = b"\r\ncontent-length:"
_KEY: Final = b"\r\nauthorization:"


def replies(rows: Iterable[Row]) -> dict[bytes, bytes]:
    """The whole reply of every address that is refused then, in its own dialect."""
    found: dict[bytes, bytes] = {}
    for row in rows:
        if row.bounded and row.front is not None and "{" not in row.path:
            reply = _reply(row)
            found.update((f"{prefix}{row.path}".encode(), reply) for prefix in row.prefixes)
    return found


def _reply(row: Row) -> bytes:
    assert row.front is not None
    status, headers, body = row.front.refusal(refusal(), "", None)
    lines = b"".join(b"%s: %s\r\n" % line for line in (*headers, (b"content-length", b"%d" % len(body))))
    return b"HTTP/1.1 %d Service Unavailable\r\n%s\r\n%s" % (status, lines, body)


def plain(data: bytes, replies: dict[bytes, bytes]) -> tuple[bytes, bytes, int] | None:
    """Of a request that asks for nothing special: its reply, what is said to be its key, and its size with
    head and body. None where somebody else has to look at these first bytes."""
    end = data.find(b"\r\n\r\n")
    if end < 0 or not data.startswith(b"POST "):
        return None
    reply = replies.get(data[5 : data.find(b" ", 5)])
    head = data[: end + 2].lower()
    length, key = head.find(_LENGTH), head.find(_KEY)
    if reply is None or length < 0 or key < 0:
        return None
    for word in _SPECIAL:
        if word in head:
            return None
    length, key = length + len(_LENGTH), key + len(_KEY)
    said = head[length : head.find(b"\r\n", length)].strip()
    if not said.isdigit() or len(said) > _MOST_DIGITS or head.find(_LENGTH, length) > 0:
        return None
    return reply, data[key : data.find(b"\r\n", key)].strip(), end + 4 + int(said)
