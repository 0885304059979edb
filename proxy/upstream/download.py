"""One guarded download: address rules, resolver, redirects, limits. `fetch.Fetcher` is the way in."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from proxy.codec import base64_text
from proxy.errors import RequestError
from proxy.pictures.media_types import HEAD_BYTES, sniff
from proxy.types import Slice
from proxy.upstream.fetch_rules import Credentials, Fetched, FetchRules, UnreachableError
from proxy.upstream.guard import LOCAL_NAMES, PrivateAddressError
from proxy.upstream.transport import FAULTS, drop_frames, os_error, with_query

_MAX_URL = 2048
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MEDIA_TYPES = (
    "image/",
    "audio/",
    "video/",
    "application/octet-stream",
    "binary/octet-stream",
    "application/pdf",
)
_HEADERS = {"user-agent": "dragoman", "accept": "image/*, */*;q=0.5", "accept-encoding": "identity"}


class Downloader:
    """Opens a guarded session, and one for private networks, in the running loop."""

    def __init__(self, rules: FetchRules, resolve: Callable[[str, int], list[str]] | None) -> None:
        self._rules = rules
        # A name that takes for ever to resolve holds a thread; vendors' names are resolved in others.
        self._threads = ThreadPoolExecutor(rules.at_once, thread_name_prefix="fetch-resolve")
        judges: dict[bool, Callable[[str], bool]] = {False: rules.is_public, True: anything}
        self._sessions = {
            private: open_session(rules, Resolver(resolve or system_addresses, self._threads, judge), judge)
            for private, judge in judges.items()
        }

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def download(
        self,
        url: str,
        *,
        private: bool,
        limit: int,
        left: list[int] | None,
        credentials: Credentials | None = None,
    ) -> Fetched:
        """Download one file. `left` is what may still come for the whole request, and is counted down."""
        place = self._checked(_parse(url), private)
        try:
            async with asyncio.timeout(self._rules.total_s):
                response = await self._follow(place, private, credentials)
                try:
                    data = await _body(response, str(place.host), limit, left)
                finally:
                    response.close()
        except _RefusedError as fault:
            drop_frames(fault)
            raise _unreachable(str(place.host)) from fault
        except FAULTS as fault:
            drop_frames(fault)
            kind = RequestError if isinstance(os_error(fault), PrivateAddressError) else UnreachableError
            raise _unreachable(str(place.host), kind) from fault
        mime = sniff(data.head(HEAD_BYTES))
        if mime is None:
            raise _not_media(str(place.host))
        return Fetched(mime, data)

    async def _follow(
        self, place: URL, private: bool, credentials: Credentials | None
    ) -> aiohttp.ClientResponse:
        first = place
        for _ in range(self._rules.redirects + 1):
            opened, headers = place, {}
            if credentials is not None and place.origin() == first.origin():
                headers = dict(credentials.headers)
                opened = with_query(place, credentials.query) if credentials.query else place
            response = await self._sessions[private].get(opened, headers=headers, allow_redirects=False)
            location = response.headers.get("location")
            if response.status == 200:
                return response
            response.close()
            if response.status not in _REDIRECTS or location is None:
                kind = UnreachableError if _may_pass(response.status) else RequestError
                raise kind(
                    f"The file at {first.host!r} could not be downloaded: status {response.status}.",
                    code="invalid_image_url",
                )
            place = self._next(place, location, private)
        raise _RefusedError("too many redirects")

    def _next(self, place: URL, location: str, private: bool) -> URL:
        try:
            following = self._checked(place.join(URL(location)), private)
        except (RequestError, ValueError) as error:
            raise _RefusedError("a redirect to where we do not go") from error
        if place.scheme == "https" and following.scheme == "http":
            raise _RefusedError("a redirect from https to http")
        return following

    def _checked(self, place: URL, private: bool) -> URL:
        """Judge an address by its looks, before its name is resolved."""
        rules = self._rules
        host = (place.raw_host or "").rstrip(".").lower()
        if place.scheme not in (("https",) if rules.https_only else ("http", "https")) or not host:
            raise _malformed("https" if rules.https_only else "http or https")
        if place.user is not None or place.password is not None:
            raise RequestError("The address must not hold a user name or password.", code="invalid_image_url")
        if private:
            return place
        if rules.ports and place.port not in rules.ports:
            raise RequestError(f"Port {place.port} is not allowed in addresses.", code="invalid_image_url")
        allowed = rules.hosts is None or any(
            host == name or host.endswith(f".{name}") for name in rules.hosts
        )
        if not allowed or f".{host}".endswith(LOCAL_NAMES) or not _is_host_name(host):
            raise _unreachable(str(place.host))
        return place


class _RefusedError(Exception):
    """We do not go there. The client reads the same words as for a host that is dead."""


class Resolver(AbstractResolver):
    """Resolves once, judges all addresses, and hands exactly these to the connector."""

    def __init__(
        self,
        addresses: Callable[[str, int], list[str]],
        threads: ThreadPoolExecutor,
        judge: Callable[[str], bool],
    ) -> None:
        self._addresses = addresses
        self._threads = threads
        self._judge = judge

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, self._addresses, host, port)
        if not found or not all(map(self._judge, found)):
            raise PrivateAddressError("not all addresses are public")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found
        ]

    async def close(self) -> None:
        return None


def open_session(
    rules: FetchRules, resolver: AbstractResolver, judge: Callable[[str], bool]
) -> aiohttp.ClientSession:
    def open_socket(address: Any) -> socket.socket:
        # Numeric hosts never meet the resolver, so the address is judged where the socket is made.
        family, kind, protocol, _, sockaddr = address
        if not judge(sockaddr[0]):
            raise PrivateAddressError("the address is not public")
        return socket.socket(family, kind, protocol)

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            resolver=resolver, use_dns_cache=False, force_close=True, limit=0, socket_factory=open_socket
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=_HEADERS,
        timeout=aiohttp.ClientTimeout(total=None, connect=rules.connect_s, sock_read=rules.silence_s),
        trust_env=False,
        requote_redirect_url=False,
    )


def anything(address: str) -> bool:
    return True


def system_addresses(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


async def _body(response: aiohttp.ClientResponse, host: str, limit: int, left: list[int] | None) -> Slice:
    """Read to the end, counting decoded bytes."""
    kind = response.headers.get("content-type", "").lower()
    if kind and not kind.startswith(_MEDIA_TYPES):
        raise _not_media(host)
    if (response.content_length or 0) > limit:
        raise _too_large(host, limit)
    body = base64_text.Encoder()
    while chunk := await response.content.readany():
        body.write(chunk)
        if body.size > limit:
            body, chunk = base64_text.Encoder(), b""  # the traceback of an error keeps this frame
            raise _too_large(host, limit)
        if left is not None:
            left[0] -= len(chunk)
            if left[0] < 0:
                raise RequestError(
                    "The files of this request are too large together.", code="invalid_image_url"
                )
    return body.finish()


def _parse(url: str) -> URL:
    if len(url) > _MAX_URL:
        raise RequestError(f"The address is longer than {_MAX_URL} characters.", code="invalid_image_url")
    try:
        return URL(url)
    except (ValueError, UnicodeError):
        raise _malformed("http or https") from None


def _is_host_name(host: str) -> bool:
    """An IPv6 address without a zone, or ASCII labels; what else a URL parser lets through is a disguise."""
    return all(c.isascii() and (c.isalnum() or c in "-_.:") for c in host) and ".." not in host


def _malformed(schemes: str) -> RequestError:
    return RequestError(f"The address must be a valid {schemes} address.", code="invalid_image_url")


def _may_pass(status: int) -> bool:
    """A file that is not there yet, and a server that is busy, may be there in a moment."""
    return status >= 500 or status in (404, 408, 425, 429)


def _unreachable(host: str, kind: type[RequestError] = RequestError) -> RequestError:
    return kind(f"The file at {host!r} could not be downloaded.", code="invalid_image_url")


def _not_media(host: str) -> RequestError:
    return RequestError(f"The file at {host!r} is not an image or media file we know.", code="invalid_image")


def _too_large(host: str, limit: int) -> RequestError:
    return RequestError(f"The file at {host!r} is larger than {limit >> 20} MiB.", code="invalid_image_url")
