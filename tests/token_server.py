"""A token server that is strict, a vendor that knows its tokens, and a service account for both."""

from __future__ import annotations

import base64
import functools
import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from tests.hostile import Request, Server

EMAIL = "robot@project.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@functools.cache
def private_key(size: int = 2048) -> Any:
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(65537, size)


@functools.cache
def pem() -> str:
    from cryptography.hazmat.primitives import serialization as forms

    return (
        private_key()
        .private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
        .decode()
    )


def account_file(token_uri: str, **changes: Any) -> str:
    """The JSON file that Google's console gives out."""
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "project",
            "private_key_id": "key-1",
            "private_key": pem(),
            "client_email": EMAIL,
            "client_id": "1234567890",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": token_uri,
            **changes,
        }
    )


def http(status: int, body: Any) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    return head.encode() + data


@dataclass
class TokenServer:
    """Gives `token-1-canary`, `token-2-canary` ... for right assertions, whose `/token` path is at `server`.

    `answers` come before that, one each. All other paths are the vendor's: 401 to tokens in `revoked` and to
    strangers with the credentials repeated, else `reply`, where TOKEN stands for theirs. `asked` counts
    requests for tokens, `used` are the credentials of the calls.
    """

    life_s: Any = 3600
    reply: tuple[int, Any] = (200, {"n": 1})
    answers: list[tuple[int, Any]] = field(default_factory=list)
    revoked: set[str] = field(default_factory=set)
    asked: int = 0
    given: int = 0
    used: list[str] = field(default_factory=list)
    server: Server = field(default_factory=Server)

    async def __call__(self, request: Request) -> None:
        body = await request.read_body()
        path = request.head.split(b" ")[1].decode()
        answer = self._grant(request, body) if path == "/token" else self._vendor(request)
        await request.send(answer)

    def _grant(self, request: Request, body: bytes) -> bytes:
        self.asked += 1
        if self.answers:
            return http(*self.answers.pop(0))
        fields = parse_qs(body.decode(), strict_parsing=True)
        if request.headers["content-type"] != "application/x-www-form-urlencoded" or set(fields) != {
            "grant_type",
            "assertion",
        }:
            return http(400, {"error": "invalid_request"})
        if fields["grant_type"] != ["urn:ietf:params:oauth:grant-type:jwt-bearer"]:
            return http(400, {"error": "unsupported_grant_type"})
        if wrong := self.wrong(fields["assertion"][0]):
            said = {"error": "invalid_grant", "error_description": f"{wrong}: {fields['assertion'][0]}"}
            return http(400, said)
        self.given += 1
        token = {"access_token": f"token-{self.given}-canary", "token_type": "Bearer"}
        return http(200, token | ({} if self.life_s is None else {"expires_in": self.life_s}))

    def wrong(self, assertion: str) -> str:
        """What is wrong with an assertion, as its document has it: RFC 7523, 3 and Google's own page."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        head, claims, signature = assertion.split(".")
        try:
            signed = f"{head}.{claims}".encode()
            private_key().public_key().verify(_decoded(signature), signed, PKCS1v15(), SHA256())
        except InvalidSignature:
            return "Invalid JWT Signature"
        if json.loads(_decoded(head)) != {"alg": "RS256", "typ": "JWT", "kid": "key-1"}:
            return "head"
        said = json.loads(_decoded(claims))
        now = time.time()
        issued, ends = said.pop("iat"), said.pop("exp")
        if not (now - 60 < issued <= now + 1) or ends - issued != 3600:
            return "iat and exp"
        expected = {"iss": EMAIL, "scope": SCOPE, "aud": f"{self.server.url}/token"}
        return "" if said == expected else "claims"

    def _vendor(self, request: Request) -> bytes:
        shown = request.headers.get("authorization", "")
        self.used.append(shown)
        token = shown.removeprefix("Bearer ")
        if token in self.revoked or token not in {f"token-{n + 1}-canary" for n in range(self.given)}:
            return http(401, {"error": {"code": 401, "message": f"bad {shown}", "status": "UNAUTHENTICATED"}})
        status, body = self.reply
        return http(status, json.dumps(body).replace("TOKEN", token).encode())


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
