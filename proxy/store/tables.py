"""The tables: the same on SQLite and PostgreSQL. A change here is a revision in `migrations/versions`."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, Table, Text

from proxy.store import money

HEAD = "0007"  # the newest revision


class Amount(sa.TypeDecorator[Decimal]):
    """A `Decimal` of money."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Any) -> int | None:
        return None if value is None else money.steps(value)

    def process_result_value(self, value: Any, dialect: Any) -> Decimal | None:
        return None if value is None else money.amount(int(value))


metadata = MetaData()

# Client keys that were made at run time. Times are seconds since 1970. A digest is what a secret comes to;
# `old_digest` is good until `old_until`. `changed` numbers the changes of all rows, so that a reader asks
# only for what is new to it. Rows stay, for a name means the same caller for good.
keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("old_digest", LargeBinary),
    Column("old_until", Float),
    Column("prefix", Text, nullable=False),
    Column("last_four", Text, nullable=False),
    Column("models", Text, nullable=False),  # JSON: patterns of names
    Column("image_output", Text),
    Column("limits", Text, nullable=False),  # JSON, as in the file
    Column("budget", Text),  # JSON: amount, currency, period
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
    Column("changed", BigInteger, nullable=False, unique=True),
)

# What all machines of an installation know and nobody else: random bytes by name.
secrets = Table(
    "secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

# What happened to money, a row each time; rows are never changed. See `proxy/ledger/entries.py`. `day` counts
# from 1970, in UTC.
ledger = Table(
    "ledger",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("day", Integer, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("call", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("kind", Text, nullable=False),  # hold, settle, refund or uncertain
    Column("key", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("outcome", Text, nullable=False),  # ordered, ok, abandoned, or the class of an error
    Column("currency", Text, nullable=False),
    Column("amount", Amount),  # None where no price is known
    Column("released", Amount),
    Column("vendor_amount", Amount),
    Column("vendor_unit", Text),
    Column("images", Integer, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("estimated", Boolean, nullable=False),
    sa.UniqueConstraint("request_id", "call", "attempt", "kind", name="ledger_once"),
    Index("ledger_by_key", "key", "day", "id"),
    Index("ledger_by_day", "day"),
)
# A try ends once: whoever comes second, with another verdict too, changes nothing.
_ENDS = ledger.c.kind.in_(("settle", "refund"))
Index(
    "ledger_ends_once",
    *(ledger.c[name] for name in ("request_id", "call", "attempt")),
    unique=True,
    sqlite_where=_ENDS,
    postgresql_where=_ENDS,
)

# Orders that vendors have, while nobody knows their end: whoever looks next, from `due` on, asks the vendor.
# A row goes with the end of its try in the ledger. `account` is the identity of the key it was ordered with,
# `task` what the vendor is asked by, `size` and `since` (seconds since 1970) are what its price depends on.
watches = Table(
    "watches",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("call", Integer, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("account", Text, nullable=False),
    Column("task", Text, nullable=False),  # JSON
    Column("size", Text),
    Column("since", Float, nullable=False),
    Column("due", Float, nullable=False),
    Index("watches_by_due", "due"),
)

# Picture jobs, and requests that others may join: a row is all that is needed to go on anywhere. `orders`
# tells how far each of its calls has come. Only the process writes that `owner` names, with the `epoch` of
# its lease, until `lease_until`; times are the store's. The client's `body` goes when the task is over.
# `repeatable`: it ended without a purchase, so a repeated request starts anew. A callback is due at
# `callback_due`, None when there is none any more.
tasks = Table(
    "tasks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("key", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("waits", Boolean, nullable=False),  # the client waits for the reply and was not given a task
    Column(
        "state", Text, nullable=False
    ),  # pending, running, uncertain, parked; completed, failed, cancelled
    Column("created_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("digest", LargeBinary, nullable=False),  # of the client's body
    Column("idempotency", Text),
    Column("body", LargeBinary),
    Column("asked", Text, nullable=False),  # JSON: how the request shall go
    Column("orders", Text, nullable=False),  # JSON: by the number of the call
    Column("result", Text),  # JSON: the events of the reply
    Column("error", Text),  # JSON
    Column("repeatable", Boolean, nullable=False),
    Column("owner", Text),
    Column("epoch", Integer, nullable=False),
    Column("lease_until", Float),
    Column("tries", Integer, nullable=False),
    Column("cancel_asked", Boolean, nullable=False),
    Column("callback_url", Text),
    Column("callback_due", Float),
    Column("callback_tries", Integer, nullable=False),
    sa.UniqueConstraint("key", "idempotency", name="tasks_once"),
    Index("tasks_by_key", "key", "id"),
    Index("tasks_by_key_and_state", "key", "state"),
    Index("tasks_by_digest", "key", "digest"),
    Index("tasks_by_state", "state", "lease_until"),
    Index("tasks_by_callback", "callback_due"),
    Index("tasks_by_end", "ended_at"),
)

# Replies that clients come back to, by the id that the reply has. `told` is what its front kept of it, JSON,
# and `context` what is needed besides to go on from it; `events` are the frames of a stream that may be taken
# up again. One that is still being made is `running` until its process tells its end, or has not been heard
# of since `alive_until`: another makes it again, from the client's `body`, where there is one; where there is
# only `asked`, whoever repeats the request begins another. `tries` is how often that was done. A repeated
# request joins it by `idempotency`, or by `digest`, which is of what was asked for; None where none may.
replies = Table(
    "replies",
    metadata,
    Column("id", Text, primary_key=True),
    Column("key", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("told", LargeBinary, nullable=False),
    Column("context", LargeBinary, nullable=False),
    Column("events", LargeBinary),
    Column("running", Boolean, nullable=False),
    Column("alive_until", Float),
    Column("cancel_asked", Boolean, nullable=False),
    Column("body", LargeBinary),
    Column("asked", Text),  # JSON: how the request shall go
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("digest", LargeBinary),
    Column("idempotency", Text),
    Index("replies_once", "key", "idempotency", unique=True),
    Index("replies_by_digest", "key", "digest"),
    Index("replies_by_key", "key", "created_at"),
    Index("replies_by_end", "expires_at"),
)

# Every try to tell a client that its task is over. `status` is None where no answer came.
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("task", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("status", Integer),
    Column("error", Text),
    Index("deliveries_by_task", "task"),
)
