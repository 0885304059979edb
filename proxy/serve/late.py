"""Orders that were given up: the vendor is asked on, for its last word decides who pays.

Giving up is no verdict. A vendor bills what it makes, also when nobody waited so long, and then the pictures
are kept for who may ask for them; what it never made is refunded in full, and so is what it has said nothing
of for a day.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from sqlalchemy import Connection

from proxy.errors import UpstreamError
from proxy.ledger import watches
from proxy.ledger.entries import Entry, Watch
from proxy.routing.attempts import Candidate
from proxy.serve import bill, media
from proxy.serve.house import House
from proxy.serve.record import dump, files_of, plain_told, saved, text_of
from proxy.serve.room import Room
from proxy.serve.told import Charge, Told
from proxy.store import tasks
from proxy.tasks.engine import Engine, Job, is_unknown
from proxy.types import Finish, Json, Started
from proxy.upstream import Account
from proxy.wires.declared import DeclaredWire, Done

if TYPE_CHECKING:
    from proxy.serve.keeper import Keeper, Row

_WATCHED_S = 24 * 3600.0
_ON_ITS_WAY_S = 60.0  # after which an order that the vendor does not know did not reach it
_SOONEST_S, _LATEST_S = 1.0, 300.0  # between looks; a tenth of its age where that lies between
_OK = "late"
_UNHEARD = "unheard"


async def look(keeper: Keeper, house: House, row: Row) -> float | None:
    """Ask the vendor once about an order. In how many seconds to look again, None when it has ended."""
    found = _place(house, row)
    verdict = None if found is None else await _verdict(house, row, *found)
    age_s = time.time() - row["since"]
    if verdict is None and age_s < _WATCHED_S:
        again_s: float = min(max(age_s / 10, _SOONEST_S), _LATEST_S)
        await keeper.do(watches.again, row, again_s)
        return again_s
    ending, came = verdict or ({"outcome": _UNHEARD}, None)

    def end(connection: Connection) -> None:
        if watches.end(connection, row["hold"], at=time.time(), **ending) and came is not None:
            keep(connection, row, came)

    await keeper.do(end)
    keeper.services.log.write(
        "order_ended_late",
        id=row["request_id"],
        target=row["hold"]["target"],
        outcome=ending["outcome"],
        kind=ending.get("kind", "refund"),
    )
    return None


async def _verdict(
    house: House, row: Row, candidate: Candidate, wire: DeclaredWire, account: Account
) -> tuple[dict[str, Any], Came | None] | None:
    """How its try ends in the ledger, and what came; None while the vendor does not say."""
    engine = Engine(house.services.upstream, wire, account, candidate.deadlines)
    job = Job(orjson.loads(row["task"]))
    try:
        done = await engine.look(job)
    except UpstreamError as error:
        if not job.over or not _is_last_word(error, job, row):
            return None
        return {"outcome": error.error_class.value}, None
    if done is None:
        return None
    tariff = None if candidate.prices is None else candidate.prices.at(row["hold"]["at"])
    changes = bill.late(done, tariff, row["size"], candidate.currency)
    came = await _came(house, row, candidate, account, done)
    if came is not None and tariff is not None and changes["amount"] is not None:
        came.told.charge = Charge(changes["amount"], tariff.currency)
    return {"outcome": _OK, **changes}, came


class Came(NamedTuple):
    """Pictures that came late, as they are written."""

    events: list[Json]
    told: Told


async def _came(house: House, row: Row, candidate: Candidate, account: Account, done: Done) -> Came | None:
    """The pictures, stored while their addresses live; None where nobody can ask for them, or they cannot be
    had any more, which changes nothing of who pays."""
    database, request_id = house.services.database, row["request_id"]
    if await database.run(lambda connection: tasks.late(connection, request_id)) is None:
        return None
    told = Told(target=row["hold"]["target"])
    arriving = media.Arriving(house, account, told, done.keyed, candidate.deadlines)
    usage = bill.counted(done)
    events = await arriving.fetched([Started(), *done.images, usage, Finish("stop")])
    plain = await asyncio.to_thread(dump, events, partial(saved, house.services))
    told.images = len(files_of(plain))
    return Came(plain, told) if told.images else None


def keep(connection: Connection, row: Row, came: Came) -> None:
    """Beside what the request has got before, if it has."""
    task = tasks.late(connection, row["request_id"])
    if task is None:
        return
    orders = orjson.loads(task["orders"])
    if task["state"] == "parked" and len(orders) > 1:
        return  # nobody knows of the others
    orders[str(row["call"])] = {**orders.get(str(row["call"]), {}), "state": "done"}
    result = orjson.loads(task["result"]) if task["result"] else {"events": [], "tolds": []}
    before = result["events"]
    end = next((at for at, one in enumerate(before) if one["kind"] in ("Usage", "Finish")), None)
    pictures = [one for one in came.events if one["kind"] == "Image"]
    events = came.events if end is None else [*before[:end], *pictures, *before[end:]]
    whole = {"events": events, "tolds": [*result["tolds"], plain_told(came.told)]}
    tasks.came_late(connection, task, text_of(orders), text_of(whole))


def _is_last_word(error: UpstreamError, job: Job, row: Row) -> bool:
    """A vendor that does not know its own job any more has not said how it ended; one that never named it has
    not got it, once it cannot be on its way any more."""
    if not is_unknown(error):
        return True
    return "id" not in job.task and time.time() - row["since"] >= _ON_ITS_WAY_S


def _place(house: House, row: Row) -> tuple[Candidate, DeclaredWire, Account] | None:
    """Where the vendor is asked; None while the file does not have the target or the key."""
    held = row["hold"]
    for candidate in house.plan.routes.sold_at(held["model"], held["target"]):
        wire = candidate.jobs or (candidate.pictures and candidate.pictures())
        for account in candidate.keys.accounts:
            if wire is not None and account.identity == row["account"]:
                return candidate, wire, account
    return None


def claimed(connection: Connection, owner: str, lease_s: float, room: Room) -> list[tasks.Row]:
    """Take over what nobody works at, with its books in order: in one transaction, for nobody comes again to
    what is parked."""
    rows = tasks.claim(connection, owner, lease_s, room.left, room.held_up)
    for row in rows:
        adopted(connection, row)
    return rows


def adopted(connection: Connection, row: Mapping[str, Any]) -> None:
    """Put the books of a task in order that is taken over. What was held and not ordered is given back; what
    was ordered by a task that nobody works at any more is watched."""
    orders = orjson.loads(row["orders"])
    known = {(int(name), order["attempt"]): order for name, order in orders.items()}
    for held in watches.open_holds(connection, row["request_id"]):
        order = known.get((held["call"], held["attempt"]))
        if order is None:
            watches.end(connection, held, at=time.time(), outcome="lost")
        elif row["state"] == "parked" and order["state"] == "accepted":
            watches.follow(connection, [_watched(held, order)])


def _watched(held: Row, order: Mapping[str, Any]) -> Entry:
    names = (name for name in Entry._fields if name in held)
    watch = Watch(order["account"], order["task"])
    return Entry(**{name: held[name] for name in names})._replace(kind="watch", watch=watch)
