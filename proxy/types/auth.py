"""How a vendor's key opens its door, as data: sent as it is, or made into a token or a signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Hash = Literal["md5", "sha1", "sha256", "sha512"]
TextEncoding = Literal["hex", "base64", "base64url"]

# What texts may name in braces. A key of two parts is written `id:secret`.
KEY_NAMES = ("key", "id", "secret")
TIME_NAMES = ("timestamp", "timestamp_ms", "date", "nonce")
LIFE_NAMES = ("begins", "expires", "expires_ms")
CALL_NAMES = ("method", "host", "path", "query", "body", "body_md5", "body_sha256")


@dataclass(frozen=True, slots=True)
class Jwt:
    """A JSON Web Token that is signed here, with the key's secret. Texts of `head` and `claims` may hold
    names in braces; one that is nothing but a name keeps its type."""

    claims: Mapping[str, Any]
    head: Mapping[str, Any] = field(default_factory=dict)
    hash: Literal["sha256", "sha512"] = "sha256"
    life_s: float = 1800.0


@dataclass(frozen=True, slots=True)
class Signature:
    """An HMAC of `text` with the key's secret, new for each call. `headers` and `query` go along and may name
    it as `{signature}`."""

    text: str
    hash: Hash
    encoding: TextEncoding
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A token that the vendor gives for the key. `address` is a path below the account's, or a whole one.

    `token` and `life_s` read its answer; `default_life_s` is for one that does not say how long it holds.
    """

    address: str
    query: Mapping[str, str]
    fields: Mapping[str, str]
    encoding: Literal["form", "json"]
    token: Callable[[Any], str | None]
    life_s: Callable[[Any], float | None]
    default_life_s: float = 1800.0


Scheme = Jwt | Signature | Exchange


@dataclass(frozen=True, slots=True)
class Carrier:
    """How a vendor's key travels, or the token that `scheme` makes of it: in a header, after `prefix`, or as
    a query parameter; one of the two. A signature has places of its own."""

    header: str | None = None
    prefix: str = ""
    query: str | None = None
    scheme: Scheme | None = None
