"""Whether a request is kept, and what its client watches: what runs here, or a row that another works at."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from proxy.errors import ErrorClass, NotCarriedError, RequestError, StoppingError, UpstreamError
from proxy.fronts.base import Form, Front, Header
from proxy.serve import admission, anew, bill, callbacks, joining, lost, tasks
from proxy.serve import body as bodies
from proxy.serve.exchange import Exchange
from proxy.serve.joining import Joined, Repeats
from proxy.serve.links import public_base
from proxy.serve.record import Record, UncertainError, files_of, read_error, read_told, text_of
from proxy.serve.speakers import speaker_of
from proxy.serve.told import Told
from proxy.types import Event, Image, ImageRequest, Json, Usage

if TYPE_CHECKING:
    from proxy.routing.attempts import Candidate
    from proxy.serve.answer import Work
    from proxy.serve.keeper import Keeper, Row
    from proxy.serve.running import Running

_LOOK_S = 0.5  # between looks at a row that another process works at
_HEARING_LOOK_S = 5.0  # at last, where its end is told as well
_MOST_WAIT_S = 600.0


class Watch(Protocol):
    """What a client looks at. `tolds` is filled when it is known. `can_join`: the client's SDK may ask again
    and finds it. `joined` is how far it was when the client joined it, None for the first."""

    tolds: list[Told]
    can_join: bool
    joined: Joined | None

    def batches(self) -> AsyncGenerator[list[Event], None]: ...

    def stored(self, image: Image) -> str | None:
        """The file of a picture among the events."""
        ...

    def headers(self) -> list[Header]: ...


async def begun(
    exchange: Exchange, work: Work, front: Front, endpoint: str, body: Json | Form, joins: Row | None = None
) -> Watch | None:
    """Start the request, or join the one that it repeats, which `joins` is where that was looked for; None
    where it is not sold by the piece, and where the client was given a task instead of a reply.

    Raises a 409 when the idempotency key came with another body, a 503 when it cannot be kept as asked.
    """
    if joins is None and not work.by_piece():
        return None
    house, keeper = work.house, work.house.services.keeper
    wish = _wish(exchange, work)
    row = _row(exchange, work, endpoint)
    patience_s = None if work.parsed.request.stream else work.asked.patience_s
    opened = None if joins is None else (joins, False)
    if opened is None and wish.to_be_found:
        row |= _kept(work, front, endpoint, body, wish, row["asked"])
        opened = await _opened(work, front, row, wish)
    if opened is None:  # its body is written when somebody leaves it
        unkept = keeper.begin(house, row | {"body": body}, work, front, is_kept=False)
        return _Here(keeper, unkept, None, patience_s)
    found, is_ours = opened
    if is_ours:
        running = _started(work, front, found)
    else:
        running = keeper.running.get(found["id"])
        keeper.joined(work.asked)
    is_over = wish.wait_s > 0 and running is not None and await running.is_over_within(wish.wait_s)
    if wish.as_task and not is_over:
        _note_task(exchange, work, found["id"], is_ours=is_ours)
        await tasks.accepted(exchange, house, found, running)
        return None
    joined: Joined | None = None
    if not is_ours:
        joined = "running" if running is not None or found["ended_at"] is None else "done"
    if running is None:
        return _Elsewhere(keeper, found, joined, partial(_anew, exchange, work, front, endpoint, body))
    return _Here(keeper, running, joined, patience_s)


async def _anew(exchange: Exchange, work: Work, front: Front, endpoint: str, body: Json | Form) -> Watch:
    """What it joined was left by its client before anything was bought: it is begun for who has joined, and
    counts from now on as its own."""
    requests = (work.parsed.request, *work.parsed.beside)
    work.route = await admission.admit(exchange, work.house, work.route, requests)
    work.candidates = work.route.order()
    try:
        watch = await begun(exchange, work, front, endpoint, body)
    finally:
        work.house.services.balances.release(exchange.request_id)  # unless what is begun has it
    if watch is None:
        raise StoppingError
    return watch


@dataclass(frozen=True, slots=True)
class _Wish:
    """How a client would have its request: as a task, unless it is over within `wait_s`; and how it finds it
    again."""

    as_task: bool
    wait_s: float
    callback_url: str | None
    repeats: Repeats

    @property
    def insists(self) -> bool:
        """Better none than one that is not kept."""
        return self.as_task or self.repeats.key is not None

    @property
    def to_be_found(self) -> bool:
        return self.as_task or self.repeats.to_be_found


def _wish(exchange: Exchange, work: Work) -> _Wish:
    """Raises a 400 for a key or an address that cannot be, and what no target can be asked for as a task."""
    parsed = work.parsed
    prefers_async, wait_s = _preferences(exchange)
    as_task = isinstance(parsed.request, ImageRequest) and (parsed.as_task or prefers_async)
    repeats = joining.repeats(exchange)
    if as_task:
        _check_ability(work)
    if parsed.callback_url is not None:
        callbacks.check(parsed.callback_url, work.house)
    return _Wish(as_task, wait_s if as_task and not parsed.as_task else 0.0, parsed.callback_url, repeats)


def _kept(
    work: Work, front: Front, endpoint: str, body: Json | Form, wish: _Wish, asked: str
) -> dict[str, Any]:
    """What the row of a request holds besides that is to be found again."""
    written = bodies.written(body)
    row: dict[str, Any] = {
        "body": written,
        "digest": joining.digest(endpoint, work.asked.path, written),
        "idempotency": wish.repeats.key,
        "callback_url": wish.callback_url,
    }
    if wish.as_task:
        row |= {"waits": False, "asked": _foretold(asked, work, front)}
        room = work.house.services.keeper.room(work.house.plan.config.tasks)
        if not room.takes(work.parsed.request.model):
            row |= {"state": "pending", "owner": None, "tries": 0}
    return row


async def _opened(work: Work, front: Front, row: dict[str, Any], wish: _Wish) -> tuple[Row, bool] | None:
    """The row that is kept of this request, and whether it is its own or that of the one it repeats; None
    where none can be kept, and need not."""
    keeper = work.house.services.keeper
    is_read_again = False
    go_on = partial(_started, work, front) if wish.as_task else None
    while True:
        opened = await keeper.opened(work.house, row, go_on, wish.repeats, insist=wish.insists)
        if opened is None:
            return None
        found, is_ours = opened
        joining.check(found, row["digest"])
        if is_ours:
            return opened
        running = keeper.running.get(found["id"])
        if running is not None and running.record.cancelling:
            await running.ended()
        elif running is None and found["owner"] == keeper.owner and not is_read_again:
            is_read_again = True  # it may have ended here while its row was on its way
        else:
            return opened


def _started(work: Work, front: Front, row: Row) -> Running | None:
    """What is at work from now on; None where it waits in its row until there is room."""
    keeper = work.house.services.keeper
    if row["owner"]:
        row = {name: value for name, value in row.items() if name != "body"}
        return keeper.begin(work.house, row, work, front, is_kept=True)
    keeper.waits(work.asked.request_id)
    return None


def _note_task(exchange: Exchange, work: Work, identity: str, *, is_ours: bool) -> None:
    """What it comes to is known later; it counts as it was wanted."""
    exchange.facts["task"] = identity
    if exchange.allowed is not None:
        exchange.allowed.told = Told(
            usage=None if is_ours else Usage(), images=work.parsed.request.n if is_ours else 0
        )


def _row(exchange: Exchange, work: Work, endpoint: str) -> dict[str, Any]:
    """Of a request that this process works at from now on."""
    asked = work.asked
    assert exchange.caller is not None
    how = anew.how(asked) | {"base": public_base(exchange, work.house)}
    if (budget := asked.caller.budget) is not None:
        how["wanted"] = [str(work.house.services.balances.wished(asked.request_id)), budget.currency]
    return {
        "id": f"task_{int(time.time() * 1000):012x}{token_hex(10)}",
        "key": exchange.caller.name,
        "request_id": exchange.request_id,
        "endpoint": endpoint,
        "model": work.parsed.request.model.replace("\0", "").encode("utf-8", "replace").decode(),
        "waits": True,
        "state": "running",
        "created_at": time.time(),
        "ended_at": None,
        "digest": b"",
        "idempotency": None,
        "body": None,
        "asked": orjson.dumps(how).decode(),
        "orders": "{}",
        "result": None,
        "error": None,
        "repeatable": False,
        "owner": work.house.services.keeper.owner,
        "epoch": 1,
        "tries": 1,
        "cancel_asked": False,
        "callback_url": None,
        "callback_due": None,
        "callback_tries": 0,
    }


def _preferences(exchange: Exchange) -> tuple[bool, float]:
    """Whether the client takes a task instead of a reply, and how many seconds it waits for the reply before.
    RFC 7240: preferences are listed, and may stand in several headers; `wait` alone asks for the same."""
    said = b",".join(value for name, value in exchange.headers if name == b"prefer")
    prefers_async, wait_s = False, 0.0
    for one in said.split(b","):
        name, _, value = (part.strip() for part in one.partition(b";")[0].lower().partition(b"="))
        if name == b"wait" and value.isdigit():
            wait_s = min(float(value), _MOST_WAIT_S)
            prefers_async = True
        prefers_async = prefers_async or name == b"respond-async"
    return prefers_async, wait_s


def _foretold(asked: str, work: Work, front: Front) -> str:
    """What is known of a request, with what it will lose, and what it is expected to cost where it is asked
    first."""
    told: Json = {"dropped": lost.foretold(work, front)}
    first = work.candidates[0]
    tariff = None if first.prices is None else first.prices.at()
    if tariff is not None:
        told["reserved"] = [str(bill.expected(tariff, work.parsed.request)), tariff.currency]
    return text_of(orjson.loads(asked) | told)


def _check_ability(work: Work) -> None:
    """A client that does not wait shall still hear at once that no target can be asked for this."""
    refusals = [_refusal(work, one) for one in work.candidates]
    if all(refusals) and refusals[0] is not None:
        raise refusals[0]


def _refusal(work: Work, candidate: Candidate) -> RequestError | None:
    request = work.calls()[0]
    speaker = speaker_of(candidate, request)
    refusal = speaker.unable()
    if refusal is None and work.asked.strict and (names := lost.by(speaker, request)):
        return NotCarriedError(names)
    return refusal


class _Here:
    """What runs in this process. `patience_s` is how long the client waits, None for as long as it takes."""

    def __init__(
        self, keeper: Keeper, running: Running, joined: Joined | None = None, patience_s: float | None = None
    ) -> None:
        self._keeper = keeper
        self._running = running
        self.joined = joined
        self._patience_s = patience_s
        self.tolds = running.work.tolds
        self.can_join = running.record.is_kept
        running.watchers += 1

    async def batches(self) -> AsyncGenerator[list[Event], None]:
        running = self._running
        try:
            async with aclosing(running.follow(self._patience_s)) as batches:
                async for batch in batches:
                    yield batch
        except TimeoutError:
            raise _too_late(running) from None
        finally:
            running.watchers -= 1
            if not running.watchers:
                self._keeper.left(running)

    def stored(self, image: Image) -> str | None:
        return self._running.record.stored(image)

    def headers(self) -> list[Header]:
        record = self._running.record
        return _headers(record.identity, self.joined) if record.is_kept else []


class _Elsewhere:
    """What another process works at, or has ended: its row is looked at again and again. `anew` begins it
    here, where its client has left it there."""

    can_join = True

    def __init__(
        self, keeper: Keeper, row: Row, joined: Joined | None, anew: Callable[[], Awaitable[Watch]]
    ) -> None:
        self._keeper = keeper
        self._row = row
        self._anew = anew
        self._instead: Watch | None = None
        self.joined = joined
        self._record = Record(keeper, row, is_kept=True)
        self.tolds: list[Told] = []

    async def batches(self) -> AsyncGenerator[list[Event], None]:
        row = await self._ended()
        if row["state"] == "cancelled" and row["repeatable"]:
            self._instead = instead = await self._anew()
            self.joined = instead.joined
            try:
                async with aclosing(instead.batches()) as batches:
                    async for batch in batches:
                        yield batch
            finally:
                self.tolds += instead.tolds
            return
        if row["error"] is not None:
            raise read_error(orjson.loads(row["error"]))
        result = orjson.loads(row["result"])
        seen = await asyncio.to_thread(self._record.load, result["events"])
        if files_of(result["events"]) and Image not in map(type, seen):
            raise RequestError(
                "The pictures of this request are not kept any more.", status=410, code="result_expired"
            )
        self.tolds += map(read_told, result["tolds"])
        yield seen

    async def _ended(self) -> Row:
        wakes, row, pause_s = self._keeper.services.wakes, self._row, _LOOK_S
        with wakes.of(row["id"]) as woken:
            while row["ended_at"] is None:
                if row["state"] in ("uncertain", "parked"):
                    raise UncertainError
                await woken(pause_s)
                row = await self._keeper.row(row["id"])
                pause_s = min(2 * pause_s, _HEARING_LOOK_S) if wakes.hears else _LOOK_S
        return row

    def stored(self, image: Image) -> str | None:
        return self._record.stored(image) if self._instead is None else self._instead.stored(image)

    def headers(self) -> list[Header]:
        return _headers(self._row["id"], self.joined)


def _headers(identity: str, joined: Joined | None) -> list[Header]:
    return [(b"x-proxy-task", identity.encode()), *joining.headers(joined)]


def _too_late(running: Running) -> UpstreamError:
    kept = f" It goes on as {running.record.identity}." if running.record.is_kept else ""
    return UpstreamError(
        ErrorClass.TIMEOUT,
        f"The vendor is still at work, longer than this request may wait.{kept} Nothing was ordered twice; "
        "ask with a longer timeout, or with `stream: true`, which is kept alive meanwhile.",
        bought=True,
        by_piece=True,
    )
