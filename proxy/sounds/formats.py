"""The formats in which speech is sold, and the types by which they are known."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from proxy.types import Slice

# Format -> its type as it is sent, and other names of it (E-012).
TYPES: Final[Mapping[str, str]] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
_NAMES: Final[Mapping[str, str]] = {
    **{mime: name for name, mime in TYPES.items()},
    "audio/mp3": "mp3",
    "audio/opus": "opus",
    "audio/x-aac": "aac",
    "audio/aacp": "aac",
    "audio/x-flac": "flac",
    "audio/wave": "wav",
    "audio/x-wav": "wav",
    "audio/vnd.wave": "wav",
    "audio/l16": "pcm",
}
_USUAL_RATE = 24_000
_WAVE_HEAD = 44
_MP3_BYTES_PER_S = 8_000
_UNKNOWN_SIZE = 0xFFFFFFFF


def of_type(mime: str) -> str | None:
    """The format, None for a type that is not known."""
    return _NAMES.get(mime.partition(";")[0].strip().lower())


def rate_of(mime: str) -> int:
    """Samples a second: Gemini names them in the type, as in `audio/L16;codec=pcm;rate=24000`."""
    for parameter in mime.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name.lower() == "rate" and value.isdecimal() and 0 < int(value) < 1_000_000:
            return int(value)
    return _USUAL_RATE


def seconds_of(recording: Slice) -> float:
    """About how long it is: a WAV says how many bytes a second it has, all others are taken for the usual
    MP3 of speech."""
    size, head, rate = len(recording.raw) * 3 // 4, recording.head(32), _MP3_BYTES_PER_S
    if head[:4] == b"RIFF" and head[8:16] == b"WAVEfmt " and len(head) == 32:
        size, rate = size - _WAVE_HEAD, int.from_bytes(head[28:32], "little") or rate
    return max(size, 0) / rate


def wave_header(mime: str, size: int | None) -> bytes:
    """44 bytes before `size` bytes of 16-bit mono samples; None: as many as will come."""
    rate = rate_of(mime)
    whole, data = (_UNKNOWN_SIZE, _UNKNOWN_SIZE) if size is None else (36 + size, size)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", whole, b"WAVE") + form + struct.pack("<4sI", b"data", data)
