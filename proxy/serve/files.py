"""`GET /v1/files/{id}/content`: stored pictures by signed address. The signature is the credential."""

from __future__ import annotations

import asyncio
import re

from proxy.errors import RequestError
from proxy.pictures.media_types import EXTENSIONS, HEAD_BYTES, sniff
from proxy.serve.exchange import Exchange, Header
from proxy.serve.house import House

_NAME = re.compile(r"([0-9a-f]{32})/content\Z")
_READ_BYTES = 1 << 20


async def content(exchange: Exchange, house: House) -> None:
    """Everything that is wrong is the same 404, so that an address cannot be probed."""
    found = _NAME.match(exchange.scope["path_params"]["name"])
    query = exchange.query()
    expires, signature = query.get("expires"), query.get("signature")
    left_s = house.services.files.granted(found[1], expires or "", signature or "") if found else 0.0
    opened = await asyncio.to_thread(house.services.files.open, found[1]) if found and left_s else None
    if opened is None:
        raise RequestError(
            "There is no such file, or its address has expired.", status=404, code="file_not_found"
        )
    file, size = opened
    try:
        piece = await asyncio.to_thread(file.read, _READ_BYTES)
        await exchange.start(200, _headers(piece, size, left_s))
        if exchange.scope["method"] == "HEAD":
            piece = b""
        while piece:
            await exchange.write((piece,))
            piece = await asyncio.to_thread(file.read, _READ_BYTES)
        await exchange.end()
    finally:
        file.close()


def _headers(head: bytes, size: int, left_s: float) -> list[Header]:
    """What has no known magic bytes may hold script, so browsers shall save it instead of showing it."""
    mime = sniff(head[:HEAD_BYTES])
    shown = f'inline; filename="picture.{EXTENSIONS[mime]}"' if mime in EXTENSIONS else "attachment"
    return [
        (b"content-type", (mime or "application/octet-stream").encode()),
        (b"content-length", str(size).encode()),
        (b"content-disposition", shown.encode()),
        (b"cache-control", b"private, max-age=%d, immutable" % left_s),
        (b"x-content-type-options", b"nosniff"),
    ]
