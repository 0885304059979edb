"""What may be downloaded, and what a download comes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from proxy.errors import RequestError
from proxy.types import Slice
from proxy.upstream.guard import is_public


class UnreachableError(RequestError):
    """The file could not be had for a reason that may pass: the line, or a server that stumbles."""


class LockedError(RequestError):
    """Where the file is, it is given to nobody without a key, or not with this one."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What opens the door of a file's host: headers, and what joins the query. They go to that host only, and
    to no other that it redirects to."""

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    query: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Fetched:
    """`mime` is what the first bytes say, never what the server said."""

    mime: str
    data: Slice


@dataclass(frozen=True, slots=True)
class FetchRules:
    """What may be downloaded, and how long it may take. `hosts`: only these names and those below them.

    `is_public` judges every address before it is connected to; `ports` are the only ones, empty for all.
    """

    hosts: tuple[str, ...] | None = None
    ports: frozenset[int] = frozenset({80, 443})
    https_only: bool = False
    redirects: int = 3
    connect_s: float = 5.0
    silence_s: float = 10.0
    total_s: float = 20.0
    at_once: int = 32
    at_once_per_request: int = 4
    total_bytes: int = 48 << 20
    is_public: Callable[[str], bool] = is_public


# What a vendor made is paid for: patience costs less than a picture. A `Fetcher` of its own keeps clients'
# slow addresses from standing in its way.
RESULT_RULES = FetchRules(connect_s=10, silence_s=30, total_s=120)
