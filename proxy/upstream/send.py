"""Sends one call: host and key are added here, at the last moment, and live in no other value but the heads
of plain calls, which are kept to be sent again."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from types import MappingProxyType
from urllib.parse import unquote, urlsplit

from yarl import URL

from proxy.codec import jsonio
from proxy.errors import ErrorClass, RequestError, UpstreamError
from proxy.types import Call
from proxy.upstream import asking, forms
from proxy.upstream.account import Account
from proxy.upstream.asking import Piece, Way
from proxy.upstream.authorizer import Pairs
from proxy.upstream.deadlines import Deadlines, Watch
from proxy.upstream.guard import is_public
from proxy.upstream.line import Answer, Line
from proxy.upstream.pool import Place, Pool
from proxy.upstream.reply import Reply
from proxy.upstream.transport import BROKEN, Progress, fail

_TOKEN_S = 10.0
_KEEP_ALIVE_TIMEOUT = re.compile(r"timeout=(\d+)")
_JSON = "application/json"
_COMMON = {"accept-encoding": "identity"}
_NONE: Mapping[str, str] = MappingProxyType({})


class Sender:
    """What `client.Upstream` opens: connections to vendors on the internet, and to those in private networks.

    Nothing passes between callers: there are no cookies, and no proxies and credentials of the environment.
    """

    reply_type: type[Reply] = Reply

    def __init__(self, max_reply_bytes: int, connections: int) -> None:
        self._max_reply_bytes = max_reply_bytes
        self._loop = asyncio.get_running_loop()
        self._usual_head = functools.lru_cache(256)(_head)
        self._pools = {
            private: Pool(connections=connections, judge=None if private else is_public)
            for private in (False, True)
        }

    async def close(self) -> None:
        for pool in self._pools.values():
            await pool.close()

    async def send(
        self, call: Call, account: Account, deadlines: Deadlines, sent: Callable[[], None] | None = None
    ) -> Reply:
        loop = self._loop
        started = loop.time()
        sells = call.method != "GET"
        progress = Progress(account.provider, sells, address=call.url or account.base_url)
        pieces, content_type = None, None
        if sells:
            pieces, content_type = await asyncio.to_thread(_written, call) if call.large else _written(call)
        own = account.auth.headers
        if call.headers or content_type is not _JSON:
            head = _head(call.stream, content_type, own, call.headers)
        else:
            head = self._usual_head(call.stream, _JSON, own)
        request = asking.written(call.method, _way(call, account), head, pieces)
        pool = self._pools[account.private]
        line = pool.idle(request.place)
        if line is None:
            patience_s = min(deadlines.connect_s, deadlines.first_byte_s, deadlines.total_s)
            line = await _opened(pool, request.place, patience_s, progress)
        if sent is not None and not request.rest:
            _announced(line, sent)
        answer = asking.begin(line, request, progress)
        watch = Watch(deadlines, loop, started, functools.partial(_expire, progress, answer))
        try:
            if not progress.finished:
                await asking.pour(line, request.rest, progress, sent)
            while not answer.begun:
                await answer.more()
            if sent is not None and not progress.finished:
                sent()
        except BaseException as fault:
            watch.stop()
            answer.drop()
            if isinstance(fault, BROKEN):
                fail(fault, progress)
            raise
        if told := answer.headers.get("keep-alive"):
            _note_keep_alive(line, told)
        progress.answered = progress.finished = True
        reply = self.reply_type(answer, progress, watch, self._max_reply_bytes)
        if 300 <= reply.status < 400:
            reply.drop()
            raise _redirect(progress, reply.status, answer.headers.get("location", ""))
        return reply

    async def post(
        self, url: str, data: bytes, content_type: str, provider: str, *, private: bool
    ) -> tuple[int, bytes]:
        """Ask a token server, which sells nothing: status and the body's first 64 KiB."""
        progress = Progress(provider, sells=False, address=url)
        request = asking.written("POST", asking.way(URL(url)), _head(False, content_type, ()), (data,))
        line = await _opened(self._pools[private], request.place, _TOKEN_S, progress)
        answer = asking.begin(line, request, progress)
        try:
            async with asyncio.timeout(_TOKEN_S):
                while not answer.begun:
                    await answer.more()
                return answer.status, await _first_bytes(answer, 1 << 16)
        except BROKEN as fault:
            if fault.__class__ is TimeoutError:
                progress.expired = "first_byte"
            fail(fault, progress)
        finally:
            answer.drop()


def _announced(line: Line, sent: Callable[[], None]) -> None:
    try:
        sent()
    except BaseException:
        line.abort()
        raise


async def _opened(pool: Pool, place: Place, patience_s: float, progress: Progress) -> Line:
    try:
        return await pool.open(place, patience_s)
    except OSError as fault:
        fail(fault, progress)


def _expire(progress: Progress, answer: Answer, phase: str) -> None:
    """The vendor takes too long to answer."""
    progress.expired = phase
    answer.drop()


def _head(streams: bool, content_type: str | None, own: Pairs, more: Mapping[str, str] = _NONE) -> bytes:
    headers = {"accept": "text/event-stream" if streams else _JSON, **_COMMON}
    if content_type is not None:
        headers["content-type"] = content_type
    headers.update(more)
    headers.update(own)
    return asking.lines(headers)


def _written(call: Call) -> tuple[Sequence[Piece], str]:
    """The body, and its content type. Raises `RequestError` for what cannot be written."""
    try:
        if call.written:
            return [call.written], _JSON
        if not call.files and call.encoding == "json":
            return jsonio.dumps(call.body), _JSON
        form = forms.encode(call)
    except jsonio.JSONEncodeError as error:
        raise RequestError(
            f"The request cannot be sent to the vendor: {error}.",
            param=error.where or None,
            code="invalid_value",
        ) from None
    return form.pieces, form.content_type


def _way(call: Call, account: Account) -> Way:
    query = account.auth.query
    if call.url is None and not query:
        return _plain_way(account.base_url, call.path)
    url = _url(account.base_url, call.path) if call.url is None else _named(call.url)
    return asking.way(asking.with_query(url, query) if query else url)


@functools.lru_cache(4096)
def _plain_way(base_url: str, path: str) -> Way:
    return asking.way(_url(base_url, path))


def _url(base_url: str, path: str) -> URL:
    """Join, quoting what is not quoted. Raises `RequestError` if a model's name climbs out of its place."""
    if not {".", ".."}.isdisjoint(unquote(path.partition("?")[0]).split("/")):
        raise RequestError("The model does not exist.", param="model", code="model_not_found", status=404)
    return URL(base_url.rstrip("/") + path)


def _named(address: str) -> URL:
    """A vendor's address as it gave it: what is quoted already may be signed."""
    return URL(address, encoded=address.isascii() and address.isprintable() and " " not in address)


async def _first_bytes(answer: Answer, limit: int) -> bytes:
    body = b""
    while len(body) < limit and (chunk := await answer.read(limit - len(body))):
        body += chunk
    return body


def _note_keep_alive(line: Line, told: str) -> None:
    """The vendor said how long it keeps the connection open."""
    if found := _KEEP_ALIVE_TIMEOUT.search(told):
        line.kept_until = monotonic() + float(found[1]) - 1


def _redirect(progress: Progress, status: int, location: str) -> UpstreamError:
    """What was ordered may be waiting behind it. Of its address the host is told: the rest may be signed."""
    try:
        parts = urlsplit(location)
        host = f"{parts.scheme}://{parts.hostname}" if parts.scheme and parts.hostname else "the same host"
    except ValueError:
        host = "no address"
    return UpstreamError(
        ErrorClass.INTERNAL,
        f"{progress.provider!r} answered with a redirect ({status}), which is not followed",
        provider=progress.provider,
        code="upstream_redirect",
        native_status=status,
        why=f"answered with a redirect ({status}) to {host}, which is not followed",
        bought=progress.sells,
    )
