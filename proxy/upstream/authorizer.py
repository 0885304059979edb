"""What opens a vendor's door: credentials, kept apart from the calls they are added to at the last moment.

An `Authorizer` belongs to an account. Most are `Static`: headers, or a query parameter. One that holds
something that expires (`tokens.Token`) is asked to be `ready` before each call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol
from urllib.parse import quote, quote_plus, urlencode

from proxy.errors import ErrorClass

if TYPE_CHECKING:
    from proxy.types import Call
    from proxy.upstream.account import Account
    from proxy.upstream.deadlines import Deadlines

Pairs = tuple[tuple[str, str], ...]

_SHORTEST_SECRET = 8


class TokenLine(Protocol):
    """The way to a token server."""

    async def post(
        self, url: str, data: bytes, content_type: str, provider: str, *, private: bool
    ) -> tuple[int, bytes]:
        """Status and the begin of the body. Raises `UpstreamError`."""
        ...


class Authorizer(Protocol):
    """`headers` and `query` (ready to follow a `?`) are what a call gets at the moment it is sent."""

    @property
    def headers(self) -> Pairs: ...

    @property
    def query(self) -> str: ...

    @property
    def renewal(self) -> Renewal | None:
        """What to ask first, None where nothing expires."""
        ...

    @property
    def secrets(self) -> Sequence[str]:
        """All that must be blanked where a vendor repeats it."""
        ...

    @property
    def shown(self) -> tuple[dict[str, str], str]:
        """Headers and query as they may be printed: the names, and `***` for each value."""
        ...


class Renewal(Protocol):
    """The part of an authorizer that knows time."""

    async def ready(self, line: TokenLine, deadlines: Deadlines) -> None:
        """Return when `headers` can be used. Raises `UpstreamError` when they cannot be had."""
        ...

    def opened(self, call: Call, account: Account) -> Account:
        """The account with what opens the door for this call."""
        ...

    def refused(self, headers: Pairs) -> bool:
        """The vendor answered 401 to these; True when others may do better, which `ready` will get."""
        ...


@dataclass(frozen=True, slots=True)
class Static:
    """Headers and query parameters that never change, as (name, value) pairs."""

    headers: Pairs = field(default=(), repr=False)
    parameters: Pairs = field(default=(), repr=False)
    query: str = field(init=False, repr=False)

    renewal: ClassVar[None] = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "query", urlencode(self.parameters))

    @property
    def secrets(self) -> list[str]:
        """The keys themselves; what is shorter than any key is only a word."""
        values = [value.rpartition(" ")[2] for _, value in self.headers]
        for _, value in self.parameters:
            values += dict.fromkeys((value, quote_plus(value), quote(value, safe=""), quote(value)))
        return [value for value in values if len(value) >= _SHORTEST_SECRET]

    @property
    def shown(self) -> tuple[dict[str, str], str]:
        names = [quote(name, safe="") for name, _ in self.parameters]
        return {name: "***" for name, _ in self.headers}, "&".join(f"{name}=***" for name in names)


@dataclass(frozen=True, slots=True)
class Granted:
    """A token and how many seconds it lives from the moment it was asked for."""

    token: str = field(repr=False)
    life_s: float


@dataclass(frozen=True, slots=True)
class Denied:
    """Why there is no token. AUTH where asking again is no use, UNAVAILABLE where it may be."""

    error_class: ErrorClass
    reason: str
    status: int | None = None


class Grant(Protocol):
    """Where tokens come from."""

    @property
    def secrets(self) -> list[str]: ...

    async def ask(self, line: TokenLine, provider: str) -> Granted | Denied: ...
