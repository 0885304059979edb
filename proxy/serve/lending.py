"""A client's picture lent to a vendor that reads nothing but addresses: by a signed address of ours."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from urllib.parse import urlsplit

from proxy.fronts.base import Asked
from proxy.serve.house import House
from proxy.types import MediaPart
from proxy.upstream import Account
from proxy.upstream.guard import is_inside


def base_for(house: House, account: Account) -> str | None:
    """How a vendor reaches us, None where it is not told: then its wire refuses what is not lent. What leads
    clients of our own network to us leads no other vendor here, and it would charge for an order without."""
    base = house.plan.config.server.public_url
    if base is None or (is_inside(urlsplit(base).hostname or "") and not account.private):
        return None
    return base.removesuffix("/v1")


async def lent(house: House, part: MediaPart, asked: Asked, base: str) -> MediaPart:
    """The picture by an address of ours."""
    if part.data is None:
        return part
    files = house.services.files
    ours = ((url, one) for url, one in asked.fetched.items() if url.startswith(base))
    address = next((url for url, one in ours if isinstance(one, MediaPart) and one.data is part.data), None)
    if address is None:  # of several orders those that go out later find it
        try:
            identity = await asyncio.to_thread(files.save, part.data)
        except (OSError, ValueError) as error:
            house.services.log.write("picture_not_stored", reason=str(error))
            return part
        address = base + files.address(identity)
        asked.fetched[address] = part
    return replace(part, data=None, url=address)
