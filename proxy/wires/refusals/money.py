"""What may have been bought, one table for all wires. Whether a second order costs again others know."""

from __future__ import annotations

from proxy.wires.refusals.report import ToldRefusal

# Statuses by which a server says that it did not begin.
_NOTHING_MADE = frozenset({400, 401, 402, 403, 404, 405, 406, 409, 410, 411, 413, 414, 415, 422, 429, 451})
# The same, where the vendor says so itself; a gateway writes them also when it lost the vendor half-way.
_NOTHING_MADE_IF_TOLD = frozenset({503, 529})


def may_be_bought(report: ToldRefusal) -> bool | None:
    """False where nothing was made for certain; None where no status tells, so that the class has to.

    A relay wraps the vendor's own refusal into a status of its own: the inner one counts.
    """
    status = report.told or report.http
    if status is None or status < 300:
        return None
    if status in _NOTHING_MADE_IF_TOLD:
        return not report.has_reason
    return status not in _NOTHING_MADE
