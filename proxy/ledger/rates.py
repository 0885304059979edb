"""What currencies are worth in each other, by the operator's word."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal

from proxy.store.money import STEP

_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)


class Rates:
    """`worth` is what one of each is worth; only the ratio of two counts. A currency is itself without it."""

    __slots__ = ("worth",)

    def __init__(self, worth: Mapping[str, Decimal] | None = None) -> None:
        self.worth = worth or {}

    def all_into(self, currency: str) -> tuple[str, ...]:
        """What can be told in this currency."""
        return tuple(self.worth) if currency in self.worth else (currency,)

    def convert(self, amount: Decimal, currency: str, into: str) -> Decimal | None:
        """To the last step of the ledger; None where nobody says what one is worth in the other."""
        if currency == into:
            return amount
        one, other = self.worth.get(currency), self.worth.get(into)
        if one is None or other is None:
            return None
        worth = _EXACT.divide(_EXACT.multiply(amount, one), other)
        return worth.quantize(STEP, context=_EXACT).normalize(_EXACT)
