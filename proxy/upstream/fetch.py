"""Downloads what a client or a vendor named by address, guarded against being sent into our own network.

A name is resolved once, all its addresses are judged, and only these are connected to. Redirects are
followed by hand, each judged anew. Nothing of ours goes along: no cookies, no proxies, and no credentials but
those that a caller gives for a file's own host.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from proxy.errors import RequestError
from proxy.pictures.media_types import is_truncated
from proxy.upstream.fetch_rules import Credentials, Fetched, FetchRules

if TYPE_CHECKING:
    from proxy.upstream.download import Downloader

MAX_FILE_BYTES = 20 << 20


class Fetcher:
    """`resolve` names the addresses of a host; it may block, for it runs in a thread of its own."""

    def __init__(
        self, rules: FetchRules | None = None, *, resolve: Callable[[str, int], list[str]] | None = None
    ) -> None:
        self.rules = rules or FetchRules()
        self._resolve = resolve
        self._downloader: Downloader | None = None
        self._free = asyncio.Semaphore(self.rules.at_once)

    async def fetch(
        self,
        url: str,
        *,
        where: str = "",
        private: bool = False,
        limit: int = MAX_FILE_BYTES,
        credentials: Credentials | None = None,
    ) -> Fetched:
        """Download one file of a known kind. `private` lifts the guard, for vendors in private networks.

        Raises `RequestError`: `invalid_image_url` when it cannot be had, in the same words whether the
        address is refused or dead; `invalid_image` when it is no media file; `param` is `where`.
        """
        return await self._fetch(url, where, private, limit, credentials=credentials)

    async def fetch_all(
        self, wanted: Sequence[tuple[str, str]], *, private: bool = False, limit: int = MAX_FILE_BYTES
    ) -> list[Fetched]:
        """Download a client's (address, where) pairs, a few at once, each address once.

        The first failure ends all; a picture without its end is one, `invalid_image`.
        """
        places = dict(reversed(wanted))  # the first place of an address names it in an error
        free = asyncio.Semaphore(self.rules.at_once_per_request)
        left = [self.rules.total_bytes]

        async def one(url: str, where: str) -> Fetched:
            async with free:
                fetched = await self._fetch(url, where, private, limit, left)
            if is_truncated(fetched.mime, fetched.data):
                raise RequestError("The image is truncated.", code="invalid_image", param=where or None)
            return fetched

        tasks = {url: asyncio.create_task(one(url, where)) for url, where in places.items()}
        try:
            await asyncio.gather(*tasks.values())
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
        return [tasks[url].result() for url, _ in wanted]

    async def close(self) -> None:
        downloader, self._downloader = self._downloader, None
        if downloader is not None:
            await downloader.close()

    async def _fetch(
        self,
        url: str,
        where: str,
        private: bool,
        limit: int,
        left: list[int] | None = None,
        credentials: Credentials | None = None,
    ) -> Fetched:
        if self._downloader is None:
            from proxy.upstream.download import Downloader  # most servers never need it

            self._downloader = Downloader(self.rules, self._resolve)
        async with self._free:
            try:
                return await self._downloader.download(
                    url, private=private, limit=limit, left=left, credentials=credentials
                )
            except RequestError as error:
                raise error.changed(param=where or None) from error
