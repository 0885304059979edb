"""What a file is, told by its first bytes. Pure, shared by all floors; never trusts a name or a header.

Signatures: the formats' own specifications, as collected in the WHATWG MIME Sniffing Standard section 6 and,
for ISO base media files, the registry of brands at mp4ra.org.
"""

from __future__ import annotations

from collections.abc import Iterator

import pybase64

from proxy.types import Slice

HEAD_BYTES = 64  # what `sniff` wants to see

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"ID3", "audio/mpeg"),
    (b"\x00\x00\x01\xba", "video/mpeg"),
    (b"\x00\x00\x01\xb3", "video/mpeg"),
    (b"FLV\x01", "video/x-flv"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/x-ms-wmv"),
)

_CONTAINED = {
    b"RIFF": {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"},
    b"FORM": {b"AIFF": "audio/aiff", b"AIFC": "audio/aiff"},
}

# What every whole file of the format holds last: the chunk IEND with its checksum, the marker EOI.
_WINDOW = 1 << 18  # characters of base64 looked at together, and how far the next look reaches over them
_OVERLAP = 64
_ENDS = {"image/png": b"IEND\xae\x42\x60\x82", "image/jpeg": b"\xff\xd9"}

# A HEIF file may name its codec only among the compatible brands, so all of them are asked, in this order.
_BRANDS: tuple[tuple[frozenset[bytes], str], ...] = (
    (frozenset({b"avif", b"avis"}), "image/avif"),
    (frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}), "image/heic"),
    (frozenset({b"mif1", b"msf1"}), "image/heif"),
    (frozenset({b"M4A ", b"M4B "}), "audio/mp4"),
    (frozenset({b"qt  "}), "video/quicktime"),
    (frozenset({b"3gp4", b"3gp5", b"3gp6", b"3gp7", b"3gs7", b"3ge6"}), "video/3gpp"),
)

EXTENSIONS: dict[str, str] = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/bmp": "bmp",
    "image/tiff": "tiff",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/avif": "avif",
    "application/pdf": "pdf",
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/flac": "flac",
    "audio/aac": "aac",
    "audio/aiff": "aiff",
    "audio/mp4": "m4a",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/x-matroska": "mkv",
    "video/mpeg": "mpg",
    "video/x-msvideo": "avi",
    "video/x-flv": "flv",
    "video/x-ms-wmv": "wmv",
    "video/3gpp": "3gp",
}


_OF_EXTENSION = {extension: mime for mime, extension in EXTENSIONS.items()} | {"jpeg": "image/jpeg"}


def of_address(url: str) -> str | None:
    """The media type that the last piece of an address's path ends in, None if it tells none."""
    name = url.partition("#")[0].partition("?")[0].rpartition("/")[2]
    return _OF_EXTENSION.get(name.rpartition(".")[2].lower()) if "." in name else None


def sniff(head: bytes) -> str | None:
    """Name the media type of a file that begins with `head` (64 bytes are enough), None if unknown.

    Markup (SVG, HTML) and plain text are unknown on purpose: they have no magic bytes and can hold script.
    """
    for magic, mime in _MAGIC:
        if head.startswith(magic):
            return mime
    if (forms := _CONTAINED.get(head[:4])) is not None:
        return forms.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "video/x-matroska" if b"matroska" in head else "video/webm"
    if _is_bmp(head):
        return "image/bmp"
    return _mpeg_audio(head)


def is_truncated(mime: str, data: Slice) -> bool:
    """True if a picture certainly lacks its end. Bytes that follow a whole picture are common, no fault."""
    if mime == "image/webp":
        size = len(data.raw) // 4 * 3 - bytes(data.raw[-2:]).count(b"=")
        return int.from_bytes(data.head(8)[4:], "little") + 8 > size
    end = _ENDS.get(mime)
    return end is not None and not any(end in window for window in _windows(data))


def _windows(data: Slice) -> Iterator[bytes]:
    """The decoded bytes from the end on, where the end of a picture is; they overlap."""
    for end in range(len(data.raw), 0, -_WINDOW):
        yield pybase64.b64decode(data.raw[max(0, end - _WINDOW - _OVERLAP) : end])


def _iso_media(head: bytes) -> str:
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}
    for known, mime in _BRANDS:
        if brands & known:
            return mime
    return "video/mp4"


def _is_bmp(head: bytes) -> bool:
    """`BM` alone also begins ordinary text; the size of the header that follows is one of few."""
    return head.startswith(b"BM") and head[14:18] in {
        size.to_bytes(4, "little") for size in (12, 16, 40, 52, 56, 64, 108, 124)
    }


def _mpeg_audio(head: bytes) -> str | None:
    """A bare MPEG audio frame: eleven set bits, then a version, layer, bitrate and rate that exist."""
    if len(head) < 3 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    if head[1] & 0xF6 == 0xF0:
        return "audio/aac"  # ADTS: layer is 0
    version, layer, bitrate, rate = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 4, head[2] >> 2 & 3
    return "audio/mpeg" if version != 1 and layer != 0 and bitrate not in (0, 15) and rate != 3 else None
