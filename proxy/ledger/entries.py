"""The rows of the ledger: what happened to money, each once. Rows are added and never changed.

A try that is sold by the piece has a `hold` before it is ordered and, when its end is known, a `settle` or a
`refund`, whichever comes first; `uncertain` says that nobody knows yet, and the hold stays. A chat has a
`settle` alone. What a vendor can be asked about an order goes into another table until its end is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson

if TYPE_CHECKING:
    from sqlalchemy import Connection

Kind = Literal["hold", "settle", "refund", "uncertain", "watch"]

DAY_S = 86400

LONGEST = 200  # characters of what clients may have named
_MOST_TOKENS = 1 << 53  # of one try; a vendor that tells more is not believed
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


_COLUMNS = Entry._fields[:-1]


def insert(connection: Connection, entries: Sequence[Entry]) -> None:
    """Add rows; those that are there stay as they are. Part of whatever transaction is on."""
    from sqlalchemy.dialects import postgresql, sqlite

    from proxy.store.tables import ledger

    adding = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    if rows := [_row(entry) for entry in entries if entry.kind != "watch"]:
        connection.execute(adding(ledger).on_conflict_do_nothing(), rows)
    if watched := [entry for entry in entries if entry.watch is not None]:
        from proxy.ledger import watches

        watches.follow(connection, watched)


def _row(entry: Entry) -> dict[str, Any]:
    row: dict[str, Any] = dict(zip(_COLUMNS, entry, strict=False))  # all but the watch
    row["day"] = int(entry.at // DAY_S)
    for name in _COUNTS:
        row[name] = min(row[name], _MOST_TOKENS)
    for name in _NAMED:
        if row[name] is not None:
            row[name] = _storable(row[name])
    return row


def _storable(text: str) -> str:
    """PostgreSQL takes no NUL, and neither store half of a character."""
    if text.isascii() and "\0" not in text:
        return text[:LONGEST]
    return text[:LONGEST].replace("\0", "").encode("utf-8", "replace").decode()


def dump(entries: Iterable[Entry]) -> bytes:
    """One line of JSON each."""
    return b"".join(
        orjson.dumps(
            _row(entry) | {"watch": entry.watch and entry.watch._asdict()},
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
