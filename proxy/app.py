"""The ASGI application: routes, what wraps every request, start and stop, reload."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from proxy import config as configuration
from proxy.config import Config
from proxy.errors import RequestError
from proxy.fronts.openai import error_reply
from proxy.keys import ClientKey, ClientKeys
from proxy.logs import Log
from proxy.memory.signature_file import SignatureFile
from proxy.memory.signatures import SignatureMemory
from proxy.routing.routes import Routes
from proxy.serve import chat, files, images, info
from proxy.serve.exchange import Exchange, Receive, Scope, Send
from proxy.serve.house import House
from proxy.store.files import SWEEP_EVERY_S, FileStore
from proxy.upstream import RESULT_RULES, Fetcher, FetchRules, Upstream

Handler = Callable[[Exchange, House], Awaitable[None]]

_RELOAD_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Row:
    """A route. Without `/v1`, which is optional; a `path` that ends in `/` takes the rest as `name`.

    `open` rows answer without a key; every other row is refused before its handler runs.
    """

    method: str
    path: str
    handler: Handler
    open: bool = False


ROWS = (
    Row("POST", "/chat/completions", chat.complete),
    Row("POST", "/images/generations", images.generate),
    Row("POST", "/images/edits", images.edit),
    Row("POST", "/images/variations", images.vary),
    Row("GET", "/models", info.models),
    Row("GET", "/models/", info.model),
    Row("GET", "/files/", files.content, open=True),  # the signature in the address is the credential
    Row("GET", "/livez", info.livez, open=True),
    Row("GET", "/readyz", info.readyz, open=True),
)
_EXACT = {(row.method, row.path): row for row in ROWS if not row.path.endswith("/")}
_PREFIX = tuple(row for row in ROWS if row.path.endswith("/"))
_OPTIONAL_PREFIXES = ("/openai/v1/", "/v1/", "/openai/")  # SDK users type them by mistake


class App:
    """The application. The house is opened at start-up, inside the running loop."""

    def __init__(self, open_house: Callable[[], Awaitable[House]], config_file: Path | None = None) -> None:
        self._open_house = open_house
        self._config_file = config_file
        self._background: list[asyncio.Task[None]] = []
        self.house: House | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(Exchange(scope, receive, send))
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _answer(self, exchange: Exchange) -> None:
        house = self.house
        assert house is not None
        try:
            row, name = find_row(exchange.scope["method"], exchange.scope["path"])
            exchange.scope["path_params"] = {"name": name}
            if not row.open:
                exchange.caller = house.keys.identify(exchange.headers)
            await row.handler(exchange, house)
        except asyncio.CancelledError:
            if not exchange.gone:
                raise
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            exchange.status = exchange.status or 499
            exchange.facts["client"] = "gone"
        except Exception as error:  # the one place where nothing may escape: the client gets an answer
            await self._refuse(exchange, house, error)
        finally:
            exchange.unwatch()
            _log(exchange, house)

    async def _refuse(self, exchange: Exchange, house: House, error: Exception) -> None:
        house.note_failure(exchange, error)
        if exchange.started:
            return  # the server cuts the connection, which is all that can be said now
        status, headers, body = error_reply.render(error, exchange.request_id, exchange.words)
        await exchange.respond(status, [body], headers)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.open()
        except Exception as error:  # the server prints the reason and ends
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        if self._config_file is not None:
            self._background.append(asyncio.create_task(self._reload_on_change(self._config_file)))
        self._background.append(asyncio.create_task(self._sweep_files()))
        _spare_the_collector()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def open(self) -> House:
        """Open the house in the running loop; `close` it in the same loop."""
        self.house = await self._open_house()
        return self.house

    async def close(self) -> None:
        for task in self._background:
            task.cancel()
        if self.house is not None:
            await self.house.upstream.close()
            await self.house.fetcher.close()
            await self.house.results.close()
            self.house.log.flush()

    async def _sweep_files(self) -> None:
        """Stored pictures age also while nobody stores another."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            assert self.house is not None
            try:
                await asyncio.to_thread(self.house.files.sweep)
            except OSError as error:
                self.house.log.crash("files", error)

    async def _reload_on_change(self, file: Path) -> None:
        """Load the file again when it changes or on SIGHUP. A file with errors changes nothing."""
        asked = asyncio.Event()
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked.set)
        seen = _fingerprint(file)
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asked.wait(), _RELOAD_LOOK_S)
            now = _fingerprint(file)
            if now == seen and not asked.is_set():
                continue
            seen = now
            asked.clear()
            try:
                self._reload(file)
            except Exception as error:  # a file nobody foresaw must not end the watch
                assert self.house is not None
                self.house.log.crash("reload", error)

    def _reload(self, file: Path) -> None:
        assert self.house is not None
        loaded = configuration.load(file)
        if loaded.config is None:
            self.house.log.write("reload_refused", problems=[str(problem) for problem in loaded.problems])
            return
        routes = Routes.of(loaded.config, loaded.off, simulated=self.house.routes.simulated)
        self.house = replace(self.house, config=loaded.config, routes=routes, keys=client_keys(loaded.config))
        self.house.log.write("reloaded", digest=loaded.digest)


def find_row(method: str, path: str) -> tuple[Row, str]:
    """The route of a request and the rest of its path. Raises a 404 or 405."""
    shown = path
    for prefix in _OPTIONAL_PREFIXES:
        if path.startswith(prefix):
            path = path[len(prefix) - 1 :]
            break
    if method == "HEAD":  # the server leaves the body out
        method = "GET"
    row = _EXACT.get((method, path))
    if row is not None:
        return row, ""
    for row in _PREFIX:
        if row.method == method and path.startswith(row.path) and len(path) > len(row.path):
            return row, path[len(row.path) :]
    allowed = sorted({row.method for row in ROWS if row.path == path})
    if allowed:
        raise RequestError(
            f"{method} is not possible at {shown}; use {' or '.join(allowed)}.",
            status=405,
            code="method_not_allowed",
            headers={"allow": ", ".join(allowed)},
        )
    raise RequestError(f"There is no {method} {shown} here.", status=404, code="unknown_url")


def client_keys(config: Config) -> ClientKeys:
    """The callers of the file, and the key that `serve --simulate` made for this session."""
    keys = [
        (key.key.reveal(), ClientKey(key.name, tuple(key.models), key.image_output))
        for key in config.keys
        if key.key is not None
    ]
    session = os.environ.get("DRAGOMAN_SESSION_KEY")
    if session:
        keys.append((session, ClientKey("session")))
    return ClientKeys.of(keys, ClientKey("open") if config.auth.mode == "open" else None)


def _spare_the_collector() -> None:
    """What is loaded by now stays, so the collector need not look at it again; and every decoded payload is
    garbage without cycles, so it need not look often. Halves the cost of a streamed chunk."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _fingerprint(file: Path) -> tuple[int, int]:
    try:
        stat = os.stat(file)
    except OSError:
        return (0, 0)
    return (stat.st_mtime_ns, stat.st_size)


def _log(exchange: Exchange, house: House) -> None:
    house.log.write(
        "request",
        id=exchange.request_id,
        method=exchange.scope["method"],
        path=exchange.scope["path"],
        status=exchange.status,
        ms=exchange.elapsed_ms,
        key=exchange.caller.name if exchange.caller else None,
        **exchange.facts,
    )


def create(
    config: Config, off: dict[str, str], *, file: Path | None = None, simulated: str | None = None
) -> App:
    """An application for a checked configuration; `simulated` is the base address of simulated vendors."""

    shared = os.environ.get("DRAGOMAN_SIGNATURE_FILE")

    async def open_house() -> House:
        upstream = Upstream()
        upstream.open()
        return House(
            config=config,
            routes=Routes.of(config, off, simulated=simulated),
            keys=client_keys(config),
            upstream=upstream,
            fetcher=Fetcher(
                FetchRules(
                    total_s=config.defaults.images.timeout, total_bytes=config.defaults.images.max_total
                )
            ),
            results=Fetcher(RESULT_RULES),
            signatures=SignatureMemory(shared=SignatureFile(Path(shared)) if shared else None),
            files=FileStore.of(config.server),
            log=Log.to_stderr(),
        )

    return App(open_house, file)


def from_environment() -> App:
    """For the server's workers: configuration from `DRAGOMAN_CONFIG`, simulators at `DRAGOMAN_SIMULATED`."""
    file = configuration.find(None)
    loaded = configuration.load(file)
    if loaded.config is None:
        raise SystemExit("\n".join(str(problem) for problem in loaded.problems))
    return create(loaded.config, loaded.off, file=file, simulated=os.environ.get("DRAGOMAN_SIMULATED"))
