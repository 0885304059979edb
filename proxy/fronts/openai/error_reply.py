"""Turns exceptions into OpenAI's error object: the only place that knows its words for what went wrong."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from proxy.errors import BudgetError, ErrorClass, LimitError, ProxyError, RequestError, UpstreamError
from proxy.fronts import refusals
from proxy.fronts.base import Header
from proxy.types import Json

# `type` and `code` of a failure, None for what its status says and the code it has already.
Words = Mapping[ErrorClass, tuple[str | None, str | None]]

CHAT_WORDS: Words = {
    ErrorClass.AUTH: ("api_error", None),
    ErrorClass.QUOTA: ("insufficient_quota", "insufficient_quota"),
    ErrorClass.RATE_LIMITED: (None, "rate_limit_exceeded"),
    ErrorClass.BLOCKED: (None, "content_policy_violation"),
}
# openai-images.md I-017: the Images API has its own words for a picture that was refused.
IMAGE_WORDS: Words = {
    **CHAT_WORDS,
    ErrorClass.BLOCKED: ("image_generation_user_error", "moderation_blocked"),
}

# what Codex reads. The first two it tries again by itself, the others it shows.
_AGAIN = "server_error"
_RESPONSE_CODES: dict[ErrorClass, str] = {
    ErrorClass.RATE_LIMITED: "rate_limit_exceeded",
    ErrorClass.QUOTA: "insufficient_quota",
    ErrorClass.BLOCKED: "invalid_prompt",
    ErrorClass.BAD_REQUEST: "invalid_prompt",
    ErrorClass.OVERLOADED: _AGAIN,
}
_NOT_AGAIN = "invalid_prompt"

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}


def render(
    error: BaseException, request_id: str = "", words: Words = CHAT_WORDS
) -> tuple[int, list[Header], bytes]:
    """Status, headers and body. Of an exception that is not ours nothing but its happening is told."""
    status = error.status if isinstance(error, ProxyError) else 500
    return status, refusals.headers(error), orjson.dumps({"error": members(error, request_id, words)})


def event(error: BaseException, request_id: str = "", words: Words = CHAT_WORDS) -> bytes:
    """The last event of a stream that broke. openai-python raises on it and reads no further."""
    told = members(error, request_id, words)
    if isinstance(error, UpstreamError) and (error.native or error.native_status):
        told["upstream"] = {"status": error.native, "http": error.native_status}
    return b"data: " + orjson.dumps({"error": told}) + b"\n\n"


def members(error: BaseException, request_id: str = "", words: Words = CHAT_WORDS) -> Json:
    """What stands in OpenAI's error object."""
    tail = f" (request id: {request_id})" if request_id else ""
    if not isinstance(error, ProxyError):
        return {
            "message": refusals.UNKNOWN + tail,
            "type": "server_error",
            "param": None,
            "code": "internal_error",
        }
    type_ = code = None
    if isinstance(error, UpstreamError):
        type_, code = words.get(error.error_class, (None, None))
    elif isinstance(error, LimitError):
        type_ = error.kind
    elif isinstance(error, BudgetError):
        type_ = error.code
    return {
        "message": f"{refusals.sayable(error.message)}{tail}",
        "type": type_ or _type(error.status),
        "param": _sayable(_param(error)),
        "code": _sayable(error.code or code),
    }


def of_response(error: BaseException, told: Json) -> Json:
    """The `error` of a response that failed; `told` is OpenAI's error object. What must not be bought again
    has a word that no client takes for an invitation."""
    code = _AGAIN
    if isinstance(error, UpstreamError):
        code = _RESPONSE_CODES.get(error.error_class, code)
    elif isinstance(error, LimitError):
        code = "rate_limit_exceeded"
    elif isinstance(error, ProxyError) and error.status < 500:
        code = _NOT_AGAIN
    if code == _AGAIN and isinstance(error, ProxyError) and error.may_repeat is False:
        code = _NOT_AGAIN
    return {"code": code, "message": told["message"]}


def _sayable(text: str | None) -> str | None:
    return text and refusals.sayable(text)


def _type(status: int) -> str:
    return _TYPES.get(status) or ("invalid_request_error" if status < 500 else "server_error")


def _param(error: ProxyError) -> str | None:
    if isinstance(error, RequestError):
        return error.param or error.attribute
    return error.param if isinstance(error, UpstreamError) else None
