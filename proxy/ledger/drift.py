"""Ours beside the vendors' own charges: where a price of the file has ceased to be theirs.

Works over a connection, like `views`. Attempts that a vendor told no charge of are not looked at.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from proxy.ledger import views
from proxy.ledger.prices import ZERO, plain
from proxy.ledger.rates import Rates
from proxy.ledger.views import Json, Wanted
from proxy.store.tables import ledger

COLUMNS = (
    "target", "currency", "vendor_unit", "attempts", "charged", "vendor_charged", "difference", "percent",
    "vendor_charged_on_refunds",
)  # fmt: skip

_TENTH = Decimal("0.1")


def report(connection: Connection, wanted: Wanted, rates: Rates) -> list[Json]:
    """A row for each target, currency and unit of the vendor's, at most `wanted.limit` and one. `difference`
    is what the vendor took more than we did, in our currency, `percent` the same as a share of ours; None
    where the units have no rate between them, and of nothing. What was refunded is told apart."""
    by = (ledger.c.target, ledger.c.currency, ledger.c.vendor_unit)
    both, lost = (ledger.c.kind == "settle") & ledger.c.amount.is_not(None), ledger.c.kind == "refund"
    query = (
        sa.select(
            *by,
            sa.func.sum(sa.case((both, 1), else_=0)).label("attempts"),
            *views.halves("ours", ledger.c.amount, both),
            *views.halves("theirs", ledger.c.vendor_amount, both),
            *views.halves("lost", ledger.c.vendor_amount, lost),
        )
        .where(*views.conditions(wanted), ledger.c.vendor_amount.is_not(None), both | lost)
        .group_by(*by)
        .order_by(*by)
        .limit(wanted.limit + 1)
        .offset(wanted.after)
    )
    return [_shown(row, rates) for row in connection.execute(query).mappings()]


def _shown(row: Any, rates: Rates) -> Json:
    ours, theirs, lost = (views.amount_of(row, name) or ZERO for name in ("ours", "theirs", "lost"))
    worth = rates.convert(theirs, row["vendor_unit"], row["currency"])
    difference = None if worth is None else worth - ours
    percent = None if difference is None or not ours else _percent(difference, ours)
    return {
        "target": row["target"],
        "currency": row["currency"],
        "vendor_unit": row["vendor_unit"],
        "attempts": int(row["attempts"]),
        "charged": plain(ours),
        "vendor_charged": plain(theirs),
        "difference": None if difference is None else plain(difference),
        "percent": percent,
        "vendor_charged_on_refunds": plain(lost),
    }


def _percent(difference: Decimal, ours: Decimal) -> str:
    return plain((difference / ours * 100).quantize(_TENTH, ROUND_HALF_EVEN) + ZERO)
