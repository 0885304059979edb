"""A gateway that has as much to do as it may, and connections whose bytes a test moves itself."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from proxy import app
from proxy import config as configuration
from proxy.serve.house import HOME
from proxy.serve.load import Load
from proxy.serve.protocol import Protocol
from tests.gateway import FILE, KEY, Gateway, open_gateway
from tests.raw_http import RawRequest, chat
from tests.served import waited


def opened(folder: Path, bounds: str) -> Any:
    server = f'server: {{state: "sqlite:{folder}/state/dragoman.db", in_flight: {bounds}}}\n'
    return open_gateway(folder, FILE.replace("version: 1\n", f"version: 1\n{server}", 1))


def load_of(gateway: Gateway) -> Load:
    assert gateway.application.house is not None
    return gateway.application.house.services.load


@contextmanager
def busy(gateway: Gateway, count: int, text: str = "Hi sim:slow:30") -> Iterator[None]:
    """With so many requests in flight."""
    before = load_of(gateway).requests
    requests = [RawRequest(gateway, chat(text, "gemini-flash")) for _ in range(count)]
    try:
        for request in requests:
            request.socket.sendall(request.head + request.payload)
        waited(lambda: load_of(gateway).requests == before + count)
        yield
    finally:
        for request in requests:
            request.socket.close()
        waited(lambda: load_of(gateway).requests == before)


KEPT = {"connection": "keep-alive"}


@asynccontextmanager
async def connected(
    folder: Path, requests: int = 1000, timeouts: str = ""
) -> AsyncIterator[tuple[Protocol, Wire, Load]]:
    """A connection of a server on which so many requests are being answered; it may have 1000."""
    path = folder / "providers.yaml"
    server = f"server: {{state: 'sqlite::memory:', timeouts: {{{timeouts}}}}}\n"
    path.write_text(FILE.replace("http://SIMULATORS", "http://127.0.0.1:9") + server)
    loaded = configuration.load(path, {"TEST_KEY": KEY, "TEST_NARROW_KEY": "sk-n", "VENDOR_KEY": "k"})
    assert loaded.config is not None
    application = app.create(loaded.config, loaded.off)
    house = await application.open()
    options = uvicorn.Config(application, http=Protocol, ws="none", log_config=None, lifespan="off")
    options.load()
    protocol = Protocol(options, ServerState(), {HOME: application})
    wire = Wire()
    protocol.connection_made(wire)
    house.services.load.requests = requests
    try:
        yield protocol, wire, house.services.load
    finally:
        wire.ends[0].close()
        wire.ends[1].close()
        protocol.connection_lost(None)
        await application.close()


def asked(prompt: str = "Hi") -> bytes:
    payload = json.dumps(chat(prompt)).encode()
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
        b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b" % (KEY.encode(), len(payload), payload)
    )


class Wire(asyncio.Transport):
    """What a protocol writes, and whether it reads. Its socket is one of two `ends`."""

    written = b""
    closed = False

    def __init__(self) -> None:
        self.ends = socket.socketpair()
        self.reads = asyncio.Event()
        self.reads.set()

    @property
    def paused(self) -> bool:
        return not self.reads.is_set()

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def pause_reading(self) -> None:
        self.reads.clear()

    def resume_reading(self) -> None:
        self.reads.set()

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.ends[0] if name == "socket" else default


async def turns(count: int = 4) -> None:
    """Of the loop."""
    for _ in range(count):
        await asyncio.sleep(0)


class Waits:
    def __init__(self) -> None:
        self.heard = asyncio.Event()

    def heard_again(self) -> bool:
        self.heard.set()
        return True
