"""Pictures in vendor replies, whatever they are wrapped in: address, data URL, base64 or an object of one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from proxy.codec import base64_text
from proxy.pictures import media_types
from proxy.types import Image, PartialImage, Slice

# Where an object holds its picture, in the order of trust; Gemini's inlineData and OpenAI's image_url nest.
_KEYS = (
    "url", "b64_json", "image_url", "image", "inlineData", "inline_data", "data", "base64", "b64",
    "image_base64", "b64_image", "bytesBase64Encoded",
)  # fmt: skip
# What the vendor made of the prompt: OpenAI's word, Alibaba's.
_REVISED_KEYS = ("revised_prompt", "actual_prompt")
_MIME_KEYS = ("mimeType", "mime_type", "content_type")
_DEEPEST = 4
_LONGEST_PLACE = 512  # of an address without its host
# An address that begins neither with a scheme nor with `/` or `./`: a dot is no letter of base64.
_BARE_PLACE = re.compile(rb"[^:?#]+/[^:?#/]+\.(?:png|jpe?g|webp|gif|avif|heic|bmp|tiff?)(?:[?#].*)?", re.I)


def coerce_all(values: Iterable[Any]) -> list[Image]:
    """The pictures among findings of a path; lists are flattened, what is no picture is left out."""
    return [image for value in values for image in _flat(value, _DEEPEST)]


def partials(values: Iterable[Any], begin: int) -> tuple[PartialImage, ...]:
    """The unfinished pictures among them, counted from `begin`. One by address is none: it would be gone."""
    found = (image for image in coerce_all(values) if image.data is not None)
    return tuple(
        PartialImage(image.mime, image.data, index)
        for index, image in enumerate(found, begin)
        if image.data is not None
    )


def _flat(value: Any, depth: int) -> Iterator[Image]:
    if isinstance(value, list) and depth:
        for item in value:
            yield from _flat(item, depth - 1)
    elif (image := coerce(value)) is not None:
        yield image
    elif isinstance(value, Mapping):  # a list of addresses where others have one
        lists = (inner for key in _KEYS if isinstance(inner := value.get(key), list))
        yield from next((found for inner in lists if (found := list(_flat(inner, depth)))), [])


def coerce(value: Any, declared: str | None = None, depth: int = _DEEPEST) -> Image | None:
    """One picture, None if it is none. Data tells its type by its bytes; an address may not (""), and may be
    one that starts at the vendor's."""
    if isinstance(value, Mapping):
        declared = next((str(value[key]) for key in _MIME_KEYS if value.get(key)), declared)
        candidates = (value.get(key) for key in _KEYS) if depth else ()
        found = (coerce(one, declared, depth - 1) for one in candidates if one)
        image = next((image for image in found if image is not None), None)
        said = next((text for key in _REVISED_KEYS if isinstance(text := value.get(key), str) and text), None)
        return replace(image, revised_prompt=said) if image is not None and said is not None else image
    if isinstance(value, Slice):
        raw = base64_text.raw(value)
    elif isinstance(value, str):
        raw = memoryview(value.strip().encode("utf-8", "replace"))
    else:
        return None
    head = bytes(raw[:_LONGEST_PLACE])
    if head[:8].lower().startswith((b"http://", b"https://")):
        return Image(_image_type(declared), url=bytes(raw).decode())
    if head[:5].lower() == b"data:":
        comma = head.find(b",")
        parameters = head[5:comma].decode("latin-1").lower().split(";")
        if comma < 0 or "base64" not in parameters:
            return None
        return _of_base64(raw[comma + 1 :], parameters[0])
    return _of_base64(raw, declared, sure=False) or _of_place(head, len(raw), declared)


def _of_place(text: bytes, size: int, declared: str | None) -> Image | None:
    """A picture by an address at the vendor's host, `/x`, or below its base address, `./x` or `a/x.png`."""
    whole = size == len(text) and text.isascii() and text.decode("ascii").isprintable() and b" " not in text
    if not whole or not (text.startswith((b"/", b"./")) or _BARE_PLACE.fullmatch(text)):
        return None
    return Image(_image_type(declared), url=text.decode("ascii"))


def _of_base64(raw: memoryview, declared: str | None, *, sure: bool = True) -> Image | None:
    """`sure` False: only the bytes can say that this is a picture and not some word."""
    data = base64_text.standard(raw)
    if data is None:
        return None
    mime = media_types.sniff(data.head(media_types.HEAD_BYTES)) or ("" if not sure else _image_type(declared))
    return Image(mime, data=data) if mime.startswith("image/") else None


def _image_type(declared: str | None) -> str:
    return declared if declared and declared.startswith("image/") else ""
