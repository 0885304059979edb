"""Sends one call: host and key are added here, at the last moment, and live in no other value."""

from __future__ import annotations

import asyncio
import functools
import re
from urllib.parse import unquote

from aiohttp import ClientResponse, ClientSession, ClientTimeout
from yarl import URL

from proxy import jsonio
from proxy.errors import ErrorClass, RequestError, UpstreamError
from proxy.types import Call
from proxy.upstream.client import Account
from proxy.upstream.deadlines import Deadlines
from proxy.upstream.reply import Reply
from proxy.upstream.transport import Body, Progress, open_session, upstream_errors

_KEEP_ALIVE_TIMEOUT = re.compile(r"timeout=(\d+)")


class Sender:
    """What `client.Upstream` opens: a session for vendors on the internet, and one for private networks."""

    def __init__(self, max_reply_bytes: int, connections: int) -> None:
        self._max_reply_bytes = max_reply_bytes
        self._sessions = {
            private: open_session(private=private, connections=connections) for private in (False, True)
        }

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()

    async def send(self, call: Call, account: Account, deadlines: Deadlines) -> Reply:
        started = asyncio.get_running_loop().time()
        asks = call.method in ("GET", "HEAD")
        progress = Progress(account.provider, sells=not asks)
        progress.started = asks  # what has no body cannot tell; asking again does no harm
        body = None if asks else Body(jsonio.dumps(call.body), progress)
        with upstream_errors(progress):
            try:
                async with asyncio.timeout(min(deadlines.first_byte_s, deadlines.total_s)):
                    response = await self._request(call, account, body, deadlines.connect_s)
            except BaseException as fault:
                if body is not None:
                    body.abort()
                if fault.__class__ is TimeoutError and progress.started:
                    progress.expired = "first_byte"
                raise
        progress.answered = progress.finished = True
        if body is not None and (told := response.headers.get("keep-alive")):
            _note_keep_alive(body, told)
        reply = Reply(response, progress, deadlines, started, self._max_reply_bytes)
        if 300 <= reply.status < 400:
            await reply.close()
            raise _redirect(account.provider, reply.status)
        return reply

    async def _request(
        self, call: Call, account: Account, body: Body | None, connect_s: float
    ) -> ClientResponse:
        headers = {"accept": "text/event-stream" if call.stream else "application/json"}
        headers.update(call.headers)
        headers.update(account.auth)
        session: ClientSession = self._sessions[account.private]
        return await session.request(
            call.method,
            _url(account.base_url, call.path),
            data=body,
            headers=headers,
            allow_redirects=False,
            timeout=_timeout(connect_s),
        )


@functools.lru_cache(4096)
def _url(base_url: str, path: str) -> URL:
    """Join, quoting what is not quoted. Raises `RequestError` if a model's name climbs out of its place."""
    if not {".", ".."}.isdisjoint(unquote(path.partition("?")[0]).split("/")):
        raise RequestError("The model does not exist.", param="model", code="model_not_found", status=404)
    return URL(base_url.rstrip("/") + path)


@functools.lru_cache(64)
def _timeout(connect_s: float) -> ClientTimeout:
    """aiohttp's part of the deadlines: until the connection is there. All others are ours."""
    return ClientTimeout(total=None, connect=connect_s, sock_connect=None, sock_read=None)


def _note_keep_alive(body: Body, told: str) -> None:
    if found := _KEEP_ALIVE_TIMEOUT.search(told):
        body.keep_alive_for(float(found[1]))


def _redirect(provider: str, status: int) -> UpstreamError:
    return UpstreamError(
        ErrorClass.INTERNAL,
        f"{provider!r} answered with a redirect ({status}), which is not followed",
        provider=provider,
        code="upstream_redirect",
        native_status=status,
        bought=False,
    )
