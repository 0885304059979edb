"""Replies that clients come back to: by key, for a time, in the store. Loaded by the first of them.

Rows wait a moment and are written many at once; until then they are found here. Pictures are files, which
have an age of their own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from proxy.codec import aside, base64_text
from proxy.errors import ProxyError, RequestError
from proxy.fronts.base import Kept
from proxy.serve.joining import Pending
from proxy.types import Joined, Json, Slice

if TYPE_CHECKING:
    from proxy.config.models import Replies
    from proxy.serve.head import Header
    from proxy.serve.house import House, Services
    from proxy.serve.joining import Repeats
    from proxy.serve.later import Making

Row = Mapping[str, Any]

MOST_BYTES = 16 << 20  # of one reply with all that came before it, pictures not counted

_WRITE_S = 0.05  # between a reply and its row
_AGAIN_S = 2.0  # where the store was away
_WAITING_BYTES = 32 << 20
_LATE_S = 0.2  # another process may be about to write
_SWEEP_SHARE = 16  # of what a key may have: so much is written between looks at it
_RECALLED_BYTES = 64 << 20  # of all replies that a request goes on from, pictures not counted
_OURS = "http://store.invalid"  # whoever reads our addresses looks at no host
_HEAD = "$head"


BY_NOBODY: Row = {"digest": None, "idempotency": None}  # a repeated request does not find it
DROPPED = "dropped"  # beside what the front tells of a reply made while nobody waits: what its request lost


def dropped(told: Json) -> list[Header]:
    return [(b"x-proxy-dropped", told[DROPPED].encode())] if DROPPED in told else []


def headers(told: Json) -> list[Header]:
    """Of a reply that is shown whole."""
    return [(b"content-type", b"application/json"), *dropped(told)]


_dumps = partial(orjson.dumps, option=orjson.OPT_PASSTHROUGH_SUBCLASS)


class _Stored(str):
    """The address of a picture that is in the store: it goes from reply to reply, and is read by whoever
    needs it. `marker` is what stands for it in a row."""

    marker: Json


class Shelf:
    """`making` are the replies that are being made here while nobody waits, by id."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._waiting: dict[str, Row] = {}
        self._in_store: set[str] = set()  # of those whose row comes again: perhaps an earlier one is there
        self._bytes = 0
        self._unswept = 0
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self._rules: Replies | None = None
        self.making: dict[str, Making] = {}
        self.opening = Pending()  # while its row is written

    async def keep(
        self,
        house: House,
        key: str,
        kept: Kept,
        *,
        events: bytes | None = None,
        found_by: Row = BY_NOBODY,
    ) -> bool:
        """Keep a reply from now on. False where it has no row."""
        if kept.adds is not None:
            await self._add(house, key, *kept.adds)
        row = await self.row(house, key, kept, events=events, found_by=found_by)
        if row is None:
            return False
        await self._put(row)
        return True

    async def row(
        self,
        house: House,
        key: str,
        kept: Kept,
        *,
        events: bytes | None = None,
        alive_until: float | None = None,
        request: tuple[bytes | None, str] | None = None,
        found_by: Row = BY_NOBODY,
    ) -> Row | None:
        """A reply as it is kept; `alive_until` says that it is still being made, and another process may do
        so from `request`, the body and how it shall go; without a body it is begun anew for who asks again.
        None for what is too large, or has no form in JSON; the log says so."""
        self._rules = rules = house.plan.config.server.replies
        try:
            told, context = await self._packed(kept.told, kept.context)
        except TypeError as error:
            self._services.log.write("reply_not_kept", id=kept.id, reason=str(error))
            return None
        size = len(told) + len(context)
        if size > MOST_BYTES:
            self._services.log.write("reply_not_kept", id=kept.id, bytes=size)
            return None
        if size + len(events or b"") > MOST_BYTES:
            events = None  # it is kept, though its stream cannot be taken up again
        size += len(events or b"") + (0 if request is None else len(request[0] or b""))
        now = time.time()
        return {
            "id": kept.id,
            "key": key,
            "created_at": now,
            "expires_at": now + rules.ttl,
            "size": size,
            "told": told,
            "context": context,
            "events": events,
            "running": alive_until is not None,
            "alive_until": alive_until,
            "cancel_asked": False,
            "body": None if request is None else request[0],
            "asked": None if request is None else request[1],
            "tries": 0,
            "digest": found_by["digest"],
            "idempotency": found_by["idempotency"],
        }

    async def open_or_join(self, row: Row, repeats: Repeats) -> Row | None:
        """Keep what is made here from now on; or else, where its request comes again, `id` and `digest` of
        what it joins. Raises a 503 where the store is away and the client would find it by a key."""
        if repeats.to_be_found:
            try:
                return await self._opened(row, repeats.within_s)
            except ProxyError:
                if repeats.key is not None:
                    raise
        await self._put(row)
        return None

    async def begun_before(self, same: Row, repeats: Repeats) -> Row | None:
        """What a request with these `key`, `idempotency` and `digest` would join; None where it would begin.
        Raises a 503 while the store is away."""
        from proxy.store import replies

        await self.opening.over(same)
        await self.flush()  # what has ended by now may be found no more
        found: Row | None = await self.asking(replies.begun_before, same, repeats.within_s)
        return found

    async def _opened(self, row: Row, within_s: float | None) -> Row | None:
        from proxy.store import replies

        await self.flush()  # what has ended by now may be found no more
        found: Row | None = await self.changing(replies.open_or_join, row, within_s)
        if found is None:
            self._in_store.add(row["id"])
        return found

    async def _put(self, row: Row) -> None:
        self._bytes += row["size"]
        self._waiting[row["id"]] = row
        if row["running"] or self._bytes > _WAITING_BYTES:
            await self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_WRITE_S, self._write_soon)

    async def find(self, key: str, wanted: Mapping[str, bool]) -> dict[str, Row]:
        """The rows of those that are kept for this key, with their context where that is wanted. Raises a 503
        when the store is away, a 400 for more than any model could read."""
        found = {}
        for identity in wanted:
            row = self._waiting.get(identity)
            if row is not None and row["key"] == key and row["expires_at"] > time.time():
                found[identity] = row
        for pause_s in (0.0, _LATE_S):
            missing = {identity: whole for identity, whole in wanted.items() if identity not in found}
            if not missing or (self._services.database.is_in_memory and pause_s):
                break
            await asyncio.sleep(pause_s)
            if self._services.database.may_exist():
                from proxy.store import replies

                try:
                    rows = await self.asking(replies.get, key, missing, _RECALLED_BYTES)
                except OverflowError:
                    raise RequestError(
                        f"The replies that this goes on from come to more than {_RECALLED_BYTES >> 20} MB.",
                        code="context_too_large",
                    ) from None
                found |= {row["id"]: row for row in rows}
        return found

    async def read(self, row: Row, name: str, base: str | None) -> Json:
        """A column, with addresses below `base` for its pictures, or the pictures themselves where that is
        None. Those that are not kept any more are None."""
        found: Json = orjson.loads(row[name] or b"{}")
        if aside.ANY_NAME in row[name]:
            found = await asyncio.to_thread(self._unpacked, found, base)
        return found

    async def taken_over(self, key: str, identity: str, until: float) -> Row | None:
        """The row of what is made here from now on. None where somebody else has it."""
        from proxy.store import replies

        row: Row | None = await self.changing(replies.claim, key, identity, until)
        if row is not None:
            self._in_store.add(identity)
        return row

    async def end(self, row: Row, told: Json, *, is_lost: bool) -> None:
        """Of what was taken over and will not be made."""
        from proxy.store import replies

        self._in_store.discard(row["id"])  # it is written here, or by whoever takes it over after us
        end = partial(replies.end, is_lost=is_lost)
        await self.changing(end, row["id"], row["tries"], *await self._packed(told))

    async def change(
        self, house: House, key: str, identity: str, change: Callable[[Json, Json], tuple[Json, Json]]
    ) -> tuple[Json, Json] | None:
        """What is told and its context from now on, made by `change` of what they were, in a thread of the
        store's. None where there is none. Raises a 503 while the store is away."""
        from proxy.store import replies

        await self._put_down(identity)

        def work(told: bytes, context: bytes) -> tuple[bytes, bytes]:
            new = change(orjson.loads(told), orjson.loads(context))
            return orjson.dumps(new[0]), orjson.dumps(new[1])

        until = time.time() + house.plan.config.server.replies.ttl
        found = await self.changing(replies.change, key, identity, work, until)
        return None if found is None else (orjson.loads(found[0]), orjson.loads(found[1]))

    async def written(self, items: list[Json]) -> list[Json]:
        """Items as they stand in a context: their pictures are files."""
        [packed] = await self._packed(items)
        found: list[Json] = orjson.loads(packed)
        return found

    async def _add(self, house: House, key: str, identity: str, items: list[Json]) -> None:
        """Both sides of what was said now; who goes on finds them. The log says so where that fails."""
        try:
            more = await self.written(items)
            await self.change(house, key, identity, partial(with_more, more))
        except (ProxyError, TypeError) as error:
            self._services.log.write("reply_not_added", id=identity, reason=str(error))

    def left(self, identity: str) -> None:
        """To another process, which will write what comes of it."""
        self._in_store.discard(identity)

    async def forget(self, key: str, identity: str) -> bool:
        """False where there is none. Raises a 503 while the store is away."""
        from proxy.store import replies

        await self._put_down(identity)
        was_there: bool = await self.changing(replies.delete, key, identity)
        self._in_store.discard(identity)
        return was_there

    async def _put_down(self, identity: str) -> None:
        """Have its row written, if that waits: else it would come behind what is done to it now."""
        await self.flush()
        if identity in self._waiting:
            raise _away()

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
            raise _away() from error

    def _write_soon(self) -> None:
        """What waits, unless somebody has written it out of turn."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting and self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        from proxy.store import replies

        rows = list(self._waiting.values())
        again = [row["id"] for row in rows if row["id"] in self._in_store]
        try:
            await self.changing(replies.write, rows, again)
        except ProxyError as error:
            self._services.log.write("replies_not_written", waiting=len(rows), reason=error.code)
            self._timer = asyncio.get_running_loop().call_later(_AGAIN_S, self._write_soon)
            self._in_store.update(row["id"] for row in rows)  # nobody said that it was not written
            while self._bytes > _WAITING_BYTES:
                self._forgo(next(iter(self._waiting.values())))
        else:
            self._in_store.difference_update(again)
            self._in_store.update(row["id"] for row in rows if row["running"])
            for row in rows:
                if self._waiting.get(row["id"]) is row:
                    self._drop(row)
            self._unswept += sum(row["size"] for row in rows)
            if self._rules is not None and self._unswept * _SWEEP_SHARE >= self._rules.max_bytes:
                await self._sweep(self._rules.max_bytes)
        finally:
            self._writing = None
        if self._waiting and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_WRITE_S, self._write_soon)

    async def _sweep(self, max_bytes: int) -> None:
        """What cannot be swept now is at the next write."""
        from proxy.store import replies

        try:
            await self.changing(replies.sweep, max_bytes)
            self._unswept = 0
        except ProxyError as error:
            self._services.log.write("replies_not_swept", error=error.code)

    def _forgo(self, row: Row) -> None:
        self._drop(row)
        if not row["running"]:  # else its end comes
            self._in_store.discard(row["id"])

    def _drop(self, row: Row) -> None:
        del self._waiting[row["id"]]
        self._bytes -= row["size"]

    # --- pictures ------------------------------------------------------------------------------------

    async def _packed(self, *values: Json | list[Json]) -> list[bytes]:
        """Each as it is written. Raises `TypeError` for what has no form in JSON."""
        try:
            packed = [*map(_dumps, values)]
        except TypeError:
            leaving = partial(_dumps, default=self._leaf)
            return await asyncio.to_thread(lambda: [leaving(aside.as_written(value)) for value in values])
        if aside.ANY_NAME in b"".join(packed):
            packed = [_dumps(aside.as_written(value)) for value in values]
        return packed

    def _leaf(self, value: Any) -> Any:
        """A long string of base64 becomes a file, with what stands before it in a data URL."""
        if isinstance(value, _Stored):
            return value.marker
        if not isinstance(value, Slice):
            if isinstance(value, Joined):
                return str(value)
            raise TypeError
        raw = base64_text.raw(value)
        head = bytes(raw[:256]).partition(b",")[0] + b"," if bytes(raw[:5]).lower() == b"data:" else b""
        try:
            identity = self._services.files.save(Slice(raw[len(head) :]))
        except (OSError, ValueError):
            return str(value)
        return {aside.FILE: identity, _HEAD: head.decode("latin-1")}

    def _unpacked(self, value: Any, base: str | None) -> Any:
        if isinstance(value, list):
            return [self._unpacked(one, base) for one in value]
        if not isinstance(value, dict):
            return value
        if value.keys() != {aside.FILE, _HEAD}:
            return {aside.read(name): self._unpacked(one, base) for name, one in value.items()}
        identity, head = value[aside.FILE], value[_HEAD]
        if base is None or not (head.startswith("data:image/") or not head):
            raw = self._services.files.read(identity)
            return None if raw is None else Slice(base64_text.encoded(raw).raw, head.encode("latin-1"))
        found = _Stored(base + self._services.files.address(identity))
        found.marker = value
        return found if self._services.files.is_stored(found) else None


def with_more(items: list[Json], told: Json, context: Json) -> tuple[Json, Json]:
    return told, {**context, "items": [*context["items"], *items]}


async def recalled(house: House, key: str, wanted: Mapping[str, bool]) -> dict[str, Json]:
    """What was told of earlier replies of this key, with their context where that is wanted, by id; those
    that are not kept are not there. Pictures have an address that only we can read."""
    shelf = house.services.shelf
    rows = await shelf.find(key, wanted)
    if any(row["size"] > MOST_BYTES for row in rows.values()):
        raise RequestError(
            f"What this goes on from has come to more than {MOST_BYTES >> 20} MB: begin another.",
            code="context_too_large",
        )
    return {
        identity: await shelf.read(row, "told", _OURS) | await shelf.read(row, "context", _OURS)
        for identity, row in rows.items()
    }


def _away() -> ProxyError:
    return ProxyError(
        "The store of replies cannot be reached. Try again in a moment.",
        status=503,
        code="store_unavailable",
        headers={"retry-after": "2"},
    )


def unknown(identity: str) -> RequestError:
    return RequestError(
        f"There is no reply {identity[:100]!r} here, or not any more.", status=404, code="not_found"
    )
