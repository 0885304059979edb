"""Who is calling, where the file does not know: keys of the store."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.keys import OF_QUERY, ClientKey, credential, unknown
from proxy.serve.exchange import Exchange, Header
from proxy.serve.house import House


def take_from_query(exchange: Exchange) -> None:
    """A key in the address, as `?key=`, counts as one in the head. No log has it: they tell paths alone."""
    if b"key=" in exchange.scope.get("query_string", b"") and (secret := exchange.query().get("key")):
        exchange.headers = [*exchange.headers, (OF_QUERY, secret.encode())]


def at_hand(headers: Sequence[Header], house: House) -> ClientKey | None:
    """The caller with these headers, as far as it is known without a look at the store. Raises a 400 for two
    different keys."""
    caller = house.plan.keys.identify(headers)
    if caller is not None:
        return caller
    caller = house.services.callers.known(credential(headers))
    return None if caller is None or caller.name in house.plan.keys.names else caller


async def stored(exchange: Exchange, house: House) -> ClientKey:
    """Raises a 401 for whoever is not known there. A name that the file has got meanwhile is the file's."""
    secret = credential(exchange.headers)
    caller = await house.services.callers.find(secret) if secret else None
    if caller is None or caller.name in house.plan.keys.names:
        raise unknown(exchange.headers)
    return caller


async def anyone(exchange: Exchange, house: House) -> ClientKey:
    """The caller of a request, of the file or the store. Raises a 401."""
    return house.plan.keys.identify(exchange.headers) or await stored(exchange, house)
