"""Sends one call: host and key are added here, at the last moment, and live in no other value."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Awaitable, Sequence
from urllib.parse import unquote

from aiohttp import ClientResponse, ClientTimeout
from yarl import URL

from proxy.codec import jsonio
from proxy.errors import ErrorClass, RequestError, UpstreamError
from proxy.types import Call
from proxy.upstream import forms
from proxy.upstream.account import Account
from proxy.upstream.deadlines import Deadlines, Watch, nothing
from proxy.upstream.reply import Reply
from proxy.upstream.transport import BROKEN, Body, Piece, Progress, fail, open_session, with_query

_TOKEN_S = 10.0
_KEEP_ALIVE_TIMEOUT = re.compile(r"timeout=(\d+)")


class Sender:
    """What `client.Upstream` opens: a session for vendors on the internet, and one for private networks."""

    reply_type: type[Reply] = Reply

    def __init__(self, max_reply_bytes: int, connections: int) -> None:
        self._max_reply_bytes = max_reply_bytes
        self._sessions = {
            private: open_session(private=private, connections=connections) for private in (False, True)
        }

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()

    async def send(self, call: Call, account: Account, deadlines: Deadlines) -> Reply:
        if call.method in ("GET", "HEAD"):
            return await self._ask(call, account, deadlines)
        progress = Progress(account.provider, sells=True, address=call.url or account.base_url)
        pieces, kind = _written(call)
        body = Body(pieces, progress)
        loop = asyncio.get_running_loop()
        watch = Watch(deadlines, loop, loop.time(), body.expire)
        try:
            response = await self._request(call, account, body, deadlines, kind)
        except BaseException as fault:
            watch.stop()
            body.abort()
            if isinstance(fault, BROKEN):
                fail(fault, progress)
            raise
        if told := response.headers.get("keep-alive"):
            _note_keep_alive(body, told)
        return self._reply(response, progress, watch)

    async def _ask(self, call: Call, account: Account, deadlines: Deadlines) -> Reply:
        """Send what has no body, and so cannot tell how far it went; asking again does no harm."""
        progress = Progress(account.provider, sells=False, address=call.url or account.base_url)
        progress.started = True
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(min(deadlines.first_byte_s, deadlines.total_s)):
                response = await self._request(call, account, None, deadlines)
        except BROKEN as fault:
            if fault.__class__ is TimeoutError:  # aiohttp's own are about connecting
                progress.expired = "first_byte"
            fail(fault, progress)
        return self._reply(response, progress, Watch(deadlines, loop, started, nothing))

    async def post(
        self, url: str, data: bytes, content_type: str, provider: str, *, private: bool
    ) -> tuple[int, bytes]:
        """Ask a token server, which sells nothing: status and the body's first 64 KiB."""
        progress = Progress(provider, sells=False, address=url)
        progress.started = True
        try:
            async with asyncio.timeout(_TOKEN_S):
                response = await self._sessions[private].request(
                    "POST",
                    URL(url),
                    data=data,
                    headers={"accept": "application/json", "content-type": content_type},
                    allow_redirects=False,
                    timeout=_timeout(_TOKEN_S),
                )
                async with response:
                    return response.status, await _first_bytes(response, 1 << 16)
        except BROKEN as fault:
            if fault.__class__ is TimeoutError:  # aiohttp's own are about connecting
                progress.expired = "first_byte"
            fail(fault, progress)

    def _reply(self, response: ClientResponse, progress: Progress, watch: Watch) -> Reply:
        progress.answered = progress.finished = True
        reply = self.reply_type(response, progress, watch, self._max_reply_bytes)
        if 300 <= reply.status < 400:
            reply.drop()
            raise _redirect(progress, reply.status)
        return reply

    def _request(
        self,
        call: Call,
        account: Account,
        body: Body | None,
        deadlines: Deadlines,
        content_type: str | None = None,
    ) -> Awaitable[ClientResponse]:
        headers = {"accept": "text/event-stream" if call.stream else "application/json"}
        if content_type is not None:
            headers["content-type"] = content_type
        headers.update(call.headers)
        auth = account.auth
        headers.update(auth.headers)
        url = _url(account.base_url, call.path) if call.url is None else _named(call.url)
        return self._sessions[account.private].request(
            call.method,
            with_query(url, auth.query) if auth.query else url,
            data=body,
            headers=headers,
            allow_redirects=False,
            timeout=_timeout(min(deadlines.connect_s, deadlines.first_byte_s, deadlines.total_s)),
        )


def _written(call: Call) -> tuple[Sequence[Piece], str | None]:
    """The body, and its content type unless it is JSON. Raises `RequestError` for what cannot be written."""
    try:
        if not call.files and call.encoding == "json":
            return jsonio.dumps(call.body), None
        form = forms.encode(call)
    except jsonio.JSONEncodeError as error:
        raise RequestError(
            f"The request cannot be sent to the vendor: {error}.",
            param=error.where or None,
            code="invalid_value",
        ) from None
    return form.pieces, form.content_type


@functools.lru_cache(4096)
def _url(base_url: str, path: str) -> URL:
    """Join, quoting what is not quoted. Raises `RequestError` if a model's name climbs out of its place."""
    if not {".", ".."}.isdisjoint(unquote(path.partition("?")[0]).split("/")):
        raise RequestError("The model does not exist.", param="model", code="model_not_found", status=404)
    return URL(base_url.rstrip("/") + path)


def _named(address: str) -> URL:
    """A vendor's address as it gave it: what is quoted already may be signed."""
    return URL(address, encoded=address.isascii() and address.isprintable() and " " not in address)


@functools.lru_cache(64)
def _timeout(connect_s: float) -> ClientTimeout:
    """aiohttp's part of the deadlines: until the connection is there. All others are ours."""
    return ClientTimeout(total=None, connect=connect_s, sock_connect=None, sock_read=None)


async def _first_bytes(response: ClientResponse, limit: int) -> bytes:
    body = b""
    while len(body) < limit and (chunk := await response.content.read(limit - len(body))):
        body += chunk
    return body


def _note_keep_alive(body: Body, told: str) -> None:
    if found := _KEEP_ALIVE_TIMEOUT.search(told):
        body.keep_alive_for(float(found[1]))


def _redirect(progress: Progress, status: int) -> UpstreamError:
    """What was ordered may be waiting behind it."""
    return UpstreamError(
        ErrorClass.INTERNAL,
        f"{progress.provider!r} answered with a redirect ({status}), which is not followed",
        provider=progress.provider,
        code="upstream_redirect",
        native_status=status,
        bought=progress.sells,
    )
