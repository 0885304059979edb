"""Pictures in a conversation that comes back: found in an assistant's text, and forgotten when old."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from proxy.errors import RequestError
from proxy.fronts import addresses
from proxy.fronts.notes import Notes
from proxy.types import MediaPart, Message, Part, Slice, TextPart

IsStored = Callable[[str], bool]
Shown = TextPart | MediaPart

_ADDRESS = re.compile(r"\.(?:image_url|url|source|file_id|base64|data)\b.*\Z")  # of a part, behind its place


def picture(address: str | Slice, where: str) -> MediaPart | None:
    """The picture, or None where the text only looks like one, as in an explanation of data URLs."""
    try:
        return addresses.media("image", address, where)
    except RequestError:
        return None


def cut_markdown(parts: list[Shown], where: str, is_stored: IsStored | None) -> list[Shown]:
    """Turn markdown pictures inside text back into parts, so that no base64 reaches a model as text."""
    found: list[Shown] = []
    for part in parts:
        if isinstance(part, TextPart) and "](" in part.text and "![" in part.text:
            pieces = list(_split(part, where, is_stored))
            pieces[-1] = replace(pieces[-1], marks=part.marks)
            found += pieces
        else:
            found.append(part)
    return found


def _split(part: TextPart, where: str, is_stored: IsStored | None) -> Iterator[Shown]:
    text, begin, search = part.text, 0, 0
    while (start := text.find("![", search)) >= 0:
        middle = text.find("](", start)
        end = text.find(")", middle) if middle >= 0 else -1
        if end < 0:
            break
        search = end + 1
        # The alternative text holds no brackets: another picture may begin before the one we found.
        start = text.rfind("![", start, middle)
        address = text[middle + 2 : end]
        if not address.startswith("data:image/") and not (is_stored is not None and is_stored(address)):
            continue
        found = picture(address, where)
        if found is None:
            continue
        if before := text[begin:start].strip("\n"):  # the blank lines came with the pictures
            yield TextPart(before)
        yield found
        begin = search
    rest = text[begin:].lstrip("\n") if begin else text
    if rest or not begin or part.signature:
        yield TextPart(rest, part.signature, part.refusal)


def forget_images(messages: list[Message], kept: int, notes: Notes) -> None:
    """Keep the last `kept` pictures that the assistant made: each costs megabytes and tokens, every turn."""
    for position in range(len(messages) - 1, -1, -1):
        message = messages[position]
        if message.role != "assistant":
            continue
        pictures = 0
        for part in message.parts:
            if isinstance(part, MediaPart) and part.kind == "image":
                pictures += 1
        if pictures > kept:
            messages[position] = replace(
                message, parts=_without_images(message.parts, pictures - kept, notes)
            )
        kept = max(0, kept - pictures)


def _without_images(parts: tuple[Part, ...], surplus: int, notes: Notes) -> tuple[Part, ...]:
    """All but the first `surplus` pictures, which are named by their entry in the content or in `images`."""
    left: list[Part] = []
    for part in parts:
        if surplus and isinstance(part, MediaPart) and part.kind == "image":
            surplus -= 1
            notes.add(_ADDRESS.sub("", part.where))
        else:
            left.append(part)
    return tuple(left)


def is_image(part: Part) -> bool:
    return isinstance(part, MediaPart) and part.kind == "image"
