"""Raw samples as a file: what can be made here, with and without the encoder of the extra `audio`."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from proxy.sounds import formats

_KBIT_S = 64  # speech in mono
_QUALITY = 5  # of 0, the best and slowest, to 9


@cache
def makeable() -> tuple[str, ...]:
    """The formats that raw samples can be had in."""
    return ("wav", "pcm", "mp3") if find_spec("lameenc") is not None else ("wav", "pcm")


class Mp3:
    """Samples in, pieces of one file out; `close` gives the last. Takes time: not for the loop.

    The samples may be cut anywhere: the encoder takes whole ones, of two bytes, only.
    """

    def __init__(self, mime: str) -> None:
        encoder: Any = import_module("lameenc").Encoder()
        encoder.set_bit_rate(_KBIT_S)
        encoder.set_in_sample_rate(formats.rate_of(mime))
        encoder.set_channels(1)
        encoder.set_quality(_QUALITY)
        encoder.silence()
        self._encoder = encoder
        self._half = b""

    def feed(self, samples: bytes) -> bytes:
        samples = self._half + samples
        whole = len(samples) & ~1
        self._half = samples[whole:]
        return bytes(self._encoder.encode(samples[:whole]))

    def close(self) -> bytes:
        return bytes(self._encoder.flush())
