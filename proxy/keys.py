"""Who is calling: client keys from the file, compared in constant time, and what each may use. Keys that were
made at run time are in the store: see `store/callers.py`."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, NamedTuple

from proxy.errors import CallerError, RequestError

if TYPE_CHECKING:
    from decimal import Decimal

Period = Literal["day", "month", "total"]

OF_QUERY = b"?key"  # as no header is called: a key that came in the address
CREDENTIAL_HEADERS = (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", OF_QUERY)


class Window(NamedTuple):
    """At most so many in so many seconds."""

    most: int
    per_s: float


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a caller may have; None where nobody says. `windows` are those of requests, tokens and images,
    and `bounded` those of them that there are, each with its place."""

    requests: Window | None = None
    tokens: Window | None = None
    images: Window | None = None
    concurrent: int | None = None
    windows: tuple[Window | None, Window | None, Window | None] = field(init=False, repr=False, compare=False)
    bounded: tuple[tuple[int, int, float], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        windows = self.requests, self.tokens, self.images
        object.__setattr__(self, "windows", windows)
        object.__setattr__(self, "bounded", tuple([(n, *one) for n, one in enumerate(windows) if one]))


class Budget(NamedTuple):
    """At most so much money in each period, which begins at midnight UTC."""

    amount: Decimal
    currency: str
    period: Period


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A caller. `models` are patterns of the names it may use; `image_output` its default picture mode.
    `limits` is None where nothing needs to be counted, `budget` where nobody bounds its money; `expires_at`
    is in seconds since 1970."""

    name: str
    models: tuple[str, ...] = ("*",)
    image_output: str | None = None
    admin: bool = False
    limits: Limits | None = None
    budget: Budget | None = None
    expires_at: float | None = None

    def may_use(self, model: str) -> bool:
        for pattern in self.models:  # noqa: SIM110 - a generator is entered for every pattern
            if pattern == "*" or fnmatchcase(model, pattern):
                return True
        return False


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """All callers of the file. `open_caller` stands for everybody when the server runs in open mode. `names`
    are theirs, and those that no other caller may have."""

    by_digest: Mapping[bytes, tuple[bytes, ClientKey]] = field(repr=False)
    open_caller: ClientKey | None = None
    names: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        keys: Iterable[tuple[str, ClientKey]],
        open_caller: ClientKey | None = None,
        names: frozenset[str] = frozenset(),
    ) -> ClientKeys:
        """`keys` are (secret, caller) pairs; only digests of the secrets are kept."""
        by_digest = {}
        for secret, caller in keys:
            digest = hashlib.sha256(secret.encode()).digest()
            by_digest[digest[:8]] = (digest, caller)
        return cls(by_digest, open_caller, names)

    def identify(self, headers: Iterable[tuple[bytes, bytes]]) -> ClientKey | None:
        """The caller of a request, None without a key of the file. Raises a 400 for two different keys."""
        secret = credential(headers)
        if secret:
            digest = hashlib.sha256(secret).digest()
            expected, caller = self.by_digest.get(digest[:8], (b"", None))
            if hmac.compare_digest(digest, expected) and caller is not None:
                return caller
        return self.open_caller


def unknown(headers: Iterable[tuple[bytes, bytes]]) -> CallerError:
    """What is said to a caller with these headers, whose credential nobody knows."""
    if not credential(headers):
        return CallerError("nothing")
    return CallerError("token" if any(name == b"authorization" for name, _ in headers) else "key")


def _conflict(headers: Iterable[tuple[bytes, bytes]]) -> RequestError:
    names = dict.fromkeys(name.decode() for name, _ in headers if name in CREDENTIAL_HEADERS)
    return RequestError(
        f"The request carries two different API keys, in {' and '.join(names)}. Send one of them alone.",
        code="conflicting_api_keys",
    )


def credential(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """What the client sent as its key, empty if nothing. Raises a 400 for two different ones."""
    found = b""
    for name, value in headers:
        if name not in CREDENTIAL_HEADERS:
            continue
        secret = value.strip()
        if name == b"authorization":
            scheme, _, secret = secret.partition(b" ")
            if scheme.lower() != b"bearer":
                continue
            secret = secret.strip()
        if found and secret and secret != found:
            raise _conflict(headers)
        found = found or secret
    return found
