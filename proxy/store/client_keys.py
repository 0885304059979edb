"""Client keys in the store: made, listed, revoked, rotated. Work for a `Database`; loaded by its first use.

A secret is shown once and kept as what HMAC-SHA-256 makes of it, with a key of the installation.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from dataclasses import dataclass
from secrets import token_bytes, token_hex, token_urlsafe
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from proxy.config.models import NewKey
from proxy.errors import RequestError
from proxy.store.callers import PREFIX
from proxy.store.tables import keys, secrets

_SECRET_BYTES = 32
_PREFIX_SHOWN = len(PREFIX) + 4
_PEPPER = "keys"
_LATEST = 253_402_300_799  # the last second of the year 9999: no calendar has later ones
_OUR_LOCK = 0x6472616B6579  # of PostgreSQL's advisory locks: who changes keys does it alone

Row = RowMapping


@dataclass(frozen=True, slots=True)
class Changes:
    """What a reader did not know yet. `newest` is the number of the last change; `anew`: the store went back
    to an earlier state, and `rows` are all there are. `pepper` is None where no key was ever made."""

    newest: int
    rows: list[Row]
    anew: bool
    pepper: bytes | None


def changes(connection: Connection, since: int) -> Changes:
    newest = connection.execute(sa.select(sa.func.max(keys.c.changed))).scalar() or 0
    if newest == since:
        return Changes(newest, [], False, None)
    anew = newest < since
    rows = connection.execute(sa.select(keys).where(keys.c.changed > (0 if anew else since))).mappings()
    return Changes(newest, list(rows), anew, _pepper(connection))


def create(connection: Connection, new: NewKey, taken: Collection[str], now: float) -> tuple[Row, str]:
    """The key and its secret. Raises `RequestError` for a name that is taken, here or in the file."""
    number = _next_change(connection)
    if new.name in taken:
        raise _name_taken(f"A key called {new.name!r} is in the file, or the name is one of ours.")
    if connection.execute(sa.select(keys.c.id).where(keys.c.name == new.name)).first() is not None:
        raise _name_taken(
            f"A key called {new.name!r} is there already, or was: usage is kept under its name. "
            "Rotate it, or choose another name."
        )
    secret = PREFIX + token_urlsafe(_SECRET_BYTES)
    identity = f"key_{token_hex(8)}"
    connection.execute(
        sa.insert(keys).values(
            id=identity,
            name=new.name,
            models=orjson.dumps(new.models).decode(),
            image_output=new.image_output,
            limits=orjson.dumps(new.limits.written()).decode(),
            budget=None if new.budget is None else orjson.dumps(new.budget.written()).decode(),
            created_at=now,
            expires_at=_expiry(new, now),
            changed=number,
            **_kept_of(connection, secret),
        )
    )
    return _there(connection, identity), secret


def revoke(connection: Connection, identity: str, now: float) -> Row:
    """Twice is once. Raises a 404."""
    number = _next_change(connection)
    row = _there(connection, identity)
    if row["revoked_at"] is None:
        _change(connection, identity, revoked_at=now, old_digest=None, old_until=None, changed=number)
    return _there(connection, identity)


def rotate(connection: Connection, identity: str, keep_s: float, now: float) -> tuple[Row, str]:
    """The key and its new secret; the old one is good for `keep_s` yet. Raises a 404, or a 409 for a key that
    was revoked."""
    number = _next_change(connection)
    row = _there(connection, identity)
    if row["revoked_at"] is not None:
        raise RequestError(
            f"The key {row['name']!r} was revoked; make another one.", status=409, code="key_revoked"
        )
    secret = PREFIX + token_urlsafe(_SECRET_BYTES)
    old = {"old_digest": row["digest"], "old_until": now + keep_s} if keep_s else {}
    cleared = {"old_digest": None, "old_until": None}
    _change(connection, identity, changed=number, **{**cleared, **old}, **_kept_of(connection, secret))
    return _there(connection, identity), secret


def one(connection: Connection, identity: str) -> Row:
    """By its id. Raises a 404."""
    return _there(connection, identity)


def identity_of(connection: Connection, named: str) -> str:
    """The id of a key that is told by its id or name. Raises a 404."""
    found = connection.execute(
        sa.select(keys.c.id).where(sa.or_(keys.c.id == named, keys.c.name == named))
    ).scalars()
    identity = next(iter(found), None)
    if identity is None:
        raise _unknown(named)
    return str(identity)


def page(connection: Connection, after: str | None, most: int) -> list[Row]:
    """Keys in the order in which they were made, those after the one with this id. Raises a 404 for it."""
    chosen = sa.select(keys).order_by(keys.c.created_at, keys.c.id).limit(most)
    if after is not None:
        last = _there(connection, after)
        place = sa.tuple_(keys.c.created_at, keys.c.id)
        chosen = chosen.where(place > sa.tuple_(sa.literal(last["created_at"]), sa.literal(last["id"])))
    return list(connection.execute(chosen).mappings())


def shown(row: Row, now: float) -> dict[str, Any]:
    """A key as it is told: never its secret. Times are whole seconds since 1970."""
    return {
        "id": row["id"],
        "object": "key",
        "name": row["name"],
        "state": _state(row, now),
        "prefix": row["prefix"],
        "last_four": row["last_four"],
        "models": orjson.loads(row["models"]),
        "image_output": row["image_output"],
        "limits": orjson.loads(row["limits"]),
        "budget": None if row["budget"] is None else orjson.loads(row["budget"]),
        "created_at": int(row["created_at"]),
        "expires_at": _seconds(row["expires_at"]),
        "revoked_at": _seconds(row["revoked_at"]),
        "old_secret_until": _seconds(row["old_until"]) if (row["old_until"] or 0) > now else None,
    }


def _state(row: Row, now: float) -> str:
    if row["revoked_at"] is not None:
        return "revoked"
    return "expired" if row["expires_at"] is not None and row["expires_at"] <= now else "active"


def _seconds(at: float | None) -> int | None:
    return None if at is None else int(at)


def _there(connection: Connection, identity: str) -> Row:
    row = connection.execute(sa.select(keys).where(keys.c.id == identity)).mappings().first()
    if row is None:
        raise _unknown(identity)
    return row


def _change(connection: Connection, identity: str, **values: Any) -> None:
    connection.execute(sa.update(keys).where(keys.c.id == identity).values(**values))


def _next_change(connection: Connection) -> int:
    """The number of this change. Until the transaction ends nobody else changes a key, so that no reader sees
    a number before a smaller one."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_OUR_LOCK)))
    newest = connection.execute(sa.select(sa.func.max(keys.c.changed))).scalar()
    return int(newest or 0) + 1


def _kept_of(connection: Connection, secret: str) -> dict[str, Any]:
    pepper = _pepper(connection)
    if pepper is None:
        pepper = token_bytes(_SECRET_BYTES)
        connection.execute(sa.insert(secrets).values(name=_PEPPER, value=pepper))
    return {
        "digest": hmac.digest(pepper, secret.encode(), "sha256"),
        "prefix": secret[:_PREFIX_SHOWN],
        "last_four": secret[-4:],
    }


def _pepper(connection: Connection) -> bytes | None:
    value = connection.execute(sa.select(secrets.c.value).where(secrets.c.name == _PEPPER)).scalar()
    return None if value is None else bytes(value)


def _expiry(new: NewKey, now: float) -> float | None:
    field, at = "expires_at", new.expires_at
    if new.expires_in is not None:
        if at is not None:
            raise RequestError("expires_in and expires_at exclude each other.", param=field)
        field, at = "expires_in", now + new.expires_in
    if at is None:
        return None
    if at <= now:
        raise RequestError(f"{field} is in the past; it is in seconds since 1970.", param=field)
    if at > _LATEST:
        raise RequestError(
            f"{field} is after the year 9999; leave it out for a key without end.", param=field
        )
    return at


def _name_taken(message: str) -> RequestError:
    return RequestError(message, status=409, code="name_taken", param="name")


def _unknown(named: str) -> RequestError:
    return RequestError(f"There is no key {named[:100]!r}.", status=404, code="key_not_found")
