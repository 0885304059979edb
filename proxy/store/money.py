"""Money as the store has it: whole numbers of its last place, so that both stores add without rounding."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

_PLACES = 12  # a token at 0.000001 per million needs them
STEP = Decimal(1).scaleb(-_PLACES)


def steps(amount: Decimal) -> int:
    return int(amount.scaleb(_PLACES).to_integral_value(ROUND_HALF_EVEN))


def amount(steps: int) -> Decimal:
    return (steps * STEP).normalize()
