"""Callbacks: a guarded POST to an address that a client gave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from proxy.errors import RequestError
from proxy.upstream.fetch_rules import FetchRules
from proxy.upstream.guard import PrivateAddressError, is_inside

if TYPE_CHECKING:
    from proxy.upstream.guarded import Guarded

MOST_CHARACTERS = 2048
# documents/001: "timeout: 10 seconds"
RULES = FetchRules(connect_s=10, silence_s=10, total_s=10, at_once=8)


def check(url: str, *, private: bool) -> None:
    """Judge an address by its looks, before its name is resolved. With `private` it may lead anywhere, and
    by http.

    Raises a 400 that names the field.
    """
    from yarl import URL  # as `post` reads it

    if len(url) > MOST_CHARACTERS:
        raise _refused(f"must be at most {MOST_CHARACTERS} characters long")
    try:
        place = URL(url)
    except ValueError:
        raise _refused("must be a valid https address") from None
    host = (place.raw_host or "").rstrip(".")
    if place.scheme not in (("http", "https") if private else ("https",)) or not host or not _is_plain(url):
        raise _refused("must be a valid https address")
    if place.raw_user is not None or place.raw_password is not None:
        raise _refused("must not hold a user name or password")
    if private:
        return
    if is_inside(host):
        raise _refused("must not point into a private network")


def _is_plain(url: str) -> bool:
    return url.isascii() and url.isprintable()


def _refused(why: str) -> RequestError:
    return RequestError(f"'callback_url' {why}.", attribute="callback_url", code="invalid_callback_url")


class NotDeliveredError(Exception):
    """No answer came; says why, in words of ours."""


class Poster:
    """Sends callbacks, guarded as downloads are; a redirect is followed nowhere."""

    def __init__(self, *, resolve: Callable[[str, int], list[str]] | None = None) -> None:
        self._resolve = resolve
        self._guarded: Guarded | None = None
        self._free = asyncio.Semaphore(RULES.at_once)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, private: bool) -> int:
        """The status of the answer, whose body nobody reads. Raises `NotDeliveredError` when none came within
        ten seconds."""
        from yarl import URL

        from proxy.upstream.guarded import Guarded
        from proxy.upstream.transport import drop_frames

        if self._guarded is None:
            self._guarded = Guarded(RULES, self._resolve, "callback-resolve")
        async with self._free:
            try:
                async with asyncio.timeout(RULES.total_s):
                    answer = await self._guarded.ask("POST", URL(url), headers, body, private=private)
                    answer.drop()
                    return answer.status
            except PrivateAddressError:
                raise NotDeliveredError("the address is not public") from None
            except (OSError, ValueError) as fault:  # an address of another version's may be none
                drop_frames(fault)
                raise NotDeliveredError(type(fault).__name__) from None

    async def close(self) -> None:
        if self._guarded is not None:
            await self._guarded.close()
