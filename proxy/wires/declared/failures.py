"""What a vendor's refusal means: the class that its profile's rules give, else that of words all share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from proxy.errors import ErrorClass, UpstreamError
from proxy.types import Slice
from proxy.wires import refusals
from proxy.wires.declared.paths import every, first_text, seen
from proxy.wires.declared.sections import Errors, Rule
from proxy.wires.refusals import ToldRefusal, classes

# A vendor of jobs that is closed stays closed for a while: another one must do it.
_BY_STATUS = {503: ErrorClass.UNAVAILABLE}

# A machine before the vendor writes these, in JSON too, when it lost a vendor that may go on working.
_LOST_ON_THE_WAY = frozenset({408, 499, 502, 504, *range(520, 525)})

# These are between the operator and the vendor; the vendor's own sentence may quote the key or the balance.
_OUR_SENTENCES = {
    ErrorClass.AUTH: "{} does not accept our credentials.",
    ErrorClass.QUOTA: "{}: the balance or quota of the account is used up.",
}
_MORE_THAN_A_STATUS = {*_OUR_SENTENCES, ErrorClass.BLOCKED}
# What a vendor says of our key the operator may read. It may quote what was signed, and that may be the
# client's: no JSON, no form, nothing long.
_FIT_FOR_A_LOG = re.compile(r"[^{}=\n]{1,200}")


@dataclass(frozen=True, slots=True)
class Complaint:
    """A refusal as the vendor said it: with an HTTP status, in a task's final state, or for one picture.

    `code` is the profile's choice of the report's words, or the first of them.
    """

    payload: Any
    report: ToldRefusal
    code: str | None = None
    state: str | None = None

    @property
    def is_named(self) -> bool:
        """Whether it is said, in JSON, that something failed."""
        return isinstance(self.payload, Mapping) and bool(self.state or self.code or self.report.message)


def of_reply(
    errors: Errors, status: int, headers: Mapping[str, str], payload: Any, state: str | None = None
) -> Complaint:
    """`payload` is the decoded JSON, or the bytes of something else. What the profile's paths do not find is
    looked for in the usual places."""
    report = refusals.read(status, headers, b"" if isinstance(payload, Slice) else payload)
    whole = seen(payload, headers)
    if isinstance(whole, bytes):
        return Complaint(payload, report, state=state)
    found = (refusals.said(found) for found in every(errors.message, whole))
    report = replace(report, message=next((said for said in found if said), report.message))
    return _of_report(whole, report, first_text(errors.code, whole), state)


def of_item(item: Any) -> Complaint:
    """One picture of several failed; `item` is an object with `code` and `message`, or a sentence."""
    return _of_report(item, refusals.read(200, {}, item))


def unexplained(status: int, payload: Any) -> Complaint:
    """A reply that is no refusal, and yet not what was ordered."""
    return Complaint(payload, ToldRefusal(http=status))


def match(errors: Errors, complaint: Complaint, *, body_only: bool = False) -> ErrorClass | None:
    """The class of the first rule that fits. `body_only` leaves out rules that look at the HTTP status."""
    rule = next(
        (rule for rule in errors.rules if not (body_only and rule.http) and _fits(rule, complaint)), None
    )
    if rule is None:
        return None
    if rule.by_status_alone:  # some tell of an empty account, a bad key or a bad prompt with 400 or 403
        named = classes.of_words(complaint.report)
        return named if named in _MORE_THAN_A_STATUS else rule.error_class
    return rule.error_class


def is_named(errors: Errors, complaint: Complaint) -> bool:
    """Whether the vendor itself says that the order failed: by a status of machines in between only where a
    rule of its profile knows the complaint."""
    if complaint.report.http in _LOST_ON_THE_WAY and match(errors, complaint) is None:
        return False
    return complaint.is_named


def class_of(errors: Errors, complaint: Complaint) -> ErrorClass:
    """For a reply with an HTTP status of 400 and more."""
    found = match(errors, complaint)
    if found is not None:
        return found
    if classes.is_of_a_gateway(complaint.report):
        return ErrorClass.UNAVAILABLE
    status = complaint.report.http
    return classes.of_words(complaint.report) or _BY_STATUS.get(status or 0) or classes.of_status(status)


def of_the_job(errors: Errors, complaint: Complaint) -> ErrorClass | None:
    """What a refused question says of the job it asks for: its HTTP status is of the question alone."""
    return match(errors, complaint, body_only=True) or classes.of_words(complaint.report)


def class_of_failure(errors: Errors, complaint: Complaint) -> ErrorClass:
    """For a failure that came with a 200."""
    return match(errors, complaint) or classes.of_words(complaint.report) or ErrorClass.INTERNAL


def failure(
    error_class: ErrorClass,
    complaint: Complaint,
    provider: str,
    *,
    default: str = "",
    bought: bool | None = None,
    why: str | None = None,
) -> UpstreamError:
    """The error of a class. `default` is said where the vendor says nothing, `why` to the operator alone."""
    sentence = None
    if error_class is ErrorClass.AUTH and _FIT_FOR_A_LOG.fullmatch(complaint.report.message or ""):
        why = why or complaint.report.message
    if error_class in _OUR_SENTENCES:
        sentence = _OUR_SENTENCES[error_class].format(provider)
    elif complaint.report.is_page or not complaint.report.message:
        sentence = default or f"{provider} answered with HTTP {complaint.report.http}."
    error = refusals.failure(
        error_class,
        complaint.report,
        provider,
        message=sentence,
        code=_code(error_class, complaint),
        native=complaint.code,
        bought=bought,
    )
    return error if why is None else error.changed(why=why)


def _of_report(
    payload: Any, report: ToldRefusal, code: str | None = None, state: str | None = None
) -> Complaint:
    return Complaint(payload, report, code or next(iter(report.words), None), state)


def _code(error_class: ErrorClass, complaint: Complaint) -> str | None:
    if error_class is ErrorClass.EMPTY:
        return "no_image_generated"
    if error_class is not ErrorClass.BAD_REQUEST:
        return None
    code = complaint.code
    return code if code and not code.lstrip("-").isdecimal() else complaint.report.telling or "invalid_value"


def _fits(rule: Rule, complaint: Complaint) -> bool:
    code, message = (complaint.code or ""), complaint.report.message.lower()
    return (
        (not rule.http or complaint.report.http in rule.http)
        and (not rule.code or complaint.code in rule.code)
        and (not rule.code_has or any(part in code.lower() for part in rule.code_has))
        and (not rule.message_has or any(part in message for part in rule.message_has))
        and (not rule.state or complaint.state in rule.state)
        and (rule.when is None or rule.when.holds(complaint.payload))
    )
