"""What every dialect tells of a failure beside its own words: when to come back, and whether at all."""

from __future__ import annotations

import math

from proxy.errors import BudgetError, LimitError, ProxyError, UpstreamError
from proxy.fronts.base import Header

UNKNOWN = "The proxy could not complete this request because of an internal error."


def headers(error: BaseException) -> list[Header]:
    """The headers of an error's reply. The waiting time is the true one: the SDKs of OpenAI and Anthropic
    give up by themselves when it is over two minutes."""
    found: list[Header] = [(b"content-type", b"application/json")]
    if not isinstance(error, ProxyError):
        return found
    if isinstance(error, UpstreamError | LimitError | BudgetError) and error.retry_after_s is not None:
        found.append((b"retry-after", str(math.ceil(error.retry_after_s)).encode()))
        found.append((b"retry-after-ms", str(math.ceil(error.retry_after_s * 1000)).encode()))
    if error.may_repeat is not None:
        found.append((b"x-should-retry", b"true" if error.may_repeat else b"false"))
    found += (
        (name.lower().encode(), value.encode("utf-8", "replace")) for name, value in error.headers.items()
    )
    return found


def sayable(text: str) -> str:
    """Errors quote what clients and vendors wrote; half a surrogate pair cannot be written as UTF-8."""
    return text.encode("utf-8", "replace").decode()
