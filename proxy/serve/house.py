"""What stands around every request: the `Plan`, which a reload swaps, and the `Services` of the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from proxy.config import Config
from proxy.errors import ProxyError, UpstreamError
from proxy.keys import ClientKeys
from proxy.ledger.balances import Balances
from proxy.ledger.recorder import Ledger
from proxy.limits.limiter import Limiter
from proxy.logs import Log
from proxy.memory.signatures import SignatureMemory
from proxy.routing.breakers import Breakers, Verdict
from proxy.routing.budget import RetryBudget
from proxy.routing.keys import Rests
from proxy.routing.routes import Routes
from proxy.serve import bill
from proxy.serve.load import Load
from proxy.serve.metrics import Metrics
from proxy.serve.told import Try
from proxy.store.callers import StoredCallers
from proxy.store.database import Database
from proxy.store.files import FileStore
from proxy.store.uploads import Uploads
from proxy.store.wakes import Wakes
from proxy.types import Request
from proxy.upstream import Fetcher, Upstream

if TYPE_CHECKING:
    from proxy.serve.exchange import Exchange
    from proxy.serve.keeper import Keeper
    from proxy.serve.shelf import Shelf
    from proxy.serve.traces import Traces
    from proxy.tasks.engine import Job
    from proxy.tasks.runner import Runner

HOME = "dragoman.home"  # in the server's state: who has the house of now


@dataclass(frozen=True, slots=True)
class Plan:
    """What the file says, compiled."""

    config: Config
    routes: Routes
    keys: ClientKeys


@dataclass(slots=True)
class Services:
    """What lives as long as the process. `fetcher` gets what clients name by address, `results` what was paid
    for: it is more patient. `rests` are the keys that were refused lately, `breakers` the targets that failed
    lately, `load` is the work in hand, `callers` those whose keys are in the store, `limiter` counts what
    each has had, `balances` know what keys with a budget have spent. `traces` are None unless the environment
    asks for them. `leaving`: the process was told to end. `on_progress` watches jobs, `keeps` is set by the
    first request that is sold by the piece, here or where `wakes` hears of it."""

    upstream: Upstream
    fetcher: Fetcher
    results: Fetcher
    signatures: SignatureMemory
    files: FileStore
    uploads: Uploads
    log: Log
    rests: Rests
    load: Load
    database: Database
    callers: StoredCallers
    limiter: Limiter
    ledger: Ledger
    balances: Balances
    metrics: Metrics = field(default_factory=Metrics)
    breakers: Breakers = field(default_factory=Breakers)
    retries: RetryBudget = field(default_factory=RetryBudget)
    traces: Traces | None = None
    leaving: bool = False
    on_progress: Callable[[Job], None] | None = None
    _runner: Runner | None = None
    keeps: asyncio.Event = field(default_factory=asyncio.Event)
    _keeper: Keeper | None = None
    _shelf: Shelf | None = None
    _unread: set[str] = field(default_factory=set)
    wakes: Wakes = field(init=False)

    def __post_init__(self) -> None:
        self.wakes = Wakes(self.keeps.set)

    @property
    def runner(self) -> Runner:
        """Loaded by the first job: most servers of chats never need it."""
        if self._runner is None:
            from proxy.tasks.runner import Runner

            self._runner = Runner(_Journal(self.log))
        return self._runner

    @property
    def keeper(self) -> Keeper:
        """The same for what is sold by the piece."""
        if self._keeper is None:
            from proxy.serve.keeper import Keeper

            self._keeper = Keeper(self)
            self.keeps.set()
        return self._keeper

    async def have_tasks(self) -> bool:
        """Whether the store has any: what keeps them is large, and most servers of chats never need it."""
        if not self.database.may_exist():
            return False
        from proxy.ledger import watches
        from proxy.store import tasks

        return await self.database.read(
            lambda connection: tasks.exist(connection) or watches.exist(connection)
        )

    @property
    def shelf(self) -> Shelf:
        """The same for replies that clients come back to."""
        if self._shelf is None:
            from proxy.serve.shelf import Shelf

            self._shelf = Shelf(self)
        return self._shelf

    def charge_unread(self, target: str, why: str) -> None:
        """What the vendor charges is not where its profile looks; once for each target."""
        if target not in self._unread:
            self._unread.add(target)
            self.log.write("charge_unread", target=target, why=why)

    async def ordered(self, one: Try, request: Request) -> None:
        """A piece is about to be ordered: its hold is in the ledger first, unless that is away."""
        entry = bill.hold(one, request)
        if one.asked.caller.budget is not None:
            self.balances.note(one.asked.caller, one.asked.caller.budget, entry)
        await self.ledger.put(entry)

    def closed(self, one: Try) -> None:
        """An attempt has ended. The vendor's words may quote the prompt, so only class, code and
        a reason of ours are kept."""
        self.metrics.attempt(one)
        if self.traces is not None:
            self.traces.attempt(one)
        entry = bill.closing(one)
        if one.asked.caller.budget is not None:
            self.balances.note(one.asked.caller, one.asked.caller.budget, entry)
        if one.kept is not None:
            one.kept.book(entry)
        else:
            self.ledger.add(entry, at_once=one.by_piece)
        failure = one.failure
        if failure is not None or self.breakers.known:
            self.breakers.told(one.attempt.target.name, _verdict(one), one.took_s)
        if failure is not None:
            self.log.write(
                "attempt_failed",
                id=one.asked.request_id,
                target=one.attempt.target.name,
                attempt=one.number,
                status=failure.status,
                code=failure.code or failure.error_class,
                **({"why": failure.why} if failure.why else {}),
                bought=failure.bought,
                ms=round(one.took_s * 1000),
            )

    async def close(self) -> None:
        if self._shelf is not None:
            await self._shelf.close()
        if self._keeper is not None:
            await self._keeper.close()
        if self._runner is not None:
            await self._runner.close()
        await self.upstream.close()
        await self.fetcher.close()
        await self.results.close()
        self.callers.close()
        self.balances.close()
        await self.limiter.close()
        await self.signatures.close()
        await self.ledger.close()
        await self.database.close()
        if self.traces is not None:
            await asyncio.to_thread(self.traces.close)
        self.log.close()


def _verdict(one: Try) -> Verdict:
    """What an attempt says of its target's health: a refusal that is the request's own fault says nothing."""
    if one.failure is None:
        return "unknown" if one.left else "well"
    return "ill" if one.failure.counts else "unknown"


def _kind(error: Exception) -> str:
    return error.error_class.value if isinstance(error, UpstreamError) else type(error).__name__


@dataclass(frozen=True, slots=True)
class House:
    plan: Plan
    services: Services

    async def sweep(self) -> None:
        """Remove what is too old, or too much, of pictures, uploads and replies."""
        services, most = self.services, self.plan.config.server.replies.max_bytes
        try:
            await asyncio.to_thread(services.files.sweep)
            await asyncio.to_thread(services.uploads.sweep)
        except OSError as error:
            services.log.crash("files", error)
        if not services.database.may_exist():
            return
        from proxy.store import replies

        try:
            await services.database.run(partial(replies.sweep, max_bytes=most))
        except Exception as error:  # the store is away: the next time may go better
            services.log.write("replies_not_swept", error=type(error).__name__)

    def note_failure(self, exchange: Exchange, error: Exception) -> None:
        """For the access log; of a fault of ours also where it happened."""
        exchange.facts["error"] = getattr(error, "code", None) or _kind(error)
        if exchange.allowed is not None:
            exchange.allowed.failed(error)
        if not isinstance(error, ProxyError):
            self.services.log.crash(exchange.request_id, error)


class _Journal:
    """Jobs in the log."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def intended(self, order: Any) -> None:
        return None

    async def accepted(self, order: Any, task: Mapping[str, Any]) -> None:
        self._log.write("job_accepted", target=order.target, task=_without_queries(task))

    async def done(self, order: Any, result: Any) -> None:
        return None

    async def failed(self, order: Any, error: Exception) -> None:
        return None

    async def abandoned(self, order: Any, task: Mapping[str, Any], state: str | None, *, asked: bool) -> None:
        self._log.write(
            "job_abandoned",
            target=order.target,
            task=_without_queries(task),
            cancel_asked=asked,
            state=state,
        )

    def unknown_state(self, order: Any, word: str) -> None:
        self._log.write("unknown_state", target=order.target, state=word)


def _without_queries(task: Mapping[str, Any]) -> dict[str, Any]:
    """An address that a vendor gives may be signed: who has it has the pictures."""
    return {
        name: value.partition("?")[0] if isinstance(value, str) and "://" in value else value
        for name, value in task.items()
    }
