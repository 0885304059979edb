"""Google's service accounts: a file with a private key, whose signature is traded for an access token.

Google, "Using OAuth 2.0 for Server to Server Applications": a JWT signed with RS256 goes to `token_uri` as
`assertion`, and what comes back is good for an hour. The signing is done by `cryptography`, which only those
install who need it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

from proxy.checking.service_accounts import NEEDS, ServiceAccount, is_this_machine
from proxy.errors import ErrorClass, UpstreamError
from proxy.upstream.authorizer import Denied, Granted, TokenLine
from proxy.upstream.grants import FORM, encoded, granted, said_of

SCOPE = "https://www.googleapis.com/auth/cloud-platform"

_GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_ASSERTION_LIFE_S = 3600
_DEFAULT_LIFE_S = 300.0


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
            status, body = await line.post(uri, urlencode(fields).encode(), FORM, provider, private=private)
        except UpstreamError as fault:
            return Denied(ErrorClass.UNAVAILABLE, f"the token server {said_of(fault, provider)}")
        return granted(status, body, _token, _life_s, _DEFAULT_LIFE_S, "the service account")

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
        signed = f"{encoded(_json(head))}.{encoded(_json(claims))}"
        signature: bytes = key.sign(signed.encode(), PKCS1v15(), SHA256())
        return f"{signed}.{encoded(signature)}"


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _token(answer: Any) -> Any:
    return answer.get("access_token")


def _life_s(answer: Any) -> Any:
    return answer.get("expires_in")
