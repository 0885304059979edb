"""Pictures by address become pictures inline, before translation, so translation stays a plain function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from proxy.types import ChatRequest, MediaPart, Message, Part, Slice, iter_media
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
    wanted = {
        part.url: part
        for part in iter_media(request)
        if part.url and part.data is None and not keeps(part.url)
    }
    if not wanted:
        return request
    missing = [(url, part.where) for url, part in wanted.items() if url not in fetched]
    for (url, _), got in zip(missing, await fetcher.fetch_all(missing), strict=True):
        fetched[url] = Picture(got.mime, Slice.of(got.data))
    messages = tuple(_inlined(message, wanted, fetched) for message in request.messages)
    return replace(request, messages=messages)


def _inlined(message: Message, wanted: dict[str, MediaPart], fetched: dict[str, Picture]) -> Message:
    parts = tuple(_filled(part, wanted, fetched) for part in message.parts)
    return message if parts == message.parts else replace(message, parts=parts)


def _filled(part: Part, wanted: dict[str, MediaPart], fetched: dict[str, Picture]) -> Part:
    if isinstance(part, MediaPart) and part.data is None and part.url in wanted:
        picture = fetched[part.url]
        return replace(part, url=None, data=picture.data, mime=picture.mime)
    return part
