"""Pictures by address become pictures inline: the client's before translation, so that translation stays a
plain function, the vendor's before they are handed on, for their addresses die within hours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from proxy.errors import ErrorClass, RequestError, UpstreamError
from proxy.pictures import convert
from proxy.pictures.media_types import HEAD_BYTES, sniff
from proxy.serve.house import House
from proxy.types import ChatRequest, Event, Image, ImageRequest, MediaPart, Message, Slice, iter_media
from proxy.upstream import Account

_FETCH_TRIES = 3
_RESULT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Picture:
    mime: str
    data: Slice


# --- what the client sends


async def inline(
    house: House,
    request: ChatRequest,
    fetched: dict[str, Picture],
    keeps: Callable[[str], bool],
    reads: Callable[[str], bool],
) -> ChatRequest:
    """Fetch what the upstream shall not read itself, and make a PNG of pictures whose type it cannot read.

    `fetched` holds earlier attempts' pictures by address. Raises `RequestError` (invalid_image_url) naming
    the part.
    """
    parts = list(iter_media(request))
    if not parts:
        return request
    wanted = await _fetch(house, parts, fetched, keeps)
    changed: dict[int, MediaPart] = {}  # by identity: to compare pictures is to read all of them
    for part in parts:
        filled = await _readable(_filled(part, wanted, fetched), reads)
        if filled is not part:
            changed[id(part)] = filled
    if not changed:
        return request
    messages = tuple(_changed(message, changed) for message in request.messages)
    return replace(request, messages=messages)


async def inline_references(
    house: House, request: ImageRequest, fetched: dict[str, Picture], keeps: Callable[[str], bool]
) -> ImageRequest:
    """The same for a picture request; its vendors judge types themselves."""
    wanted = await _fetch(house, request.references, fetched, keeps)
    if not wanted:
        return request
    return replace(request, references=tuple(_filled(part, wanted, fetched) for part in request.references))


async def _fetch(
    house: House,
    parts: Iterable[MediaPart],
    fetched: dict[str, Picture],
    keeps: Callable[[str], bool],
) -> dict[str, MediaPart]:
    wanted = {part.url: part for part in parts if part.url and part.data is None and not keeps(part.url)}
    missing: list[tuple[str, str]] = []
    for url, part in wanted.items():
        if url not in fetched and (stored := await _stored(house, url)) is not None:
            fetched[url] = stored
        elif url not in fetched:
            missing.append((url, part.where))
    if missing:
        rules = house.config.defaults.images
        if not rules.fetch or len(missing) > rules.max_count:
            raise RequestError(
                f"At most {rules.max_count} pictures are fetched for a request; send the others inline."
                if rules.fetch
                else "Pictures are not fetched from addresses here; send them inline, as data URLs.",
                param=missing[rules.max_count if rules.fetch else 0][1],
                code="invalid_image_url",
            )
        fetching = house.fetcher.fetch_all(missing, limit=rules.max_bytes)
        for (url, _), got in zip(missing, await fetching, strict=True):
            fetched[url] = Picture(got.mime, got.data)
    return wanted


async def _stored(house: House, url: str) -> Picture | None:
    """A picture of ours that comes back by its address: asking ourselves over HTTP would meet the guard."""
    identity = house.files.identify(url)
    data = await asyncio.to_thread(house.files.read, identity) if identity is not None else None
    mime = sniff(data[:HEAD_BYTES]) if data is not None else None
    return None if data is None or mime is None else Picture(mime, Slice.of(data))


async def _readable(part: MediaPart, reads: Callable[[str], bool]) -> MediaPart:
    """A picture that the upstream does not read, as a PNG; else the wire refuses it (G-044)."""
    if part.kind != "image" or part.data is None:
        return part
    mime = sniff(part.data.head(HEAD_BYTES))
    if mime is None or reads(mime) or not convert.can_read(mime):
        return part
    made = await convert.converted(part.data, "image/png")
    return part if made is None else replace(part, data=made, mime="image/png")


def _changed(message: Message, changed: dict[int, MediaPart]) -> Message:
    if not any(id(part) in changed for part in message.parts):
        return message
    return replace(message, parts=tuple(changed.get(id(part), part) for part in message.parts))


def _filled(part: MediaPart, wanted: dict[str, MediaPart], fetched: dict[str, Picture]) -> MediaPart:
    if part.data is not None or part.url is None or part.url not in wanted:
        return part
    picture = fetched[part.url]
    return replace(part, url=None, data=picture.data, mime=picture.mime)


# --- what the vendor sends


def by_address(event: Event) -> bool:
    return type(event) is Image and event.data is None and event.url is not None


async def here(house: House, event: Event, account: Account) -> Event:
    """The event, or its picture fetched through the guard when the vendor gave an address.

    Raises `UpstreamError` (upstream_result_unavailable) after three tries.
    """
    if type(event) is not Image or event.url is None or event.data is not None:
        return event
    for left in reversed(range(_FETCH_TRIES)):
        try:
            got = await house.results.fetch(event.url, private=account.private, limit=_RESULT_BYTES)
        except RequestError as error:
            if left:
                continue
            raise UpstreamError(
                ErrorClass.INTERNAL,
                "The picture was made, but it could not be fetched from the vendor.",
                provider=account.provider,
                code="upstream_result_unavailable",
                bought=True,
                by_piece=True,
            ) from error
        return replace(event, mime=got.mime, data=got.data)
    raise AssertionError("unreachable")
