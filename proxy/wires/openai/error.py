"""What upstreams that speak OpenAI say when they refuse, as our error classes.

One table by the error's own words, one by what the message says, one by the status; the first that knows
decides.
Sources: vendors.md 3 (new-api, one-api), OpenAI's, OpenRouter's, DeepSeek's and Moonshot's error pages, vLLM.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape
from typing import Any

from proxy.codec import jsonio
from proxy.errors import ErrorClass, UpstreamError
from proxy.types import Json, Target

_PAGE_MAX = 300  # characters kept of a message that is a web page (V-055)
_MESSAGE_MAX = 1000

_CODES: dict[str, ErrorClass] = {
    "insufficient_user_quota": ErrorClass.QUOTA,
    "pre_consume_token_quota_failed": ErrorClass.QUOTA,
    "insufficient_quota": ErrorClass.QUOTA,
    "insufficient_balance": ErrorClass.QUOTA,
    "exceeded_current_quota_error": ErrorClass.QUOTA,
    "billing_hard_limit_reached": ErrorClass.QUOTA,
    "billing_not_active": ErrorClass.QUOTA,
    "quota_exceeded": ErrorClass.QUOTA,
    "arrearage": ErrorClass.QUOTA,
    "invalid_api_key": ErrorClass.AUTH,
    "authentication_error": ErrorClass.AUTH,
    "invalid_authentication_error": ErrorClass.AUTH,
    "permission_denied": ErrorClass.AUTH,
    "account_deactivated": ErrorClass.AUTH,
    "rate_limit_exceeded": ErrorClass.RATE_LIMITED,
    "rate_limit_error": ErrorClass.RATE_LIMITED,
    "rate_limit_reached_error": ErrorClass.RATE_LIMITED,
    "too_many_requests": ErrorClass.RATE_LIMITED,
    "resource_exhausted": ErrorClass.RATE_LIMITED,
    "model_not_found": ErrorClass.NOT_FOUND,
    "model_not_exist": ErrorClass.NOT_FOUND,
    "notfounderror": ErrorClass.NOT_FOUND,
    "get_channel_failed": ErrorClass.UNAVAILABLE,
    "no_available_channel": ErrorClass.UNAVAILABLE,
    "channel:no_available_key": ErrorClass.UNAVAILABLE,
    "engine_overloaded_error": ErrorClass.OVERLOADED,
    "overloaded_error": ErrorClass.OVERLOADED,
    "server_overloaded": ErrorClass.OVERLOADED,
    "overloaded": ErrorClass.OVERLOADED,
    "content_policy_violation": ErrorClass.BLOCKED,
    "content_filter": ErrorClass.BLOCKED,
    "moderation_blocked": ErrorClass.BLOCKED,
    "sensitive_words_detected": ErrorClass.BLOCKED,
    "data_inspection_failed": ErrorClass.BLOCKED,
    "prompt_blocked": ErrorClass.BLOCKED,
    "prohibited_content": ErrorClass.BLOCKED,
    "context_length_exceeded": ErrorClass.BAD_REQUEST,
    "string_above_max_length": ErrorClass.BAD_REQUEST,
}

_CONTEXT = re.compile(
    r"maximum context length|context (?:length|window|size) (?:exceed|of)|exceeds? the (?:available )?context"
    r"|context_length_exceeded|input token count.*exceeds|prompt is too long",
    re.I,
)

_MESSAGES: tuple[tuple[re.Pattern[str], ErrorClass], ...] = (
    (_CONTEXT, ErrorClass.BAD_REQUEST),
    (
        re.compile(
            r"not a valid model|model \S+ (?:does not exist|(?:is )?not found)|no such model|unknown model",
            re.I,
        ),
        ErrorClass.NOT_FOUND,
    ),
    (
        re.compile(r"no (?:available )?channel|no available (?:account|key)|无可用的?渠道", re.I),
        ErrorClass.UNAVAILABLE,
    ),
    (
        re.compile(
            r"insufficient (?:\w+ )?(?:quota|balance|credits)|quota is not enough|额度不足|余额不足",
            re.I,
        ),
        ErrorClass.QUOTA,
    ),
    (re.compile(r"api[ _]key (?:not valid|is invalid|expired)|api_key_invalid", re.I), ErrorClass.AUTH),
    (
        re.compile(
            r"content (?:violates|management policy)|safety_check|usage guidelines|prohibited_content", re.I
        ),
        ErrorClass.BLOCKED,
    ),
)

_STATUSES: dict[int, ErrorClass] = {
    400: ErrorClass.BAD_REQUEST,
    401: ErrorClass.AUTH,
    402: ErrorClass.QUOTA,
    403: ErrorClass.AUTH,
    404: ErrorClass.NOT_FOUND,
    405: ErrorClass.NOT_FOUND,
    408: ErrorClass.TIMEOUT,
    429: ErrorClass.RATE_LIMITED,
    451: ErrorClass.BLOCKED,
    503: ErrorClass.OVERLOADED,
    504: ErrorClass.TIMEOUT,
    520: ErrorClass.UNAVAILABLE,
    521: ErrorClass.UNAVAILABLE,
    522: ErrorClass.UNAVAILABLE,
    523: ErrorClass.UNAVAILABLE,
    524: ErrorClass.TIMEOUT,
    529: ErrorClass.OVERLOADED,
}

# Fields that a server may not know, and what the next try does instead.
_REPAIRS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"max_tokens.{0,80}max_completion_tokens", re.I | re.S), "max_completion_tokens"),
    (re.compile(r"max_completion_tokens", re.I), "max_tokens"),
    (re.compile(r"stream_options", re.I), "no_stream_options"),
)

_SECRETS = re.compile(r"\b(?:sk|pk|rk|xai|gsk|AIza)[-_]?[\w*.-]{6,}|Bearer\s+\S+", re.I)
_TAGS = re.compile(r"<(script|style)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>", re.I | re.S)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.I | re.S)
_AGAIN = re.compile(r"(?:try again|retry) (?:in|after) (\d+(?:\.\d+)?)\s*(ms|s|m)?\b", re.I)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}
_NAMES = ("code", "type", "status", "error_code")
_DETAILS = ("message", "msg", "error_msg", "error_message", "detail", "errorMessage")


def error(status: int, headers: Mapping[str, str], body: bytes, target: Target) -> UpstreamError:
    """The error that a status of 400 and more stands for."""
    try:
        payload = _unwrapped(jsonio.loads(body))
    except jsonio.JSONDecodeError:
        return _of_page(status, headers, body, target)
    return _made(_Complaint(payload, status), target, headers)


def is_error(payload: Json) -> bool:
    """True for an error in place of a reply or of a chunk."""
    if payload.get("error"):
        return True
    if "choices" in payload or "usage" in payload:
        return False
    if payload.get("object") == "error" or payload.get("success") is False:
        return True
    return any(isinstance(payload.get(name), str) and payload[name] for name in _DETAILS)


def error_in(payload: Json, target: Target) -> UpstreamError:
    """The error inside a 200, which may tell the status it would have had."""
    return _made(_Complaint(_unwrapped(payload), None), target, {})


def repair(failure: Exception) -> str | None:
    if not isinstance(failure, UpstreamError) or failure.error_class is not ErrorClass.BAD_REQUEST:
        return None
    said = f"{failure.message} {failure.param or ''}"
    return next((name for pattern, name in _REPAIRS if pattern.search(said)), None)


class _Complaint:
    """An error body, read with patience. `words` are its codes and types, lower case."""

    def __init__(self, payload: Json, status: int | None) -> None:
        found = payload.get("error")
        inner: Json = found if isinstance(found, dict) else payload
        self.message = _message(inner) or (found if isinstance(found, str) else "")
        named = [holder.get(name) for holder in (inner, payload) for name in _NAMES]
        if isinstance(deeper := inner.get("innererror"), dict):
            named.append(deeper.get("code"))
        self.names = [word for word in named if isinstance(word, str) and word]
        self.words = [word.lower() for word in self.names]
        self.status = status or next((code for word in named if (code := _status(word))), None)
        param = inner.get("param")
        self.param = param if isinstance(param, str) and param else None
        self.details = inner.get("details")


def _message(inner: Json) -> str:
    """The text, or what the server behind a relay said, which is more."""
    text = next((_said(inner[name]) for name in _DETAILS if inner.get(name)), "")
    metadata = inner.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if isinstance(raw, str) and raw:  # OpenRouter: message is "Provider returned error"
        behind = _nested(raw)
        text = _Complaint(behind, None).message or text if behind is not None else raw
    elif (nested := _nested(text)) is not None:
        text = _Complaint(nested, None).message or text
    return text


def _said(value: Any) -> str:
    if isinstance(value, list):  # vLLM and FastAPI: a list of {loc, msg}
        return "; ".join(map(_said, value))
    if isinstance(value, dict):
        return str(value.get("msg") or value.get("message") or value)
    return str(value)


def _nested(text: str) -> Json | None:
    """Gateways put one error's JSON into another's message."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return _unwrapped(jsonio.loads(text.encode()))
    except jsonio.JSONDecodeError:
        return None


def _unwrapped(payload: Any) -> Json:
    """Google's compatible endpoint wraps its errors into a list."""
    if isinstance(payload, list):
        payload = next((item for item in payload if isinstance(item, dict)), {})
    if isinstance(payload, str):
        payload = {"message": payload}
    return payload if isinstance(payload, dict) else {}


def _status(word: Any) -> int | None:
    if isinstance(word, str) and word.isdecimal() and len(word) == 3:
        word = int(word)
    return word if isinstance(word, int) and 400 <= word < 600 else None


def _made(complaint: _Complaint, target: Target, headers: Mapping[str, str]) -> UpstreamError:
    status = complaint.status
    message = _SECRETS.sub("***", complaint.message).strip()[:_MESSAGE_MAX]
    error_class = _classify(complaint)
    code = http_status = None
    if _CONTEXT.search(message):
        code = "context_length_exceeded"
    elif error_class is ErrorClass.BAD_REQUEST:
        code = next((name for name in complaint.names if _is_code(name)), None)
    if status == 413:
        code, http_status = "request_too_large", 413
    return UpstreamError(
        error_class,
        message or f"The upstream answered with status {status or 'unknown'}.",
        provider=target.provider,
        status=http_status,
        code=code,
        param=complaint.param if error_class is ErrorClass.BAD_REQUEST else None,
        retry_after_s=_retry_after_s(headers, complaint),
        native=complaint.names[0] if complaint.names else None,
        native_status=status,
    )


def _is_code(name: str) -> bool:
    """True for a word that tells more than `invalid_request_error`."""
    return not name.isdecimal() and "error" not in name.lower() and len(name) <= 64 and " " not in name


def _classify(complaint: _Complaint) -> ErrorClass:
    for word in complaint.words:
        if word in _CODES:
            return _CODES[word]
    for pattern, error_class in _MESSAGES:
        if pattern.search(complaint.message):
            return error_class
    return _class_of_status(complaint.status)


def _class_of_status(status: int | None) -> ErrorClass:
    if status is None:
        return ErrorClass.INTERNAL
    known = _STATUSES.get(status)
    return known or (ErrorClass.BAD_REQUEST if 400 <= status < 500 else ErrorClass.INTERNAL)


def _of_page(status: int, headers: Mapping[str, str], body: bytes, target: Target) -> UpstreamError:
    """A web page or plain text: a machine before the vendor's speaks, or the address is wrong."""
    text = body[:65_536].decode("utf-8", "replace")
    is_page = "<" in text and re.search(r"<(?:!doctype|html|head|body|title|h1)\b", text, re.I) is not None
    title = _TITLE.search(text)
    words = unescape(_TAGS.sub(" ", title[1] if title is not None else text)) if is_page else text
    words = " ".join(_SECRETS.sub("***", words).replace("<", " ").replace(">", " ").split())
    message = f"The upstream answered with status {status} and no JSON" + (f": {words}" if words else ".")
    complaint = _Complaint({"message": words}, status)
    error_class = ErrorClass.UNAVAILABLE if is_page and status in (403, 503) else _classify(complaint)
    return UpstreamError(
        error_class,
        message[:_PAGE_MAX],
        provider=target.provider,
        status=413 if status == 413 else None,
        code="request_too_large" if status == 413 else None,
        retry_after_s=_retry_after_s(headers, complaint),
        native_status=status,
    )


def _retry_after_s(headers: Mapping[str, str], complaint: _Complaint) -> float | None:
    """The vendor's word on when to come back: headers, Google's RetryInfo, OpenAI's sentence."""
    lowered = {name.lower(): value for name, value in headers.items()}
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(lowered[name])) * unit
        except (KeyError, ValueError):
            continue
    for detail in complaint.details if isinstance(complaint.details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and re.fullmatch(r"\d+(?:\.\d+)?s", delay):
            return float(delay[:-1])
    if (found := _AGAIN.search(complaint.message)) is not None:
        return float(found[1]) * _UNITS[(found[2] or "s").lower()]
    return None
