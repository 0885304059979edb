"""How the server takes connections, and how it ends: it says so and still listens, then lets requests finish,
then tells those that cannot.

uvloop takes one connection at each turn of the loop, and with much to do a turn lasts: who came would wait
for seconds. A second signal of the same kind skips what is left of the end. uvicorn has no lead time, closes
kept connections at once, and answers what it cuts with a bare 500.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import FrameType
from typing import Any, cast

import uvicorn

from proxy.serve.house import HOME, House

_TAKEN = 64  # connections more at a turn
_LOOK_S = 0.05
_KEPT_S = 0.1  # a request may be on its way on a connection that is about to be closed
_LAST_WORDS_S = 1.0  # to write what a request that is cut off is told


class Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._signals: list[int] = []
        self._listeners: list[socket.socket] = []
        self._looks = False
        self._taking: set[asyncio.Task[Any]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._listeners = [one.dup() for one in sockets or []]
        for listener in self._listeners:
            listener.setblocking(False)
        protocol = self.config.http_protocol_class

        def taken(**known: Any) -> asyncio.Protocol:
            if not self._looks:
                self._looks = True
                asyncio.get_running_loop().call_soon(self._take_more)
            made: asyncio.Protocol = protocol(**known)
            return made

        self.config.http_protocol_class = cast(type[asyncio.Protocol], taken)
        await super().startup(sockets)

    def _take_more(self) -> None:
        """Where one has come others may have come with it."""
        self._looks = False
        for listener in self._listeners:
            self._take(islice(_accepted(listener), _TAKEN))

    def _take(self, connections: Iterable[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        for connection in connections:
            task = loop.create_task(self._connect(connection))
            self._taking.add(task)
            task.add_done_callback(self._taking.discard)

    async def _connect(self, connection: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)
        except OSError:  # as when its client is gone
            connection.close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig in self._signals:
            self.force_exit = True
        self._signals.append(sig)
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        house = cast(House, self.lifespan.state[HOME].house)
        rules = house.plan.config.server
        house.services.leaving = True
        house.services.log.write("stopping", requests=house.services.load.requests)
        if signal.SIGTERM in self._signals:  # who presses Ctrl-C has no load balancer
            await self._wait(rules.lead)
        await self._stop_listening(sockets or [])
        await self._wait(_KEPT_S, self._is_empty)
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._wait(rules.drain, self._is_empty)
        await self._cut()
        await self.lifespan.shutdown()

    async def _wait(self, longest_s: float, enough: Callable[[], bool] = lambda: False) -> None:
        deadline = self._now() + longest_s
        while not (self.force_exit or enough()) and (left_s := deadline - self._now()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(_LOOK_S, left_s))

    async def _cut(self) -> None:
        """Whoever still waits is told that it is over, if it listens."""
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_WORDS_S)
        for connection in list(self.server_state.connections):
            connection.transport.close()

    async def _stop_listening(self, sockets: list[socket.socket]) -> None:
        """Close the port, and answer who was in its queue: closing a listener resets them."""
        for server in self.servers:
            server.close()
        for one in sockets:
            one.close()
        await asyncio.sleep(0)  # the loop takes its eyes off them
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            self._take(_accepted(listener))
            listener.close()
        if self._taking:  # also those of the last turns: who is not here yet would not be waited for
            await asyncio.wait(self._taking)

    def _protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    def _is_empty(self) -> bool:
        return not self.server_state.connections and not self.server_state.tasks

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _accepted(listener: socket.socket) -> Iterator[socket.socket]:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # nobody waits any more
            return
        connection.setblocking(False)
        yield connection
