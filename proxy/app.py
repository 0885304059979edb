"""The application: what answers at which address, start and stop, reload. Starlette is its shell."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.middleware.cors import CORSMiddleware

from proxy import config as configuration
from proxy import heap
from proxy.config import Config, Key, Limits, Loaded
from proxy.config.models import Server
from proxy.fronts.anthropic.dialect import ANTHROPIC
from proxy.fronts.anthropic.messages.front import MessagesCount, MessagesFront
from proxy.fronts.base import Front
from proxy.fronts.dialects import Dialect
from proxy.fronts.gemini.commons import SPEAKING
from proxy.fronts.gemini.dialect import GEMINI, VERBS
from proxy.fronts.gemini.embeddings.front import EmbedFront
from proxy.fronts.gemini.generate.front import CountFront, GeminiFront
from proxy.fronts.openai.chat.front import ChatFront
from proxy.fronts.openai.completions.front import CompletionsFront
from proxy.fronts.openai.dialect import OPENAI
from proxy.fronts.openai.embeddings.front import EmbeddingsFront
from proxy.fronts.openai.images.front import ImagesFront
from proxy.fronts.openai.kept.conversations import ConversationsFront
from proxy.fronts.openai.moderations.front import ModerationsFront
from proxy.fronts.openai.responses.front import InputTokensFront, ResponsesFront
from proxy.fronts.openai.speech.front import SpeechFront
from proxy.fronts.openai.transcripts.front import TranscriptsFront
from proxy.keys import ClientKey, ClientKeys
from proxy.ledger.balances import Balances
from proxy.ledger.rates import Rates
from proxy.ledger.recorder import Ledger
from proxy.limits.counting import LocalCounters
from proxy.limits.limiter import Limiter
from proxy.limits.memory import MemoryCounters
from proxy.logs import Log
from proxy.memory.signature_file import SignatureFile
from proxy.memory.signatures import SignatureMemory
from proxy.routing.budget import RetryBudget
from proxy.routing.keys import Rests
from proxy.routing.routes import Routes
from proxy.serve import admin, files, full, info, replies, scrape, talks, tasks, uploads, usage
from proxy.serve.answer import answered
from proxy.serve.count import counted
from proxy.serve.endpoint import PREFIXES, Row
from proxy.serve.exchange import Receive, Scope, Send
from proxy.serve.house import HOME, House, Plan, Services
from proxy.serve.load import Load
from proxy.serve.metrics import Metrics
from proxy.serve.paths import Paths, for_pages
from proxy.store.callers import StoredCallers
from proxy.store.database import Database, path_of
from proxy.store.files import SWEEP_EVERY_S, FileStore, folder_of
from proxy.store.uploads import Uploads
from proxy.upstream import RESULT_RULES, Fetcher, FetchRules, Upstream

if TYPE_CHECKING:
    from proxy.serve.traces import Traces

_RELOAD_LOOK_S = 1.0
_TAKEN_AT_START = ("host", "port", "workers", "state", "shared", "files", "reuse_port")
_LOOP_LOOK_S = 1.0
_TASKS_LOOK_S = 0.5
_IDLE_LOOK_S = 5.0  # where there is no store: another process may make one

# Google's SDKs take the root of the address and add a version of their own choice.
_GOOGLES: Any = {"prefixes": ("/v1beta", "/v1", "/v1alpha", ""), "key_in_query": True}
_EVERYBODYS: Any = {"front": None, "prefixes": (*PREFIXES, "/v1beta", "/v1alpha"), "key_in_query": True}
_RESPONSES = ResponsesFront()

# Told apart in this order; who speaks none of them speaks the last.
DIALECTS = (GEMINI, ANTHROPIC, OPENAI)

_NO_COMPACTION = "Nothing here shortens a conversation; send fewer items."
_NO_UPLOADS = "Upload by a form to /v1/files, or send it within the request."

_ROWS = (
    answered("/models/{model:path}:generateContent", GeminiFront(stream=False), verbatim=True, **_GOOGLES),
    answered(
        "/models/{model:path}:streamGenerateContent", GeminiFront(stream=True), verbatim=True, **_GOOGLES
    ),
    counted("/models/{model:path}:countTokens", CountFront(), **_GOOGLES),
    answered("/models/{model:path}:embedContent", EmbedFront(several=False), verbatim=True, **_GOOGLES),
    answered("/models/{model:path}:batchEmbedContents", EmbedFront(several=True), verbatim=True, **_GOOGLES),
    Row(
        "POST",
        "/models/{model:path}:{verb}",
        partial(info.no_verb, verbs=VERBS),
        front=SPEAKING,
        **_GOOGLES,
    ),
    answered("/chat/completions", ChatFront()),
    answered("/responses", _RESPONSES),
    counted("/responses/input_tokens", InputTokensFront()),
    Row("POST", "/responses/compact", partial(info.absent, advice=_NO_COMPACTION)),
    *replies.rows("/responses", _RESPONSES),
    answered("/messages", MessagesFront()),
    counted("/messages/count_tokens", MessagesCount()),
    answered("/images/generations", ImagesFront("generation")),
    answered("/images/edits", ImagesFront("edit")),
    answered("/images/variations", ImagesFront("variation")),
    answered("/embeddings", EmbeddingsFront()),
    answered("/completions", CompletionsFront()),
    answered("/audio/speech", SpeechFront()),
    answered("/audio/transcriptions", TranscriptsFront(translated=False)),
    answered("/audio/translations", TranscriptsFront(translated=True)),
    answered("/moderations", ModerationsFront()),
    Row("GET", "/responses", info.no_socket, needs="nothing"),
    Row("GET", "/models", partial(info.models, dialects=DIALECTS), **_EVERYBODYS),
    Row("GET", "/models/{name:path}", partial(info.model, dialects=DIALECTS), **_EVERYBODYS),
    *talks.rows("/conversations", ConversationsFront()),
    *usage.ROWS,
    Row("GET", "/tasks", tasks.listed),
    Row("GET", "/tasks/{id}", tasks.one),
    Row("POST", "/tasks/{id}/cancel", tasks.cancel),
    Row("GET", "/tasks/{id}/events", tasks.events),
    *uploads.rows(DIALECTS, **_EVERYBODYS),
    Row(
        "POST",
        "/files",
        partial(info.absent, advice=_NO_UPLOADS),
        front=SPEAKING,
        prefixes=("/v1beta", "/v1alpha"),
        key_in_query=True,
    ),
    Row("GET", "/files/{name:path}", files.content, needs="nothing"),  # the signature is the credential
    Row("GET", "/admin/keys", admin.listed, needs="admin"),
    Row("POST", "/admin/keys", admin.create, needs="admin"),
    Row("GET", "/admin/keys/{id}", admin.one, needs="admin"),
    Row("POST", "/admin/keys/{id}/revoke", admin.revoke, needs="admin"),
    Row("POST", "/admin/keys/{id}/rotate", admin.rotate, needs="admin"),
    Row("GET", "/livez", info.livez, needs="nothing"),
    Row("GET", "/healthz", info.livez, needs="nothing"),
    Row("GET", "/health", info.livez, needs="nothing"),
    Row("GET", "/readyz", info.readyz, needs="nothing"),
    Row("GET", "/metrics", scrape.metrics, needs="nothing"),  # it asks itself
)
ROWS = (*_ROWS, Row("GET", "/", partial(info.index, addresses=info.listed(_ROWS)), needs="nothing"))


class App:
    """The application. The house is opened at start-up, inside the running loop."""

    def __init__(
        self,
        open_house: Callable[[], Awaitable[House]],
        config_file: Path | None,
        rows: Sequence[Row],
        dialects: Sequence[Dialect],
    ) -> None:
        self._open_house = open_house
        self._config_file = config_file
        self.replies_when_full = full.replies(rows)
        self._paths = Paths(rows, self, self._lifespan, dialects)
        self._fronts = {row.path: row.front for row in rows if isinstance(row.front, Front)}
        self._for_pages: CORSMiddleware | None = None
        self.house: House | None = None
        self.has_process = False  # nothing but this application lives in it

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.house is not None and (load := self.house.services.load).coming:
            load.coming -= 1
        await (self._for_pages or self._paths)(scope, receive, send)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: object) -> AsyncGenerator[dict[str, Any], None]:
        await self.open()
        assert self.house is not None
        background = [
            asyncio.create_task(self._sweep()),
            asyncio.create_task(self._watch_the_loop()),
            asyncio.create_task(self.house.services.callers.watch()),
            asyncio.create_task(self._look_for_tasks()),
            asyncio.create_task(self._listen_for_tasks()),
        ]
        if self._config_file is not None:
            background.append(asyncio.create_task(self._reload_on_change(self._config_file)))
        if self.has_process:
            _spare_the_collector()
            background.append(asyncio.create_task(heap.give_back()))
        yield {HOME: self}
        for task in background:
            task.cancel()
        await self.close()

    async def open(self) -> House:
        """Open the house in the running loop; `close` it in the same loop."""
        return self._move_into(await self._open_house())

    async def close(self) -> None:
        if self.house is not None:
            await self.house.services.close()

    def _move_into(self, house: House) -> House:
        self.house = house
        house.services.metrics.name(house.plan.routes.targets())
        self._for_pages = for_pages(self._paths, house.plan.config.server.cors)
        return house

    async def _sweep(self) -> None:
        """What is kept ages also while nobody stores more."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            assert self.house is not None
            await self.house.sweep()

    async def _look_for_tasks(self) -> None:
        """Tasks that an earlier process left, or another machine. Nothing is loaded for them where there is
        no store yet."""
        assert self.house is not None
        keeps = self.house.services.keeps
        look_s = _TASKS_LOOK_S
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(keeps.wait(), look_s)
            if keeps.is_set():
                await self.house.services.wakes.work_within(_TASKS_LOOK_S)
            look_s = _IDLE_LOOK_S
            services = self.house.services
            try:
                if keeps.is_set() or await services.have_tasks():
                    await services.keeper.tick(self.house, self._fronts)
            except Exception as error:  # the store is away, or a fault: the next look may go better
                services.keeper.note_away(error)

    async def _listen_for_tasks(self) -> None:
        assert self.house is not None
        services = self.house.services
        if not services.database.is_local:
            await services.wakes.listen(services.database.address)

    async def _watch_the_loop(self) -> None:
        """A timer that is late tells how long others wait for their turn."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LOOP_LOOK_S
            await asyncio.sleep(_LOOP_LOOK_S)
            assert self.house is not None
            services = self.house.services
            services.metrics.lag.note(max(0.0, loop.time() - due))
            services.load.tell(services.log)

    async def _reload_on_change(self, file: Path) -> None:
        """Load the file again when it changes or on SIGHUP, once at a time: what changes meanwhile is seen
        after it. A file with errors changes nothing."""
        asked = asyncio.Event()
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked.set)
        seen = _fingerprint(file)
        assert self.house is not None
        begun = self.house.plan.config
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asked.wait(), _RELOAD_LOOK_S)
            now = _fingerprint(file)
            if now == seen and not asked.is_set():
                continue
            seen = now
            asked.clear()
            try:
                await self._reload(file, begun)
            except Exception as error:  # a file nobody foresaw must not end the watch
                self.house.services.log.crash("reload", error)

    async def _reload(self, file: Path, begun: Config) -> None:
        """`begun` is what the process began with, and goes on with where a setting is taken then alone."""
        assert self.house is not None
        plan, services = self.house.plan, self.house.services
        loaded, new = await asyncio.to_thread(_compiled, file, plan.routes.simulated, services.rests)
        if new is None:
            self.house.services.log.write(
                "reload_refused", problems=[str(problem) for problem in loaded.problems]
            )
            return
        services.retries.share = new.config.defaults.retry.budget
        services.balances.rates = Rates(new.config.rates)
        services.load.bounds = new.config.server.in_flight
        services.callers.everyone = new.config.limits.everyone
        self._move_into(House(new, services))
        waiting = [] if plan.routes.simulated else _changed_since(begun, new.config)
        told = {"at_next_start": waiting} if waiting else {}
        services.log.write("reloaded", digest=loaded.digest, **told)


def _changed_since(begun: Config, now: Config) -> list[str]:
    """The settings that differ and that a running process cannot take over."""
    return [
        f"server.{name}"
        for name in _TAKEN_AT_START
        if getattr(begun.server, name) != getattr(now.server, name)
    ]


def _compiled(file: Path, simulated: str | None, rests: Rests) -> tuple[Loaded, Plan | None]:
    """What a reload swaps. Takes a tenth of a second and more, so it runs beside the loop."""
    loaded = configuration.load(file)
    if loaded.config is None:
        return loaded, None
    _keep(loaded)
    return loaded, _plan(loaded.config, loaded.off, simulated, rests)


def _plan(config: Config, off: dict[str, str], simulated: str | None, rests: Rests) -> Plan:
    routes = Routes.of(config, off, simulated=simulated, rests=rests)
    return Plan(config, routes, client_keys(config))


def client_keys(config: Config) -> ClientKeys:
    """The callers of the file, its admin, and the key that `serve --simulate` made for this session."""
    keys = [(key.key.reveal(), _caller(key.name, config, key)) for key in config.keys if key.key is not None]
    if config.auth.admin is not None:
        keys.append((config.auth.admin.reveal(), ClientKey("admin", models=(), admin=True)))
    session = os.environ.get("DRAGOMAN_SESSION_KEY")
    if session:
        keys.append((session, _caller("session", config)))
    everybody = _caller("open", config) if config.auth.mode == "open" else None
    return ClientKeys.of(keys, everybody, config.taken_names())


def _caller(name: str, config: Config, key: Key | None = None) -> ClientKey:
    everyone = config.limits.everyone
    if key is None:
        return ClientKey(name, limits=Limits().of_caller(everyone))
    return ClientKey(
        name,
        tuple(key.models),
        key.image_output,
        limits=key.limits.of_caller(everyone),
        budget=None if key.budget is None else key.budget.of_caller(),
    )


def _spare_the_collector() -> None:
    """What is loaded by now stays, so the collector need not look at it, not even now; and every decoded
    payload is garbage without cycles, so it need not look often. Halves the cost of a streamed chunk."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(20_000, 20, 20)


def _waiting_room(server: Server) -> Path | None:
    """Where rows wait for a store that is away: beside its file, or beside the pictures. A database in memory
    is never away."""
    address = server.state.reveal()
    database = path_of(address)
    if database is not None:
        return database.parent
    return None if address.startswith("sqlite:") else folder_of(server) / ".ledger"


def _fingerprint(file: Path) -> tuple[int, int]:
    try:
        stat = os.stat(file)
    except OSError:
        return (0, 0)
    return (stat.st_mtime_ns, stat.st_size)


def create(
    config: Config,
    off: dict[str, str],
    *,
    file: Path | None = None,
    simulated: str | None = None,
    rows: Sequence[Row] = ROWS,
    dialects: Sequence[Dialect] = DIALECTS,
) -> App:
    """An application for a checked configuration; `simulated` is the base address of simulated vendors."""

    async def open_house() -> House:
        upstream = Upstream()
        upstream.open()
        rests, log = Rests(), Log.to_stderr()
        database = Database(config.server.state.reveal())
        services = Services(
            upstream=upstream,
            fetcher=Fetcher(
                FetchRules(
                    total_s=config.defaults.images.timeout, total_bytes=config.defaults.images.max_total
                )
            ),
            results=Fetcher(RESULT_RULES),
            signatures=_signatures(config, log),
            files=FileStore.of(config.server),
            uploads=Uploads.of(config.server),
            log=log,
            rests=rests,
            load=Load(config.server.in_flight),
            database=database,
            callers=StoredCallers(database, log, config.limits.everyone),
            limiter=_limiter(config, log),
            ledger=Ledger(database, _waiting_room(config.server), log),
            balances=Balances(database, log, rates=Rates(config.rates)),
            metrics=Metrics({"worker": str(os.getpid())} if "DRAGOMAN_WORKERS" in os.environ else None),
            retries=RetryBudget(config.defaults.retry.budget),
            traces=_traces(log),
        )
        services.ledger.find()
        return House(_plan(config, off, simulated, rests), services)

    return App(open_house, file, rows, dialects)


def _traces(log: Log) -> Traces | None:
    """Most servers need not even load what would look for them."""
    if not any(name.startswith("OTEL_") for name in os.environ):
        return None
    from proxy.serve import traces

    return traces.configured(os.environ, log)


def _signatures(config: Config, log: Log) -> SignatureMemory:
    place = os.environ.get("DRAGOMAN_SIGNATURE_FILE")
    file = SignatureFile(Path(place)) if place else None
    if config.server.shared is None:
        return SignatureMemory(shared=file)
    from proxy.memory.signature_stream import SharedSignatures

    shared = SharedSignatures(config.server.shared.reveal(), log.write, shared=file)
    shared.open()
    return shared


def _limiter(config: Config, log: Log) -> Limiter:
    shared = config.server.shared.reveal() if config.server.shared else None
    file = os.environ.get("DRAGOMAN_LIMITS_FILE")
    return Limiter(_shared_by_workers(Path(file)) if file else MemoryCounters(), log, shared)


def _shared_by_workers(file: Path) -> LocalCounters:
    from proxy.limits.file import FileCounters

    return FileCounters(file)


def from_environment() -> App:
    """For the server's workers: configuration from `DRAGOMAN_CONFIG`, simulators at `DRAGOMAN_SIMULATED` with
    a folder of their own, `DRAGOMAN_SIMULATED_STATE`."""
    heap.share()
    file = configuration.find(None)
    loaded = configuration.load(file)
    if loaded.config is None:
        loaded = _last_good(file, loaded)
    if loaded.config is None:
        raise SystemExit("\n".join(str(problem) for problem in loaded.problems))
    _keep(loaded)
    simulated, own = os.environ.get("DRAGOMAN_SIMULATED"), os.environ.get("DRAGOMAN_SIMULATED_STATE")
    config = loaded.config if own is None else loaded.config.apart(own)
    made = create(config, loaded.off, file=file, simulated=simulated)
    made.has_process = True
    return made


def _keep(loaded: Loaded) -> None:
    """For a worker that comes back while the file is broken. In a folder of this user's alone: it may hold
    secrets."""
    place = os.environ.get("DRAGOMAN_LAST_GOOD_FILE")
    if place is None:
        return
    fresh = Path(f"{place}.{os.getpid()}")
    fresh.write_bytes(loaded.raw)
    fresh.replace(place)


def _last_good(file: Path, broken: Loaded) -> Loaded:
    place = os.environ.get("DRAGOMAN_LAST_GOOD_FILE")
    if place is None or not Path(place).is_file():
        return broken
    problems = [str(problem) for problem in broken.problems]
    Log.to_stderr().write("last_good_configuration", problems=problems)
    return configuration.load(file, instead=Path(place))
