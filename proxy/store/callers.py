"""The callers whose keys are in the store, as a worker knows them: a copy that follows the store.

While there are such keys the store is asked twice a second for what has changed, so a key that is revoked
anywhere stops working here; a key that is not known yet has it asked at once. Who has no key of ours cannot
make it ask more than twenty times a second. A server without such keys never touches the store: SQLite has no
file then, and PostgreSQL is looked at once. While the store is away, what is known stays good.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import orjson

from proxy.config.models import Budget, Limits
from proxy.errors import ProxyError
from proxy.keys import ClientKey
from proxy.logs import Log
from proxy.store.database import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection, RowMapping

    from proxy.store.client_keys import Changes

PREFIX = "sk-dragoman-"

_NO_LIMITS = Limits()
_ANEW = -1  # before the first change: the next look reads all keys again
_EVERY_S = 0.4
_APART_S = 0.05  # between two looks that strangers can cause
_OURS = re.compile(rb"sk-dragoman-[A-Za-z0-9_-]{43}\Z")


class StoredCallers:
    """`away` tells why the store cannot be read, None while it can."""

    def __init__(
        self,
        database: Database,
        log: Log,
        everyone: Limits = _NO_LIMITS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._log = log
        self._everyone = everyone
        self._clock = clock
        self._callers: dict[bytes, tuple[ClientKey, float | None]] = {}  # by digest; good until
        self._digests: dict[str, tuple[bytes, ...]] = {}  # of each key by its id
        self._pepper: bytes | None = None
        self._newest = 0
        self._seen = False
        self._looking = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None
        self._looked_at = 0.0
        self.away: str | None = None

    @property
    def everyone(self) -> Limits:
        """What holds for each key that has no limit of its own."""
        return self._everyone

    @everyone.setter
    def everyone(self, limits: Limits) -> None:
        if limits != self._everyone:
            self._everyone = limits
            self._newest = _ANEW

    async def find(self, secret: bytes) -> ClientKey | None:
        """Whose secret it is. Raises a 503 when only the store could tell, and it is away."""
        if _OURS.match(secret) is None:
            return None
        caller = self.known(secret)
        if caller is None and self._database.may_exist():
            await self.refresh()
            caller = self.known(secret)
            if caller is None and self.away is not None:
                raise ProxyError(
                    "The store of keys cannot be read just now, so this key cannot be checked.",
                    status=503,
                    code="key_store_unavailable",
                    headers={"retry-after": "1"},
                )
        return caller

    async def watch(self) -> None:
        """Follow the store until cancelled. The first look does not hold up the start: whoever comes before
        it with a key of ours causes one."""
        while True:
            await asyncio.sleep(_EVERY_S)
            if self._callers or self.away or (not self._seen and self._database.may_exist()):
                await self.refresh()

    async def refresh(self) -> None:
        """Know what the store knows now: one look, which all share who come before it begins."""
        if self._next is None:
            self._next = asyncio.create_task(self._look_in_turn())
        await asyncio.shield(self._next)

    def close(self) -> None:
        if self._next is not None:
            self._next.cancel()

    def known(self, secret: bytes) -> ClientKey | None:
        """Whose secret it is, without a look at the store."""
        if self._pepper is None:
            return None
        # Found by a keyed digest: what the time of a look-up tells of it, nobody can aim at.
        caller, until = self._callers.get(hmac.digest(self._pepper, secret, "sha256"), (None, None))
        return caller if until is None or self._clock() < until else None

    async def _look_in_turn(self) -> None:
        try:
            async with self._looking:
                wait_s = self._looked_at + _APART_S - time.monotonic()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
                self._next = None  # who comes from now on may need a newer one
                await self._look()
                self._looked_at = time.monotonic()
        except asyncio.CancelledError:
            self._next = None
            raise

    async def _look(self) -> None:
        everyone = self._everyone
        try:
            changed, keys = await self._database.read(partial(self._changes, everyone))
        except Exception as error:  # whatever a driver raises: who is known must not suffer
            if self.away is None:
                self._log.write("key_store_away", kind=type(error).__name__)
            self.away = type(error).__name__
            return
        if self.away is not None:
            self._log.write("key_store_back")
        self.away = None
        self._seen = True
        self._learn(changed, keys)
        if everyone is not self._everyone:
            self._newest = _ANEW

    def _changes(self, everyone: Limits, connection: Connection) -> tuple[Changes, list[_Key]]:
        """In the reader's thread, where many keys hold up nobody."""
        from proxy.store import client_keys

        changed = client_keys.changes(connection, self._newest)
        return changed, [_Key.of(row, everyone) for row in changed.rows]

    def _learn(self, changed: Changes, keys: list[_Key]) -> None:
        if changed.anew:
            self._callers.clear()
            self._digests.clear()
        for key in keys:
            for digest in self._digests.pop(key.id, ()):
                del self._callers[digest]
            self._callers |= key.secrets
            self._digests[key.id] = tuple(key.secrets)
            if not key.readable:
                self._log.write("key_unreadable", key=key.name)
        self._pepper = changed.pepper or self._pepper
        self._newest = changed.newest


@dataclass(frozen=True, slots=True)
class _Key:
    """A row, read. `secrets` are the digests that are good, with their caller and until when."""

    id: str
    name: str
    secrets: dict[bytes, tuple[ClientKey, float | None]]
    readable: bool = True

    @classmethod
    def of(cls, row: RowMapping, everyone: Limits) -> _Key:
        if row["revoked_at"] is not None:
            return cls(row["id"], row["name"], {})
        try:
            caller = _caller(row, everyone)
        except ValueError:
            return cls(row["id"], row["name"], {}, readable=False)
        expires = row["expires_at"]
        secrets = {bytes(row["digest"]): (caller, expires)}
        if row["old_digest"] is not None:
            until = row["old_until"] if expires is None else min(expires, row["old_until"])
            secrets[bytes(row["old_digest"])] = (caller, until)
        return cls(row["id"], row["name"], secrets)


def _caller(row: RowMapping, everyone: Limits) -> ClientKey:
    own = Limits.model_validate(orjson.loads(row["limits"]))
    models = tuple(orjson.loads(row["models"]))
    own_budget = row["budget"]
    budget = None if own_budget is None else Budget.model_validate(orjson.loads(own_budget)).of_caller()
    return ClientKey(
        row["name"],
        models,
        row["image_output"],
        limits=own.of_caller(everyone),
        budget=budget,
        expires_at=row["expires_at"],
    )
