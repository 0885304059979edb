"""What a vendor's refusal means: its message, its code, and the error class that the profile's rules give."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

from proxy.errors import ErrorClass, UpstreamError
from proxy.wires.declared.paths import every, first_text
from proxy.wires.declared.sections import Errors, Rule

MOST_CHARACTERS = 300  # of a vendor's message; gateways answer with whole HTML pages

_BY_STATUS = {
    401: ErrorClass.AUTH,
    402: ErrorClass.QUOTA,
    403: ErrorClass.AUTH,
    404: ErrorClass.NOT_FOUND,
    408: ErrorClass.TIMEOUT,
    429: ErrorClass.RATE_LIMITED,
    503: ErrorClass.UNAVAILABLE,
    504: ErrorClass.TIMEOUT,
    529: ErrorClass.OVERLOADED,
}

# These are between the operator and the vendor; the vendor's own sentence may quote the key or the balance.
_OUR_SENTENCES = {
    ErrorClass.AUTH: "{} does not accept our credentials.",
    ErrorClass.QUOTA: "{}: the balance or quota of the account is used up.",
}


def class_of_status(status: int) -> ErrorClass:
    """For a reply that no rule knows. A failure with HTTP 200 is the vendor's own."""
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return ErrorClass.BAD_REQUEST if 400 <= status < 500 else ErrorClass.INTERNAL


@dataclass(frozen=True, slots=True)
class Complaint:
    """A refusal as the vendor said it: with an HTTP status, in a task's final state, or for one picture."""

    status: int
    payload: Any
    code: str | None
    message: str | None
    headers: Mapping[str, str] = field(default_factory=dict)
    state: str | None = None


def of_reply(
    errors: Errors, status: int, headers: Mapping[str, str], payload: Any, state: str | None = None
) -> Complaint:
    """`payload` is the decoded JSON, or the bytes of something else."""
    code = None if isinstance(payload, bytes) else first_text(errors.code, payload)
    return Complaint(status, payload, code, message_of(errors, payload), headers, state)


def of_item(item: Any) -> Complaint:
    """One picture of several failed; `item` is an object with `code` and `message`, or a sentence."""
    fields = item if isinstance(item, Mapping) else {"message": item}
    code, message = fields.get("code"), fields.get("message")
    return Complaint(
        200,
        item,
        None if code is None else str(code),
        readable(message) if isinstance(message, str) else None,
    )


def match(errors: Errors, complaint: Complaint, *, body_only: bool = False) -> ErrorClass | None:
    """The class of the first rule that fits. `body_only` leaves out rules that look at the HTTP status."""
    for rule in errors.rules:
        if not (body_only and rule.http) and _fits(rule, complaint):
            return rule.error_class
    return None


def _fits(rule: Rule, complaint: Complaint) -> bool:
    code, message = (complaint.code or ""), (complaint.message or "").lower()
    return (
        (not rule.http or complaint.status in rule.http)
        and (not rule.code or complaint.code in rule.code)
        and (not rule.code_has or any(part in code.lower() for part in rule.code_has))
        and (not rule.message_has or any(part in message for part in rule.message_has))
        and (not rule.state or complaint.state in rule.state)
        and (rule.when is None or rule.when.holds(complaint.payload))
    )


def message_of(errors: Errors, payload: Any) -> str | None:
    """The vendor's sentence, shortened and without markup; None if there is none."""
    if isinstance(payload, bytes | str):
        return readable(payload)
    for found in every(errors.message, payload):
        if isinstance(found, list):
            found = "; ".join(item for item in found if isinstance(item, str))
        if isinstance(found, str) and (sentence := readable(found)):
            return sentence
    return None


def readable(text: bytes | str) -> str | None:
    """Plain text of at most `MOST_CHARACTERS`; None for a page of HTML, which tells a client nothing."""
    if isinstance(text, bytes):
        text = text[: MOST_CHARACTERS * 4].decode("utf-8", "replace")
    if re.search(r"<\s*(?:!doctype|html|head|body)\b", text[:1000], re.I):
        return None
    text = " ".join(re.sub(r"<[^<>]*>", " ", text[: MOST_CHARACTERS * 4]).split())
    return (text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…") or None


def failure(
    error_class: ErrorClass,
    complaint: Complaint,
    provider: str,
    *,
    default: str = "",
    bought: bool | None = None,
) -> UpstreamError:
    """The error of a class."""
    native = complaint.code
    sentence = complaint.message or default or f"{provider} answered with HTTP {complaint.status}."
    if error_class in _OUR_SENTENCES:
        sentence = _OUR_SENTENCES[error_class].format(provider)
    code = None
    if error_class is ErrorClass.EMPTY:
        code = "no_image_generated"
    elif error_class is ErrorClass.BAD_REQUEST:
        code = native if native and not native.lstrip("-").isdecimal() else "invalid_value"
    return UpstreamError(
        error_class,
        sentence,
        provider=provider,
        code=code,
        retry_after_s=retry_after_s(complaint.headers),
        native=native,
        native_status=complaint.status,
        bought=bought,
    )


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The vendor's word on when to come back. A date is read against the reply's own `date`."""
    lower = {name.lower(): value for name, value in headers.items()}
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = lower.get(name, "").strip()
        if re.fullmatch(r"\d{1,9}(?:\.\d{1,6})?", value):
            return float(value) * unit
    try:
        wait = parsedate_to_datetime(lower["retry-after"]) - parsedate_to_datetime(lower["date"])
    except (KeyError, ValueError, TypeError):
        return None
    return max(wait.total_seconds(), 0.0)
