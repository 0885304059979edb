"""The only folder that opens a socket."""

from proxy.upstream.authorizer import Authorizer, Static
from proxy.upstream.client import Account, Upstream
from proxy.upstream.deadlines import Deadlines
from proxy.upstream.fetch import RESULT_RULES, Fetched, Fetcher, FetchRules, UnreachableError

__all__ = [
    "RESULT_RULES",
    "Account",
    "Authorizer",
    "Deadlines",
    "FetchRules",
    "Fetched",
    "Fetcher",
    "Static",
    "UnreachableError",
    "Upstream",
]
