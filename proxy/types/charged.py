"""What several calls were charged, as one charge in the words of their vendors."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from proxy.types.values import Json

# What adds up. Of other numbers (balances, prices, ratios) nobody knows what they come to together.
_AMOUNTS = frozenset(
    {
        "cost", "actual_cost", "total_cost", "estimated_cost", "cost_in_usd_ticks", "credits_used",
        "credits_reserved",
    }
)  # fmt: skip
_UNITS = ("unit", "currency", "cost_currency")
_MOST = Decimal(10) ** 18


def together(charges: Sequence[Json]) -> Json:
    """At least one. Amounts are summed, words stay where all say the same, everything else is left out.
    Charges in several units, or of which nothing is left so, stand side by side: `{"charges": [...]}`."""
    return charges[0] if len(charges) == 1 else _summed(charges) or {"charges": [*charges]}


def _summed(charges: Sequence[Json]) -> Json | None:
    """None where amounts are in several units."""
    if len({tuple(str(one.get(unit)) for unit in _UNITS) for one in charges if _AMOUNTS & one.keys()}) > 1:
        return None
    found: Json = {}
    for name in dict.fromkeys(name for one in charges for name in one):
        values = [one[name] for one in charges if one.get(name) is not None]
        amounts = [amount for value in values if (amount := _amount(value)) is not None]
        if values and all(isinstance(value, dict) for value in values):
            if (inner := _summed(values)) is None:
                return None
            if inner:
                found[name] = inner
        elif amounts and len(amounts) == len(values) and name in _AMOUNTS:
            found[name] = _like(values, sum(amounts, Decimal(0)))
        elif values and not amounts and all(value == values[0] for value in values):
            found[name] = values[0]
    return found


def _like(values: Sequence[Any], total: Decimal) -> Any:
    """As they were written: text, a whole number, or another one."""
    if any(isinstance(value, str) for value in values):
        return str(total)
    return int(total) if all(isinstance(value, int) for value in values) else float(total)


def _amount(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and -_MOST < amount < _MOST else None
