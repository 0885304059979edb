"""A real gateway on a real uvicorn over simulated vendors, for tests of the front door."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import uvicorn

from proxy import app
from proxy import config as configuration
from proxy.fronts.dialects import Dialect
from proxy.serve.endpoint import Row
from proxy.serve.protocol import Protocol
from proxy.simulators.server import Running, start

KEY = "sk-test-app"
_LOOK_S = 0.005

FILE = """
version: 1
keys:
  - {name: app, key: env:TEST_KEY}
  - {name: narrow, key: env:TEST_NARROW_KEY, models: ["gemini-flash"]}
defaults:
  heartbeat: 300ms
providers:
  google: {wire: gemini, base_url: "http://SIMULATORS/gemini/v1beta", keys: [env:VENDOR_KEY], private: true}
  lan: {wire: openai, base_url: "http://SIMULATORS/openai/v1", keys: [env:VENDOR_KEY], private: true}
models:
  gemini-flash: {aliases: [gpt-4o-mini], targets: [google/gemini-3-flash-preview]}
  gemini-2.5-flash: {targets: [google/gemini-2.5-flash]}
  nano-banana-pro: {targets: [google/gemini-3-pro-image], price: unpriced}
  lan-chat: {targets: [lan/llama]}
"""

# A vendor of OpenAI's dialect that refuses what OpenAI does.
STRICT_OPENAI = """
version: 1
keys:
  - {name: app, key: env:TEST_KEY}
providers:
  openai:
    {wire: openai, base_url: "http://SIMULATORS/openai-strict/v1", keys: [env:VENDOR_KEY], private: true}
models:
  gpt: {targets: [openai/gpt-4o]}
"""

_ENVIRONMENT = {
    "TEST_KEY": KEY,
    "TEST_NARROW_KEY": "sk-test-narrow",
    "VENDOR_KEY": "vendor-key-canary",
    "PAIR_KEY": "vendor-key-canary:simulated-secret",
}


@dataclass(frozen=True, slots=True)
class Gateway:
    base_url: str
    application: app.App
    vendors: Running
    http: httpx.Client

    def client(self, **options: Any) -> openai.OpenAI:
        """Clients share one pool, which is closed with the gateway."""
        own = {"base_url": f"{self.base_url}/v1", "api_key": KEY, "max_retries": 0, "http_client": self.http}
        return openai.OpenAI(**{**own, **options})

    def sent(self) -> list[Any]:
        """What the simulated vendors received, oldest first."""
        return list(self.vendors.log.exchanges())


class _Server(uvicorn.Server):
    """Ends as soon as it is told to and nobody is at work, not at the next tenths of a second."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop, self._told = asyncio.get_running_loop(), asyncio.Event()
        await super().startup(sockets)

    def end(self) -> None:
        """From another thread."""
        self.should_exit = True
        with suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._told.set)

    async def main_loop(self) -> None:
        ticks = itertools.count()
        while not await self.on_tick(next(ticks)):
            with suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await self._told.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for each in (*self.servers, *(sockets or ())):
            each.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                while state.connections or state.tasks:  # noqa: ASYNC110 - they tell nobody
                    await asyncio.sleep(_LOOK_S)
        for task in state.tasks:
            task.cancel()
        await self.lifespan.shutdown()


@contextmanager
def open_gateway(
    folder: Path,
    file: str = FILE,
    environment: dict[str, str] | None = None,
    *,
    watched: bool = False,
    rows: Sequence[Row] = app.ROWS,
    dialects: Sequence[Dialect] = app.DIALECTS,
) -> Iterator[Gateway]:
    """Serve `file` (SIMULATORS stands for the vendors' address) until the block ends. `watched`: it is read
    again when it changes, with the variables of the process. `rows` are what it answers to, `dialects` whose
    words it knows."""
    vendors = start()
    path = folder / "providers.yaml"
    if "\nserver:" not in file:  # nothing is left behind in the folder where the tests run
        file += f'server: {{state: "sqlite::memory:", files: {{folder: "{folder}/state/files"}}}}\n'
    path.write_text(file.replace("http://SIMULATORS", vendors.base_url))
    loaded = configuration.load(path, {**os.environ, **_ENVIRONMENT, **(environment or {})})
    assert loaded.config is not None, [str(problem) for problem in loaded.problems]
    application = app.create(
        loaded.config, loaded.off, file=path if watched else None, rows=rows, dialects=dialects
    )
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    server = _Server(
        uvicorn.Config(
            application,
            http=Protocol,
            ws="none",
            log_config=None,
            access_log=False,
            lifespan="on",
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and thread.is_alive() and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
    try:
        with httpx.Client(timeout=60) as http:
            yield Gateway(f"http://127.0.0.1:{listener.getsockname()[1]}", application, vendors, http)
    finally:
        server.end()
        thread.join(5)
        vendors.stop()


def operations(gateway: Gateway) -> set[str]:
    """What the ledger has of the key so far."""
    headers = {"authorization": f"Bearer {KEY}"}
    rows = httpx.get(f"{gateway.base_url}/v1/usage?group_by=operation", headers=headers).json()["data"]
    return {row["operation"] for row in rows}
