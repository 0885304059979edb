"""Turns exceptions into Anthropic's error object, over HTTP and as the last event of a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from proxy.errors import BudgetError, ProxyError
from proxy.fronts import refusals
from proxy.fronts.anthropic import spelling
from proxy.fronts.base import Header, Parsed
from proxy.types import Json

# Statuses that Anthropic does not answer with, and the one its clients know for it: what is asked again,
# what is shown as "overloaded".
_STATUSES = {502: 500, 503: 529}
_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
# Claude Code makes its conversation shorter when it reads these words in an `invalid_request_error`.
_TOO_LONG = "prompt is too long"
# Codes of ours that Anthropic's SDKs act on, with what stands in `details` beside them.
_DETAILS: Mapping[str, Json] = {
    "thread_unsupported_request": {
        "error_code": "thread_unsupported_request",
        "unsupported": ["thread"],
    }
}


def render(
    error: BaseException, request_id: str, parsed: Parsed[Any, Any] | None
) -> tuple[int, list[Header], bytes]:
    """Status, headers and body. Of an exception that is not ours nothing but its happening is told."""
    return _status(error), refusals.headers(error), orjson.dumps(_body(error, request_id, parsed))


def event(error: BaseException, request_id: str, parsed: Parsed[Any, Any] | None) -> bytes:
    """The last event of a stream that broke: a stream that only ends is asked for again."""
    return b"event: error\ndata: " + orjson.dumps(_body(error, request_id, parsed)) + b"\n\n"


def _status(error: BaseException) -> int:
    if isinstance(error, BudgetError):
        return 402
    status = error.status if isinstance(error, ProxyError) else 500
    return _STATUSES.get(status, status)


def _body(error: BaseException, request_id: str, parsed: Parsed[Any, Any] | None) -> Json:
    status = _status(error)
    told: Json = {"type": _TYPES.get(status) or ("invalid_request_error" if status < 500 else "api_error")}
    if isinstance(error, ProxyError):
        told["message"] = refusals.sayable(_message(spelling.spelled_error(error, parsed)))
        if details := _DETAILS.get(error.code or ""):
            told["details"] = details
    else:
        told["message"] = refusals.UNKNOWN
    return {"type": "error", "error": told, "request_id": request_id}


def _message(error: ProxyError) -> str:
    """This dialect has no place for the field but the message."""
    message = error.message
    param = getattr(error, "param", None)
    if param and param not in message:
        message = f"{param}: {message}"
    if error.code == "context_length_exceeded" and _TOO_LONG not in message:
        message = f"{_TOO_LONG}: {message}"
    return message
