"""Turns exceptions into Google's error object: the only place that knows its words for what went wrong."""

from __future__ import annotations

import orjson

from proxy.errors import BudgetError, CallerError, LimitError, ProxyError, RequestError, UpstreamError
from proxy.fronts import refusals
from proxy.fronts.base import Header
from proxy.fronts.gemini import spelling
from proxy.types import Json

# google.rpc.Code, by the HTTP status that Google gives each.
_WORDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
# What a vendor may say more exactly under the same status.
_EXACT = {"FAILED_PRECONDITION": 400, "OUT_OF_RANGE": 400, "ALREADY_EXISTS": 409, "DATA_LOSS": 500}

_TYPES = "type.googleapis.com/google.rpc."
_BAD_KEY = "API key not valid. Please pass a valid API key."
_NO_KEY = "Method doesn't allow unregistered callers; send an API key in the header x-goog-api-key."


def render(error: BaseException) -> tuple[int, list[Header], bytes]:
    """Status, headers and body. Of an exception that is not ours nothing but its happening is told."""
    told = members(error)
    return told["code"], refusals.headers(error), orjson.dumps({"error": told})


def members(error: BaseException) -> Json:
    """What stands in Google's error object."""
    if not isinstance(error, ProxyError):
        return {"code": 500, "message": refusals.UNKNOWN, "status": "INTERNAL"}
    if isinstance(error, CallerError) and error.credential != "token":
        return _of_key(error)
    error = spelling.spelled_error(error)
    native = error.native if isinstance(error, UpstreamError) else None
    is_exact = native is not None and _EXACT.get(native) == error.status
    word = native if is_exact else _WORDS.get(error.status)
    told: Json = {
        "code": error.status,
        "message": refusals.sayable(error.message),
        "status": word or ("INVALID_ARGUMENT" if error.status < 500 else "INTERNAL"),
    }
    if details := _details(error):
        told["details"] = details
    return told


def _of_key(error: CallerError) -> Json:
    """N-051: Google calls a wrong key a bad argument, and no key a lack of permission."""
    if error.credential == "nothing":
        return {"code": 403, "message": _NO_KEY, "status": "PERMISSION_DENIED"}
    reason = {"@type": f"{_TYPES}ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
    return {"code": 400, "message": _BAD_KEY, "status": "INVALID_ARGUMENT", "details": [reason]}


def _details(error: ProxyError) -> list[Json]:
    found: list[Json] = []
    if (wait_s := _wait_s(error)) is not None:
        found.append(
            {"@type": f"{_TYPES}RetryInfo", "retryDelay": f"{wait_s:.3f}".rstrip("0").rstrip(".") + "s"}
        )
    if isinstance(error, UpstreamError | RequestError) and (field := _field(error)):
        violation = {"field": refusals.sayable(field), "description": refusals.sayable(error.message)}
        found.append({"@type": f"{_TYPES}BadRequest", "fieldViolations": [violation]})
    if error.code:
        reason = refusals.sayable(error.code).upper()
        found.append({"@type": f"{_TYPES}ErrorInfo", "reason": reason, "domain": "dragoman"})
    return found


def _field(error: UpstreamError | RequestError) -> str | None:
    return error.param or (error.attribute if isinstance(error, RequestError) else None)


def _wait_s(error: ProxyError) -> float | None:
    return error.retry_after_s if isinstance(error, UpstreamError | LimitError | BudgetError) else None
