"""Servers that misbehave: raw asyncio on 127.0.0.1, so that every byte and every hang-up is ours."""

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

LOOPS = [
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(
        ("asyncio", {"use_uvloop": True}),
        id="uvloop",
        marks=pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not here"),
    ),
]

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 7\r\n\r\n" + b'{"n":1}'
EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunked(*chunks: bytes, end: bool = True) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + (
        b"0\r\n\r\n" if end else b""
    )


@dataclass
class Request:
    """One request as the server saw it, and the connection to answer on."""

    head: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    connection: int
    number: int
    body: bytes = b""

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode().split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}

    async def read_body(self) -> bytes:
        self.body = await self.reader.readexactly(int(self.headers.get("content-length", "0")))
        return self.body

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def hang_up(self) -> None:
        self.writer.close()


@dataclass
class Server:
    """`url` is where it listens, `requests` what came; `gone` is set when the last connection was closed."""

    url: str = ""
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def until_gone(self, seconds: float) -> bool:
        """True if no connection is open within this time."""
        try:
            async with asyncio.timeout(seconds):
                await self.gone.wait()
        except TimeoutError:
            return False
        return True


Handler = Callable[[Request], Awaitable[None]]


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (what is waited for tells nobody)
            await asyncio.sleep(0.002)


async def at_rest(value: Callable[[], int], still_s: float = 0.2) -> int:
    """The value when it has stood still for so long."""
    seen = -1
    while seen != value():
        seen = value()
        await asyncio.sleep(still_s)
    return seen


_TURNS_TO_BEGIN = 5  # of the loop, from the taking of a connection to the first line that answers it


@asynccontextmanager
async def serving(handler: Handler, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Server]:
    """Serve requests with `handler`, which reads the body itself (`answering` does it); keeps alive."""
    server = Server()
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(answer(reader, writer)))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        server.open += 1
        server.gone.clear()
        number = server.connections
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                request = Request(head, reader, writer, number, len(server.requests))
                server.requests.append(request)
                await handler(request)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # cancelled only at the end of the test
        except RuntimeError:  # what uvloop says of a write to a connection that is closed
            assert writer.is_closing()
        finally:
            server.open -= 1
            if not server.open:
                server.gone.set()
            writer.close()

    listener = await asyncio.start_server(connected, host, port, limit=1 << 20)
    server.port = listener.sockets[0].getsockname()[1]
    server.url = f"http://{host}:{server.port}"
    try:
        yield server
    finally:
        for _ in range(_TURNS_TO_BEGIN):  # asyncio forgets whom it took when it closes before that
            await asyncio.sleep(0)
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(*pieces: bytes, then: str = "keep") -> Handler:
    """Read the request, send the pieces one by one, then `keep` the connection, `close` it or `stall`."""

    async def handler(request: Request) -> None:
        await request.read_body()
        for position, piece in enumerate(pieces):
            if position:
                await asyncio.sleep(0.02)  # so that it is a read of its own
            await request.send(piece)
        if then == "close":
            await request.hang_up()
        elif then == "stall":
            await until_hung_up(request)

    return handler


async def until_hung_up(request: Request) -> None:
    """Wait until the client closes; what it still sends is thrown away."""
    while await request.reader.read(65536):
        pass
    await request.hang_up()
