"""One reader of refusals for all wires: what an error says, whatever its shape, and what it may have cost.

A wire reads a `ToldRefusal` and looks it up in its own tables; `classes.py` has those that most share. To
change: a shape of error body `report.py`, a word for a class `classes.py`, a spelling of waiting times
`waits.py`, what no client may see `text.py`, what may have been bought `money.py`.
"""

from __future__ import annotations

from proxy.errors import ErrorClass, UpstreamError
from proxy.wires.refusals.money import may_be_bought
from proxy.wires.refusals.report import (
    ToldRefusal,
    is_refusal,
    is_told,
    page_in,
    payload_of,
    read,
    said,
    said_instead,
)
from proxy.wires.refusals.text import scrubbed, shown
from proxy.wires.refusals.waits import retry_after_s

__all__ = [
    "ToldRefusal",
    "failure",
    "is_refusal",
    "is_told",
    "may_be_bought",
    "page_in",
    "payload_of",
    "read",
    "retry_after_s",
    "said",
    "said_instead",
    "shown",
]


_MOST_CODE = 128  # characters


def failure(
    error_class: ErrorClass,
    report: ToldRefusal,
    provider: str,
    *,
    message: str | None = None,
    status: int | None = None,
    code: str | None = None,
    native: str | None = None,
    bought: bool | None = None,
) -> UpstreamError:
    """The error that a report stands for once its class is known. `message` is said in place of the vendor's;
    `bought` is told by the table of statuses, and where there was none by the class, unless given."""
    if code is None and error_class in (ErrorClass.BAD_REQUEST, ErrorClass.INTERNAL):
        code = report.telling  # says more than our own word for the class
    if native is None and report.words:
        native = report.words[0]
    return UpstreamError(
        error_class,
        message or shown(report.message) or _sentence(report),
        provider=provider,
        status=status,
        code=code and scrubbed(code)[:_MOST_CODE],
        param=report.param if error_class is ErrorClass.BAD_REQUEST else None,
        retry_after_s=report.retry_after_s,
        native=native and scrubbed(native)[:_MOST_CODE],
        native_status=report.http or report.told,
        bought=may_be_bought(report) if bought is None else bought,
        forbidden=report.forbidden,
    )


def _sentence(report: ToldRefusal) -> str:
    status = report.http or report.told
    if status is None:
        return "The upstream failed without a reason."
    return f"The upstream answered HTTP {status} without a reason."
