"""What is said while there is too much to do: a reply that is ready, to a request that is not even parsed.

A refusal by an endpoint costs a third of a small chat: at five times of what a server can do it would do
little but refuse.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from proxy.keys import CREDENTIAL_HEADERS
from proxy.serve.endpoint import Row
from proxy.serve.exchange import Header
from proxy.serve.load import SMALL, refusal

_MOST_DIGITS: Final = 9
# Who says one of these is answered by whoever understands it. Of where a body ends no spelling is overlooked:
# the parser refuses the odd ones.
_SPECIAL: Final = (b"\r\nexpect:", b"transfer-encoding", b"\r\nupgrade:", b"\r\norigin:")
_VERSION: Final = b" HTTP/1.1\r\n"  # who speaks an older one waits for the end of the connection
_CONNECTION: Final = b"connection:"  # also a proxy's
_KEPT: Final = b"\r\nconnection: keep-alive\r\n"
_LENGTH: Final = b"\r\ncontent-length:"
_KEYS: Final = tuple((name, b"\r\n%b:" % name) for name in CREDENTIAL_HEADERS)
NO_ID: Final = b"req_" + 24 * b"0"  # as long as the one that takes its place
_PARAMETER: Final = re.compile(r"\{.*?\}")
_MODELS: Final = b"/models/"


class Plain(NamedTuple):
    """A request that asks for nothing special: the reply of its address, its credential, and the bytes of its
    body and of all of it."""

    reply: bytes
    key: Header
    body: int
    size: int


def replies(rows: Iterable[Row]) -> dict[bytes, bytes]:
    """The whole reply of every address that is refused then, in its own dialect, with `NO_ID` for its id.
    Where the address names a model a star stands for it."""
    found: dict[bytes, bytes] = {}
    for row in rows:
        if row.bounded and row.front is not None:
            path, reply = _PARAMETER.sub("*", row.path), _reply(row)
            found.update((f"{prefix}{path}".encode(), reply) for prefix in row.prefixes)
    return found


def _reply(row: Row) -> bytes:
    assert row.front is not None
    status, headers, body = row.front.refusal(refusal(), NO_ID.decode(), None)
    own = ((b"x-request-id", NO_ID), (b"request-id", NO_ID), (b"content-length", b"%d" % len(body)))
    lines = b"".join(b"%s: %s\r\n" % line for line in (*headers, *own))
    return b"HTTP/1.1 %d Service Unavailable\r\n%s\r\n%s" % (status, lines, body)


def plain(data: bytes, replies: dict[bytes, bytes]) -> Plain | None:
    """None where somebody else has to look at these first bytes."""
    end, line_end = data.find(b"\r\n\r\n"), data.find(b" ", 5)
    if end < 0 or not data.startswith(b"POST ") or not data.startswith(_VERSION, line_end):
        return None
    path, _, query = data[5:line_end].partition(b"?")
    reply = replies.get(path) or replies.get(_with_star(path))
    if reply is None or b"key=" in query:
        return None
    head = data[: end + 2].lower()
    length = head.find(_LENGTH)
    if length < 0:
        return None
    for word in _SPECIAL:
        if word in head:
            return None
    if head.count(_CONNECTION) != head.count(_KEPT) or head.count(b"content-length") > 1:
        return None
    key = _key(head, data)
    length += len(_LENGTH)
    said = head[length : head.find(b"\r\n", length)].strip()
    if key is None or not said.isdigit() or len(said) > _MOST_DIGITS:
        return None
    body = int(said)
    return None if body > SMALL else Plain(reply, key, body, end + 4 + body)


def _with_star(path: bytes) -> bytes:
    before, models, rest = path.partition(_MODELS)
    return b"%b%b*:%b" % (before, models, rest.rpartition(b":")[2])


def _key(head: bytes, data: bytes) -> Header | None:
    """The only credential; two may be one too many. `head` is in lower case."""
    found = None
    for name, mark in _KEYS:
        at = head.find(mark)
        if at < 0:
            continue
        if found is not None:
            return None
        at += len(mark)
        found = (name, data[at : data.find(b"\r\n", at)].strip())
    return found
