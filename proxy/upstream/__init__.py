"""The only folder that opens a socket."""

from proxy.upstream.account import Account
from proxy.upstream.authorizer import Authorizer, Static
from proxy.upstream.client import Upstream
from proxy.upstream.deadlines import Deadlines
from proxy.upstream.fetch import Fetcher
from proxy.upstream.fetch_rules import (
    RESULT_RULES,
    Credentials,
    Fetched,
    FetchRules,
    LockedError,
    UnreachableError,
)

__all__ = [
    "RESULT_RULES",
    "Account",
    "Authorizer",
    "Credentials",
    "Deadlines",
    "FetchRules",
    "Fetched",
    "Fetcher",
    "LockedError",
    "Static",
    "UnreachableError",
    "Upstream",
]
