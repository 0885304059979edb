"""How large a picture is, read from its header without decoding it."""

from __future__ import annotations

from proxy.pictures import media_types
from proxy.types import Slice

# A JPEG names its size behind its metadata; colour profiles and previews make that tens of kilobytes.
_HEADS = (64, 4_096, 262_144)

# Start-of-frame markers are C0 to CF, but for three that mean something else (ITU T.81, table B.1).
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def of(data: Slice) -> tuple[int, int] | None:
    """Width and height, None when the header does not tell."""
    for size in _HEADS:
        head = data.head(size)
        mime = media_types.sniff(head)
        read = _READERS.get(mime or "")
        found = read(head) if read is not None else None
        if found is not None or mime != "image/jpeg" or len(head) < size:
            return found
    return None


def _png(head: bytes) -> tuple[int, int] | None:
    return _pair(head, 16, 4, "big")


def _gif(head: bytes) -> tuple[int, int] | None:
    return _pair(head, 6, 2, "little")


def _webp(head: bytes) -> tuple[int, int] | None:
    """Lossy, lossless and extended files each say it in their own way (RFC 9649)."""
    sort = head[12:16]
    if sort == b"VP8 " and len(head) >= 30:
        width, height = _pair(head, 26, 2, "little") or (0, 0)
        return width & 0x3FFF, height & 0x3FFF
    if sort == b"VP8L" and len(head) >= 25:
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if sort == b"VP8X" and len(head) >= 30:
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    return None


def _jpeg(head: bytes) -> tuple[int, int] | None:
    position = 2
    while position + 9 <= len(head):
        if head[position] != 0xFF:
            return None
        marker = head[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in _FRAMES:
            height, width = _pair(head, position + 5, 2, "big") or (0, 0)
            return width, height
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:
            position += 2
        else:
            position += 2 + max(2, int.from_bytes(head[position + 2 : position + 4], "big"))
    return None


def _pair(head: bytes, at: int, width: int, order: str) -> tuple[int, int] | None:
    if len(head) < at + 2 * width:
        return None
    big = order == "big"
    first, second = head[at : at + width], head[at + width : at + 2 * width]
    return (
        int.from_bytes(first, "big" if big else "little"),
        int.from_bytes(second, "big" if big else "little"),
    )


_READERS = {"image/png": _png, "image/gif": _gif, "image/webp": _webp, "image/jpeg": _jpeg}
