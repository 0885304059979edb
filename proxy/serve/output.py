"""File formats: what the vendor cannot give of what a client wants its pictures to be, we make ourselves."""

from __future__ import annotations

from dataclasses import replace

from proxy.pictures import convert
from proxy.pictures.media_types import HEAD_BYTES, sniff
from proxy.serve.told import Told
from proxy.types import Event, Image, ImageRequest

_FORMAT, _COMPRESSION = "output_format", "output_compression"


def ours(request: ImageRequest) -> frozenset[str]:
    """The attributes that we see to ourselves where the upstream cannot."""
    wanted = _wanted(request)
    if wanted is None or not convert.can_write(wanted):
        return frozenset()
    lossy = wanted in convert.LOSSY and request.output_compression is not None
    return frozenset((_FORMAT, _COMPRESSION) if lossy else (_FORMAT,))


async def finished(batch: list[Event], request: ImageRequest, told: Told) -> list[Event]:
    """The batch with its pictures in the wanted format. What could not be done is named in `told`."""
    wanted = _wanted(request)
    if wanted is None:
        return batch
    return [
        await _in_format(event, wanted, request.output_compression, told) if type(event) is Image else event
        for event in batch
    ]


async def _in_format(image: Image, wanted: str, quality: int | None, told: Told) -> Image:
    """The picture in the wanted format, or as it is when it is so already or cannot be made so."""
    if image.data is None:
        _missed(told, _FORMAT)
        return image
    fits = sniff(image.data.head(HEAD_BYTES)) == wanted
    compress = _COMPRESSION in told.left_to_us
    if fits and not compress:
        told.dropped = tuple(name for name in told.dropped if name != _FORMAT)  # the vendor gave it unasked
        return image
    made = await convert.converted(image.data, wanted, quality)
    if made is None:
        _missed(told, *(name for name, bad in ((_FORMAT, not fits), (_COMPRESSION, compress)) if bad))
        return image
    return replace(image, mime=wanted, data=made)


def _missed(told: Told, *names: str) -> None:
    told.dropped = tuple(dict.fromkeys((*told.dropped, *names)))


def _wanted(request: ImageRequest) -> str | None:
    return f"image/{request.output_format}" if request.output_format is not None else None
