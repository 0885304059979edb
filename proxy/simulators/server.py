"""Runs the simulators on loopback in a thread of their own.

with start() as running:
    running.url("google")      # http://127.0.0.1:PORT/gemini/v1beta
    running.log.exchanges()    # what was received, also at /_sim/log
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from proxy.simulators import gemini, openai_server, vendors
from proxy.simulators.exchange import Exchange, Log, Reply, json_reply
from proxy.simulators.serving import Handler, Receive, Scope, Send, Vendor, control

_START_S = 10.0
_TICK_S = 0.1

# Cut replies are on purpose here; the level of uvicorn's own logger belongs to the proxy beside us.
_LOGGER = logging.getLogger("proxy.simulators")
_LOGGER.setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class Entry:
    """`mount` is the first path segment, `base` what a client appends to it in its base URL."""

    mount: str
    base: str
    make: Callable[[Log], Handler]


# Add a vendor here: a function that takes the log and returns `handle(exchange) -> Reply`.
VENDORS: dict[str, Entry] = {
    "google": Entry("gemini", "/v1beta", gemini.make),
    "openai": Entry("openai", "/v1", openai_server.make),
    "openai-strict": Entry("openai-strict", "/v1", openai_server.make_strict),
    **{name: Entry(name, base, make) for name, (base, make) in vendors.MAKERS.items()},
}


def application(log: Log) -> Callable[[Scope, Receive, Send], Any]:
    """Every vendor under its mount, and the control requests under `/_sim`. Bare ASGI, no lifespan."""
    apps = {entry.mount: Vendor(name, entry.make(log), log) for name, entry in VENDORS.items()}
    # Control requests have a log of their own, so that looking at the log does not change it.
    apps["_sim"] = Vendor("_sim", control(log), Log())
    nowhere = Vendor("_nowhere", _not_found, log)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        _, _, rest = scope["path"].partition("/")
        mount = rest.partition("/")[0]
        await apps.get(mount, nowhere)({**scope, "root_path": f"/{mount}"}, receive, send)

    return app


def _not_found(exchange: Exchange) -> Reply:
    mounts = ", ".join(f"/{entry.mount}{entry.base}" for entry in VENDORS.values())
    return json_reply({"error": f"no simulator here; there are {mounts} and /_sim"}, 404)


class _Protocol(HttpToolsProtocol):
    """Lets an application close its connection without an answer, which ASGI has no word for."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.logger = _LOGGER

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["abort"] = self.transport.abort


class _Server(uvicorn.Server):
    """Ends as soon as it is told to, also where a reply is unfinished."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop, self._told = asyncio.get_running_loop(), asyncio.Event()
        await super().startup(sockets)

    def end(self) -> None:
        """From any thread. A second call does nothing."""
        self.should_exit = self.force_exit = True
        with suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._told.set)

    async def main_loop(self) -> None:
        ticks = itertools.count()
        while not await self.on_tick(next(ticks)):
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._told.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for each in (*self.servers, *(sockets or ())):
            each.close()
        connections = self.server_state.connections
        for connection in list(connections):
            connection.shutdown()  # what is whole is still sent
        await asyncio.sleep(0)
        for connection in list(connections):
            connection.transport.abort()
        while connections:  # noqa: ASYNC110 - they tell nobody, and do not take long
            await asyncio.sleep(0)


class Running:
    """Simulators at work. `base_url` has no path and no trailing slash."""

    def __init__(self, server: _Server, thread: threading.Thread, base_url: str, log: Log) -> None:
        self._server = server
        self._thread = thread
        self.base_url = base_url
        self.log = log

    def url(self, vendor: str) -> str:
        """The base URL to write into `providers.yaml` for this vendor."""
        entry = VENDORS[vendor]
        return f"{self.base_url}/{entry.mount}{entry.base}"

    def wait(self) -> None:
        """Block until the server ends."""
        self._thread.join()

    def stop(self) -> None:
        """Close everything, unfinished replies too. A second call does nothing."""
        self._server.end()
        self._thread.join(_START_S)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(port: int = 0, host: str = "127.0.0.1") -> Running:
    """Serve every vendor; returns when connections are accepted. Port 0: a free one."""
    log = Log()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # Listening before the thread runs: a client that comes early waits instead of being refused.
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    config = uvicorn.Config(
        application(log),
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    server = _Server(config)
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener]}, name="simulators", daemon=True
    )
    thread.start()
    deadline = time.monotonic() + _START_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("the simulators did not start")
        time.sleep(0.005)
    return Running(server, thread, f"http://{host}:{listener.getsockname()[1]}", log)
