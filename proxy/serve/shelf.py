"""Replies that clients come back to: by key, for a time, in the store. Loaded by the first of them.

Rows wait a moment and are written many at once; until then they are found here. Pictures are files, which
have an age of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from proxy.codec import base64_text
from proxy.errors import ProxyError, RequestError
from proxy.fronts.base import Kept
from proxy.types import Joined, Json, Slice

if TYPE_CHECKING:
    from proxy.config.models import Replies
    from proxy.serve.house import House, Services
    from proxy.serve.later import Making

Row = Mapping[str, Any]

MOST_BYTES = 16 << 20  # of one reply with all that came before it, pictures not counted

_WRITE_S = 0.05  # between a reply and its row
_AGAIN_S = 2.0  # where the store was away
_WAITING_BYTES = 32 << 20
_LATE_S = 0.2  # another process may be about to write
_SWEEP_SHARE = 16  # of what a key may have: so much is written between looks at it
_FILE, _HEAD = "$file", "$head"


class _Stored(Slice):
    """A picture that is in the store already: it goes from reply to reply without being written again."""

    __slots__ = ("identity",)

    def __init__(self, data: Slice, identity: str, head: str) -> None:
        super().__init__(data.raw, head.encode("latin-1"))
        self.identity = identity


class Shelf:
    """`making` are the replies that are being made here while nobody waits, by id."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._waiting: dict[str, Row] = {}
        self._being_made: set[str] = set()  # as the store knows it
        self._bytes = 0
        self._unswept = 0
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self._rules: Replies | None = None
        self.making: dict[str, Making] = {}

    async def keep(
        self,
        house: House,
        key: str,
        kept: Kept,
        *,
        events: bytes | None = None,
        alive_until: float | None = None,
    ) -> None:
        """Keep a reply from now on; `alive_until` says that it is still being made. What is too large is not
        kept, and said so in the log."""
        self._rules = rules = house.plan.config.server.replies
        told = await self._packed(kept.told)
        size = len(told) + len(events or b"")
        if len(told) > MOST_BYTES:
            self._services.log.write("reply_not_kept", id=kept.id, bytes=len(told))
            return
        now = time.time()
        row = {
            "id": kept.id,
            "key": key,
            "created_at": now,
            "expires_at": now + rules.ttl,
            "size": size,
            "told": told,
            "events": events,
            "running": alive_until is not None,
            "alive_until": alive_until,
            "cancel_asked": False,
        }
        self._bytes += size
        self._waiting[kept.id] = row
        if alive_until is not None or self._bytes > _WAITING_BYTES:
            await self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_WRITE_S, self._write_soon)

    async def find(self, key: str, identities: Sequence[str]) -> dict[str, Row]:
        """The rows of those that are kept for this key. Raises a 503 when the store is away."""
        found = {}
        for identity in identities:
            row = self._waiting.get(identity)
            if row is not None and row["key"] == key:
                found[identity] = row
        for pause_s in (0.0, _LATE_S):
            missing = [identity for identity in identities if identity not in found]
            if not missing or (self._services.database.is_in_memory and pause_s):
                break
            await asyncio.sleep(pause_s)
            if self._services.database.may_exist():
                from proxy.store import replies

                rows = await self.asking(replies.get, key, missing)
                found |= {row["id"]: row for row in rows}
        return found

    async def told(self, row: Row) -> Json:
        """What the front told, with its pictures; those that are not kept any more are None."""
        told: Json = orjson.loads(row["told"])
        if b'"$file"' in row["told"]:
            told = await asyncio.to_thread(self._unpacked, told)
        return told

    async def forget(self, key: str, identity: str) -> bool:
        """False where there is none."""
        from proxy.store import replies

        await self.flush()
        self._being_made.discard(identity)
        return bool(await self.changing(replies.delete, key, identity))

    async def flush(self) -> None:
        """Write what waits. What cannot be written now waits on, as far as there is room."""
        while self._writing is not None:
            await asyncio.wait([self._writing])
        if self._waiting:
            self._write_soon()
            assert self._writing is not None
            await asyncio.wait([self._writing])

    async def close(self) -> None:
        for making in list(self.making.values()):
            await making.stop()
        with contextlib.suppress(ProxyError):
            await self.flush()
        if self._timer is not None:
            self._timer.cancel()

    # --- the store -----------------------------------------------------------------------------------

    async def asking(self, work: Any, *arguments: Any) -> Any:
        return await self._guarded(self._services.database.read, work, arguments)

    async def changing(self, work: Any, *arguments: Any) -> Any:
        return await self._guarded(self._services.database.run, work, arguments)

    async def _guarded(self, way: Any, work: Any, arguments: tuple[Any, ...]) -> Any:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            return await way(lambda connection: work(connection, *arguments))
        except SQLAlchemyError as error:
            raise ProxyError(
                "The store of replies cannot be reached. Try again in a moment.",
                status=503,
                code="store_unavailable",
                headers={"retry-after": "2"},
            ) from error

    def _write_soon(self) -> None:
        self._timer = None
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        from proxy.store import replies

        rows = list(self._waiting.values())
        again = [row["id"] for row in rows if row["id"] in self._being_made]
        try:
            await self.changing(replies.write, rows, again)
            self._being_made.difference_update(again)
            self._being_made.update(row["id"] for row in rows if row["running"])
            self._unswept += sum(row["size"] for row in rows)
            if self._rules is not None and self._unswept * _SWEEP_SHARE >= self._rules.max_bytes:
                self._unswept = 0
                await self.changing(replies.sweep, self._rules.max_bytes)
        except ProxyError as error:
            self._services.log.write("replies_not_written", waiting=len(rows), reason=error.code)
            self._timer = asyncio.get_running_loop().call_later(_AGAIN_S, self._write_soon)
            while self._bytes > _WAITING_BYTES:
                self._drop(next(iter(self._waiting.values())))
        else:
            for row in rows:
                if self._waiting.get(row["id"]) is row:
                    self._drop(row)
        finally:
            self._writing = None
        if self._waiting and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_WRITE_S, self._write_soon)

    def _drop(self, row: Row) -> None:
        del self._waiting[row["id"]]
        self._bytes -= row["size"]

    # --- pictures ------------------------------------------------------------------------------------

    async def _packed(self, told: Json) -> bytes:
        try:
            return orjson.dumps(told)
        except TypeError:
            return await asyncio.to_thread(partial(orjson.dumps, told, default=self._leaf))

    def _leaf(self, value: Any) -> Any:
        """A long string of base64 becomes a file, with what stands before it in a data URL."""
        if not isinstance(value, Slice):
            if isinstance(value, Joined):
                return str(value)
            raise TypeError
        if isinstance(value, _Stored):
            return {_FILE: value.identity, _HEAD: value.prefix.decode("latin-1")}
        raw = base64_text.raw(value)
        head = bytes(raw[:256]).partition(b",")[0] + b"," if bytes(raw[:5]).lower() == b"data:" else b""
        try:
            identity = self._services.files.save(Slice(raw[len(head) :]))
        except (OSError, ValueError):
            return str(value)
        return {_FILE: identity, _HEAD: head.decode("latin-1")}

    def _unpacked(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._unpacked(one) for one in value]
        if not isinstance(value, dict):
            return value
        if value.keys() == {_FILE, _HEAD}:
            raw = self._services.files.read(value[_FILE])
            return None if raw is None else _Stored(base64_text.encoded(raw), value[_FILE], value[_HEAD])
        return {name: self._unpacked(one) for name, one in value.items()}


async def recalled(house: House, key: str, identities: Sequence[str]) -> dict[str, Json]:
    """What was told of earlier replies of this key, by id; those that are not kept are not there."""
    shelf = house.services.shelf
    rows = await shelf.find(key, identities)
    return {identity: await shelf.told(row) for identity, row in rows.items()}


def unknown(identity: str) -> RequestError:
    return RequestError(
        f"There is no reply {identity[:100]!r} here, or not any more.", status=404, code="not_found"
    )
