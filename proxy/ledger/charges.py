"""What a vendor says it took, wherever it says so: beside a job's pictures, in `usage`, in `_billing`."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

CREDITS = "credits"

_MOST = Decimal(9_000_000)  # of one try, in any unit: more is no charge, and does not fit into a row
_TICK = Decimal("0.0000000001")  # of a dollar: docs.x.ai, cost_in_usd_ticks

# Where an amount stands, the final one before the reserved one, and what its unit is called beside it.
_AMOUNTS = ("actual_cost", "cost", "total_cost")
_UNITS = ("unit", "currency", "cost_currency")


def told(vendor: Mapping[str, Any] | None, currency: str) -> tuple[Decimal, str] | None:
    """Amount and unit: a currency, or credits. `currency` is that of the account."""
    if not vendor:
        return None
    if (ticks := _amount(vendor.get("cost_in_usd_ticks"), _MOST / _TICK)) is not None:
        return ticks * _TICK, "USD"
    billing = vendor.get("_billing")
    for place in (billing if isinstance(billing, Mapping) else {}, vendor):
        amount = next((found for name in _AMOUNTS if (found := _amount(place.get(name))) is not None), None)
        if amount is not None:
            units = (place.get(name) for name in _UNITS)
            return amount, next((unit for unit in units if isinstance(unit, str) and unit), currency)
    credits = _amount(vendor.get("credits_used"))
    return None if credits is None else (credits, CREDITS)


def _amount(value: Any, most: Decimal = _MOST) -> Decimal | None:
    """A number or a number in words; nothing that is negative, endless or absurd."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and 0 <= amount <= most else None
