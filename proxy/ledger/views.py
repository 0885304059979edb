"""What the ledger tells: sums by day, model, key and the like, and the rows themselves, a page at a time.

Works over a connection, in the store's thread. Sums never mix currencies. Amounts are added as whole numbers
in two halves, so that no store rounds or overflows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy import BigInteger, Connection

from proxy.ledger.prices import STEP, ZERO, plain
from proxy.store.tables import ledger

Json = dict[str, Any]

GROUPS = ("day", "key", "model", "target", "operation", "currency")

_HALF = 10**6
_EPOCH = date(1970, 1, 1).toordinal()
_COUNTS = ("images", "prompt_tokens", "completion_tokens")
_SUMS = ("charged", "held", "released", "refunded")


@dataclass(frozen=True, slots=True)
class Wanted:
    """`since` and `until` are days from 1970, both included. `key` None is everybody, `groups` are of
    `GROUPS`, `after` says how many groups were told before, or below which id the rows begin."""

    since: int
    until: int
    key: str | None = None
    groups: tuple[str, ...] = ("day", "model")
    limit: int = 100
    after: int = 0


_UNPRICED = (ledger.c.kind == "settle") & ledger.c.amount.is_(None)


def day_of(when: date) -> int:
    return when.toordinal() - _EPOCH


def written(day: int) -> str:
    return date.fromordinal(day + _EPOCH).isoformat()


def sums(connection: Connection, wanted: Wanted) -> list[Json]:
    """A group each, by currency in any case; one more than the limit where there are more. `charged` is null
    where nothing of it has a price, `unpriced` counts what has none."""
    names = [name for name in wanted.groups if name != "currency"]
    by = [ledger.c[name] for name in (*names, "currency")]
    query = (
        sa.select(
            *by,
            sa.func.count(sa.distinct(ledger.c.request_id)).label("requests"),
            *(_sum(ledger.c[name], name) for name in _COUNTS),
            _sum(sa.case((_UNPRICED, 1), else_=0), "unpriced"),
            *_halves("charged", ledger.c.amount, ledger.c.kind == "settle"),
            *_halves("held", ledger.c.amount, ledger.c.kind == "hold"),
            *_halves("released", ledger.c.released, sa.true()),
            *_halves("refunded", ledger.c.amount, ledger.c.kind == "refund"),
        )
        .where(*_conditions(wanted))
        .group_by(*by)
        .order_by(*by)
        .limit(wanted.limit + 1)
        .offset(wanted.after)
    )
    found = connection.execute(query).mappings().all()
    vendors = _vendors(connection, wanted, names)
    return [_group(row, names, vendors) for row in found]


def totals(connection: Connection, wanted: Wanted) -> list[Json]:
    """The same of everything, by currency alone."""
    return sums(connection, Wanted(wanted.since, wanted.until, wanted.key, ("currency",), limit=1000))


def spent(
    connection: Connection, key: str, currency: str, since: int, horizon: float
) -> tuple[Decimal, set[tuple[str, int, int, str]]]:
    """What a key was charged and what is held for it from a day on, and which rows from `horizon` on, in
    seconds since 1970, are among it. One statement, so that both are of the same moment."""
    names = ("request_id", "call", "attempt", "kind")
    booked = sa.case((ledger.c.kind.in_(("settle", "hold")), _steps(ledger.c.amount)))
    added = sa.func.coalesce(booked, 0) - sa.func.coalesce(_steps(ledger.c.released), 0)
    # A group for each late row, and one without a name for all others.
    of_key = (
        sa.select(
            added.label("added"),
            *(sa.case((ledger.c.at >= horizon, ledger.c[name])).label(name) for name in names),
        )
        .where(ledger.c.key == key, ledger.c.day >= since, ledger.c.currency == currency)
        .subquery()
    )
    by = [of_key.c[name] for name in names]
    high, low = _sum(of_key.c.added // _HALF, "high"), _sum(of_key.c.added % _HALF, "low")
    found = connection.execute(sa.select(*by, high, low).group_by(*by)).all()
    total = sum((int(row.high) * _HALF + int(row.low) for row in found), 0) * STEP
    return total, {tuple(row[:4]) for row in found if row.request_id is not None}


def rows(connection: Connection, wanted: Wanted, *, admin: bool) -> list[Json]:
    """The newest first; one more than the limit where there are more. Where a request went and who sent it is
    told to the admin."""
    query = sa.select(ledger).where(*_conditions(wanted))
    if wanted.after:
        query = query.where(ledger.c.id < wanted.after)
    query = query.order_by(ledger.c.id.desc()).limit(wanted.limit + 1)
    return [_shown(row, admin=admin) for row in connection.execute(query).mappings()]


def _conditions(wanted: Wanted) -> list[Any]:
    found: list[Any] = [ledger.c.day.between(wanted.since, wanted.until)]
    if wanted.key is not None:
        found.append(ledger.c.key == wanted.key)
    return found


def _sum(column: Any, name: str) -> Any:
    return sa.cast(sa.func.sum(column), BigInteger).label(name)


def _steps(column: Any) -> Any:
    return sa.type_coerce(column, BigInteger)


def _halves(name: str, column: Any, condition: Any) -> tuple[Any, Any]:
    steps = _steps(column)
    high, low = sa.case((condition, steps // _HALF)), sa.case((condition, steps % _HALF))
    return _sum(high, f"{name}_high"), _sum(low, f"{name}_low")


def _amount(row: Any, name: str) -> Decimal | None:
    high, low = row[f"{name}_high"], row[f"{name}_low"]
    return None if high is None else (int(high) * _HALF + int(low)) * STEP


def _vendors(connection: Connection, wanted: Wanted, names: Sequence[str]) -> dict[tuple[Any, ...], Json]:
    """What vendors say they took, by group and their own unit."""
    by = [ledger.c[name] for name in (*names, "currency")]
    query = (
        sa.select(*by, ledger.c.vendor_unit, *_halves("took", ledger.c.vendor_amount, sa.true()))
        .where(*_conditions(wanted), ledger.c.vendor_amount.is_not(None))
        .group_by(*by, ledger.c.vendor_unit)
    )
    found: dict[tuple[Any, ...], Json] = {}
    for row in connection.execute(query).mappings():
        took = _amount(row, "took")
        place = found.setdefault(tuple(row[column.name] for column in by), {})
        place[row["vendor_unit"]] = _written(took)
    return found


def _group(row: Any, names: Sequence[str], vendors: dict[tuple[Any, ...], Json]) -> Json:
    charged, held, released, refunded = (_amount(row, name) for name in _SUMS)
    if charged is None and not row["unpriced"]:
        charged = ZERO
    place = tuple(row[name] for name in (*names, "currency"))
    told = {name: written(row[name]) if name == "day" else row[name] for name in names}
    return {
        **told,
        "currency": row["currency"],
        "requests": int(row["requests"]),
        **{name: int(row[name] or 0) for name in _COUNTS},
        "charged": _written(charged),
        "held": _written((held or ZERO) - (released or ZERO)),
        "refunded": _written(refunded or ZERO),
        "unpriced": int(row["unpriced"]),
        "vendor_charged": vendors.get(place, {}),
    }


def _written(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)


def _shown(row: Any, *, admin: bool) -> Json:
    vendor = row["vendor_amount"]
    own = {"key": row["key"], "target": row["target"]} if admin else {}
    return {
        "id": row["id"],
        "request_id": row["request_id"],
        "call": row["call"],
        "attempt": row["attempt"],
        "at": datetime.fromtimestamp(row["at"], UTC).isoformat(timespec="milliseconds"),
        "kind": row["kind"],
        "outcome": row["outcome"],
        **own,
        "model": row["model"],
        "operation": row["operation"],
        "images": row["images"],
        "prompt_tokens": row["prompt_tokens"],
        "completion_tokens": row["completion_tokens"],
        "currency": row["currency"],
        "amount": _written(row["amount"]),
        "vendor_charged": {} if vendor is None else {row["vendor_unit"]: _written(vendor)},
        "estimated": row["estimated"],
    }
