"""The way out to vendors. Imports nothing heavy: what sends is loaded by `open`, or by the first call."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from proxy.types import Call
from proxy.upstream import tokens
from proxy.upstream.account import Account
from proxy.upstream.authorizer import Authorizer
from proxy.upstream.deadlines import Deadlines

if TYPE_CHECKING:
    from proxy.upstream.reply import Reply
    from proxy.upstream.send import Sender

MAX_REPLY_BYTES = 96 << 20
MAX_CONNECTIONS = 1000


class Upstream:
    """Keeps connections open between calls, at most `connections` at once; more calls wait for `connect_s`.

    Use and `close` it in one running loop.
    """

    def __init__(self, *, max_reply_bytes: int = MAX_REPLY_BYTES, connections: int = MAX_CONNECTIONS) -> None:
        self._max_reply_bytes = max_reply_bytes
        self._connections = connections
        self._sender: Sender | None = None

    def open(self) -> Sender:
        """Load what the first call would else wait for, about 0.1 s. Needs the running loop."""
        from proxy.upstream.send import Sender

        self._sender = self._sender or Sender(self._max_reply_bytes, self._connections)
        return self._sender

    def send(
        self, call: Call, account: Account, deadlines: Deadlines, sent: Callable[[], None] | None = None
    ) -> Coroutine[Any, Any, Reply]:
        """Send once; return the answer as soon as its headers are there, whatever its status >= 200.

        Follows no redirect, sends nothing again (but after a 401 to a token that may have ended), and sends
        nothing of the client's but the call. Raises `UpstreamError`: class connect when it is certain that
        nothing was sent, else with `bought` set when the vendor may have got the whole call; `RequestError`
        when the call cannot be written. `sent` is called before the last of it goes out: from then on the
        vendor may have all of it. What it raises keeps that back.
        """
        sender = self._sender or self.open()
        if account.auth.renewal is None:
            return sender.send(call, account, deadlines, sent)
        return tokens.send(sender, call, account, deadlines, sent)

    async def authorized(self, call: Call, account: Account, deadlines: Deadlines) -> Authorizer:
        """What opens the door for this call now, where another sends it. Raises `UpstreamError`."""
        if account.auth.renewal is None:
            return account.auth
        ready, _ = await tokens.ready(self._sender or self.open(), call, account, deadlines)
        return ready.auth

    async def close(self) -> None:
        """Close all connections."""
        sender, self._sender = self._sender, None
        if sender is not None:
            await sender.close()
