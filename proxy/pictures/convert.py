"""Pictures from one file format into another, where Pillow is installed (`pip install 'dragoman[convert]'`).

Nothing is decoded before its header has said that it is of sane size. Conversions block for long,
so they run in two threads of their own.
"""

from __future__ import annotations

import asyncio
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING, Any

from proxy.codec.base64_text import encoded
from proxy.pictures.media_types import HEAD_BYTES, sniff
from proxy.types import Slice

if TYPE_CHECKING:
    from PIL import Image as Pillow

MAX_PIXELS = 64_000_000
_DEFAULT_QUALITY = 92

# Nothing else is opened: Pillow's readers of documents start other programs.
_READERS = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
    "image/bmp": "BMP",
    "image/tiff": "TIFF",
    "image/avif": "AVIF",
}
_WRITERS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
LOSSY = frozenset({"image/jpeg", "image/webp"})


@cache
def is_possible() -> bool:
    """Whether Pillow is installed; it is not imported before it is used."""
    return find_spec("PIL") is not None


def can_read(mime: str | None) -> bool:
    return mime in _READERS and is_possible()


def can_write(mime: str) -> bool:
    return mime in _WRITERS and is_possible()


async def converted(data: Slice, mime: str, quality: int | None = None) -> Slice | None:
    """The first frame of the picture as a file of type `mime`, None if that cannot be done.

    `quality` goes from 0 to 100 and is for lossy types.
    """
    if not can_write(mime):
        return None
    return await asyncio.get_running_loop().run_in_executor(_threads(), _convert, data, mime, quality)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2, thread_name_prefix="convert")


def _convert(data: Slice, mime: str, quality: int | None) -> Slice | None:
    from PIL import Image, ImageOps

    _prepare()
    reader = _READERS.get(sniff(data.head(HEAD_BYTES)) or "")
    if reader is None:
        return None
    try:
        with Image.open(BytesIO(data.decode()), formats=(reader,)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                return None
            upright = ImageOps.exif_transpose(picture)
            return encoded(_written(upright, mime, quality))
    except Exception:  # on broken files Pillow's readers raise whatever the bytes lead them to
        return None


@cache
def _prepare() -> None:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # ours is lower, and is no warning
    warnings.filterwarnings("ignore", module=r"PIL\.")  # what is odd in a client's file is not for our log


def _written(picture: Pillow.Image, mime: str, quality: int | None) -> bytes:
    options: dict[str, Any] = {}
    if profile := picture.info.get("icc_profile"):
        options["icc_profile"] = profile
    if mime in LOSSY:
        options["quality"] = _DEFAULT_QUALITY if quality is None else quality
    out = BytesIO()
    _in_mode(picture, mime).save(out, _WRITERS[mime], **options)
    return out.getvalue()


def _in_mode(picture: Pillow.Image, mime: str) -> Pillow.Image:
    """Colours that the format can hold. JPEG has no transparency: what shines through is white."""
    from PIL import Image

    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        if mime != "image/jpeg":
            return picture
        ground = Image.new("RGB", picture.size, "white")
        ground.paste(picture, mask=picture.getchannel("A"))
        return ground
    return picture if picture.mode in ("RGB", "L") else picture.convert("RGB")
