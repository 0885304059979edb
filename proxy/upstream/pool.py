"""Connections to vendors: opened, kept for the next call, and never more at once than allowed."""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import aiohappyeyeballs

from proxy.upstream.guard import PrivateAddressError
from proxy.upstream.line import ClosedError, Line

# Below common servers' own limits (nginx 75 s, cloud load balancers 60 s), so that they seldom close first.
_KEPT_S = 30.0
_NAMES_S = 10.0  # how long the addresses of a name are believed
_NEXT_ADDRESS_S = 0.25  # RFC 8305, 5

AddressInfo = tuple[Any, ...]  # as getaddrinfo gives it
Names = Callable[[str, int], Awaitable[Sequence[AddressInfo]]]


class Place(NamedTuple):
    """Where a connection leads to. An IPv6 address as `host` has no brackets."""

    tls: bool
    host: str
    port: int


class Pool:
    """At most `connections` calls at once; more wait. `judge` says of an address whether we may connect to
    it, None is any. `names` finds the addresses of a host. Without `keeps` a connection serves one call."""

    def __init__(
        self,
        *,
        connections: float,
        judge: Callable[[str], bool] | None,
        names: Names | None = None,
        keeps: bool = True,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._free = connections
        self._names = names or Resolver(self._loop)
        self._socket = None if judge is None else functools.partial(_judged_socket, judge)
        self._keeps = keeps
        self._lines: dict[Line, Place] = {}
        self._busy: set[Line] = set()
        self._idle: dict[Place, dict[Line, float]] = {}  # since when; the one used last is the last
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._sweeping: asyncio.TimerHandle | None = None

    def idle(self, place: Place) -> Line | None:
        """A connection that is free now. None where one has to be opened, or waited for."""
        if self._waiting or self._free < 1:
            return None
        line = self._kept(place)
        if line is not None:
            self._free -= 1
            self._busy.add(line)
        return line

    async def open(self, place: Place, patience_s: float) -> Line:
        """A connection, as soon as one may be had. Raises `OSError`; `TimeoutError` after `patience_s`."""
        async with asyncio.timeout(patience_s):
            await self._turn()
            try:
                line = self._kept(place) or await self._connect(place)
            except BaseException:
                self._give_back()
                raise
            self._busy.add(line)
            return line

    async def close(self) -> None:
        for line in list(self._lines):
            line.abort()
        if self._sweeping is not None:
            self._sweeping.cancel()
        await asyncio.sleep(0)

    async def _connect(self, place: Place) -> Line:
        tls = await asyncio.to_thread(_tls) if place.tls else None
        sock = await aiohappyeyeballs.start_connection(
            await self._names(place.host, place.port),
            happy_eyeballs_delay=_NEXT_ADDRESS_S,
            socket_factory=self._socket,
        )
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a picture may take minutes of silence
        try:
            _, line = await self._loop.create_connection(
                functools.partial(Line, self._freed, self._lost),
                sock=sock,
                ssl=tls,
                server_hostname=place.host.rstrip(".") if tls else None,
            )
        except BaseException:
            sock.close()
            raise
        if line.is_lost:  # before anybody could use it
            raise ClosedError("closed")
        self._lines[line] = place
        return line

    def _kept(self, place: Place) -> Line | None:
        kept = self._idle.get(place)
        while kept:
            line, since = kept.popitem()
            if since + _KEPT_S > self._loop.time() and line.is_quiet():
                return line
            line.abort()
        return None

    # --- turns

    async def _turn(self) -> None:
        if self._free >= 1 and not self._waiting:
            self._free -= 1
            return
        turn = self._loop.create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._give_back()
            raise

    def _give_back(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    # --- told by the connections

    def _freed(self, line: Line) -> None:
        self._busy.discard(line)
        if self._keeps:
            self._idle.setdefault(self._lines[line], {})[line] = self._loop.time()
            if self._sweeping is None:
                self._sweeping = self._loop.call_later(_KEPT_S, self._sweep)
        else:
            line.abort()
        if self._waiting:
            self._give_back()
        else:
            self._free += 1

    def _lost(self, line: Line) -> None:
        place = self._lines.pop(line, None)
        if place is None:
            return
        if line in self._busy:  # else its turn is over already
            self._busy.discard(line)
            self._give_back()
        kept = self._idle.get(place, {})
        kept.pop(line, None)
        if not kept:
            self._idle.pop(place, None)

    def _sweep(self) -> None:
        """Close what was idle for too long."""
        self._sweeping = None
        too_old = self._loop.time() - _KEPT_S
        for kept in self._idle.values():
            for line, since in kept.items():
                if since <= too_old:
                    line.abort()
        if self._idle:
            self._sweeping = self._loop.call_later(_KEPT_S, self._sweep)


class Resolver:
    """The system's, asked once for all who want the same name at the same time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._found: dict[tuple[str, int], tuple[float, asyncio.Task[Sequence[AddressInfo]]]] = {}

    async def __call__(self, host: str, port: int) -> Sequence[AddressInfo]:
        if literal := literal_address(host, port):
            return literal
        now = self._loop.time()
        until, task = self._found.get((host, port), (0.0, None))
        if task is None or until <= now or (task.done() and (task.cancelled() or task.exception())):
            self._found = {key: known for key, known in self._found.items() if known[0] > now}
            task = self._loop.create_task(self._ask(host, port))
            self._found[host, port] = (now + _NAMES_S, task)
        return await asyncio.shield(task)

    async def _ask(self, host: str, port: int) -> Sequence[AddressInfo]:
        try:
            return await self._loop.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
            )
        except UnicodeError:
            raise no_name() from None


def no_name() -> OSError:
    """For a host that cannot even be asked for."""
    return socket.gaierror(socket.EAI_NONAME, "no name")


def literal_address(host: str, port: int) -> Sequence[AddressInfo]:
    """Of a host that is an address itself; empty for a name."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return ()


def _judged_socket(judge: Callable[[str], bool], address: AddressInfo) -> socket.socket:
    """The last moment at which an address can be judged: numeric hosts never meet a resolver."""
    family, kind, protocol, _, place = address
    if not judge(place[0]):
        raise PrivateAddressError("the address is not public")
    return socket.socket(family, kind, protocol)


@functools.cache
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
