"""`dragoman try --verbose` and `--record`: what goes to a vendor, and what comes back."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from proxy.command import showing
from proxy.types import Call
from proxy.upstream import Account, Deadlines, Upstream
from proxy.upstream.reply import Reply
from proxy.upstream.send import Sender

_BASE64 = re.compile(r"[A-Za-z0-9+/=_-]{200,}")
_SHOWN = 64 * 1024  # characters of a reply
_SUFFIXES = {"application/json": "json", "text/event-stream": "sse"}


class Overheard(Reply):
    """A reply that keeps what was read of it, and says once when it is over."""

    __slots__ = ("_heard", "over")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._heard: list[bytes] = []
        self.over: Callable[[Reply, bytes], None] | None = None

    async def _read(self) -> bytes:
        chunk = await super()._read()
        self._heard.append(chunk)
        return chunk

    def drop(self) -> None:
        super().drop()
        over, self.over = self.over, None
        if over is not None:
            over(self, b"".join(self._heard))


class _Listening(Sender):
    reply_type = Overheard


class Loud(Upstream):
    """Tells each request and its reply: on stderr, and with `folder` as files (`01-request.json`,
    `01-reply.json` or `.sse`), which hold pictures too. Secrets are blanked in both.

    Raises `OSError`, with its file, where the folder cannot be made.
    """

    def __init__(self, *, shows: bool, folder: Path | None) -> None:
        super().__init__()
        self._shows = shows
        self._folder = folder
        self._count = 0
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def open(self) -> Sender:
        self._sender = self._sender or _Listening(self._max_reply_bytes, self._connections)
        return self._sender

    async def send(
        self, call: Call, account: Account, deadlines: Deadlines, sent: Callable[[], None] | None = None
    ) -> Reply:
        self._count += 1
        number = self._count
        headers, query = account.auth.shown
        request = {
            "method": call.method,
            "url": showing.url(call.url or account.base_url + call.path, query),
            "headers": headers | dict(call.headers),
            "body": showing.elided(call.body),
        }
        self._show_request(request)
        self._keep(f"{number:02}-request.json", orjson.dumps(request, option=orjson.OPT_INDENT_2))
        reply = await super().send(call, account, deadlines, sent)
        assert isinstance(reply, Overheard)
        reply.over = lambda reply, body: self._over(number, reply, account, body)
        return reply

    def _over(self, number: int, reply: Reply, account: Account, body: bytes) -> None:
        for secret in account.secrets:
            body = body.replace(secret.encode(), b"***")
        self._show_reply(reply, body)
        self._keep(f"{number:02}-reply.{_SUFFIXES.get(reply.content_type, 'bin')}", body)

    def _show_request(self, request: dict[str, Any]) -> None:
        if not self._shows:
            return
        print(f"> {request['method']} {request['url']}", file=sys.stderr)
        for name, value in request["headers"].items():
            print(f"> {name}: {value}", file=sys.stderr)
        if request["body"]:
            print(orjson.dumps(request["body"], option=orjson.OPT_INDENT_2).decode(), file=sys.stderr)

    def _show_reply(self, reply: Reply, body: bytes) -> None:
        if not self._shows:
            return
        print(f"\n< {reply.status} {reply.content_type}", file=sys.stderr)
        text = _BASE64.sub(
            lambda found: f"<base64, {len(found[0])} characters>", body.decode("utf-8", "replace")
        )
        more = f"\n... and {len(text) - _SHOWN} characters more" if len(text) > _SHOWN else ""
        print(text[:_SHOWN].rstrip() + more, file=sys.stderr)

    def _keep(self, name: str, data: bytes) -> None:
        if self._folder is not None:
            (self._folder / name).write_bytes(data)
