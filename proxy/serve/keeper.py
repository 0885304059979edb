"""Keeps what is sold by the piece: each such request runs in a task of the process's own, and clients watch.

What somebody may ask for again stands in the store as a leased row: a task, and a request that a client can
repeat. A row whose process is gone is taken over here, or on another machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import repeat
from secrets import token_hex
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from proxy.errors import ProxyError, RequestError
from proxy.fronts.base import Asked, Front, Unhurried
from proxy.keys import ClientKey
from proxy.ledger.entries import Entry, insert
from proxy.serve import anew, joining
from proxy.serve import body as bodies
from proxy.serve.answer import Work
from proxy.serve.house import House
from proxy.serve.record import (
    LostLeaseError,
    Record,
    StoreAwayError,
    plain_error,
    text_of,
)
from proxy.serve.room import Room
from proxy.serve.running import Running, cancelled

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from proxy.config.models import Tasks
    from proxy.serve.house import Services
    from proxy.upstream.callbacks import Poster

T = TypeVar("T")

Row = Mapping[str, Any]

_RENEWALS = 3  # in the time of a lease
_SWEEP_EVERY_S = 600.0
_CALLBACKS_AT_ONCE = 20
_WATCHES_AT_ONCE = 20
_MOST_TRIES = 100_000  # of a call in one process
_UNDER_WAY_S = 5.0  # what is being ordered when the process ends may still hear the vendor's number
_PAUSES_S = (0.1, 0.5, 1.0, 2.0, *repeat(5.0, 195))  # between tries to write, for a quarter of an hour


def unknown_task() -> RequestError:
    return RequestError("There is no such task, or it is another key's.", status=404, code="task_not_found")


class Keeper:
    """All that runs in this process, and the way to the rows. `fronts` are those whose requests may be taken
    over, by their endpoint."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.owner = token_hex(8)
        self.fronts: Mapping[str, Front] = {}
        self.running: dict[str, Running] = {}
        self._rules: Tasks | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self.opening = joining.Pending()  # while its row is written
        self._left = joining.Pending()  # and while it is let go
        self._reserved: dict[str, Callable[[], None]] = {}  # by request: gives a budget's money back
        self._renewed = -math.inf
        self._swept = -math.inf
        self._told_away = False
        self._callbacks_at = math.inf  # when one is due that this process knows of
        self._late_at = math.inf  # the same for a look at an order that was given up
        self._poster: Poster | None = None

    # --- the store

    async def do(self, function: Callable[..., T], *arguments: Any) -> T:
        """Raises `sqlalchemy.exc.SQLAlchemyError`, and what `function` raises."""

        def work(connection: Connection) -> T:
            return function(connection, *arguments)

        return await self.services.database.run(work)

    async def write(self, row: Row, values: Mapping[str, Any], entries: Sequence[Entry] = ()) -> bool:
        """Write to a row, and what that comes to in money, where the lease is still ours."""
        from proxy.store import tasks

        lease_s = self._rules_now().lease

        def work(connection: Connection) -> bool:
            done = tasks.write(connection, row["id"], self.owner, row["epoch"], lease_s, values)
            if done and entries:
                insert(connection, entries)
            return done

        return await self.do(work)

    async def insisting(self, write: Callable[[], Coroutine[Any, Any, bool]], *, insist: bool) -> bool:
        """The store may be away for a while: what has happened at a vendor is written when it is back.
        Without `insist` raises `StoreAwayError`."""
        pauses_s = iter(_PAUSES_S if insist else ())
        while True:
            try:
                done = await write()
            except Exception as error:
                self.note_away(error)
                if (pause_s := next(pauses_s, None)) is None:
                    raise StoreAwayError from None
            else:
                self._told_away = False
                return done
            await asyncio.sleep(pause_s)

    def note_away(self, error: Exception) -> None:
        """Told once for each time that it is away; its words may quote a client's, so they are not told."""
        if self._told_away:
            return
        self._told_away = True
        if isinstance(error, OSError) or type(error).__module__.startswith("sqlalchemy"):
            self.services.log.write("store_away", error=type(error).__name__)
        else:
            self.services.log.crash("tasks", error)

    def _rules_now(self) -> Tasks:
        assert self._rules is not None
        return self._rules

    async def asking(self, function: Callable[..., T], *arguments: Any) -> T:
        """For a client that asks; nothing is changed. Raises a 503 while the store is away."""
        return await self._for_client(self.services.database.read, function, *arguments)

    async def changing(self, function: Callable[..., T], *arguments: Any) -> T:
        """The same for what changes something."""
        return await self._for_client(self.services.database.run, function, *arguments)

    async def _for_client(self, way: Any, function: Callable[..., T], *arguments: Any) -> T:
        try:
            found: T = await way(lambda connection: function(connection, *arguments))
            return found
        except Exception as error:
            self.note_away(error)
            raise StoreAwayError from None

    async def row(self, identity: str) -> Row:
        """Raises a 404 when it is not known any more, a 503 while the store is away."""
        from proxy.store import tasks

        row = await self.asking(tasks.get, identity)
        if row is None:
            raise unknown_task()
        return row

    # --- a request

    async def opened(
        self,
        house: House,
        row: dict[str, Any],
        go_on: Callable[[Row], object] | None,
        repeats: joining.Repeats,
        *,
        insist: bool,
    ) -> tuple[Row, bool] | None:
        """Insert the row, or find what it repeats; and whether it is ours to work at. None where the store is
        away and the client did not ask for it. Raises `StoreAwayError` where it did. Should its client leave
        meanwhile, it goes on by `go_on`, or is called off where that is None."""
        from proxy.store import tasks

        self._rules = house.plan.config.tasks
        await self._left.over(row)  # none shall join it
        found_within_s = repeats.within_s, repeats.unsaid_s
        opening = asyncio.create_task(self.do(tasks.open_or_join, row, self._rules.lease, *found_within_s))
        self.opening.add(opening, row)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            self.until_over(row["request_id"])  # it is open in the store until it is let go
            letting_go = self._spawn(self._let_go(opening, go_on, row["request_id"]))
            self._left.add(letting_go, row)
            raise
        except Exception as error:
            self.note_away(error)
            if insist:
                raise StoreAwayError from None
            return None

    async def begun_before(self, same: Row, repeats: joining.Repeats) -> Row | None:
        """What a request with these `key`, `idempotency` and `digest` would join; None where it would begin.
        Raises a 503 while the store is away."""
        from proxy.store import tasks

        while True:
            await self.opening.over(same)
            await self._left.over(same)
            found = await self.asking(tasks.begun_before, same, repeats.within_s, repeats.unsaid_s)
            running = None if found is None else self.running.get(found["id"])
            if running is None or not running.record.cancelling:
                return found
            await running.ended()

    async def _let_go(
        self,
        opening: asyncio.Task[tuple[Row, bool]],
        go_on: Callable[[Row], object] | None,
        request_id: str,
    ) -> None:
        """The client left while its row was written: for who waits no more nothing is ordered."""
        goes_on = False
        try:
            row, is_ours = await opening
            goes_on = is_ours and go_on is not None
            if is_ours and go_on is not None:
                go_on(row)
            elif is_ours:
                error = text_of(plain_error(cancelled()))
                await self.write(row, {"state": "cancelled", "error": error, "repeatable": True})
        finally:
            if not goes_on:
                self._released(request_id)

    def room(self, rules: Tasks) -> Room:
        made = ((one.record.row["model"], one.work.asked.unhurried) for one in self.running.values())
        return Room(rules.at_once, made)

    def begin(
        self, house: House, row: Row, work: Work, front: Front, *, is_kept: bool, tried_before: int = 0
    ) -> Running:
        """Start the work."""
        self._rules = house.plan.config.tasks
        record = Record(self, row, is_kept=is_kept, tried_before=tried_before)
        unhurried = None if row["waits"] else Unhurried()
        asked = replace(work.asked.patient(), unhurried=unhurried)  # its client's patience is the watcher's
        work = Work(house, asked, work.route, work.parsed, work.candidates, record)
        running = Running(record, work, front, self._ended)
        self.running[record.identity] = running
        if asked.caller.budget is not None:
            self.until_over(asked.request_id)
        running.start()
        return running

    def _ended(self, running: Running) -> None:
        name = running.record.identity
        if running.record.row["callback_url"] is not None:
            self._callbacks_at = -math.inf
        if self.running.get(name) is running:
            del self.running[name]
            self._released(running.record.row["request_id"])
            if self._rules is not None and self.room(self._rules).left <= 1:
                self._renewed = -math.inf  # others may wait for this place

    # --- money that is reserved

    def until_over(self, request_id: str) -> None:
        """What a key's budget has reserved stays so until the work is over, also where its client leaves."""
        self._reserved[request_id] = self.services.balances.entrust(request_id)

    def waits(self, request_id: str) -> None:
        """Whoever takes the row, here too, knows its key by name alone: the money is counted by the row."""
        self._reserved.pop(request_id, None)
        self.services.balances.leave(request_id)

    def joined(self, asked: Asked) -> None:
        """It needs no money of its own."""
        self.services.balances.release(asked.request_id)

    def _released(self, request_id: str) -> None:
        if (release := self._reserved.pop(request_id, None)) is not None:
            release()

    # --- who leaves

    def left(self, running: Running) -> None:
        """Nobody watches any more what was waited for: the provider's rule says what becomes of it."""
        record = running.record
        if running.over or not record.row["waits"]:
            return
        policy = _on_disconnect(running.work)
        if policy == "cancel" or (policy == "finish_if_paid" and not record.is_ordered):
            running.call_off(repeatable=True)
            self._spawn(running.ended())  # a process that ends waits for it
        elif not record.is_kept:
            self._spawn(self._kept_from_now(running))

    async def called_off(self, running: Running) -> None:
        """For good, and at the vendor where it can do that; what is just being ordered is waited for."""
        await self._answered([running])
        running.call_off(repeatable=False)
        await running.ended()

    async def _answered(self, those: Iterable[Running]) -> None:
        """Wait a little for the vendors' numbers of what is being ordered: without them nobody can ask for
        it, or call it off. And for what has come to its end: only here is it known how."""
        now = asyncio.get_running_loop().time
        until = now() + _UNDER_WAY_S
        while now() < until and any(  # noqa: ASYNC110 - a vendor's answer tells nobody here
            (one.record.is_uncertain or one.is_ending) and not one.over for one in those
        ):
            await asyncio.sleep(0.05)

    async def _kept_from_now(self, running: Running) -> None:
        """So that its client finds what it has left."""
        from proxy.store import tasks

        record = running.record

        async def insert() -> bool:
            row = {
                **record.row,
                "orders": orjson.dumps(record.orders).decode(),
                "body": bodies.written(record.row["body"]),
            }
            await self.do(tasks.open_or_join, row, self._rules_now().lease, None)
            return True

        await record.keep(partial(self.insisting, insert, insist=True))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._settled)
        return task

    def _settled(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self.note_away(error)

    # --- what is always going on

    async def tick(self, house: House, fronts: Mapping[str, Front]) -> None:
        """Called twice a second, and when there is work: renew leases, take over what is nobody's, forget
        what is old."""
        from proxy.ledger import watches
        from proxy.serve import late
        from proxy.store import tasks, wakes

        self.fronts = fronts
        self._rules = rules = house.plan.config.tasks
        now, told = time.monotonic(), self.services.wakes.taken()
        is_due = now - self._renewed >= rules.lease / _RENEWALS or wakes.CANCEL in told
        is_due = is_due or (wakes.FREE in told and self.room(rules).left > 0)
        if is_due or now >= self._callbacks_at or wakes.CALLBACK in told:
            self._callbacks_at = math.inf
            for row in await self.do(tasks.due_callbacks, _CALLBACKS_AT_ONCE):
                self._spawn(self._called_back(house, row))
        if is_due or now >= self._late_at:
            self._late_at = math.inf
            for row in await self.do(watches.claim, _WATCHES_AT_ONCE):
                self._spawn(self._looked(house, row))
        if not is_due:
            return
        self._renewed = now
        await self._renew(rules.lease)
        room = self.room(rules)
        if room.left > 0:
            for row in await self.do(late.claimed, self.owner, rules.lease, room):
                await self._take_over(house, row)
        if now - self._swept > _SWEEP_EVERY_S:
            self._swept = now
            await self.do(tasks.sweep, rules.keep)
        self._told_away = False

    async def _looked(self, house: House, row: Row) -> None:
        from proxy.serve import late

        again_s = await late.look(self, house, row)
        if again_s is not None:
            self._late_at = min(self._late_at, time.monotonic() + again_s)

    async def _called_back(self, house: House, row: Row) -> None:
        from proxy.serve import callbacks

        again_s = await callbacks.deliver(self, house, row)
        if again_s is not None:
            self._callbacks_at = min(self._callbacks_at, time.monotonic() + again_s)

    @property
    def poster(self) -> Poster:
        if self._poster is None:
            from proxy.upstream.callbacks import Poster

            self._poster = Poster()
        return self._poster

    async def _renew(self, lease_s: float) -> None:
        from proxy.store import tasks

        kept = {name: one for name, one in self.running.items() if one.record.is_kept}
        if not kept:
            return
        held = await self.do(tasks.renew, self.owner, list(kept), lease_s)
        for name, running in kept.items():
            if self.running.get(name) is not running:  # it has ended meanwhile
                continue
            epoch, cancel_asked = held.get(name, (-1, False))
            if epoch != running.record.row["epoch"]:
                self._spawn(running.stop())
            elif cancel_asked and not running.record.cancelling and running.record.can_cancel:
                self._spawn(self.called_off(running))
            elif running.record.is_behind:
                self._spawn(self._caught_up(running.record))

    async def _caught_up(self, record: Record) -> None:
        with contextlib.suppress(StoreAwayError, LostLeaseError):
            await record.write({}, insist=False)

    async def _take_over(self, house: House, row: Row) -> None:
        """Go on where another process was cut off. Its key has no budget here: what it wants and what it
        orders stand in the store, where its balance finds both at once."""
        self.services.log.write(
            "task_taken_over", task=row["id"], state=row["state"], tries=row["tries"], was=row["was"]
        )
        if row["state"] != "running":
            return
        front, caller, told = self.fronts[row["endpoint"]], ClientKey(row["key"]), orjson.loads(row["asked"])
        try:
            work = await anew.work(house, front, caller, row["request_id"], row["body"], told)
        except ProxyError as error:  # its model is not in the file any more
            record = Record(self, row, is_kept=True)
            values = {"error": text_of(plain_error(error)), "repeatable": True}
            await (record.end("parked") if record.is_ordered else record.end("failed", **values))
            return
        self.begin(house, row, work, front, is_kept=True, tried_before=_MOST_TRIES * row["epoch"])

    async def close(self) -> None:
        """End what runs here; what is kept goes on elsewhere, or with the next start."""
        from proxy.store import tasks

        if self._background:
            await asyncio.wait(self._background, timeout=_UNDER_WAY_S)
        await self._answered(self.running.values())
        if self._poster is not None:
            await self._poster.close()
        kept = any(one.record.is_kept for one in self.running.values())
        for running in list(self.running.values()):
            await running.stop()
        for task in list(self._background):
            task.cancel()
        if kept:
            try:
                await self.do(tasks.release, self.owner)
            except Exception as error:
                self.note_away(error)


def _on_disconnect(work: Work) -> str:
    """The rule of the provider that was asked last, or would be asked first."""
    target = next((told.target for told in reversed(work.tolds) if told.target), None)
    name = target or work.candidates[0].target.name
    provider = name.partition("/")[0].partition(".")[0]
    return work.house.plan.config.providers[provider].on_disconnect
