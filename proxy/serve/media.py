"""Pictures by address become pictures inline, before translation, so translation stays a plain function."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from proxy.types import ChatRequest, ImageRequest, MediaPart, Message, Slice, iter_media
from proxy.upstream import Fetcher


@dataclass(frozen=True, slots=True)
class Picture:
    mime: str
    data: Slice


async def inline(
    fetcher: Fetcher, request: ChatRequest, fetched: dict[str, Picture], keeps: Callable[[str], bool]
) -> ChatRequest:
    """Fetch what the upstream shall not read itself. `fetched` holds earlier attempts' pictures by address.

    Raises `RequestError` (invalid_image_url) naming the part.
    """
    wanted = await _fetch(fetcher, iter_media(request), fetched, keeps)
    if not wanted:
        return request
    messages = tuple(_inlined(message, wanted, fetched) for message in request.messages)
    return replace(request, messages=messages)


async def inline_references(
    fetcher: Fetcher, request: ImageRequest, fetched: dict[str, Picture], keeps: Callable[[str], bool]
) -> ImageRequest:
    """The same for a picture request."""
    wanted = await _fetch(fetcher, request.references, fetched, keeps)
    if not wanted:
        return request
    return replace(request, references=tuple(_filled(part, wanted, fetched) for part in request.references))


async def _fetch(
    fetcher: Fetcher,
    parts: Iterable[MediaPart],
    fetched: dict[str, Picture],
    keeps: Callable[[str], bool],
) -> dict[str, MediaPart]:
    wanted = {part.url: part for part in parts if part.url and part.data is None and not keeps(part.url)}
    missing = [(url, part.where) for url, part in wanted.items() if url not in fetched]
    if missing:
        for (url, _), got in zip(missing, await fetcher.fetch_all(missing), strict=True):
            fetched[url] = Picture(got.mime, Slice.of(got.data))
    return wanted


def _inlined(message: Message, wanted: dict[str, MediaPart], fetched: dict[str, Picture]) -> Message:
    parts = tuple(
        _filled(part, wanted, fetched) if isinstance(part, MediaPart) else part for part in message.parts
    )
    return message if parts == message.parts else replace(message, parts=parts)


def _filled(part: MediaPart, wanted: dict[str, MediaPart], fetched: dict[str, Picture]) -> MediaPart:
    if part.data is not None or part.url is None or part.url not in wanted:
        return part
    picture = fetched[part.url]
    return replace(part, url=None, data=picture.data, mime=picture.mime)
