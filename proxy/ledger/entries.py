"""The rows of the ledger: what happened to money, each once. Rows are added and never changed.

A try that is sold by the piece has a `hold` before it is ordered and, when its end is known, a `settle` or a
`refund`, whichever comes first; `uncertain` says that nobody knows yet, and the hold stays. A chat has a
`settle` alone. What a vendor can be asked about an order goes into another table until its end is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson

from proxy.store.money import steps

if TYPE_CHECKING:
    from sqlalchemy import Connection

Kind = Literal["hold", "settle", "refund", "uncertain", "watch"]

DAY_S = 86400

LONGEST = 200  # characters of what clients may have named
_MOST_TOKENS = 1 << 53  # of one try; a vendor that tells more is not believed
_AT_ONCE = 50  # rows in a statement, of 20 values each
_COUNTS = ("prompt_tokens", "completion_tokens")
_NAMED = ("key", "model", "target", "outcome", "currency", "vendor_unit")


class Watch(NamedTuple):
    """What is needed to ask a vendor about an order: the key's identity and its `task`; from `after_s` on.
    `size` is what was ordered, where the price depends on it."""

    account: str
    task: Mapping[str, Any]
    size: str | None = None
    after_s: float = 0.0


class Entry(NamedTuple):
    """`at` is in seconds since 1970. A try is known by its request, the number of the call in it and its own.
    `amount` is what is held, settled or refunded, None where no price is known; `released` is how much of a
    hold ends by this row. `vendor_amount` is what the vendor says it took, in `vendor_unit`. `estimated`:
    metered from what was seen. `watch` is of orders alone: it begins with an `uncertain`, or with a `watch`,
    which is no row of the ledger, and is over with the end."""

    at: float
    request_id: str
    call: int
    attempt: int
    kind: Kind
    key: str
    model: str
    target: str
    operation: str
    outcome: str
    currency: str
    amount: Decimal | None
    released: Decimal | None
    vendor_amount: Decimal | None
    vendor_unit: str | None
    images: int
    prompt_tokens: int
    completion_tokens: int
    estimated: bool
    watch: Watch | None = None


_COLUMNS = ("at", "day", *Entry._fields[1:-1])


def insert(connection: Connection, entries: Sequence[Entry]) -> None:
    """Add rows; those that are there stay as they are. Part of whatever transaction is on.

    Every request has a row, so the driver is given the statement as it was compiled once, and many rows at a
    time: SQLAlchemy would look at each value anew, and SQLite's driver lets other threads on after each row,
    for half and a third of what the row costs."""
    rows = [_values(entry) for entry in entries if entry.kind != "watch"]
    store, several = connection.dialect.name, len(rows) // _AT_ONCE * _AT_ONCE
    for start in range(0, several, _AT_ONCE):
        block = tuple(chain.from_iterable(rows[start : start + _AT_ONCE]))
        connection.exec_driver_sql(_adding(store, _AT_ONCE), block)
    if rest := rows[several:]:
        connection.exec_driver_sql(_adding(store), rest)
    if watched := [entry for entry in entries if entry.watch is not None]:
        from proxy.ledger import watches

        watches.follow(connection, watched)


@cache
def _adding(store: str, rows: int = 1) -> str:
    """The statement that adds so many rows of `_values`."""
    from sqlalchemy.dialects import postgresql, sqlite

    from proxy.store.tables import ledger

    row: Any = dict.fromkeys(_COLUMNS)
    if rows > 1:
        row = [row] * rows
    if store == "postgresql":
        adding = postgresql.insert(ledger).inline().values(row).on_conflict_do_nothing()
        dialect = postgresql.dialect(paramstyle="format")  # type: ignore[no-untyped-call]
        return str(adding.compile(dialect=dialect))
    lite = sqlite.insert(ledger).inline().values(row).on_conflict_do_nothing()
    return str(lite.compile(dialect=sqlite.dialect(paramstyle="qmark")))


def _values(entry: Entry) -> tuple[Any, ...]:
    """In the order of `_COLUMNS`, as the drivers take them."""
    (
        at, request_id, call, attempt, kind, key, model, target, operation, outcome, currency, amount,
        released, vendor_amount, unit, images, prompt_tokens, completion_tokens, estimated, _,
    ) = _stored(entry)  # fmt: skip
    return (
        at, int(at // DAY_S), request_id, call, attempt, kind, key, model, target, operation, outcome,
        currency,
        None if amount is None else steps(amount),
        None if released is None else steps(released),
        None if vendor_amount is None else steps(vendor_amount),
        unit, images, prompt_tokens, completion_tokens, estimated,
    )  # fmt: skip


def _stored(entry: Entry) -> Entry:
    """The entry as both stores take it, nearly always as it is."""
    named = f"{entry.key}{entry.model}{entry.target}{entry.outcome}{entry.currency}"
    if (
        len(named) > LONGEST
        or not named.isascii()
        or "\0" in named
        or entry.vendor_unit is not None
        or entry.prompt_tokens > _MOST_TOKENS
        or entry.completion_tokens > _MOST_TOKENS
    ):
        changed: dict[str, Any] = {name: min(getattr(entry, name), _MOST_TOKENS) for name in _COUNTS}
        changed |= {name: _storable(value) for name in _NAMED if (value := getattr(entry, name)) is not None}
        return entry._replace(**changed)
    return entry


def _storable(text: str) -> str:
    """PostgreSQL takes no NUL, and neither store half of a character."""
    if text.isascii() and "\0" not in text:
        return text[:LONGEST]
    return text[:LONGEST].replace("\0", "").encode("utf-8", "replace").decode()


def dump(entries: Iterable[Entry]) -> bytes:
    """One line of JSON each."""
    return b"".join(
        orjson.dumps(
            _stored(entry)._asdict()
            | {"day": int(entry.at // DAY_S), "watch": entry.watch and entry.watch._asdict()},
            default=str,
            option=orjson.OPT_APPEND_NEWLINE,
        )
        for entry in entries
    )


def load(lines: bytes) -> list[Entry]:
    """What `dump` wrote; a line that was cut off is none."""
    found = []
    for line in lines.split(b"\n"):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        for name in ("amount", "released", "vendor_amount"):
            row[name] = None if row[name] is None else Decimal(row[name])
        del row["day"]
        watch = row.pop("watch", None)
        found.append(Entry(**row, watch=None if watch is None else Watch(**watch)))
    return found
