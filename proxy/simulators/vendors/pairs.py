"""Keys of two parts, which become a token or a signature. Any id is good, the secret is one for all."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import Any

SECRET = b"simulated-secret"


def of_jwt(token: str, now: float) -> str:
    """Who issued a token that is signed with HS256 and holds now. Raises `ValueError` with what is wrong."""
    parts = token.split(".")
    if len(parts) != 3:
        raise ValueError("the token is no JWT")
    expected = hmac.new(SECRET, f"{parts[0]}.{parts[1]}".encode(), hashlib.sha256).digest()
    if not hmac.compare_digest(expected, _decoded(parts[2])):
        raise ValueError("the token's signature does not match")
    head, claims = (_json(part) for part in parts[:2])
    if head != {"alg": "HS256", "typ": "JWT"}:
        raise ValueError("the token's header must be HS256 and JWT")
    begins, expires = claims.get("nbf"), claims.get("exp")
    if type(begins) is not int or type(expires) is not int:
        raise ValueError("exp and nbf must be whole numbers")
    if not begins <= now < expires <= now + 1805:
        raise ValueError("the token does not hold now, or for longer than 30 minutes")
    return str(claims.get("iss", ""))


def signature(text: str) -> str:
    """HMAC-SHA1 in URL-safe base64 without its padding."""
    digest = hmac.new(SECRET, text.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest, b"-_").decode().rstrip("=")


def token(identity: str) -> str:
    return f"24.{hashlib.sha256(f'token of {identity}'.encode()).hexdigest()[:32]}.{identity}"


def of_token(value: str) -> str:
    """Whose token it is; "" for none of ours."""
    identity = value.partition(".")[2].partition(".")[2]
    return identity if value == token(identity) else ""


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("the token is not base64") from error


def _json(text: str) -> dict[str, Any]:
    value = json.loads(_decoded(text))
    if not isinstance(value, dict):
        raise ValueError("the token holds no object")
    return value
