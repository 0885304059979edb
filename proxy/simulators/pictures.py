"""Real pictures of any pixel size, and the size of a received one. Standard library only.

A picture of 4096x4096 pixels takes about 20 ms the first time and nothing afterwards.
"""

from __future__ import annotations

import random
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BANDS = 16


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _palette(seed: str) -> bytes:
    red, green, blue = zlib.crc32(seed.encode()).to_bytes(4, "big")[:3]
    return b"".join(
        bytes(part * (band + 4) // (_BANDS + 4) for part in (red, green, blue)) for band in range(_BANDS)
    )


@lru_cache(maxsize=32)
def png(width: int, height: int, seed: str = "", size_bytes: int = 0) -> bytes:
    """A PNG of sixteen bands whose colour follows from `seed`.

    With `size_bytes` an ancillary chunk of noise, which every reader skips, makes the file that long.
    """
    if width < 1 or height < 1:
        raise ValueError(f"a picture of {width}x{height} pixels cannot exist")
    packer = zlib.compressobj(1)
    rows = []
    row_bytes = (width + 1) // 2
    for y in range(height):
        band = y * _BANDS // height
        rows.append(packer.compress(b"\0" + bytes((band * 17,)) * row_bytes))
    rows.append(packer.flush())
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 4, 3, 0, 0, 0))
    body = [PNG_SIGNATURE, head, _chunk(b"PLTE", _palette(seed)), _chunk(b"IDAT", b"".join(rows))]
    end = _chunk(b"IEND", b"")
    missing = size_bytes - sum(map(len, body)) - len(end) - 12
    if missing > 0:
        body.insert(3, _chunk(b"nzZz", random.Random(seed).randbytes(missing)))
    return b"".join((*body, end))


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


@lru_cache(maxsize=32)
def jpeg(width: int, height: int, seed: str = "") -> bytes:
    """A grey baseline JPEG; its brightness follows from `seed`.

    The Huffman tables hold one DC size and the end of block each, so a block is two bits after the first.
    """
    level = zlib.crc32(seed.encode()) % 63 + 1
    blocks = ((width + 7) // 8) * ((height + 7) // 8)
    # First block: DC size 6 (code 10), six bits, end of block (0). The others: DC size 0 (0), end (0).
    bits = f"10{level | 32:06b}0" + "00" * (blocks - 1)
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"),
            _segment(0xDB, b"\0" + b"\x08" * 64),
            _segment(0xC0, struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0)),
            _segment(0xC4, b"\0" + bytes((1, 1, *[0] * 14)) + b"\0\6"),
            _segment(0xC4, b"\x10" + bytes((1, *[0] * 15)) + b"\0"),
            _segment(0xDA, b"\1\1\0\0\x3f\0"),
            scan,
            b"\xff\xd9",
        )
    )


def webp(width: int, height: int, seed: str = "") -> bytes:
    """A lossless WebP of one colour that follows from `seed`.

    Each of its five prefix codes has a single symbol, so a pixel takes no bits at all.
    """
    if not (0 < width <= 16384 and 0 < height <= 16384):
        raise ValueError(f"a WebP of {width}x{height} pixels cannot exist")
    bits, length = 0, 0

    def put(value: int, count: int) -> None:
        nonlocal bits, length
        bits |= value << length
        length += count

    put(width - 1, 14)
    put(height - 1, 14)
    put(0, 1 + 3 + 1 + 1 + 1)  # no alpha, version 0, no transform, no colour cache, no meta prefix codes
    red, green, blue = zlib.crc32(seed.encode()).to_bytes(4, "big")[:3]
    for symbol in (green, red, blue, 255):
        put(0b101, 3)  # a simple code, of one symbol, of eight bits
        put(symbol, 8)
    put(0b0001, 4)  # distances: a simple code, of one symbol, of one bit: 0
    data = b"\x2f" + bits.to_bytes((length + 7) // 8, "little")
    data += b"\0" * (len(data) % 2)
    chunk = b"VP8L" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


def wav(milliseconds: int = 250, rate: int = 24000) -> bytes:
    """A short tone with its header."""
    sound = pcm(milliseconds, rate)
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        36 + len(sound),
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        rate,
        rate * 2,
        2,
        16,
        b"data",
        len(sound),
    )
    return head + sound


def pcm(milliseconds: int = 250, rate: int = 24000) -> bytes:
    """Raw 16-bit little-endian mono samples of a square tone of 200 Hz."""
    half = rate // 400
    wave = struct.pack("<h", 8000) * half + struct.pack("<h", -8000) * half
    wanted = rate * milliseconds // 1000 * 2
    return (wave * (wanted // len(wave) + 1))[:wanted]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the first bytes say. `mime` is "" and the size 0 where they say nothing."""

    mime: str = ""
    width: int = 0
    height: int = 0


def look(data: bytes) -> Seen:
    """Read mime type and pixel size out of the bytes themselves."""
    if data.startswith(PNG_SIGNATURE):
        return Seen("image/png", *(struct.unpack(">II", data[16:24]) if len(data) >= 24 else (0, 0)))
    if data.startswith(b"\xff\xd8\xff"):
        return Seen("image/jpeg", *_jpeg_size(data))
    if data.startswith((b"GIF87a", b"GIF89a")):
        return Seen("image/gif", *(struct.unpack("<HH", data[6:10]) if len(data) >= 10 else (0, 0)))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Seen("image/webp", *_webp_size(data))
    for mime, offset, magic in _MAGIC:
        if data.startswith(magic, offset):
            return Seen(mime)
    return Seen()


_MAGIC = (
    ("audio/wav", 8, b"WAVE"),
    ("application/pdf", 0, b"%PDF-"),
    ("image/heic", 4, b"ftypheic"),
    ("image/heif", 4, b"ftypmif1"),
    ("image/avif", 4, b"ftypavif"),
    ("video/mp4", 4, b"ftyp"),
    ("audio/ogg", 0, b"OggS"),
    ("audio/flac", 0, b"fLaC"),
    ("audio/mp3", 0, b"ID3"),
    ("image/tiff", 0, b"II*\0"),
    ("image/tiff", 0, b"MM\0*"),
    ("image/bmp", 0, b"BM"),
)


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + length
    return 0, 0


def _webp_size(data: bytes) -> tuple[int, int]:
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:
        return 0, 0
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        packed = int.from_bytes(body[1:5], "little")
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
