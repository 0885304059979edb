"""Errors of the Gemini API and of those who resell it: any status, any body, one table of rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.codec import jsonio
from proxy.errors import ErrorClass, UpstreamError
from proxy.types import Json, Target
from proxy.wires.gemini.lenient import dicts_of
from proxy.wires.gemini.repairs import RESIGN, SCHEMA_FORM, SENTINEL_BASE64

_MAX_FOREIGN = 300  # characters of a body that is not JSON
_MAX_NESTING = 4

_STATUS_OF_WORD = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


@dataclass(frozen=True, slots=True)
class _Rule:
    """`statuses` empty: any. `text` is looked for in all the error says, `code` in its code alone."""

    error_class: ErrorClass
    statuses: frozenset[int] = frozenset()
    text: re.Pattern[str] | None = None
    code: re.Pattern[str] | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)


def _rule(error_class: ErrorClass, statuses: str, text: str = "", code: str = "", **overrides: Any) -> _Rule:
    return _Rule(
        error_class,
        frozenset(map(int, statuses.split())),
        re.compile(text, re.I) if text else None,
        re.compile(code, re.I) if code else None,
        overrides,
    )


# The first that fits. Sources: gemini.md 6, vendors.md 1.4 and 3.
_RULES = (
    _rule(
        ErrorClass.AUTH,
        "400 401 403",
        r"\bAPI_KEY_\w+|api key (?:not valid|not found|expired|is invalid)|reported as leaked",
    ),
    _rule(
        ErrorClass.BAD_REQUEST,
        "400",
        r"input token count.{0,200}exceeds|exceeds the maximum number of tokens",
        code="",
        openai_code="context_length_exceeded",
    ),
    _rule(ErrorClass.BLOCKED, "400 403 422", code=r"moderat|safety|policy|sensitive|blocked"),
    _rule(
        ErrorClass.QUOTA,
        "400 402 403 429",
        r"BILLING_DISABLED|(?:enable|requires) billing|billing (?:is|to be|account)"
        r"|credits? (?:are|is|have been) (?:depleted|exhausted)|insufficient (?:balance|credit|quota)"
        r"|insufficient_quota|user_quota|consume_token_quota",
    ),
    _rule(ErrorClass.QUOTA, "429", r"per ?day"),
    _rule(ErrorClass.QUOTA, "402"),
    _rule(
        ErrorClass.UNAVAILABLE,
        "400 403",
        r"location is not supported|not (?:supported|available) in your (?:country|region)",
        status=403,
        openai_code="upstream_region",
    ),
    # Somebody else's file says nothing about our key.
    _rule(
        ErrorClass.BAD_REQUEST,
        "403",
        r"permission to access the (?:file|cached ?content)",
        status=403,
    ),
    _rule(ErrorClass.AUTH, "401 403"),
    _rule(ErrorClass.BAD_REQUEST, "404", r"cached? ?content|\bfiles?[/ ]", status=404),
    _rule(ErrorClass.NOT_FOUND, "404"),
    _rule(ErrorClass.TIMEOUT, "408 499 504"),
    _rule(ErrorClass.BAD_REQUEST, "413", status=413, openai_code="request_too_large"),
    _rule(ErrorClass.RATE_LIMITED, "429"),
    _rule(
        ErrorClass.UNAVAILABLE, "503", r"no (?:available )?channel|model_not_found|not configured|no upstream"
    ),
    _rule(ErrorClass.OVERLOADED, "503 529"),
    _rule(ErrorClass.BAD_REQUEST, " ".join(map(str, range(400, 500)))),
    _rule(ErrorClass.INTERNAL, ""),
)

_REPAIRS = (
    (SENTINEL_BASE64, re.compile(r"(?=.*thought.?signature)(?=.*base64)", re.I | re.S)),
    (RESIGN, re.compile(r"thought.?signature", re.I)),
    (
        SCHEMA_FORM,
        re.compile(
            r"(?:parameters|response)_?json_?schema"
            r"|unknown name.{1,200}(?:function_?declarations|response_?schema)",
            re.I,
        ),
    ),
)

_SECRETS = re.compile(
    r"AIz[A-Za-z0-9_-]{10,}|\bAQ\.[A-Za-z0-9_-]{10,}|\bya29\.[A-Za-z0-9._-]+|\bsk-[A-Za-z0-9_-]{8,}"
    r"|(?<=[?&]key=)[^&\s\"']+|(?<=Bearer )[A-Za-z0-9._~+/-]{8,}=*"
)
_RETRY_IN = re.compile(r"retry (?:in|after) (\d+(?:\.\d+)?) ?s", re.I)
_TITLE = re.compile(r"<title[^>]*>([^<]{1,200})", re.I)
_TAG = re.compile(r"<[^>]{0,500}>")
_HTML = re.compile(r"\s*<(?:!doctype|html|head|body|center|h1)\b", re.I)


@dataclass(slots=True)
class _Report:
    """What an error body says, from whichever place."""

    message: str = ""
    word: str = ""
    code: str = ""
    status: int | None = None
    said: list[str] = field(default_factory=list)  # everything rules may look at
    delay_s: float | None = None


def read_error(status: int, headers: Mapping[str, str], body: bytes, target: Target) -> UpstreamError:
    """The error that an HTTP status >= 400 stands for; the vendor's Retry-After wins over its body."""
    report = _read_body(status, body)
    lower = {name.lower(): value for name, value in headers.items()}
    delay_s = _number(lower.get("retry-after-ms"), 1000) or _number(lower.get("retry-after"))
    if delay_s is not None:
        report.delay_s = delay_s
    return _judge(report, status, target)


def is_error(payload: Json) -> bool:
    """True for an error that came with a 200 or inside a stream."""
    if payload.get("error") or payload.get("success") is False:
        return True
    return "candidates" not in payload and "message" in payload and not {"code", "status"}.isdisjoint(payload)


def error_in(payload: Json, target: Target) -> UpstreamError:
    """The error a payload is."""
    return _judge(_read(payload, 0), None, target)


def repair(error: Exception) -> str | None:
    """Name the change to the request that may cure a 400, None if there is none."""
    if not isinstance(error, UpstreamError) or error.error_class is not ErrorClass.BAD_REQUEST:
        return None
    return next((name for name, pattern in _REPAIRS if pattern.search(error.message)), None)


def scrubbed(text: str) -> str:
    """Without anything that looks like a key."""
    return _SECRETS.sub("[key removed]", text)


def _judge(report: _Report, http: int | None, target: Target) -> UpstreamError:
    status = report.status or http or _STATUS_OF_WORD.get(report.word) or 500
    said = "\n".join([report.message, report.code, *report.said])
    rule = next(rule for rule in _RULES if _fits(rule, status, said, report.code))
    overrides = dict(rule.overrides)
    code = overrides.pop("openai_code", None)
    delay = _RETRY_IN.search(report.message) if report.delay_s is None else None
    return UpstreamError(
        rule.error_class,
        scrubbed(report.message) or f"The upstream answered HTTP {status} without a reason.",
        provider=target.provider,
        code=code,
        retry_after_s=float(delay[1]) if delay else report.delay_s,
        native=report.word or report.code or None,
        native_status=http or status,
        **overrides,
    )


def _fits(rule: _Rule, status: int, said: str, code: str) -> bool:
    return (
        (not rule.statuses or status in rule.statuses)
        and (rule.text is None or rule.text.search(said) is not None)
        and (rule.code is None or rule.code.search(code) is not None)
    )


def _read_body(status: int, body: bytes) -> _Report:
    try:
        return _read(jsonio.loads(body), 0)
    except jsonio.JSONDecodeError:
        text = body[:65_536].decode(errors="replace")
    if _HTML.match(text):
        title = _TITLE.search(text)
        name = f": {title[1].strip()}" if title else ""
        return _Report(f"The upstream answered HTTP {status} with a web page{name}."[:_MAX_FOREIGN])
    inner = _embedded(text, 0)
    return inner or _Report(" ".join(_TAG.sub(" ", text).split())[:_MAX_FOREIGN])


def _read(value: Any, depth: int) -> _Report:
    """Look for Google's error object: in a list, under `error`, in a string that is JSON again."""
    if isinstance(value, list):
        value = next((item for item in value if isinstance(item, dict)), value[0] if value else {})
    if isinstance(value, str):
        return (_embedded(value, depth) if depth < _MAX_NESTING else None) or _Report(value[:2000])
    if not isinstance(value, dict):
        return _Report()
    inner = value.get("error")
    if isinstance(inner, (dict, list)) and inner and depth < _MAX_NESTING:
        return _read(inner, depth + 1)
    message = next(
        (
            value[name]
            for name in ("message", "error", "msg", "detail", "title")
            if isinstance(value.get(name), str)
        ),
        "",
    )
    nested = _embedded(message, depth + 1) if depth < _MAX_NESTING else None
    if nested is not None and nested.message:
        return nested
    report = _Report(message)
    _read_codes(report, value)
    for detail in dicts_of(value.get("details")):
        _read_detail(report, detail)
    return report


def _read_codes(report: _Report, value: Json) -> None:
    for name in ("code", "error_code", "status", "type"):
        given = value.get(name)
        if isinstance(given, str) and given.isdecimal():
            given = int(given)
        if isinstance(given, int):
            if 400 <= given < 600:
                report.status = report.status or given
        elif isinstance(given, str) and given:
            if given in _STATUS_OF_WORD:
                report.word = report.word or given
            elif name != "type":
                report.code = report.code or given


def _read_detail(report: _Report, detail: Json) -> None:
    """One google.rpc detail: reasons and quotas for the rules, the delay, what is wrong with which field."""
    report.said += [str(detail[name]) for name in ("reason", "detail") if isinstance(detail.get(name), str)]
    for violation in dicts_of(detail.get("violations")):
        report.said += [str(violation[name]) for name in ("quotaId", "quotaMetric") if name in violation]
    delay = detail.get("retryDelay")
    if isinstance(delay, str) and delay.endswith("s"):
        report.delay_s = _number(delay[:-1])
    for violation in dicts_of(detail.get("fieldViolations")):
        description = violation.get("description")
        if isinstance(description, str) and description and description not in report.message:
            report.message = f"{report.message} {description}".strip()


def _embedded(text: str, depth: int) -> _Report | None:
    """The error inside a string such as `got status: 429. {"error": ...}` (gateways wrap Google so)."""
    start = text.find("{")
    if start < 0 or '"' not in text:
        return None
    try:
        value = jsonio.loads(text[start : text.rfind("}") + 1].encode())
    except jsonio.JSONDecodeError:
        return None
    if not isinstance(value, dict) or {"error", "message"}.isdisjoint(value):
        return None
    return _read(value, depth + 1)


def _number(text: str | None, divisor: float = 1) -> float | None:
    """A number of seconds; None for a date, which only a clock could read."""
    try:
        value = float(text) / divisor if text else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < 1e7 else None
