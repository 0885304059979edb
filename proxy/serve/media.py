"""Pictures by address become pictures inline: the client's before translation, so that translation stays a
plain function, the vendor's before they are handed on, for their addresses die within hours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol
from urllib.parse import urlsplit

from proxy.errors import ErrorClass, RequestError, UpstreamError
from proxy.fronts.base import Asked
from proxy.pictures import convert
from proxy.pictures.media_types import HEAD_BYTES, is_truncated, sniff
from proxy.serve import lending
from proxy.serve.house import House
from proxy.serve.told import Told
from proxy.store.uploads import is_ours as is_upload
from proxy.types import (
    Call,
    ChatRequest,
    Event,
    Image,
    ImageRequest,
    MediaPart,
    Message,
    Part,
    ResultPart,
    Slice,
    Target,
    Wire,
    iter_media,
)
from proxy.upstream import Account, Credentials, Deadlines, LockedError, UnreachableError
from proxy.upstream.guard import is_inside

_PAUSES_S = (0.5, 2.0)  # between the tries to fetch a result
_RESULT_BYTES = 64 << 20
_KEYED_HINT = " Where a vendor's files want the key, its profile says result: {keyed: true}."
_AT_ONCE = 1000  # parts that are looked at; there may be a hundred thousand, and others shall run


class Reads(Protocol):
    """What a wire reads by itself."""

    def keeps_url(self, url: str, target: Target) -> bool: ...

    def takes_data(self, target: Target) -> bool: ...

    def unable(self, request: ImageRequest, target: Target) -> RequestError | None: ...


# --- what the client sends


async def inline(house: House, request: ChatRequest, asked: Asked, wire: Wire, target: Target) -> ChatRequest:
    """Fetch what the upstream shall not read itself, and make a PNG of pictures whose type it cannot read.

    Raises `RequestError` (invalid_image_url) naming the part.
    """
    parts = list(iter_media(request))
    uploaded = [part for part in parts if part.file_id is not None and is_upload(part.file_id)]
    if uploaded:
        request = _with({id(part): await _read(house, part, asked) for part in uploaded}, request)
        parts = list(iter_media(request))
    is_ours = house.services.files.is_stored  # an upstream may have no way to such an address
    wanted = await _fetch(house, parts, asked, lambda url: wire.keeps_url(url, target) and not is_ours(url))
    changed: dict[int, MediaPart] = {}  # by identity: to compare pictures is to read all of them
    for number, part in enumerate(parts, 1):
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
        filled = await _readable(_filled(part, wanted, asked), wire, target)
        if filled is not part:
            changed[id(part)] = filled
    return _with(changed, request) if changed else request


def _with(changed: dict[int, MediaPart], request: ChatRequest) -> ChatRequest:
    return replace(request, messages=tuple(_changed(message, changed) for message in request.messages))


async def _read(house: House, part: MediaPart, asked: Asked) -> MediaPart:
    """What the caller has uploaded, in place of its id. Raises a 404 that names the part."""
    if part.file_id is None or not is_upload(part.file_id):
        return part
    if isinstance(known := asked.fetched.get(part.file_id), MediaPart):
        return replace(known, where=part.where)
    found = await asyncio.to_thread(house.services.uploads.read, asked.caller.name, part.file_id)
    if found is None:
        raise RequestError(
            f"There is no file {part.file_id!r}.", param=part.where, status=404, code="file_not_found"
        )
    upload, data = found
    filename = part.filename or upload.filename or None
    part = replace(part, data=Slice.of(data), file_id=None, filename=filename)
    seen = sniff(data[:HEAD_BYTES]) or ""
    if seen.startswith("image/"):  # many say nothing of it, or application/octet-stream
        part = replace(part, kind="image", mime=seen)
    else:
        part = replace(part, mime=part.mime or upload.mime or None)
    asked.fetched[upload.id] = part  # several orders of it are the same picture
    return part


async def inline_references(
    house: House, request: ImageRequest, asked: Asked, wire: Reads, target: Target, account: Account
) -> ImageRequest:
    """The same for a picture request; its vendors judge types themselves. One that reads nothing but
    addresses is lent what came inline."""
    references = [await _read(house, part, asked) for part in request.references]
    mask = request.mask and await _read(house, request.mask, asked)
    request = replace(request, references=tuple(references), mask=mask)
    takes_data = wire.takes_data(target)
    for part in request.references:
        if part.url is not None and wire.keeps_url(part.url, target):
            _check_address(house, part, part.url, account)
    if not takes_data and (base := lending.base_for(house, account)) is not None:
        if (refusal := wire.unable(request, target)) is not None:  # of what is lent it sees nothing any more
            raise refusal
        lent = [await lending.lent(house, part, asked, base) for part in request.references]
        request = replace(request, references=tuple(lent))
    is_ours = house.services.files.is_stored if takes_data else _is_nobodys
    parts = request.references if request.mask is None else (*request.references, request.mask)
    wanted = await _fetch(house, parts, asked, lambda url: wire.keeps_url(url, target) and not is_ours(url))
    if not wanted:
        return request
    filled = tuple(_filled(part, wanted, asked) for part in request.references)
    return replace(request, references=filled, mask=mask and _filled(mask, wanted, asked))


def _check_address(house: House, part: MediaPart, url: str, account: Account) -> None:
    """What leads the vendor to nothing is refused as it is where we fetch: it may charge for having tried."""
    if not url.lower().startswith(("http://", "https://")):  # gs://, of which the vendor knows
        return
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        host = ""
    base = house.plan.config.server.public_url
    is_over = base is not None and url.startswith(f"{base.removesuffix('/v1')}/v1/files/")
    if (is_over and not house.services.files.is_stored(url)) or (is_inside(host) and not account.private):
        raise RequestError(
            f"The file at {host!r} could not be downloaded.",
            param=part.where or None,
            attribute="references",
            code="invalid_image_url",
        )


def _is_nobodys(url: str) -> bool:
    return False


async def _fetch(
    house: House, parts: Iterable[MediaPart], asked: Asked, keeps: Callable[[str], bool]
) -> dict[str, MediaPart]:
    """The parts that must not stay addresses, by address; afterwards `asked.fetched` has them all."""
    wanted = {part.url: part for part in parts if part.url and part.data is None and not keeps(part.url)}
    missing: list[tuple[str, str]] = []
    for url, part in wanted.items():
        found = asked.fetched.get(url)
        if isinstance(found, RequestError):
            raise found.changed()
        if found is None and (stored := await _stored(house, url)) is not None:
            asked.fetched[url] = stored
        elif found is None:
            missing.append((url, part.where))
    if missing:
        _allow(house, missing)
        rules = house.plan.config.defaults.images
        try:
            fetched = await house.services.fetcher.fetch_all(missing, limit=rules.max_bytes)
        except RequestError as error:  # the next target shall not wait for it again
            asked.fetched.update((url, error.changed()) for url, where in missing if where == error.param)
            raise
        for (url, _), got in zip(missing, fetched, strict=True):
            asked.fetched[url] = MediaPart("image", got.data, mime=got.mime)
    return wanted


def _allow(house: House, missing: list[tuple[str, str]]) -> None:
    rules = house.plan.config.defaults.images
    if not rules.fetch:
        raise RequestError(
            "Pictures are not fetched from addresses here; send them inline, as data URLs.",
            param=missing[0][1],
            code="invalid_image_url",
        )
    if len(missing) > rules.max_count:
        raise RequestError(
            f"At most {rules.max_count} pictures are fetched for a request; send the others inline.",
            param=missing[rules.max_count][1],
            code="invalid_image_url",
        )


async def _stored(house: House, url: str) -> MediaPart | None:
    """A picture of ours that comes back by its address: asking ourselves over HTTP would meet the guard."""
    files = house.services.files
    identity = files.identify(url)
    data = await asyncio.to_thread(files.read, identity) if identity is not None else None
    mime = sniff(data[:HEAD_BYTES]) if data is not None else None
    return None if data is None or mime is None else MediaPart("image", Slice.of(data), mime=mime)


async def _readable(part: MediaPart, wire: Wire, target: Target) -> MediaPart:
    """A picture that the upstream does not read, as a PNG; else the wire refuses it (G-044)."""
    if part.kind != "image" or part.data is None:
        return part
    mime = sniff(part.data.head(HEAD_BYTES))
    if mime is None or wire.reads(mime, target) or not convert.can_read(mime):
        return part
    made = await convert.converted(part.data, "image/png")
    return part if made is None else replace(part, data=made, mime="image/png")


def _changed(message: Message, changed: dict[int, MediaPart]) -> Message:
    parts = tuple(_changed_part(part, changed) for part in message.parts)
    if all(new is old for new, old in zip(parts, message.parts, strict=True)):
        return message
    return replace(message, parts=parts)


def _changed_part(part: Part, changed: dict[int, MediaPart]) -> Part:
    if isinstance(part, MediaPart):
        return changed.get(id(part), part)
    if isinstance(part, ResultPart) and any(id(one) in changed for one in part.parts):
        inside = tuple(changed.get(id(one), one) if isinstance(one, MediaPart) else one for one in part.parts)
        return replace(part, parts=inside)
    return part


def _filled(part: MediaPart, wanted: dict[str, MediaPart], asked: Asked) -> MediaPart:
    if part.data is not None or part.url is None or part.url not in wanted:
        return part
    picture = asked.fetched[part.url]
    assert isinstance(picture, MediaPart)
    return replace(part, url=None, data=picture.data, mime=picture.mime)


# --- what the vendor sends


class Arriving:
    """The pictures of one reply: those that come by address are fetched while they are there, and what is no
    whole picture is handed to nobody.

    One that cannot be had does not take the others with it: they were paid for as well.
    """

    __slots__ = ("_account", "_came", "_deadlines", "_house", "_keyed", "_last", "_told")

    def __init__(
        self,
        house: House,
        account: Account,
        told: Told,
        keyed: frozenset[str] = frozenset(),
        deadlines: Deadlines | None = None,
    ) -> None:
        """`keyed` are addresses at the vendor's own hosts that want our key."""
        self._keyed = keyed
        self._deadlines = deadlines or Deadlines()
        self._house = house
        self._account = account
        self._told = told
        self._came = False
        self._last: UpstreamError | None = None

    def lost(self, count: int) -> None:
        """The vendor itself says that so many more were not made."""
        self._told.lost += count

    async def fetched(self, batch: list[Event]) -> list[Event]:
        """The batch with its pictures."""
        found = await asyncio.gather(*map(self._one, batch))
        return [event for event in found if event is not None]

    def close(self) -> None:
        """Raise why there is no picture at all, where some were made."""
        if self._last is not None and not self._came:
            raise self._last.changed()

    async def _one(self, event: Event) -> Event | None:
        if type(event) is not Image:
            return event
        try:
            if event.data is None and event.url is not None:
                event = await self._image(event, event.url)
            if event.data is not None:
                self._check(event.data)
        except UpstreamError as error:
            self._last = error.changed()
            self._told.lost += 1
            return None
        self._came = True
        return event

    def _check(self, data: Slice) -> None:
        head = data.head(HEAD_BYTES)
        mime = sniff(head) or ""
        if not mime.startswith("image/"):
            raise self._failed("What the vendor sent is no picture.", "upstream_invalid_image")
        # It is paid for: only what certainly is a torn picture is withheld, not what merely begins like one.
        if (mime != "image/png" or head[12:16] == b"IHDR") and is_truncated(mime, data):
            raise self._failed("The vendor's picture lacks its end.", "upstream_invalid_image")

    async def _image(self, image: Image, url: str) -> Image:
        results = self._house.services.results
        for pause_s in (*_PAUSES_S, None):
            try:
                got = await results.fetch(
                    url,
                    private=self._account.private,
                    limit=_RESULT_BYTES,
                    credentials=await self._credentials(url),
                )
            except UnreachableError as error:  # the file host may stumble for a moment
                if pause_s is None:
                    raise self._unavailable(error) from error
                await asyncio.sleep(pause_s)
            except LockedError as error:  # so do stores of objects speak of what is not there yet
                if pause_s is None:
                    hint = "" if url in self._keyed else _KEYED_HINT
                    raise self._unavailable(error, hint) from error
                await asyncio.sleep(pause_s)
            except RequestError as error:
                raise self._unavailable(error) from error
            else:
                return replace(image, mime=got.mime, data=got.data)
        raise AssertionError("unreachable")

    async def _credentials(self, url: str) -> Credentials | None:
        if url not in self._keyed:
            return None
        upstream = self._house.services.upstream
        auth = await upstream.authorized(Call("", {}, "GET", url=url), self._account, self._deadlines)
        return Credentials(auth.headers, auth.query)

    def _unavailable(self, error: RequestError, hint: str = "") -> UpstreamError:
        """The vendor's host is the operator's to know."""
        sentence = "The picture was made, but it could not be fetched from the vendor."
        return self._failed(sentence, "upstream_result_unavailable").changed(why=error.message + hint)

    def _failed(self, sentence: str, code: str) -> UpstreamError:
        return UpstreamError(
            ErrorClass.INTERNAL,
            sentence,
            provider=self._account.provider,
            code=code,
            bought=True,
            by_piece=True,
            final=True,
        )
