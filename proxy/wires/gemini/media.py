"""Pictures, sounds, films and documents as Gemini parts; decides by the bytes what a thing is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from proxy.errors import RequestError
from proxy.pictures.media_types import HEAD_BYTES, sniff
from proxy.types import MediaPart, Slice

if TYPE_CHECKING:
    from proxy.wires.gemini.bodies import FileData, Part

# What clients and file systems call a type -> what Google calls it. `audio/mpeg` is accepted too; the
# documentation writes `audio/mp3`.
_ALIASES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "audio/mpeg": "audio/mp3",
    "audio/mpeg3": "audio/mp3",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/x-aiff": "audio/aiff",
    "audio/x-flac": "audio/flac",
    "audio/opus": "audio/ogg",
    "audio/x-m4a": "audio/mp4",
    "audio/m4a": "audio/mp4",
    "video/quicktime": "video/mov",
    "video/x-msvideo": "video/avi",
    "video/x-ms-wmv": "video/wmv",
    "video/flv": "video/x-flv",
    "application/x-pdf": "application/pdf",
    "application/json": "text/plain",
    "application/x-javascript": "text/javascript",
}

_PLAIN = "text/plain"

# What is text, though it is registered elsewhere; Google reads text/* only.
_READ_AS_TEXT = {
    "application/xml": "text/xml",
    "application/rtf": "text/rtf",
    "application/javascript": "text/javascript",
    "application/ecmascript": "text/javascript",
    **dict.fromkeys(
        (
            "application/csv",
            "application/graphql",
            "application/jsonl",
            "application/json5",
            "application/markdown",
            "application/ndjson",
            "application/sql",
            "application/toml",
            "application/typescript",
            "application/x-httpd-php",
            "application/x-latex",
            "application/x-ndjson",
            "application/x-jsonlines",
            "application/x-perl",
            "application/x-python",
            "application/x-python-code",
            "application/x-ruby",
            "application/x-sh",
            "application/x-shellscript",
            "application/x-sql",
            "application/x-subrip",
            "application/x-tex",
            "application/x-toml",
            "application/x-typescript",
            "application/x-yaml",
            "application/yaml",
            "message/rfc822",
        ),
        _PLAIN,
    ),
}
_TEXT_SUFFIXES = ("+json", "+yaml", "+xml")

IMAGES = frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"})
_ACCEPTED_MAJOR = ("audio/", "video/", "text/")

_UNMARKED = ("text/", "audio/pcm", "audio/l16")  # these begin with anything

# Containers that the bytes do not tell apart: there the declared type stays.
_SAME_CONTAINER: dict[str, frozenset[str]] = {
    "video/mp4": frozenset({"audio/mp4", "video/mov", "video/3gpp"}),
    "video/webm": frozenset({"audio/webm", "video/x-matroska"}),
    "video/x-matroska": frozenset({"audio/webm", "video/webm"}),
    "audio/ogg": frozenset({"video/ogg"}),
    "image/heif": frozenset({"image/heic"}),
}

_EXTENSIONS = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "json": "text/plain",
    "xml": "text/xml",
    "wav": "audio/wav",
    "mp3": "audio/mp3",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "aac": "audio/aac",
    "aiff": "audio/aiff",
    "m4a": "audio/mp4",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "mpg": "video/mpg",
    "mov": "video/mov",
    "avi": "video/avi",
    "flv": "video/x-flv",
    "webm": "video/webm",
    "wmv": "video/wmv",
    "3gp": "video/3gpp",
}
_YOUTUBE_MIME = "video/mp4"

# Items of the Files API answer 403 to anybody but the model.
_FILES_API = re.compile(r"https://[^/?#]+/v1(?:alpha|beta\d*)?/files/[\w-]+\Z")
_YOUTUBE = re.compile(r"https?://(?:(?:www\.|m\.)?youtube\.com/(?:watch\?|shorts/|live/)|youtu\.be/)")
_FILE_ID = re.compile(r"files/[\w-]+\Z")
_FILES_URI = "https://generativelanguage.googleapis.com/v1beta/"

# `detail` -> level; the global setting has no ULTRA_HIGH, and takes the highest of a request.
_LEVELS = {
    "low": "MEDIA_RESOLUTION_LOW",
    "medium": "MEDIA_RESOLUTION_MEDIUM",
    "high": "MEDIA_RESOLUTION_HIGH",
    "original": "MEDIA_RESOLUTION_ULTRA_HIGH",
    "ultra_high": "MEDIA_RESOLUTION_ULTRA_HIGH",
}
_GLOBAL_RANK = ("MEDIA_RESOLUTION_LOW", "MEDIA_RESOLUTION_MEDIUM", "MEDIA_RESOLUTION_HIGH")

_VIDEO_FIELDS = {"fps": "fps", "start_offset": "startOffset", "end_offset": "endOffset"}


def keeps_url(url: str, *, passthrough: bool) -> bool:
    """True for an address that the model reads itself."""
    if url.startswith("gs://") or _FILES_API.match(url) or _YOUTUBE.match(url):
        return True
    return passthrough and url.startswith(("http://", "https://"))


def part(media: MediaPart) -> Part:
    """One media part as a Gemini part, without its resolution. Raises `RequestError` naming the place."""
    if media.data is not None:
        mime = mime_type(media, media.data)
        _check(mime, media)
        built: Part = {"inlineData": {"mimeType": mime, "data": media.data}}
    else:
        built = {"fileData": _file_data(media)}
    if media.video:
        built["videoMetadata"] = _video_metadata(media)
    return built


def level(detail: str | None) -> str | None:
    """The resolution of one part, None to leave it to the model."""
    return _LEVELS.get(detail) if detail else None


def highest(levels: list[str]) -> str | None:
    """The one resolution for a whole request, of the levels its parts asked for."""
    ranks = [min(len(_GLOBAL_RANK) - 1, list(_LEVELS.values()).index(level)) for level in levels]
    return _GLOBAL_RANK[max(ranks)] if ranks else None


def mime_type(media: MediaPart, data: Slice) -> str:
    """What the thing is: the bytes win over the declared type (a PNG declared as JPEG is a 400 at Google)."""
    if not len(data):
        raise RequestError("The data is empty.", param=media.where or None, code="empty_data")
    declared = _clean(media.mime) or _EXTENSIONS.get((media.filename or "").rpartition(".")[2].lower())
    if declared and declared.startswith(_UNMARKED):
        return declared
    found = _clean(sniff(data.head(HEAD_BYTES)))
    if found is not None and declared not in _SAME_CONTAINER.get(found, ()):
        return found
    if declared is None:
        raise RequestError(
            "The type of the data is not known. Name it in the data URL.",
            param=media.where or None,
            code="invalid_media",
        )
    return declared


def _clean(mime: str | None) -> str | None:
    if not mime:
        return None
    plain = mime.partition(";")[0].strip().lower()
    known = _ALIASES.get(plain, plain)
    if known.startswith("application/") and known.endswith(_TEXT_SUFFIXES):
        return _PLAIN
    return _READ_AS_TEXT.get(known, known) or None


def _check(mime: str, media: MediaPart) -> None:
    if mime in IMAGES or mime == "application/pdf" or mime.startswith(_ACCEPTED_MAJOR):
        return
    raise RequestError(
        f"The model does not read {mime}. It reads png, jpeg, webp, heic and heif pictures, pdf and text"
        " documents, sound and film.",
        param=media.where or None,
        code="unsupported_media_type",
    )


def _file_data(media: MediaPart) -> FileData:
    address = media.url or media.file_id or ""
    if _FILE_ID.match(address):
        address = _FILES_URI + address
    if not address.startswith(("gs://", "https://", "http://")):
        raise RequestError(
            "A file needs its data, or the id or address of a file that the model can read.",
            param=media.where or None,
            code="invalid_file",
        )
    mime = _clean(media.mime)
    if mime is None and _YOUTUBE.match(address):
        mime = _YOUTUBE_MIME
    if mime is None and not _FILES_API.match(address):
        mime = _mime_of_address(address)
    return {"fileUri": address, **({"mimeType": mime} if mime else {})}


def _mime_of_address(address: str) -> str | None:
    path = address.partition("?")[0].partition("#")[0]
    return _EXTENSIONS.get(path.rpartition("/")[2].rpartition(".")[2].lower())


def _video_metadata(media: MediaPart) -> Mapping[str, Any]:
    metadata = {
        name: media.video[field]
        for field, name in _VIDEO_FIELDS.items()
        if media.video.get(field) is not None
    }
    fps = metadata.get("fps")
    if fps is not None and not 0 < fps <= 24:
        raise RequestError("fps is above 0 and at most 24.", param=media.where or None, code="invalid_value")
    for name in ("startOffset", "endOffset"):
        if isinstance(metadata.get(name), int | float):
            metadata[name] = f"{metadata[name]}s"
    return metadata
