"""Tokens that are made of a key: signed here (`Jwt`), or asked for at the vendor (`Exchange`); and the
reading of a token server's answer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from proxy.errors import ErrorClass, UpstreamError
from proxy.types.auth import Exchange, Jwt
from proxy.upstream import naming
from proxy.upstream.authorizer import Denied, Granted, TokenLine

FORM = "application/x-www-form-urlencoded"
LONGEST_LIFE_S = 86_400.0

_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_WORD = re.compile(r"[a-z_]{1,40}")
_ALGORITHMS = {"sha256": "HS256", "sha512": "HS512"}


class JwtGrant:
    """Signs tokens with the secret of `key`. `now` is the time of day in seconds since 1970."""

    def __init__(self, jwt: Jwt, key: str, now: Callable[[], float] = time.time) -> None:
        self._jwt = jwt
        self._key = naming.of_key(key)
        self._now = now

    @property
    def secrets(self) -> list[str]:
        return naming.secrets(self._key)

    async def ask(self, line: TokenLine, provider: str) -> Granted | Denied:
        jwt = self._jwt
        names = {**self._key, **naming.of_time(self._now(), jwt.life_s)}
        head = {"alg": _ALGORITHMS[jwt.hash], "typ": "JWT", **naming.typed(jwt.head, names)}
        signed = f"{encoded(_json(head))}.{encoded(_json(naming.typed(jwt.claims, names)))}"
        digest = hmac.new(self._key["secret"].encode(), signed.encode(), getattr(hashlib, jwt.hash)).digest()
        return Granted(f"{signed}.{encoded(digest)}", jwt.life_s)


class ExchangeGrant:
    """Asks the vendor for tokens. `base_url` and `private` are the account's."""

    def __init__(self, exchange: Exchange, key: str, base_url: str, *, private: bool) -> None:
        self._exchange = exchange
        self._key = naming.of_key(key)
        self._base_url = base_url.rstrip("/")
        self._private = private

    @property
    def secrets(self) -> list[str]:
        return naming.secrets(self._key)

    async def ask(self, line: TokenLine, provider: str) -> Granted | Denied:
        exchange = self._exchange
        names = {**self._key, **naming.of_time(time.time(), 0.0)}
        fields, query = (naming.filled(one, names) for one in (exchange.fields, exchange.query))
        own = exchange.address.startswith("/")
        address = f"{self._base_url if own else ''}{exchange.address}"
        url = f"{address}?{urlencode(query)}" if query else address
        data, kind = urlencode(fields).encode(), FORM
        if exchange.encoding == "json":
            data, kind = _json(fields), "application/json"
        try:
            status, body = await line.post(url, data, kind, provider, private=own and self._private)
        except UpstreamError as fault:
            return Denied(ErrorClass.UNAVAILABLE, f"the token server {said_of(fault, provider)}")
        return granted(status, body, exchange.token, exchange.life_s, exchange.default_life_s, "the key")


def said_of(fault: UpstreamError, provider: str) -> str:
    return fault.message.removeprefix(f"{provider!r} ")


def granted(
    status: int,
    body: bytes,
    token_of: Callable[[Any], Any],
    life_of: Callable[[Any], Any],
    default_life_s: float,
    what: str,
) -> Granted | Denied:
    """A token server's answer. `what` is what it refuses when it refuses."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    said = data if isinstance(data, dict) else {}
    word = said.get("error")  # only its code: the sentence beside it may repeat what we sent
    code = f" {word}" if isinstance(word, str) and _WORD.fullmatch(word) else ""
    if status in (400, 401, 403) or (status < 400 and word):
        return Denied(ErrorClass.AUTH, f"the token server refused {what} ({status}{code})", status)
    if status >= 400:
        return Denied(ErrorClass.UNAVAILABLE, f"the token server answered with {status}{code}", status)
    token, life_s = token_of(said), life_of(said)
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        return Denied(ErrorClass.UNAVAILABLE, "the token server's answer holds none", status)
    if isinstance(life_s, bool) or not isinstance(life_s, int | float) or not life_s > 0:
        life_s = default_life_s
    return Granted(token, float(min(life_s, LONGEST_LIFE_S)))


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def encoded(data: bytes) -> str:
    """Base64 as JSON Web Tokens have it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
