"""Calls to addresses that clients and vendors name, guarded against being sent into our own network.

A name is resolved once, all its addresses are judged, and only these are connected to. Every call has a
connection of its own.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

from yarl import URL

from proxy.upstream import asking
from proxy.upstream.fetch_rules import FetchRules
from proxy.upstream.guard import PrivateAddressError
from proxy.upstream.line import Answer
from proxy.upstream.pool import AddressInfo, Pool, literal_address, no_name
from proxy.upstream.transport import Progress

Resolve = Callable[[str, int], list[str]]

_ONCE = {"connection": "close"}


class Guarded:
    """`resolve` names the addresses of a host; it may block, for it runs in a thread of its own."""

    def __init__(self, rules: FetchRules, resolve: Resolve | None, thread_name: str) -> None:
        self._rules = rules
        # A name that takes for ever to resolve holds a thread; vendors' names are resolved in others.
        self._threads = ThreadPoolExecutor(rules.at_once, thread_name_prefix=thread_name)
        self._resolve = resolve or system_addresses
        self._pools = {
            private: Pool(
                connections=math.inf,
                judge=None if private else rules.is_public,
                names=self._found if private else self._public,
                keeps=False,
            )
            for private in (False, True)
        }

    async def ask(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None = None, *, private: bool
    ) -> Answer:
        """The answer once its headers are here, to be dropped in any case. Raises `OSError`, and
        `PrivateAddressError` where we do not go; without the guard where it is `private`."""
        pieces = None if body is None else (body,)
        request = asking.written(method, asking.way(url), asking.lines({**headers, **_ONCE}), pieces)
        line = await self._pools[private].open(request.place, self._rules.connect_s)
        progress = Progress(request.place.host, sells=False)
        answer = asking.begin(line, request, progress)
        try:
            async with asyncio.timeout(self._rules.silence_s):
                if not progress.finished:
                    await asking.pour(line, request.rest, progress)
                while not answer.begun:
                    await answer.more()
        except BaseException:
            answer.drop()
            raise
        return answer

    async def close(self) -> None:
        for pool in self._pools.values():
            await pool.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _found(self, host: str, port: int) -> Sequence[AddressInfo]:
        """Numeric hosts never meet the resolver; they are judged where the socket is made."""
        if literal := literal_address(host, port):
            return literal
        loop = asyncio.get_running_loop()
        try:
            addresses = await loop.run_in_executor(self._threads, self._resolve, host, port)
        except UnicodeError:
            raise no_name() from None
        return list(chain.from_iterable(literal_address(address, port) for address in addresses))

    async def _public(self, host: str, port: int) -> Sequence[AddressInfo]:
        found = await self._found(host, port)
        if not found or not all(self._rules.is_public(place[0]) for *_, place in found):
            raise PrivateAddressError("not all addresses are public")
        return found


def system_addresses(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return list(dict.fromkeys(str(place[0]) for *_, place in found))
