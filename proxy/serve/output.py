"""What becomes of the pictures of an Images API reply on their way out: file format, stored address."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from proxy.pictures import convert
from proxy.pictures.media_types import HEAD_BYTES, sniff
from proxy.serve.links import Links
from proxy.serve.run import Run
from proxy.types import Event, Image, ImageRequest

_FORMAT, _COMPRESSION = "output_format", "output_compression"


class Output:
    """One reply's. Tells the run which fields we see to ourselves where the vendor cannot."""

    def __init__(self, request: ImageRequest, run: Run, links: Links | None) -> None:
        self._wanted = f"image/{request.output_format}" if request.output_format is not None else None
        self._quality = request.output_compression
        self._run = run
        self._links = links
        self._missed: set[str] = set()
        self._seen = False
        if self._wanted is not None and convert.can_write(self._wanted):
            lossy = self._wanted in convert.LOSSY and self._quality is not None
            run.ours = frozenset((_FORMAT, _COMPRESSION) if lossy else (_FORMAT,))

    async def finished(self, events: Iterable[Event]) -> list[Event]:
        out = [
            await self._in_format(event) if type(event) is Image and self._wanted is not None else event
            for event in events
        ]
        if self._links is not None:
            await self._links.keep(out)
        return out

    def dropped(self) -> tuple[str, ...]:
        """What the vendor could not carry, and neither could we. It may give the wanted format unasked."""
        names = tuple(name for name in self._run.dropped if name != _FORMAT or not self._seen)
        return tuple(dict.fromkeys((*names, *sorted(self._missed))))

    async def _in_format(self, image: Image) -> Image:
        """The picture in the wanted format, or as it is when it is so already or cannot be made so."""
        wanted = self._wanted
        assert wanted is not None
        self._seen = True
        if image.data is None:
            self._missed.add(_FORMAT)
            return image
        fits = sniff(image.data.head(HEAD_BYTES)) == wanted
        compress = _COMPRESSION in self._run.left_to_us
        if fits and not compress:
            return image
        made = await convert.converted(image.data, wanted, self._quality)
        if made is None:
            self._missed.update(name for name, bad in ((_FORMAT, not fits), (_COMPRESSION, compress)) if bad)
            return image
        return replace(image, mime=wanted, data=made)
