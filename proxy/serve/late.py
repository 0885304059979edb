"""Orders that were given up: the vendor is asked on, for its last word decides who pays.

Giving up is no verdict. A vendor bills what it makes, also when nobody waited so long; what it never made is
refunded in full, and so is what it has said nothing of for a day.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import Connection

from proxy.errors import UpstreamError
from proxy.ledger import watches
from proxy.ledger.entries import Entry, Watch
from proxy.routing.attempts import Candidate
from proxy.serve import bill
from proxy.serve.house import House
from proxy.store import tasks
from proxy.tasks.engine import Engine, Job, is_unknown
from proxy.upstream import Account
from proxy.wires.declared import DeclaredWire

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
    changes = None if found is None else await _verdict(house, row, *found)
    age_s = time.time() - row["since"]
    if changes is None and age_s < _WATCHED_S:
        again_s: float = min(max(age_s / 10, _SOONEST_S), _LATEST_S)
        await keeper.do(watches.again, row, again_s)
        return again_s
    ending: dict[str, Any] = {"outcome": _UNHEARD} if changes is None else changes
    await keeper.do(lambda connection: watches.end(connection, row["hold"], at=time.time(), **ending))
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
) -> dict[str, Any] | None:
    """How its try ends in the ledger, None while the vendor does not say."""
    engine = Engine(house.services.upstream, wire, account, candidate.deadlines)
    job = Job(orjson.loads(row["task"]))
    try:
        done = await engine.look(job)
    except UpstreamError as error:
        if not job.over or not _is_last_word(error, job, row):
            return None
        return {"outcome": error.error_class.value}
    if done is None:
        return None
    tariff = None if candidate.prices is None else candidate.prices.at(row["hold"]["at"])
    return {"outcome": _OK, **bill.late(done, tariff, row["size"], candidate.currency)}


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


def claimed(connection: Connection, owner: str, lease_s: float, most: int) -> list[tasks.Row]:
    """Take over what nobody works at, with its books in order: in one transaction, for nobody comes again to
    what is parked."""
    rows = tasks.claim(connection, owner, lease_s, most)
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
