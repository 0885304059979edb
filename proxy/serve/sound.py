"""Speech in the format that was asked for, where the target gives raw samples."""

from __future__ import annotations

import asyncio

from proxy.sounds import encoding, formats
from proxy.types import Audio, Event, Slice


class Sound:
    """One reply's. `format` None: there is no speech in it."""

    __slots__ = ("_encoder", "_format")

    def __init__(self, format: str | None) -> None:
        self._format = format
        self._encoder: encoding.Mp3 | None = None

    async def wanted(self, batch: list[Event], *, last: bool = False) -> list[Event]:
        """The batch with its sounds encoded; of the `last` one with the end of the file too."""
        if self._format != "mp3" or not (any(map(_is_raw, batch)) or (last and self._encoder is not None)):
            return batch
        return await asyncio.to_thread(self._encoded, batch, last=last)

    def _encoded(self, batch: list[Event], *, last: bool) -> list[Event]:
        done: list[Event] = []
        rest: list[Event] = []
        for event in batch:
            if not _is_raw(event):
                rest.append(event)
                continue
            assert isinstance(event, Audio)
            if self._encoder is None:
                self._encoder = encoding.Mp3(event.mime)
            done.append(_mp3(self._encoder.feed(event.data.decode())))
        if last and self._encoder is not None:
            done.append(_mp3(self._encoder.close()))
        return done + rest


def _is_raw(event: Event) -> bool:
    return isinstance(event, Audio) and formats.of_type(event.mime) == "pcm"


def _mp3(data: bytes) -> Audio:
    return Audio(formats.TYPES["mp3"], Slice.of(data))
