"""Google's service accounts: a file with a private key, whose signature is traded for an access token.

Google, "Using OAuth 2.0 for Server to Server Applications": a JWT signed with RS256 goes to `token_uri` as
`assertion`, and what comes back is good for an hour. The signing is done by `cryptography`, which only those
install who need it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from proxy.checking.service_accounts import NEEDS, ServiceAccount, is_this_machine
from proxy.errors import ErrorClass, UpstreamError
from proxy.upstream.authorizer import Denied, Granted, TokenLine

SCOPE = "https://www.googleapis.com/auth/cloud-platform"

_GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_ASSERTION_LIFE_S = 3600
_LONGEST_LIFE_S = 86_400.0
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_WORD = re.compile(r"[a-z_]{1,40}")


class ServiceAccountGrant:
    """Asks for tokens in the name of a service account. `now` is the time of day in seconds since 1970."""

    def __init__(
        self, account: ServiceAccount, scope: str = SCOPE, now: Callable[[], float] = time.time
    ) -> None:
        self._account = account
        self._scope = scope
        self._now = now
        self._assertion = ""

    @property
    def secrets(self) -> list[str]:
        pem = self._account.private_key
        body = [line for line in pem.split("\n") if line and not line.startswith("-----")]
        escaped = json.dumps(pem)[1:-1]
        return [pem, escaped, "".join(body), *(line for line in body if len(line) >= 8), *self._assertions()]

    async def ask(self, line: TokenLine, provider: str) -> Granted | Denied:
        try:
            self._assertion = await asyncio.to_thread(self._sign)  # the first time it imports for 0.1 s
        except ImportError:
            return Denied(ErrorClass.AUTH, NEEDS)
        except ValueError:
            return Denied(ErrorClass.AUTH, "the service account's private_key is no RSA key we can use")
        uri = self._account.token_uri
        fields = {"grant_type": _GRANT_TYPE, "assertion": self._assertion}
        private = is_this_machine(urlsplit(uri).hostname or "")
        try:
            status, body = await line.post_form(uri, fields, provider, private=private)
        except UpstreamError as fault:
            reason = fault.message.removeprefix(f"{provider!r} ")
            return Denied(ErrorClass.UNAVAILABLE, f"the token server {reason}")
        return _answer(status, body)

    def _assertions(self) -> list[str]:
        return [self._assertion] if self._assertion else []

    def _sign(self) -> str:
        """The assertion: who we are and what we want, signed. Raises `ValueError` on a key it cannot use."""
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        account = self._account
        now = int(self._now())
        head: dict[str, Any] = {"alg": "RS256", "typ": "JWT"}
        if account.key_id is not None:
            head["kid"] = account.key_id
        claims = {
            "iss": account.email,
            "scope": self._scope,
            "aud": account.token_uri,
            "iat": now,
            "exp": now + _ASSERTION_LIFE_S,
        }
        try:
            key = load_pem_private_key(account.private_key.encode(), None)
        except Exception:  # it has many of its own, and some of them quote what they read
            raise ValueError("no PEM") from None
        if not isinstance(key, RSAPrivateKey):
            raise ValueError("no RSA key")
        signed = f"{_encoded(_json(head))}.{_encoded(_json(claims))}"
        signature: bytes = key.sign(signed.encode(), PKCS1v15(), SHA256())
        return f"{signed}.{_encoded(signature)}"


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _answer(status: int, body: bytes) -> Granted | Denied:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    said = data if isinstance(data, dict) else {}
    if status >= 400:
        word = said.get("error")  # only its code: the sentence beside it may repeat what we sent
        code = f" {word}" if isinstance(word, str) and _WORD.fullmatch(word) else ""
        if status in (400, 401, 403):
            reason = f"the token server refused the service account ({status}{code})"
            return Denied(ErrorClass.AUTH, reason, status)
        return Denied(ErrorClass.UNAVAILABLE, f"the token server answered with {status}{code}", status)
    token, life_s = said.get("access_token"), said.get("expires_in", 300)
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        return Denied(ErrorClass.UNAVAILABLE, "the token server's answer holds none", status)
    if isinstance(life_s, bool) or not isinstance(life_s, int | float) or not life_s > 0:
        life_s = 300
    return Granted(token, float(min(life_s, _LONGEST_LIFE_S)))
