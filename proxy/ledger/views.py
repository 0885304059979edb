"""What the ledger tells: sums by day, model, key and the like, and the rows themselves, a page at a time.

Works over a connection, in the store's thread. Sums never mix currencies. Amounts are added as whole numbers
in two halves, so that no store rounds or overflows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy import BigInteger, Connection

from proxy.ledger.entries import DAY_S
from proxy.ledger.prices import ZERO, plain
from proxy.ledger.rates import Rates
from proxy.store.money import STEP
from proxy.store.tables import ledger, tasks
from proxy.store.tasks import OPEN

Json = dict[str, Any]

GROUPS = ("day", "key", "model", "target", "operation", "currency")

_HALF = 10**6
_MOST_LEFT_OUT = 100
_EPOCH = date(1970, 1, 1).toordinal()
_COUNTS = ("images", "prompt_tokens", "completion_tokens")
_SUMS = ("charged", "held", "released", "refunded")


class Into(NamedTuple):
    """All in one currency, by these rates. What has none is left out."""

    currency: str
    rates: Rates

    @property
    def known(self) -> tuple[str, ...]:
        return self.rates.all_into(self.currency)


@dataclass(frozen=True, slots=True)
class Wanted:
    """`since` and `until` are days from 1970, both included. `key` None is everybody, `groups` are of
    `GROUPS`, `after` says how many groups were told before, or below which id the rows begin. `into` is for
    sums."""

    since: int
    until: int
    key: str | None = None
    groups: tuple[str, ...] = ("day", "model")
    limit: int = 100
    after: int = 0
    into: Into | None = None


_UNPRICED = (ledger.c.kind == "settle") & ledger.c.amount.is_(None)


def day_of(when: date) -> int:
    return when.toordinal() - _EPOCH


def written(day: int) -> str:
    return date.fromordinal(day + _EPOCH).isoformat()


def sums(connection: Connection, wanted: Wanted) -> list[Json]:
    """A group each, by currency in any case; one more than the limit where there are more. `charged` is null
    where nothing of it has a price, `unpriced` counts what has none."""
    names = [name for name in wanted.groups if name != "currency"]
    by = [ledger.c[name] for name in (names if wanted.into else (*names, "currency"))]
    amounts = {
        name: (column, condition)
        for name, column, condition in (
            ("charged", ledger.c.amount, ledger.c.kind == "settle"),
            ("held", ledger.c.amount, ledger.c.kind == "hold"),
            ("released", ledger.c.released, sa.true()),
            ("refunded", ledger.c.amount, ledger.c.kind == "refund"),
        )
    }
    query = (
        sa.select(
            *by,
            sa.func.count(sa.distinct(ledger.c.request_id)).label("requests"),
            *(_sum(ledger.c[name], name) for name in _COUNTS),
            _sum(sa.case((_UNPRICED, 1), else_=0), "unpriced"),
            *(
                half
                for name, (column, condition) in amounts.items()
                for part, of_part in _parts(wanted.into)
                for half in halves(f"{name}{part}", column, condition & of_part)
            ),
        )
        .where(*conditions(wanted))
        .group_by(*by)
        .order_by(*by)
        .limit(wanted.limit + 1)
        .offset(wanted.after)
    )
    found = connection.execute(query).mappings().all()
    vendors = _vendors(connection, wanted, by)
    return [_group(row, names, vendors, wanted.into) for row in found if row["requests"]]


def totals(connection: Connection, wanted: Wanted) -> list[Json]:
    """The same of everything, by currency alone."""
    return sums(connection, replace(wanted, groups=("currency",), limit=1000, after=0))


def left_out(connection: Connection, wanted: Wanted) -> list[str]:
    """The currencies that sums in one currency do without."""
    into = wanted.into
    if into is None:
        return []
    everything = replace(wanted, into=None)
    found = sa.select(ledger.c.currency).distinct().where(*conditions(everything)).limit(_MOST_LEFT_OUT)
    strangers = found.where(ledger.c.currency.not_in(into.known)).order_by(ledger.c.currency)
    return list(connection.execute(strangers).scalars())


class Open(NamedTuple):
    """What an open task wanted when it came, and what was held for it and not given back; by currency."""

    wanted: dict[str, Decimal]
    held: dict[str, Decimal]


class Spent(NamedTuple):
    """Sums by currency: of rows up to the id that was asked for, and of those behind it, up to the `last`.
    `there` are rows among them by request, call, attempt and kind, `open` are the key's tasks by request."""

    early: dict[str, Decimal]
    late: dict[str, Decimal]
    last: int
    there: set[tuple[str, int, int, str]]
    open: dict[str, Open]


def spent(
    connection: Connection,
    key: str,
    currencies: Sequence[str],
    days: Sequence[int],
    horizon: float,
    after: int = 0,
    early: int = 0,
) -> Spent:
    """What a key was charged and what is held for it: since the first of the days, or of rows behind the id
    `after` on these days alone. `early` is where sums part; `there` are the rows from `horizon` on, in
    seconds since 1970. One statement: all of it is of the same moment."""
    added = _added()
    # Days in a list: the index of keys and days has the ids in their order on each of them.
    span = (ledger.c.day.in_(days), ledger.c.id > after) if after else (ledger.c.day >= days[0],)
    of_key = (ledger.c.key == key, ledger.c.currency.in_(currencies), *span)
    names = [ledger.c[name] for name in ("request_id", "call", "attempt", "kind")]
    nothing = [sa.null().label(name.name) for name in names]
    is_late = sa.case((ledger.c.id > early, 1), else_=0)
    high, low = _sum(added // _HALF, "high"), _sum(added % _HALF, "low")
    last = sa.func.max(ledger.c.id)
    sums = sa.select(*nothing, ledger.c.currency, is_late, last, high, low)
    sums = sums.where(*of_key).group_by(ledger.c.currency, is_late)
    rows = sa.select(*names, ledger.c.currency, *[sa.null()] * 4)
    rows = rows.where(*of_key, ledger.c.day >= int(horizon // DAY_S), ledger.c.at >= horizon)
    found = Spent({}, {}, early, set(), {})
    for *row, currency, late, number, above, below in connection.execute(
        sa.union_all(sums, rows, _open_tasks(key))
    ):
        amount = ZERO if above is None else (int(above) * _HALF + int(below)) * STEP
        if row[0] is None:
            (found.late if late else found.early)[currency] = amount
            found = found._replace(last=max(found.last, number))
        elif row[1] is not None:
            found.there.add(tuple(row))
        elif (wanted := orjson.loads(row[3]).get("wanted")) is not None:
            one = found.open.setdefault(row[0], Open({wanted[1]: Decimal(wanted[0])}, {}))
            if currency is not None:
                one.held[currency] = amount
    return found


def _added() -> Any:
    """What a row adds to what is charged and held, in steps."""
    booked = sa.case((ledger.c.kind.in_(("settle", "hold")), _steps(ledger.c.amount)))
    return sa.func.coalesce(booked, 0) - sa.func.coalesce(_steps(ledger.c.released), 0)


def _open_tasks(key: str) -> Any:
    """Of each its request, how it was asked, and what was held for it in a currency: in the columns of
    `spent`, none of them with a call."""
    of_orders = ledger.c.kind.in_(("hold", "refund"))  # what came to nothing may be ordered again
    holds = tasks.outerjoin(ledger, (ledger.c.request_id == tasks.c.request_id) & of_orders)
    named = tasks.c.request_id, sa.null(), sa.null(), tasks.c.asked, ledger.c.currency, sa.null(), sa.null()
    held = _added()
    sums = sa.select(*named, _sum(held // _HALF, "high"), _sum(held % _HALF, "low")).select_from(holds)
    are_open = tasks.c.key == key, tasks.c.state.in_(OPEN)
    return sums.where(*are_open).group_by(tasks.c.request_id, tasks.c.asked, ledger.c.currency)


def rows(connection: Connection, wanted: Wanted, *, admin: bool) -> list[Json]:
    """The newest first; one more than the limit where there are more. Where a request went and who sent it is
    told to the admin."""
    query = sa.select(ledger).where(*conditions(wanted))
    if wanted.after:
        query = query.where(ledger.c.id < wanted.after)
    query = query.order_by(ledger.c.id.desc()).limit(wanted.limit + 1)
    return [_shown(row, admin=admin) for row in connection.execute(query).mappings()]


def conditions(wanted: Wanted) -> list[Any]:
    found: list[Any] = [ledger.c.day.between(wanted.since, wanted.until)]
    if wanted.key is not None:
        found.append(ledger.c.key == wanted.key)
    if wanted.into is not None:
        found.append(ledger.c.currency.in_(wanted.into.known))
    return found


def _parts(into: Into | None) -> list[tuple[str, Any]]:
    """Each currency is summed by itself, since sums are of whole steps: its suffix, and what it is."""
    if into is None:
        return [("", sa.true())]
    return [(f"_{number}", ledger.c.currency == name) for number, name in enumerate(into.known)]


def _sum(column: Any, name: str) -> Any:
    return sa.cast(sa.func.sum(column), BigInteger).label(name)


def _steps(column: Any) -> Any:
    return sa.type_coerce(column, BigInteger)


def halves(name: str, column: Any, condition: Any) -> tuple[Any, Any]:
    steps = _steps(column)
    high, low = sa.case((condition, steps // _HALF)), sa.case((condition, steps % _HALF))
    return _sum(high, f"{name}_high"), _sum(low, f"{name}_low")


def _worth(row: Any, name: str, into: Into | None) -> Decimal | None:
    """An amount of a group, in one currency where that is wanted."""
    if into is None:
        return amount_of(row, name)
    amounts = ((amount_of(row, f"{name}_{at}"), currency) for at, currency in enumerate(into.known))
    worth = [into.rates.convert(one, currency, into.currency) for one, currency in amounts if one is not None]
    return sum((one for one in worth if one is not None), ZERO) if worth else None


def amount_of(row: Any, name: str) -> Decimal | None:
    high, low = row[f"{name}_high"], row[f"{name}_low"]
    return None if high is None else (int(high) * _HALF + int(low)) * STEP


def _vendors(connection: Connection, wanted: Wanted, by: Sequence[Any]) -> dict[tuple[Any, ...], Json]:
    """What vendors say they took, by group and their own unit."""
    query = (
        sa.select(*by, ledger.c.vendor_unit, *halves("took", ledger.c.vendor_amount, sa.true()))
        .where(*conditions(wanted), ledger.c.vendor_amount.is_not(None))
        .group_by(*by, ledger.c.vendor_unit)
    )
    found: dict[tuple[Any, ...], Json] = {}
    for row in connection.execute(query).mappings():
        took = amount_of(row, "took")
        place = found.setdefault(tuple(row[column.name] for column in by), {})
        place[row["vendor_unit"]] = _written(took)
    return found


def _group(row: Any, names: Sequence[str], vendors: dict[tuple[Any, ...], Json], into: Into | None) -> Json:
    charged, held, released, refunded = (_worth(row, name, into) for name in _SUMS)
    if charged is None and not row["unpriced"]:
        charged = ZERO
    place = tuple(row[name] for name in (names if into else (*names, "currency")))
    told = {name: written(row[name]) if name == "day" else row[name] for name in names}
    return {
        **told,
        "currency": into.currency if into else row["currency"],
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
