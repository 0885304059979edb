"""Signatures: a text that says what is asked for and when, and its HMAC with the key's secret, for each
call."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from proxy.codec import jsonio
from proxy.types import Call
from proxy.types.auth import CALL_NAMES, Signature, TextEncoding
from proxy.upstream import forms, naming
from proxy.upstream.authorizer import Pairs, Renewal, Static, TokenLine

if TYPE_CHECKING:
    from proxy.upstream.account import Account
    from proxy.upstream.deadlines import Deadlines

_ENCODED: dict[TextEncoding, Callable[[bytes], str]] = {
    "hex": bytes.hex,
    "base64": lambda digest: base64.b64encode(digest).decode(),
    "base64url": lambda digest: base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
}


class Signed:
    """The authorizer of an account whose calls are signed, with the secret of `key`. `more` are headers
    beside the signature's, `now` is the time of day in seconds since 1970."""

    query = ""

    def __init__(
        self, signature: Signature, key: str, more: Pairs = (), now: Callable[[], float] = time.time
    ) -> None:
        self.headers = more
        self._signature = signature
        self._key = naming.of_key(key)
        self._now = now
        templates = (signature.text, *signature.headers.values(), *signature.query.values())
        self._named = {name for template in templates for name in naming.names_in(template)}

    @property
    def renewal(self) -> Renewal:
        return self

    @property
    def secrets(self) -> list[str]:
        return naming.secrets(self._key) + [value for _, value in self.headers if len(value) >= 8]

    @property
    def shown(self) -> tuple[dict[str, str], str]:
        names = (*(name for name, _ in self.headers), *(name.lower() for name in self._signature.headers))
        return dict.fromkeys(names, "***"), "&".join(f"{name}=***" for name in self._signature.query)

    async def ready(self, line: TokenLine, deadlines: Deadlines) -> None:
        """Nothing is waited for: each call is signed by itself."""

    def refused(self, headers: Pairs) -> bool:
        return False

    def opened(self, call: Call, account: Account) -> Account:
        signature = self._signature
        names: dict[str, Any] = {**self._key, **naming.of_time(self._now(), 0.0)}
        if not self._named.isdisjoint(CALL_NAMES):
            names |= self._of_call(call, account)
        digest = hmac.new(
            self._key["secret"].encode(),
            naming.text(signature.text, names).encode(),
            getattr(hashlib, signature.hash),
        ).digest()
        names["signature"] = _ENCODED[signature.encoding](digest)
        headers = naming.filled(signature.headers, names)
        own = tuple((name.lower(), value) for name, value in headers.items())
        query = tuple(naming.filled(signature.query, names).items())
        return replace(account, auth=Static((*self.headers, *own), query))

    def _of_call(self, call: Call, account: Account) -> dict[str, str]:
        """What the vendor will see of it. A body counts as it is written; one with files is never whole."""
        parts = urlsplit(call.url or account.base_url.rstrip("/") + call.path)
        names = {
            "method": call.method,
            "host": parts.netloc,
            "path": parts.path or "/",
            "query": parts.query,
        }
        if not self._named.isdisjoint({"body", "body_md5", "body_sha256"}):
            body = _body(call)
            names["body"] = body.decode()
            names["body_md5"] = hashlib.md5(body, usedforsecurity=False).hexdigest()
            names["body_sha256"] = hashlib.sha256(body).hexdigest()
        return names


def _body(call: Call) -> bytes:
    if call.method == "GET" or call.files or call.encoding not in ("json", "form"):
        return b""
    if call.encoding == "form":
        (piece,) = forms.encode(call).pieces
        assert isinstance(piece, bytes)
        return piece
    return b"".join(bytes(piece) for piece in jsonio.dumps(call.body))
