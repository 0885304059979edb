"""How connections are taken: many at once also where the loop has much else to do."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
import uvicorn
import uvloop

from proxy.command.server import Server


class Taken(asyncio.Protocol):
    """Counts."""

    transports: list[Any]

    def __init__(self, **known: Any) -> None:
        assert set(known) >= {"config", "server_state", "app_state"}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transports.append(transport)


async def turns_until_taken(count: int, listeners: int) -> int:
    """Turns of the loop until so many connections are taken, which came at the same time."""
    Taken.transports = []
    sockets = [socket.create_server(("127.0.0.1", 0), backlog=2048) for _ in range(listeners)]
    server = Server(uvicorn.Config(lambda *_: None, http=Taken, lifespan="off", log_config=None))  # type: ignore[arg-type]
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets)
    clients = [socket.create_connection(sockets[number % listeners].getsockname()) for number in range(count)]
    turns = 0
    async with asyncio.timeout(20):
        while len(Taken.transports) < count:
            turns += 1
            await asyncio.sleep(0)
    await server._stop_listening(sockets)
    for one in (*clients, *Taken.transports):
        one.close()
    await asyncio.sleep(0.01)
    assert len(Taken.transports) == count
    return turns


@pytest.mark.parametrize("listeners", [1, 2])
@pytest.mark.parametrize("loop", [asyncio, uvloop])
def test_many_connections_are_taken_in_few_turns(loop: Any, listeners: int) -> None:
    """uvloop alone takes one at a turn."""
    assert loop.run(turns_until_taken(300, listeners)) < 40


def test_not_all_that_came_are_taken_at_once() -> None:
    """Others shall not wait until they are."""
    assert uvloop.run(turns_until_taken(300, 1)) > 3
