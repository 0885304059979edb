"""What is known of a task whatever happens to this process: how far each of its calls has come, and its end.

Every write says whose lease it is; one that is another's by now stops whoever wrote. A task may also be in
memory alone: of a client that waits, and leaves nothing by which it could ask again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from functools import partial
from hashlib import sha256
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, get_args
from uuid import UUID

import orjson

from proxy.codec import aside, base64_text, jsonio
from proxy.errors import ErrorClass, ProxyError, RequestError, UpstreamError
from proxy.ledger.entries import Entry, Watch
from proxy.routing.attempts import Attempt, Candidate
from proxy.serve import bill
from proxy.serve.told import Charge, Told, Try
from proxy.tasks.engine import Job
from proxy.types import Event, Image, Json, Slice, Usage

if TYPE_CHECKING:
    from proxy.serve.house import Services
    from proxy.serve.keeper import Keeper
    from proxy.tasks.runner import Order
    from proxy.wires.declared import DeclaredWire

_WATCHED_AFTER_S = 1.0  # when it was given up
_GRACE_S = 5.0  # after which a request should have told its end
_KINDS: dict[str, Any] = {kind.__name__: kind for kind in get_args(Event)}
_SKIPPED = {"PartialImage", "Native"}  # to be looked at while the rest comes, and what others tell again


class LostLeaseError(asyncio.CancelledError):
    """Another process has taken the task over: whoever works at it here is at its end."""


class UncertainError(ProxyError):
    """It was being ordered when its process ended, and nobody knows whether the vendor took it."""

    def __init__(self) -> None:
        super().__init__(
            "It is not known whether the vendor took this order: the server ended while it was being sent. "
            "It is not ordered again by itself; the operator is told.",
            status=502,
            code="uncertain_outcome",
            headers={"x-should-retry": "false"},
        )


class StoreAwayError(ProxyError):
    """What must not be lost cannot be written down now, so it is not begun."""

    def __init__(self) -> None:
        super().__init__(
            "The store of tasks cannot be reached, so nothing was ordered. Try again in a moment.",
            status=503,
            code="store_unavailable",
            headers={"retry-after": "2"},
        )


class Record:
    """One task's row, as this process knows it. `orders` are by the number of the call. `is_kept`: it is in
    the store. `cancelling`: it shall be called off at the vendor too; `repeatable`: and may start anew then.
    `is_behind`: a vendor told of progress that is not written yet. `files` are the pictures that were stored,
    by identity: to compare is to read all. `on_their_way` are calls whose requests are still being sent.
    `tried_before`: attempts up to this number may be another
    process's."""

    def __init__(
        self, keeper: Keeper, row: Mapping[str, Any], *, is_kept: bool, tried_before: int = 0
    ) -> None:
        self.row: Mapping[str, Any] = row
        self.identity: str = row["id"]
        self.is_kept = is_kept
        self.orders: dict[str, Json] = orjson.loads(row["orders"])
        self.cancelling = False
        self.repeatable = False
        self.is_behind = False
        self.tried_before = tried_before
        self._booked: list[Entry] = []
        self.files: dict[int, tuple[Slice, str]] = {}
        self.on_their_way: set[str] = set()
        self._keeper = keeper
        self._turn = asyncio.Lock()

    def call(self, number: int, of: int) -> Kept:
        return Kept(self, number, alone=of == 1)

    @property
    def services(self) -> Services:
        return self._keeper.services

    @property
    def can_cancel(self) -> bool:
        """Whether nothing is ordered yet, or the vendor can call off all that is."""
        return can_cancel(self.orders)

    @property
    def is_ordered(self) -> bool:
        """Whether a vendor may have one of the orders, and not only a part of its request."""
        return not self.orders.keys() <= self.on_their_way

    def withdraw(self) -> None:
        """What was on its way has been broken off."""
        for number in self.on_their_way:
            self.orders.pop(number, None)
        self.on_their_way.clear()

    @property
    def is_uncertain(self) -> bool:
        return any(order["state"] == "intended" for order in self.orders.values())

    def book(self, entry: Entry) -> None:
        """A row of the ledger: of what is kept it comes with the next thing that is written, or not at all
        where another process has taken the task over and books itself."""
        if self.is_kept:
            self._booked.append(entry)
        else:
            self.services.ledger.add(entry, at_once=True)

    async def put(self, number: int, order: Json | None, *, insist: bool = True) -> None:
        """Note how far a call has come. Raises `LostLeaseError`; without `insist` `StoreAwayError`."""
        before = self._set(str(number), order)
        try:
            await self.write({}, insist=insist)
        except StoreAwayError:  # so it is not done
            self._set(str(number), before)
            raise

    def _set(self, number: str, order: Json | None) -> Json | None:
        """What it was before; of the other calls meanwhile more may be known."""
        before = self.orders.get(number)
        if order is None or order["state"] != "intended":
            self.on_their_way.discard(number)
        if order is None:
            self.orders.pop(number, None)
        else:
            self.orders[number] = order
        return before

    async def end(self, state: str, **values: Any) -> None:
        """Raises `LostLeaseError`."""
        self.orders = {name: _brief(order) for name, order in self.orders.items()}
        await self.write({"state": state, **values})

    async def keep(self, insert: Callable[[], Awaitable[bool]]) -> None:
        """From now on it is in the store, where `insert` puts it as it is."""
        async with self._turn:
            if not self.is_kept:
                self.is_kept = await insert()

    async def write(self, values: Mapping[str, Any], *, insist: bool = True) -> None:
        """Write the orders and `values`. Raises `LostLeaseError`, without `insist` `StoreAwayError`."""
        async with self._turn:  # an older state of the orders must not come after a newer one
            if not self.is_kept:
                return
            was_behind, self.is_behind = self.is_behind, False
            orders = text_of(self.orders)
            entries, self._booked = self._booked, []
            write = partial(self._keeper.write, self.row, {"orders": orders, **values}, entries)
            try:
                done = await self._keeper.insisting(write, insist=insist)
            except StoreAwayError:
                self.is_behind = self.is_behind or was_behind
                for entry in entries:
                    self.services.ledger.add(entry, at_once=True)
                raise
            except asyncio.CancelledError:  # perhaps they are written: rows that are there stay as they are
                self._booked[:0] = entries
                raise
        if not done:
            raise LostLeaseError

    async def save(self, seen: Sequence[Event]) -> list[Json]:
        """Store the pictures among the events, and give the events as plain JSON."""
        return await asyncio.to_thread(dump, seen, self._saved)

    def load(self, plain: Sequence[Json]) -> list[Event]:
        """The events again, with the pictures that are still there; reads them from disk."""
        return load(plain, self._read)

    def stored(self, image: Image) -> str | None:
        """The file of a picture that was stored."""
        known = self.files.get(id(image.data))
        return None if known is None else known[1]

    def _read(self, identity: str) -> Slice | None:
        raw = self.services.files.read(identity)
        if raw is None:
            return None
        data = base64_text.encoded(raw)
        self.files[id(data)] = data, identity
        return data

    def _saved(self, data: Slice) -> str | None:
        known = self.files.get(id(data))
        if known is not None:
            return known[1]
        identity = saved(self.services, data)
        if identity is not None:
            self.files[id(data)] = data, identity
        return identity


def saved(services: Services, data: Slice) -> str | None:
    """The picture's file, None where it could not be stored; blocks."""
    try:
        return services.files.save(data)
    except (OSError, ValueError) as error:
        services.log.write("picture_not_stored", reason=str(error))
        return None


class Made(NamedTuple):
    """What a call came to in an earlier process."""

    events: list[Event]
    told: Told


class Kept:
    """One call of a task, and the journal of its order. `alone`: it is the only one, so that the end of the
    task is its end."""

    def __init__(self, record: Record, number: int, *, alone: bool) -> None:
        self._record = record
        self._number = number
        self._alone = alone
        self._trying: Json = {}
        self._on: Try | None = None

    @property
    def order(self) -> Json | None:
        return self._record.orders.get(str(self._number))

    @property
    def tried_before(self) -> int:
        return self._record.tried_before

    @property
    def is_unheard(self) -> bool:
        """Whether it was being ordered when its process ended."""
        return self.order is not None and self.order["state"] == "intended"

    @property
    def vendor_order(self) -> str:
        """The id of the order at vendors that know one again by it: the same in every process, another for a
        client that has come back for what it had called off. Some take a random UUID only."""
        row = self._record.row
        digest = sha256(f"{row['id']}/{row['request_id']}/{self._number}".encode()).digest()
        return str(UUID(bytes=digest[:16], version=4))

    def may_call_off(self) -> bool:
        return self._record.cancelling

    # --- what an earlier process has left

    async def made(self) -> Made | None:
        """What the call came to, and what was told of it. Raises its error, or `UncertainError`."""
        order = self.order
        if order is None or order["state"] == "accepted" or _can_be_asked_for(order):
            return None
        if order["state"] == "intended":
            raise UncertainError
        if order["state"] == "failed":
            raise read_error(order["error"])
        seen = await asyncio.to_thread(self._record.load, order["events"])
        return Made(seen, read_told(order["facts"]))

    def resumed(self, candidates: Sequence[Candidate]) -> tuple[Attempt, int] | None:
        """The try whose order a vendor has, with its number. Raises `UncertainError` when its target or key
        is not there any more."""
        order = self.order
        if order is None:
            return None
        for candidate in candidates:
            if candidate.target.name != order["target"]:
                continue
            for key, account in enumerate(candidate.keys.accounts):
                if account.identity == order["account"]:
                    return Attempt(candidate, key, candidate.target, account), order["attempt"]
        raise UncertainError

    def taken(self) -> Job | None:
        """The vendor's job, None where none was ordered."""
        order = self.order
        return Job(order["task"], state=order.get("told", {}).get("state")) if order is not None else None

    # --- what happens now

    def trying(self, one: Try) -> None:
        attempt = one.attempt
        self._trying = {
            "target": attempt.target.name,
            "account": attempt.account.identity,
            "attempt": one.number,
        }
        self._on = one
        if self.order is not None:  # an earlier process knew what the vendor was not told
            one.told.dropped = tuple(self.order.get("dropped", ()))
            self._note_dropped(one.told)

    def _note_dropped(self, told: Told) -> None:
        if told.dropped:
            self._trying["dropped"] = list(told.dropped)

    def over(self) -> None:
        """The try has ended. It knows us, so it would not be free while we know it."""
        self._on = None
        if not self._record.cancelling:
            self.went_out()

    def book(self, entry: Entry) -> None:
        self._record.book(entry)

    def watch(self, size: str | None) -> Watch | None:
        """What the vendor can be asked by about the order; None where there is nothing to ask."""
        order = self.order
        if order is None or not (order["state"] == "accepted" or _can_be_asked_for(order)):
            return None
        return Watch(order["account"], order["task"], size, _WATCHED_AFTER_S)

    def noted(self, wire: DeclaredWire, job: Job) -> None:
        """The vendor told how far it is."""
        order = self.order
        if order is None or order["state"] != "accepted":
            return
        share = job.progress or 0.0
        told = {
            "state": job.state,
            "share": min(1.0, share if share <= 1 else share / 100),
            "estimate_s": job.estimate_s,
            "can_cancel": wire.cancel(job.task, job.state) is not None,
        }
        if order.get("told") != told:
            order["told"] = told
            self._record.is_behind = True

    async def intended(self, order: Order[Any] | None = None) -> None:
        """Raises `StoreAwayError`: what cannot be written down is not ordered."""
        if order is not None and self._on is not None:
            self._note_dropped(self._on.told)
        intent = {"state": "intended", **self._trying}
        if order is not None and order.call is not None and "task" in order.call.context:
            task = order.call.context["task"]
            intent |= {"task": task, "asks": order.engine.can_ask(task)}
        self._record.on_their_way.add(str(self._number))
        await self._record.put(self._number, intent, insist=False)

    def goes_out(self) -> None:
        """Raises `CancelledError` where it was called off: that is just on its way to who sends it, and what
        was withdrawn has been refunded."""
        is_withdrawn = self.order is None
        if self._record.cancelling and (is_withdrawn or str(self._number) in self._record.on_their_way):
            raise asyncio.CancelledError
        self.went_out()

    def went_out(self) -> None:
        self._record.on_their_way.discard(str(self._number))

    async def accepted(self, order: Order[Any] | None, task: Mapping[str, Any]) -> None:
        await self._record.put(self._number, {"state": "accepted", **self._trying, "task": dict(task)})
        if not self._record.is_kept:
            self._follow()

    def _follow(self) -> None:
        """Nobody takes a request over that is in memory alone; its order is asked about when it should have
        been over."""
        one = self._on
        assert one is not None
        left_s = max(0.0, one.deadline - monotonic())
        entry = bill.closing(one)
        assert entry.watch is not None
        watch = entry.watch._replace(after_s=left_s + _GRACE_S)
        self._record.book(entry._replace(kind="watch", watch=watch))

    async def refused(self, error: Exception) -> None:
        """The try is over. What was bought stays known; else the call starts anew."""
        if self.order is None:
            return
        bought = isinstance(error, UpstreamError) and error.bought
        failed = {"state": "failed", **self._trying, "error": plain_error(error)} if bought else None
        await self._record.put(self._number, failed)

    async def made_now(self, seen: Sequence[Event], told: Told) -> None:
        """The call is over, and well. What the one call of a request made that nobody can ask for again need
        not be stored: the request ends with it."""
        if self._alone and not self._record.is_kept:
            self._record.orders[str(self._number)] = {"state": "done", **self._trying}
            return
        plain = await self._record.save(seen)
        order = {"state": "done", **self._trying, "events": plain, "facts": plain_told(told)}
        if self._alone:
            self._record.orders[str(self._number)] = order
        else:
            await self._record.put(self._number, order)

    async def done(self, order: Order[Any], result: Any) -> None:
        return None

    async def failed(self, order: Order[Any], error: Exception) -> None:
        return None

    async def abandoned(
        self, order: Order[Any], task: Mapping[str, Any], state: str | None, *, asked: bool
    ) -> None:
        return None

    def unknown_state(self, order: Order[Any], word: str) -> None:
        return None


def can_cancel(orders: Mapping[str, Json]) -> bool:
    """Whether nothing is ordered yet, or the vendors can call off all that is."""
    return all(
        order["state"] == "accepted" and order.get("told", {}).get("can_cancel", False)
        for order in orders.values()
    )


def _can_be_asked_for(order: Json) -> bool:
    """Whether the vendor knows an order by our own id, so that it can say whether it took it."""
    return order["state"] == "intended" and bool(order.get("asks"))


def _brief(order: Json) -> Json:
    """Without its pictures, which stand in the result."""
    return {name: value for name, value in order.items() if name not in ("events", "facts", "told")}


# --- events, errors and what was told, as plain JSON


def dump(seen: Sequence[Event], save: Any) -> list[Json]:
    """Long strings become `{"$file": id}` by `save`, which blocks; one that was not saved is None."""
    return [
        {"kind": type(event).__name__, **_plain_fields(event, save)}
        for event in seen
        if type(event).__name__ not in _SKIPPED
    ]


def _plain_fields(event: Event, save: Any) -> Json:
    given = ((each.name, getattr(event, each.name), each.default) for each in fields(event))
    return {name: _plain(value, save) for name, value, default in given if value is not default}


def _plain(value: Any, save: Any) -> Any:
    if isinstance(value, Slice):
        return {aside.FILE: save(value)}
    if isinstance(value, Mapping):
        return {aside.written(name): _plain(inner, save) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, save) for inner in value]
    return value


def load(plain: Sequence[Json], read: Any) -> list[Event]:
    """The events again. `read` gives what a file holds, None if it is gone; then its picture is gone too."""
    found: list[Event] = []
    for one in plain:
        given = {name: _whole(value, read) for name, value in one.items() if name != "kind"}
        if one["kind"] in ("Image", "Audio") and given.get("data") is None and not given.get("url"):
            continue
        found.append(_KINDS[one["kind"]](**given))
    return found


def _whole(value: Any, read: Any) -> Any:
    if isinstance(value, dict):
        if aside.FILE in value:
            return read(value[aside.FILE]) if value[aside.FILE] is not None else None
        return {aside.read(name): _whole(inner, read) for name, inner in value.items()}
    return [_whole(inner, read) for inner in value] if isinstance(value, list) else value


def files_of(plain: Sequence[Json]) -> list[str]:
    """The pictures among plain events, as ids of files."""
    images = (one.get("data") for one in plain if one["kind"] == "Image")
    return [data[aside.FILE] for data in images if isinstance(data, dict) and data.get(aside.FILE)]


_OF_PROXY = ("message", "status", "code", "headers")
_OF_REQUEST = (*_OF_PROXY, "param", "attribute")
_OF_UPSTREAM = (
    "message", "status", "code", "param", "retry_after_s", "native", "native_status", "why", "bought",
    "by_piece", "forbidden", "provider",
)  # fmt: skip


def plain_error(error: BaseException) -> Json:
    """Of an exception that is not ours nothing but its happening is kept."""
    if isinstance(error, UpstreamError):
        return {"class": error.error_class.value} | {name: getattr(error, name) for name in _OF_UPSTREAM}
    if isinstance(error, RequestError):
        return {"class": "request"} | {name: getattr(error, name) for name in _OF_REQUEST}
    if isinstance(error, ProxyError):
        return {"class": "proxy"} | {name: getattr(error, name) for name in _OF_PROXY}
    return {
        "class": "proxy",
        "message": "The task failed for a fault of the server's.",
        "code": "internal_error",
    }


def read_error(plain: Json) -> ProxyError:
    given = {name: value for name, value in plain.items() if name not in ("class", "message")}
    kinds: dict[str, Any] = {"request": RequestError, "proxy": ProxyError}
    if (kind := kinds.get(plain["class"])) is not None:
        return kind(plain["message"], **given)  # type: ignore[no-any-return]
    return UpstreamError(ErrorClass(plain["class"]), plain["message"], **given)


def text_of(value: Any) -> str:
    """JSON as text that both stores take: what is no Unicode was replaced."""
    return b"".join(jsonio.dumps(value)).decode()


def plain_told(told: Told) -> Json:
    return {
        "target": told.target,
        "dropped": list(told.dropped),
        "size": told.size,
        "images": told.images,
        "lost": told.lost,
        "charge": None if told.charge is None else [str(told.charge.amount), told.charge.currency],
    }


def read_told(plain: Json) -> Told:
    charge = plain["charge"]
    return Told(
        charge=None if charge is None else Charge(Decimal(charge[0]), charge[1]),
        target=plain["target"],
        dropped=tuple(plain["dropped"]),
        size=plain["size"],
        images=plain["images"],
        lost=plain["lost"],
    )


def read_usage(plain: Sequence[Json]) -> Usage | None:
    """What was counted, the last word on it."""
    counted = [one for one in plain if one["kind"] == "Usage"]
    if not counted:
        return None
    return Usage(**{name: value for name, value in counted[-1].items() if name != "kind"})
