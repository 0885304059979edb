"""A reply that is made while nobody waits for it: by a task of the process, whose client comes back for it.

Its row says that it is being made, and is renewed. One that is not any more was lost with its process: who
asks for it next makes it again, from the request that stands in its row, for words alone are paid again.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from typing import cast

import orjson

from proxy.codec import jsonio
from proxy.errors import ProxyError, RequestError, StoppingError
from proxy.fronts.base import Facts, Form, KeepingFront, Kept, KeptRenderer, Piece, Unhurried
from proxy.keys import ClientKey
from proxy.serve import anew, head, joining, lost
from proxy.serve import body as bodies
from proxy.serve.answer import Work, cost_of
from proxy.serve.exchange import Exchange, Header
from proxy.serve.house import House
from proxy.serve.joining import Joined, Repeats
from proxy.serve.replies import known, told_again
from proxy.serve.room import Room
from proxy.serve.shelf import BY_NOBODY, DROPPED, MOST_BYTES, Row, Shelf, dropped, headers
from proxy.serve.stream import EventStream
from proxy.serve.told import Told
from proxy.types import Json, Usage

LEASE_S = 15.0

_LOOK_S = 1.0  # between looks at whether it shall be called off
_AT_ONCE = 256
_TRIES = 3  # of one reply; what ends that many processes is not given to a fourth
_FRAMES_BYTES = 16 << 20  # of a stream's events, that it can be taken up again


class Frames:
    """The events of a stream, for all that follow it. While they are `whole` it can be followed from the
    first; when they are too many, only those are held that a follower has yet to read."""

    def __init__(self) -> None:
        self.whole = True
        self._held: deque[bytes] = deque()
        self._first = 0  # the number of the first that is held
        self._bytes = 0
        self._read: dict[object, int] = {}  # by each follower
        self._is_over = False
        self._more = asyncio.Event()

    def add(self, frames: bytes) -> None:
        self._held += (frame + b"\n\n" for frame in frames.split(b"\n\n") if frame)
        self._bytes += len(frames)
        if self._bytes > _FRAMES_BYTES:
            self.whole = False
            self._let_go()
        self._wake()

    def all(self) -> bytes | None:
        return b"".join(self._held) if self.whole else None

    def end(self) -> None:
        """No more come."""
        self._is_over = True
        self._wake()

    def follow(self) -> AsyncGenerator[bytes, None]:
        """From the first, as they come."""
        follower = object()
        self._read[follower] = 0
        return self._followed(follower)

    async def _followed(self, follower: object) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                while (at := self._read[follower] - self._first) < len(self._held):
                    yield self._held[at]
                    self._read[follower] += 1
                    self._let_go()
                if self._is_over:
                    return
                await self._more.wait()
        finally:
            del self._read[follower]
            self._let_go()

    def _let_go(self) -> None:
        """What nobody has to read any more."""
        if self.whole:
            return
        read = min(self._read.values(), default=self._first + len(self._held))
        while self._first < read:
            self._held.popleft()
            self._first += 1

    def _wake(self) -> None:
        more, self._more = self._more, asyncio.Event()
        more.set()


class Making:
    """One reply in the making. `frames` are those of its stream, None where none was asked for. `tries` is
    the number of processes that made it before; `found_by` has what a repeated request finds it by."""

    def __init__(
        self,
        shelf: Shelf,
        work: Work,
        front: KeepingFront,
        renderer: KeptRenderer,
        tries: int = 0,
        found_by: Row = BY_NOBODY,
    ) -> None:
        self._shelf = shelf
        self._work = work
        self._front = front
        work.asked = replace(work.asked, unhurried=Unhurried())
        self._tries = tries
        self._found_by = found_by
        self._can_move = True  # as one has that is taken over; of a new one `start` knows
        self._called_off = False
        self._is_ours = True
        self._is_made = False
        self._is_given_up = False
        self.renderer = renderer
        self.identity = renderer.kept().id
        self.frames = Frames() if work.parsed.request.stream else None
        self._task: asyncio.Task[None] | None = None
        self._release: Callable[[], None] | None = None  # gives a budget's money back

    async def start(self, request: tuple[bytes | None, str] | None, repeats: Repeats) -> Row | None:
        """Its row is there when this returns, with the `request` from which it can be made again; or else
        that of the reply which its client has asked for before, and this one is not made. Raises a 400 for
        what cannot be kept."""
        work, until = self._work, time.time() + LEASE_S
        caller, found_by = work.asked.caller.name, self._found_by
        row = await self._shelf.row(
            work.house, caller, self.kept(), alive_until=until, request=request, found_by=found_by
        )
        if row is None:
            raise _not_keepable()
        self._can_move = request is not None and request[0] is not None
        opening = asyncio.get_running_loop().create_task(self._open(row, repeats))
        self._shelf.opening.add(opening, row)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:  # made all the same: who asks again may have found its row by now
            await asyncio.wait([opening])
            raise

    async def _open(self, row: Row, repeats: Repeats) -> Row | None:
        found = await self._shelf.open_or_join(row, repeats)
        if found is None:
            self.begin()
        return found

    def kept(self) -> Kept:
        """As it stands. What its request has lost so far is told beside what the front tells."""
        kept, tolds = self.renderer.kept(), self._work.tolds
        names = lost.named(self._front, self._work.parsed, (name for told in tolds for name in told.dropped))
        return replace(kept, told={**kept.told, DROPPED: head.listed(names).decode()}) if names else kept

    def begin(self) -> None:
        asked = self._work.asked
        if asked.caller.budget is not None:
            self._release = self._work.house.services.balances.entrust(asked.request_id)
        self._shelf.making[self.identity] = self
        self._task = asyncio.get_running_loop().create_task(self._run())

    def asks(self) -> tuple[str, Unhurried | None]:
        """Its model, and how it waits for it."""
        return self._work.parsed.request.model, self._work.asked.unhurried

    async def stop(self, *, called_off: bool = False) -> None:
        """End it, and wait until that is written."""
        assert self._task is not None
        self._called_off = self._called_off or called_off
        if not self._is_made:
            self._task.cancel()
        await self.ended()

    async def ended(self) -> None:
        """Whoever hears of its end may ask again at another process, which looks into the store."""
        assert self._task is not None
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        looking = asyncio.get_running_loop().create_task(self._look())
        last = b""
        try:
            try:
                await self._make()
            except asyncio.CancelledError:
                last = await self._stopped()
            except Exception as error:
                last = self._failed(error)
            finally:
                self._is_made = True
                looking.cancel()
            if self._is_ours:
                await self._keep_end(last)
            else:
                self._shelf.left(self.identity)
        finally:
            self._shelf.making.pop(self.identity, None)
            if self._release is not None:
                self._release()
            self._tell(last)
            if self.frames is not None:
                self.frames.end()

    async def _stopped(self) -> bytes:
        """The last event of its stream, and of one that failed the same."""
        if self._called_off:
            return self.renderer.called_off()
        if not self._can_move:
            if _is_of_words(self._work):
                self._give_up()
            return self.renderer.error(StoppingError(), self._work.asked.request_id)
        await self._let_go()
        return b""

    def _failed(self, error: Exception) -> bytes:
        if not isinstance(error, ProxyError):
            self._work.house.services.log.crash(self._work.asked.request_id, error)
        if joining.starts_anew(error) and not any(told.images for told in self._work.tolds):
            self._give_up()
        return self.renderer.error(error, self._work.asked.request_id)

    def _give_up(self) -> None:
        """Who asks again has it made anew."""
        self._is_given_up = self._found_by is not BY_NOBODY
        self._found_by = BY_NOBODY

    async def _keep_end(self, last: bytes) -> None:
        """With the `last` event of its stream, which nobody is told before that. What cannot be kept has
        failed: a row that stays as it is would have it made, and paid, again."""
        kept, events = self.kept(), None if self.frames is None else self.frames.all()
        if not await self._keep(kept, events=None if events is None else events + last):
            await self._keep(replace(kept, told=self._front.too_large(kept.told), adds=None))
        if self._is_given_up:
            await self._shelf.flush()

    async def _keep(self, kept: Kept, events: bytes | None = None) -> bool:
        house, caller = self._work.house, self._work.asked.caller.name
        return await self._shelf.keep(house, caller, kept, events=events, found_by=self._found_by)

    async def _let_go(self) -> None:
        """Another process makes it as soon as somebody asks; where the store is away, when the row is old."""
        from proxy.store import replies

        self._is_ours = False
        with suppress(ProxyError):
            await self._shelf.changing(replies.let_go, self.identity, self._tries)

    async def _make(self) -> None:
        self._tell(
            self.renderer.feed(())
        )  # the client learns its id, and that it is made, before a word of it
        async with aclosing(self._work.batches()) as batches:
            async for batch in batches:
                self._tell(self.renderer.feed(batch))
        self._tell(self.renderer.finish())

    async def _look(self) -> None:
        """Renew the row, and see whether another process was asked to call it off, or makes it instead of
        this one, which was thought to be dead."""
        from proxy.store import replies

        while True:
            await asyncio.sleep(_LOOK_S)
            until = time.time() + LEASE_S
            try:
                word = await self._shelf.changing(replies.alive, self.identity, self._tries, until)
            except ProxyError:
                continue  # the store is away for now
            if word != "go on" and self._task is not None:
                self._called_off = word == "end"
                self._is_ours = word == "end"
                self._task.cancel()
                return

    def _tell(self, pieces: bytes | list[Piece]) -> None:
        if self.frames is not None and pieces:
            self.frames.add(pieces if isinstance(pieces, bytes) else b"".join(pieces))


async def accepted(
    exchange: Exchange,
    work: Work,
    front: KeepingFront,
    endpoint: str,
    body: Json | Form,
    joins: Row | None = None,
) -> None:
    """Begin the reply, or join the one that was begun by the same request before, which `joins` is where that
    was looked for; and answer with its id or, where a stream was asked for, with its events. Raises a 409
    when the idempotency key came with another body, a 400 for what cannot be kept."""
    repeats, shelf = joining.repeats(exchange), work.house.services.shelf
    now = int(time.time())
    renderer = _renderer(work, front, now)
    has_room = _room(shelf).takes(work.parsed.request.model)
    if joins is None and not has_room:  # who asks again needs none
        joins = await joining.begun_before(exchange, work.house, endpoint, body, later=True)
    if joins is not None:
        await _joined(exchange, work, front, renderer.ping, joins["id"])
        return
    if not has_room:
        raise ProxyError(
            "Too many replies are being made in the background; come back in a moment.",
            status=503,
            code="overloaded",
            headers={"retry-after": "2"},
        )
    written = bodies.written_or_none(body)
    try:
        told = renderer.queued()
    except jsonio.JSONEncodeError:  # it tells what was asked for, as a schema
        raise _not_keepable() from None
    found_by = _found_by(repeats, work, endpoint, written)
    making = Making(shelf, work, front, renderer, found_by=found_by)
    found = await making.start(_request(work, written, now), repeats)
    if found is not None:
        joining.check(found, found_by["digest"])
        await _joined(exchange, work, front, renderer.ping, found["id"])
        return
    exchange.facts["reply"] = making.identity
    counted: list[Header] = []
    if exchange.allowed is not None:  # what it comes to is known later; it counts as it was wanted
        exchange.allowed.told = Told(images=work.parsed.request.n if work.by_piece() else 0)
        counted = exchange.allowed.headers
    as_taken = making.kept().told
    if making.frames is not None:
        heartbeat_s = work.house.plan.config.defaults.heartbeat
        named = [*dropped(as_taken), *counted]
        await followed(exchange, heartbeat_s, renderer.ping, making.frames.follow(), named)
        return
    await exchange.respond(200, told, [*headers(as_taken), *counted])


async def _joined(exchange: Exchange, work: Work, front: KeepingFront, ping: bytes, identity: str) -> None:
    """The answer to who asks again: the reply as it is now, or its stream from the first event."""
    house, stream = work.house, work.parsed.request.stream
    exchange.facts["reply"] = identity
    counted: list[Header] = []
    if exchange.allowed is not None:  # all of it was counted before
        exchange.allowed.told = Told(usage=Usage())
        counted = exchange.allowed.headers
    told = await known(exchange, house, front, identity)
    joined: Joined = "done" if front.is_over(told) else "running"
    exchange.facts["joined"] = joined
    named = [*joining.headers(joined), *counted]
    if not stream:
        await exchange.respond(200, front.shown(told, {}), [*headers(told), *named])
        return
    events = told_again(exchange, house, front, identity)
    heartbeat_s = house.plan.config.defaults.heartbeat
    await followed(exchange, heartbeat_s, ping, events, [*dropped(told), *named])


def _not_keepable() -> RequestError:
    return RequestError(
        "This is too large, or too deeply nested, to be made in the background: wait for the reply.",
        attribute="background",
        code="not_keepable",
    )


def _found_by(repeats: Repeats, work: Work, endpoint: str, written: bytes | None) -> Row:
    if written is None or not repeats.to_be_found:
        return BY_NOBODY
    digest = joining.digest(endpoint, work.asked.path, written)
    return {"digest": digest, "idempotency": repeats.key}


def _room(shelf: Shelf) -> Room:
    return Room(_AT_ONCE, map(Making.asks, shelf.making.values()))


def _renderer(work: Work, front: KeepingFront, created: int, identity: str | None = None) -> KeptRenderer:
    cost = partial(cost_of, work.tolds) if work.route.priced else None
    facts = Facts(created, cost=cost, identity=identity)
    return cast(KeptRenderer, front.renderer(work.parsed, facts))


# --- replies whose process is gone -------------------------------------------------------------------


def _request(work: Work, written: bytes | None, created: int) -> tuple[bytes | None, str] | None:
    """From what it can be made again; None for what may be bought by the piece. There is no body of what is
    too large, and of a stream: its client has read a beginning to which another reply would not belong."""
    if written is None or not _is_of_words(work):
        return None
    how = orjson.dumps({**anew.how(work.asked), "created": created}).decode()
    return None if work.parsed.request.stream or len(written) > MOST_BYTES // 2 else written, how


def _is_of_words(work: Work) -> bool:
    return work.painter is None and not work.by_piece()


async def taken_over(
    house: House,
    front: KeepingFront,
    caller: ClientKey,
    request_id: str,
    row: Row,
    told: Json,
    end: Callable[[Json], Json] | None,
) -> Json:
    """What is told of a reply from now on whose process is gone, and of which `told` was known: it is made
    again, unless it shall `end`, or cannot be."""
    shelf = house.services.shelf
    if end is None and _room(shelf).left <= 0:
        return told
    found = await shelf.taken_over(caller.name, row["id"], time.time() + LEASE_S)
    if found is None:  # somebody was faster
        return told
    house.services.log.write("reply_taken_over", id=row["id"], tries=found["tries"])
    if end is None and found["body"] is not None and found["tries"] < _TRIES:
        how = orjson.loads(found["asked"])
        try:
            work = await anew.work(house, front, caller, request_id, found["body"], how)
        except ProxyError as error:  # its model is not in the file any more
            house.services.log.write("reply_not_made_again", id=row["id"], reason=error.message)
        else:
            if _is_of_words(work):
                renderer = _renderer(work, front, how["created"], row["id"])
                renderer.queued()
                making = Making(shelf, work, front, renderer, found["tries"], found_by=found)
                making.begin()
                return making.kept().told
    told = (end or front.lost)(told)
    is_lost = end is None and found["body"] is None and found["asked"] is not None
    await shelf.end(found, told, is_lost=is_lost)
    return told


async def followed(
    exchange: Exchange,
    heartbeat_s: float,
    ping: bytes,
    frames: AsyncGenerator[bytes, None],
    named: Sequence[Header],
) -> None:
    stream = EventStream(exchange, heartbeat_s, lambda: named, ping=ping)
    try:
        async with aclosing(frames) as coming:
            async for frame in coming:
                await stream.write(frame)
        await stream.write(b"")
    finally:
        stream.stop()
    await stream.end()
