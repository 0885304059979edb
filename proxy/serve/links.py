"""Addresses for the pictures of a reply: they are stored before the reply is rendered."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable

from proxy.serve.exchange import Exchange
from proxy.serve.house import House
from proxy.types import Event, Image

# RFC 3986, 3.2.2: a name, an IPv4 address or a bracketed IPv6 address, and a port.
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?\Z")


class Links:
    """The pictures of one reply that have an address, told apart by identity: to compare is to read all.
    `stored` gives the file of one that is in the store already."""

    __slots__ = ("_exchange", "_house", "_kept", "_stored")

    def __init__(
        self, exchange: Exchange, house: House, stored: Callable[[Image], str | None] | None = None
    ) -> None:
        self._exchange = exchange
        self._house = house
        self._stored = stored
        self._kept: dict[int, tuple[Image, str]] = {}

    async def keep(self, events: Iterable[Event]) -> None:
        """Store the pictures among the events. One that cannot be stored has no address and goes out inline:
        it may have been paid for."""
        base = public_base(self._exchange, self._house)
        if base is None:
            return
        services = self._house.services
        for event in events:
            if type(event) is Image and event.data is not None:
                try:
                    identity = self._stored(event) if self._stored is not None else None
                    if identity is None:
                        identity = await asyncio.to_thread(services.files.save, event.data)
                except (OSError, ValueError) as error:
                    services.log.write("picture_not_stored", reason=str(error))
                    continue
                self._kept[id(event)] = event, base + services.files.address(identity)

    def of(self, image: Image) -> str | None:
        """For the renderers."""
        kept = self._kept.get(id(image))
        return None if kept is None else kept[1]


def public_base(exchange: Exchange, house: House) -> str | None:
    """How clients reach us: as the configuration says, else as this client did. No forwarded header is
    believed; behind a proxy that speaks TLS the configuration has to say it."""
    configured = house.plan.config.server.public_url
    if configured is not None:
        return configured.removesuffix("/v1")
    host = exchange.header(b"host") or ""
    return f"{exchange.scope.get('scheme', 'http')}://{host}" if _HOST.match(host) else None
