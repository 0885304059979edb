"""Turns exceptions into OpenAI's error object: the only place that does."""

from __future__ import annotations

import math

import orjson

from proxy.errors import ProxyError, UpstreamError
from proxy.types import Json

Headers = list[tuple[bytes, bytes]]

_UNKNOWN = "The proxy could not complete this request because of an internal error."


def render(error: BaseException, request_id: str = "") -> tuple[int, Headers, bytes]:
    """Status, headers and body. Of an exception that is not ours nothing but its happening is told."""
    headers: Headers = [(b"content-type", b"application/json")]
    if isinstance(error, ProxyError):
        headers += _retry(error)
        headers += ((name.lower().encode(), value.encode()) for name, value in error.headers.items())
    status = error.status if isinstance(error, ProxyError) else 500
    return status, headers, orjson.dumps({"error": _members(error, request_id)})


def event(error: BaseException, request_id: str = "") -> bytes:
    """The last event of a stream that broke. openai-python raises on it and reads no further."""
    members = _members(error, request_id)
    if isinstance(error, UpstreamError) and (error.native or error.native_status):
        members["upstream"] = {"status": error.native, "http": error.native_status}
    return b"data: " + orjson.dumps({"error": members}) + b"\n\n"


def _members(error: BaseException, request_id: str) -> Json:
    tail = f" (request id: {request_id})" if request_id else ""
    if not isinstance(error, ProxyError):
        return {"message": _UNKNOWN + tail, "type": "server_error", "param": None, "code": "internal_error"}
    return {
        "message": error.message + tail,
        "type": error.type,
        "param": error.param,
        "code": error.code,
    }


def _retry(error: ProxyError) -> Headers:
    """The true waiting time: openai-python gives up by itself when it is over two minutes."""
    headers: Headers = []
    if isinstance(error, UpstreamError):
        if error.retry_after_s is not None:
            wait_s = max(0.0, error.retry_after_s)
            headers.append((b"retry-after", str(math.ceil(wait_s)).encode()))
            headers.append((b"retry-after-ms", str(math.ceil(wait_s * 1000)).encode()))
        should_retry = False if error.accepted else error.policy.should_retry
        if should_retry is not None:
            headers.append((b"x-should-retry", b"true" if should_retry else b"false"))
    return headers
