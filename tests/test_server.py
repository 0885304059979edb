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


async def listening(sockets: list[socket.socket], protocol: type[Taken] = Taken) -> Server:
    Taken.transports = []
    server = Server(uvicorn.Config(lambda *_: None, http=protocol, lifespan="off", log_config=None))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets)
    return server


def connected(sockets: list[socket.socket], count: int) -> list[socket.socket]:
    return [socket.create_connection(sockets[number % len(sockets)].getsockname()) for number in range(count)]


async def closed(clients: list[socket.socket]) -> None:
    for one in (*clients, *Taken.transports):
        one.close()
    await asyncio.sleep(0.01)


async def turns_until_taken(count: int, listeners: int) -> int:
    """Turns of the loop until so many connections are taken, which came at the same time."""
    sockets = [socket.create_server(("127.0.0.1", 0), backlog=2048) for _ in range(listeners)]
    server = await listening(sockets)
    clients = connected(sockets, count)
    turns = 0
    async with asyncio.timeout(20):
        while len(Taken.transports) < count:
            turns += 1
            await asyncio.sleep(0)
    await server._stop_listening(sockets)
    await closed(clients)
    assert len(Taken.transports) == count
    return turns


async def taken_at_the_end(count: int, turns: int, protocol: type[Taken] = Taken) -> int:
    """How many of so many connections are here when the server listens no more, `turns` after they came."""
    sockets = [socket.create_server(("127.0.0.1", 0), backlog=2048)]
    server = await listening(sockets, protocol)
    clients = connected(sockets, count)
    for _ in range(turns):
        await asyncio.sleep(0)
    await server._stop_listening(sockets)
    here = len(Taken.transports)
    await closed(clients)
    return here


@pytest.mark.parametrize("listeners", [1, 2])
@pytest.mark.parametrize("loop", [asyncio, uvloop])
def test_many_connections_are_taken_in_few_turns(loop: Any, listeners: int) -> None:
    """uvloop alone takes one at a turn."""
    assert loop.run(turns_until_taken(300, listeners)) < 40


def test_not_all_that_came_are_taken_at_once() -> None:
    """Others shall not wait until they are."""
    assert uvloop.run(turns_until_taken(300, 1)) > 3


# --- the end


@pytest.mark.parametrize("turns", range(8))
def test_who_was_taken_is_here_when_the_server_listens_no_more(turns: int) -> None:
    """The server ends as soon as nobody is here."""
    assert uvloop.run(taken_at_the_end(200, turns)) == 200


class SometimesNot(Taken):
    made = 0

    def __init__(self, **known: Any) -> None:
        super().__init__(**known)
        SometimesNot.made += 1
        if SometimesNot.made % 4 == 0:
            raise OSError("it is gone")


@pytest.mark.parametrize("loop", [asyncio, uvloop])
def test_one_that_cannot_be_taken_does_not_keep_the_others_from_it(loop: Any) -> None:
    assert loop.run(taken_at_the_end(40, 0, SometimesNot)) == 30
