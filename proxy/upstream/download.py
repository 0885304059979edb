"""One guarded download: address rules, redirects, limits. `fetch.Fetcher` is the way in."""

from __future__ import annotations

import asyncio

from yarl import URL

from proxy.checking.addresses import LOCAL_NAMES
from proxy.codec import base64_text
from proxy.errors import RequestError
from proxy.pictures.media_types import HEAD_BYTES, sniff
from proxy.types import Slice
from proxy.upstream.asking import with_query
from proxy.upstream.fetch_rules import Credentials, Fetched, FetchRules, LockedError, UnreachableError
from proxy.upstream.guard import PrivateAddressError
from proxy.upstream.guarded import Guarded, Resolve
from proxy.upstream.line import Answer
from proxy.upstream.transport import drop_frames

_MAX_URL = 2048
_AT_ONCE = 1 << 20
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LOCKED = frozenset({401, 403})
_MEDIA_TYPES = (
    "image/",
    "audio/",
    "video/",
    "application/octet-stream",
    "binary/octet-stream",
    "application/pdf",
)
_HEADERS = {"accept": "image/*, */*;q=0.5", "accept-encoding": "identity"}


class Downloader:
    """Downloads by rules, in the running loop."""

    def __init__(self, rules: FetchRules, resolve: Resolve | None) -> None:
        self._rules = rules
        self._guarded = Guarded(rules, resolve, "fetch-resolve")

    async def close(self) -> None:
        await self._guarded.close()

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
                answer = await self._follow(place, private, credentials)
                try:
                    data = await _body(answer, str(place.raw_host), limit, left, self._rules.silence_s)
                finally:
                    answer.drop()
        except _RefusedError as fault:
            drop_frames(fault)
            raise _unreachable(str(place.raw_host)) from fault
        except OSError as fault:
            drop_frames(fault)
            kind = RequestError if isinstance(fault, PrivateAddressError) else UnreachableError
            raise _unreachable(str(place.raw_host), kind) from fault
        mime = sniff(data.head(HEAD_BYTES))
        if mime is None:
            raise _not_media(str(place.raw_host))
        return Fetched(mime, data)

    async def _follow(self, place: URL, private: bool, credentials: Credentials | None) -> Answer:
        first = place
        for _ in range(self._rules.redirects + 1):
            opened, headers = place, _HEADERS
            if credentials is not None and place.origin() == first.origin():
                headers = {**_HEADERS, **dict(credentials.headers)}
                opened = with_query(place, credentials.query) if credentials.query else place
            answer = await self._guarded.ask("GET", opened, headers, private=private)
            location = answer.headers.get("location")
            if answer.status == 200:
                return answer
            answer.drop()
            if answer.status not in _REDIRECTS or location is None:
                raise _kind(answer.status)(
                    f"The file at {first.raw_host!r} could not be downloaded: status {answer.status}.",
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
            raise _unreachable(str(place.raw_host))
        return place


class _RefusedError(Exception):
    """We do not go there. The client reads the same words as for a host that is dead."""


async def _body(answer: Answer, host: str, limit: int, left: list[int] | None, silence_s: float) -> Slice:
    """Read to the end, counting decoded bytes."""
    kind = answer.headers.get("content-type", "").lower()
    if kind and not kind.startswith(_MEDIA_TYPES):
        raise _not_media(host)
    if int(answer.headers.get("content-length", 0)) > limit:
        raise _too_large(host, limit)
    body = base64_text.Encoder()
    while chunk := await _next(answer, silence_s):
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


async def _next(answer: Answer, silence_s: float) -> bytes:
    async with asyncio.timeout(silence_s):
        return await answer.read(_AT_ONCE)


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


def _kind(status: int) -> type[RequestError]:
    if status in _LOCKED:
        return LockedError
    return UnreachableError if _may_pass(status) else RequestError


def _unreachable(host: str, kind: type[RequestError] = RequestError) -> RequestError:
    return kind(f"The file at {host!r} could not be downloaded.", code="invalid_image_url")


def _not_media(host: str) -> RequestError:
    """A page, or nothing, may stand for a moment where a file will be."""
    sentence = f"The file at {host!r} is not an image or media file we know."
    return UnreachableError(sentence, code="invalid_image")


def _too_large(host: str, limit: int) -> RequestError:
    return RequestError(f"The file at {host!r} is larger than {limit >> 20} MiB.", code="invalid_image_url")
