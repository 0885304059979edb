"""A file is told by its first bytes, never by its name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.pictures.media_types import EXTENSIONS, is_truncated, sniff
from proxy.types import Slice

FTYP = b"\x00\x00\x00\x1cftyp"


@pytest.mark.parametrize(
    ("head", "mime"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "image/png"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image/jpeg"),
        (b"\xff\xd8\xff\xdb", "image/jpeg"),
        (b"GIF87a\x01\x00", "image/gif"),
        (b"GIF89a\x01\x00", "image/gif"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "audio/wav"),
        (b"RIFF\x24\x00\x00\x00AVI LIST", "video/x-msvideo"),
        (b"BM\x46\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00", "image/bmp"),
        (b"II*\x00\x08\x00", "image/tiff"),
        (b"MM\x00*\x00\x00", "image/tiff"),
        (FTYP + b"heic\x00\x00\x00\x00mif1heic", "image/heic"),
        (FTYP + b"mif1\x00\x00\x00\x00mif1heic", "image/heic"),
        (FTYP + b"mif1\x00\x00\x00\x00mif1avif", "image/avif"),
        (FTYP + b"avif\x00\x00\x00\x00avifmif1", "image/avif"),
        (FTYP + b"mif1\x00\x00\x00\x00mif1miaf", "image/heif"),
        (FTYP + b"isom\x00\x00\x02\x00isomavc1", "video/mp4"),
        (FTYP + b"M4A \x00\x00\x02\x00isomiso2", "audio/mp4"),
        (FTYP + b"qt  \x00\x00\x02\x00qt  ", "video/quicktime"),
        (FTYP + b"3gp5\x00\x00\x02\x003gp5", "video/3gpp"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm", "video/webm"),
        (b"\x1a\x45\xdf\xa3\xa3\x42\x86\x81\x01\x42\x82\x88matroska", "video/x-matroska"),
        (b"%PDF-1.7\n", "application/pdf"),
        (b"OggS\x00\x02", "audio/ogg"),
        (b"fLaC\x00\x00", "audio/flac"),
        (b"ID3\x04\x00", "audio/mpeg"),
        (b"\xff\xfb\x90\x64", "audio/mpeg"),
        (b"\xff\xf1\x50\x80", "audio/aac"),
        (b"FORM\x00\x00\x00\x24AIFF", "audio/aiff"),
    ],
)
def test_a_format_is_known_by_its_magic_bytes(head: bytes, mime: str) -> None:
    assert sniff(head) == mime
    assert mime in EXTENSIONS


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'>", id="I-039 svg"),
        pytest.param(b"<?xml version='1.0'?><svg/>", id="I-039 svg with a declaration"),
        pytest.param(b"<!DOCTYPE html><html>", id="I-039 html"),
        pytest.param(b"", id="I-039 empty"),
        pytest.param(b"\x89PN", id="I-039 truncated in its magic"),
        pytest.param(b"BMW is a car", id="text that begins as bmp does"),
        pytest.param(b'{"error": 1}', id="json"),
        pytest.param(b"RIFF\x00\x00\x00\x00ABCD", id="riff of another kind"),
        pytest.param(b"FORMULA ONE RACING", id="text that begins as aiff does"),
        pytest.param(b"\xff\xff\xff\xff", id="set bits that are no mpeg frame"),
    ],
)
def test_what_has_no_known_magic_is_unknown(head: bytes) -> None:
    assert sniff(head) is None


PNG_END = b"\x00\x00\x00\x00IEND\xae\x42\x60\x82"


@pytest.mark.parametrize(
    ("mime", "data", "truncated"),
    [
        ("image/png", b"\x89PNG\r\n\x1a\n..." + PNG_END, False),
        ("image/png", b"\x89PNG\r\n\x1a\n..." + PNG_END + b"appended", False),
        ("image/png", b"\x89PNG\r\n\x1a\n..." + PNG_END[:-1], True),
        ("image/jpeg", b"\xff\xd8\xff...\xff\xd9", False),
        ("image/jpeg", b"\xff\xd8\xff...\xff\xd9 and a film", False),
        ("image/jpeg", b"\xff\xd8\xff...\xff", True),
        ("image/webp", b"RIFF\x08\x00\x00\x00WEBPVP8 ", False),
        ("image/webp", b"RIFF\x09\x00\x00\x00WEBPVP8 ", True),
        ("image/gif", b"GIF89a", False),
        ("image/heic", b"", False),
    ],
)
def test_a_picture_without_its_end_is_truncated(mime: str, data: bytes, truncated: bool) -> None:
    """I-039"""
    assert is_truncated(mime, Slice.of(data)) is truncated


@given(st.binary(max_size=80))
def test_any_bytes_are_survived(head: bytes) -> None:
    is_truncated(sniff(head) or "", Slice.of(head))
