"""`dragoman usage`: what was used and charged, read from the store of the file."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from proxy.checking import units
from proxy.command import opening
from proxy.command.opening import say
from proxy.ledger import views
from proxy.ledger.rates import Rates
from proxy.store.database import Database

_MOST_GROUPS = 100_000
_COLUMNS = (
    "currency", "requests", "images", "prompt_tokens", "completion_tokens", "charged", "held", "refunded",
    "unpriced", "vendor_charged",
)  # fmt: skip


def usage(
    file: Path | None,
    by: str,
    since: str,
    until: str | None,
    key: str | None,
    into: str | None = None,
    *,
    with_drift: bool = False,
    as_json: bool,
    as_csv: bool,
) -> int:
    """Print a row for each group. Exit 1 when the file or the store cannot be read, 2 for a wrong word."""
    opened = opening.read(file)
    if opened is None:
        return 1
    groups = tuple(dict.fromkeys(name.strip() for name in by.split(",") if name.strip()))
    if strangers := [name for name in groups if name not in views.GROUPS]:
        say(f"--by: {strangers[0]} is nothing to group by; there are {', '.join(views.GROUPS)}")
        return 2
    try:
        wanted = views.Wanted(_day(since), _day(until), key, groups, limit=_MOST_GROUPS)
    except ValueError as error:
        say(str(error))
        return 2
    if wanted.since > wanted.until:
        say(f"--since {since} is after --until {until or 'today'}")
        return 2
    names = [name for name in groups if name != "currency"]
    rates = Rates(opened[0].rates)
    if into is not None:
        if into not in rates.worth:
            say(
                f"--in: {into} has no rate in the file; there are: {', '.join(sorted(rates.worth)) or 'none'}"
            )
            return 2
        wanted = replace(wanted, into=views.Into(into, rates))

    def drifted(database: Database) -> int:
        from proxy.ledger import drift

        report = partial(drift.report, wanted=wanted, rates=rates)
        rows = database.do(report) if database.may_exist() else []
        _show(rows, drift.COLUMNS, as_json=as_json, as_csv=as_csv)
        return 0

    def work(database: Database) -> int:
        """Looking makes no database where there is none yet."""
        rows = database.do(partial(views.sums, wanted=wanted)) if database.may_exist() else []
        _show(rows, [*names, *_COLUMNS], as_json=as_json, as_csv=as_csv)
        if wanted.into is not None and database.may_exist():
            for currency in database.do(partial(views.left_out, wanted=wanted)):
                say(f"without what was paid in {currency}: it has no rate in the file")
        return 0

    if with_drift:
        return opening.in_store(opened[0], "GET /admin/usage/drift", drifted)
    return opening.in_store(opened[0], "GET /admin/usage", work)


def _day(said: str | None) -> int:
    """A day as `2026-11-26`, or how long ago as `7d` or `24h`; today without. Raises `ValueError`."""
    if said is None:
        return views.day_of(datetime.now(UTC).date())
    try:
        return views.day_of(date.fromisoformat(said))
    except ValueError:
        pass
    try:
        ago = timedelta(seconds=units.duration(said))
    except ValueError:
        raise ValueError(f"{said!r} is neither a day such as 2026-11-26 nor a time such as 7d") from None
    return views.day_of((datetime.now(UTC) - ago).date())


def _show(rows: list[dict[str, Any]], columns: Sequence[str], *, as_json: bool, as_csv: bool) -> None:
    if as_json:
        print(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
        return
    table = [[_cell(row[column]) for column in columns] for row in rows]
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows([columns, *table])
        return
    widths = [max(map(len, column)) for column in zip(columns, *table, strict=True)]
    for line in (columns, *table):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{amount} {unit}" for unit, amount in value.items())
    return "" if value is None else str(value)
