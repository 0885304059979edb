"""Tokens that expire: one request for many calls, a new token before the old one ends, and one more chance
for a call whose token was refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import Call, Carrier
from proxy.upstream.authorizer import Denied, Grant, Pairs, Renewal, TokenLine

if TYPE_CHECKING:
    from proxy.upstream.account import Account
    from proxy.upstream.deadlines import Deadlines
    from proxy.upstream.reply import Reply
    from proxy.upstream.send import Sender

# A token is renewed this early while calls still go out with it, and not used in its last seconds; of a short
# life these are shares.
_EARLY_S, _EARLY_SHARE = 300.0, 0.2
_LAST_S, _LAST_SHARE = 10.0, 0.05
_BEARER = Carrier("authorization", "Bearer ")
_PAUSE_S = 10.0  # between early attempts that fail
_REFUSAL_PAUSE_S = 60.0  # a second 401 within it is not about the token


class Token:
    """The authorizer of an account whose token comes from a `Grant` and travels as `carrier` says. `more` are
    headers beside it.

    One task asks, whoever waits, and a caller that leaves does not end it. A denial is told to all who wait,
    and the next call asks again. `clock` is in seconds.
    """

    def __init__(
        self,
        provider: str,
        grant: Grant,
        more: Pairs = (),
        clock: Callable[[], float] = monotonic,
        carrier: Carrier = _BEARER,
    ) -> None:
        self.headers = more
        self.query = ""
        self._carrier = carrier
        self._provider = provider
        self._grant = grant
        self._more = more
        self._clock = clock
        self._issued: list[str] = []  # the token, and the one before it: a late answer may repeat that
        self._good_until = self._renew_at = self._thrown_away_at = float("-inf")
        self._asking: asyncio.Task[Denied | None] | None = None

    def __repr__(self) -> str:
        return f"Token({self._provider!r})"

    @property
    def renewal(self) -> Renewal:
        return self

    @property
    def secrets(self) -> list[str]:
        return [*self._issued, *self._grant.secrets, *(value for _, value in self._more if len(value) >= 8)]

    @property
    def shown(self) -> tuple[dict[str, str], str]:
        headers = dict.fromkeys((name for name, _ in self._more), "***")
        if self._carrier.query is not None:
            return headers, f"{self._carrier.query}=***"
        return {**headers, self._header: "***"}, ""

    @property
    def _header(self) -> str:
        return (self._carrier.header or "authorization").lower()

    async def ready(self, line: TokenLine, deadlines: Deadlines) -> None:
        now = self._clock()
        if now < self._renew_at:
            return
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(line))
        if now < self._good_until:
            return
        patience_s = min(deadlines.first_byte_s, deadlines.total_s)
        done, _ = await asyncio.wait([self._asking], timeout=patience_s)
        denied = done.pop().result() if done else _TOO_SLOW
        if denied is not None:
            raise UpstreamError(
                denied.error_class,
                f"{self._provider!r} has no access token: {denied.reason}",
                provider=self._provider,
                native_status=denied.status,
                bought=False,
            )

    def opened(self, call: Call, account: Account) -> Account:
        return account

    def refused(self, headers: Pairs) -> bool:
        now = self._clock()
        if headers is not self.headers:
            return True  # another call was told so first
        if now - self._thrown_away_at < _REFUSAL_PAUSE_S:
            return False
        self._thrown_away_at = now
        self._good_until = self._renew_at = float("-inf")
        self.headers = self._more
        return True

    async def _ask(self, line: TokenLine) -> Denied | None:
        asked_at = self._clock()
        try:
            granted = await self._grant.ask(line, self._provider)
        finally:
            self._asking = None
        if isinstance(granted, Denied):
            self._renew_at = min(self._clock() + _PAUSE_S, self._good_until)
            return granted
        life_s, token = granted.life_s, granted.token
        self._good_until = asked_at + life_s - min(_LAST_S, life_s * _LAST_SHARE)
        self._renew_at = asked_at + life_s - min(_EARLY_S, life_s * _EARLY_SHARE)
        self._issued = [token, *self._issued[:1]]
        if self._carrier.query is not None:
            self.query = urlencode({self._carrier.query: token})
        else:
            self.headers = (*self._more, (self._header, self._carrier.prefix + token))
        return None


_TOO_SLOW = Denied(ErrorClass.UNAVAILABLE, "the token server did not answer in time")


async def send(
    sender: Sender,
    call: Call,
    account: Account,
    deadlines: Deadlines,
    sent: Callable[[], None] | None = None,
) -> Reply:
    """As `Upstream.send`, with what opens the door now. A 401 sold nothing, so the call is sent a second time
    when a token may have been the reason."""
    renewal = account.auth.renewal
    assert renewal is not None
    opened, deadlines = await ready(sender, call, account, deadlines)
    headers = opened.auth.headers
    reply = await sender.send(call, opened, deadlines, sent)
    if reply.status != 401 or not renewal.refused(headers):
        return reply
    await reply.close()
    return await sender.send(call, *await ready(sender, call, account, deadlines), sent)


async def ready(
    sender: Sender, call: Call, account: Account, deadlines: Deadlines
) -> tuple[Account, Deadlines]:
    """Wait until the door can be opened for this call; the account that does it, and the deadlines without
    the time that took."""
    renewal = account.auth.renewal
    assert renewal is not None
    time = asyncio.get_running_loop().time
    began = time()
    await renewal.ready(sender, deadlines)
    left = replace(deadlines, total_s=max(0.001, deadlines.total_s - (time() - began)))
    return renewal.opened(call, account), left
