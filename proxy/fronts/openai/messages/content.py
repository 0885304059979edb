"""Content parts of a message: OpenAI's own, the Responses API's that leak into chat, extensions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from proxy.errors import RequestError
from proxy.fronts import checks
from proxy.fronts.addresses import inline, media
from proxy.fronts.notes import MARKS, Notes
from proxy.fronts.openai.messages import signed
from proxy.types import Json, MediaPart, Slice, TextPart

Content = TextPart | MediaPart
_Part = TypeVar("_Part", TextPart, MediaPart, Content)

_DETAILS = ("auto", "low", "medium", "high", "original", "ultra_high")

# Around a part with a member that LangChain's standard content does not have, as our signatures are.
_WRAPPED = "non_standard"

# OpenAI documents wav and mp3; the others are what Gemini reads besides.
_AUDIO_MIMES: dict[str, str] = {
    "wav": "audio/wav",
    "mp3": "audio/mp3",
    "mpeg": "audio/mp3",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "aiff": "audio/aiff",
    "pcm16": "audio/pcm",
    "webm": "audio/webm",
    "m4a": "audio/mp4",
}

# What a file's name says when nothing else does.
_FILE_MIMES: dict[str, str] = {
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
    "xml": "text/xml",
}


def part(value: Any, path: str, notes: Notes, documented: tuple[str, ...] | None = None) -> Content:
    """Read one element of a `content` array. `documented`: the sorts that an error names, if not a chat's."""
    if isinstance(value, str | Slice):
        return TextPart(str(value))
    item = checks.mapping(value, path)
    sort = item.get("type")
    if sort == "text" and len(item) == 2:
        return TextPart(checks.string(item.get("text"), f"{path}.text"))
    if sort == _WRAPPED and isinstance(inner := item.get("value"), dict):
        item, path, sort = inner, f"{path}.value", inner.get("type")
    if sort is None:
        sort = next((name for name in _PARTS if name in item), None)
        if sort is None:
            raise checks.missing(f"{path}.type")
    read = _PARTS.get(sort) if isinstance(sort, str) else None
    if read is None:
        raise checks.invalid_value(f"{path}.type", sort, documented or DOCUMENTED_PARTS)
    _note_unread(item, sort, path, notes)
    return _marked(read(item, path), item, path, notes)


def _marked(found: _Part, item: Json, path: str, notes: Notes) -> _Part:
    marks = notes.marked(item, path)
    return found if marks is None else replace(found, marks=marks)


def marked_last(parts: list[Content], item: Json, path: str, notes: Notes) -> list[Content]:
    """The parts of a message, the last of them with a mark that stands on the message itself; empty texts are
    sent to nobody."""
    said = [part for part in parts if isinstance(part, MediaPart) or part.text]
    if not said:
        notes.add(f"{path}.cache_control")
        return parts
    return said if said[-1].marks else [*said[:-1], _marked(said[-1], item, path, notes)]


def _note_unread(item: Json, sort: str, path: str, notes: Notes) -> None:
    """Name what a part of a sort, or the object that holds its medium, has beside what is read."""
    notes.unread(item, _MEMBERS[sort], path)
    if len(item) > 1 and isinstance(holder := item.get(sort), dict):
        notes.unread(holder, _HOLDER_MEMBERS, f"{path}.{sort}")


def history_image(value: Any, path: str, notes: Notes) -> MediaPart:
    """An entry of an assistant message's `images`, as we or others sent it out."""
    if isinstance(value, str | Slice):
        return media("image", value, path)
    item = checks.mapping(value, path)
    _note_unread(item, "image_url", path, notes)
    return _marked(_image(item, path), item, path, notes)


def _text(item: Json, path: str) -> TextPart:
    return TextPart(checks.string(item.get("text"), f"{path}.text"), signed.of_part(item))


def _refusal(item: Json, path: str) -> TextPart:
    return TextPart(checks.string(item.get("refusal"), f"{path}.refusal"), refusal=True)


def _image(item: Json, path: str) -> MediaPart:
    """`image_url` as an object or, as many clients write it, a string; a `file_id` beside it instead."""
    holder = item.get("image_url")
    where = f"{path}.image_url"
    detail = item.get("detail")
    if isinstance(holder, dict):
        detail = holder.get("detail", detail)
        address, where = holder.get("url"), f"{where}.url"
    elif holder is None and item.get("file_id") is not None:
        file_id = checks.required_string(item["file_id"], f"{path}.file_id")
        return MediaPart("image", file_id=file_id, where=f"{path}.file_id", signature=signed.of_part(item))
    else:
        address = holder
    if detail is not None:
        detail = checks.one_of(*_DETAILS)(detail, where.removesuffix(".url") + ".detail")
    return media("image", address, where, signed.of_part(item), detail=detail)


def _block(item: Json, path: str) -> MediaPart:
    """`image` blocks of LangChain and Anthropic, which come back as history: `url`, or base64 in `data`."""
    if item.get("image_url") is not None:
        return _image(item, path)
    where, holder = path, item
    if item.get("source") is not None:
        where = f"{path}.source"
        holder = checks.mapping(item["source"], where)
    field = next((name for name in ("url", "base64", "data") if holder.get(name) is not None), "url")
    mime = holder.get("mime_type", holder.get("media_type"))
    if mime is not None:
        mime = checks.string(mime, f"{where}.mime_type")
    return media("image", holder.get(field), f"{where}.{field}", signed.of_part(item), mime=mime)


def _audio(item: Json, path: str) -> MediaPart:
    where = f"{path}.input_audio"
    holder = _holder(item, "input_audio", where)
    data, sound = holder.get("data"), holder.get("format")
    mime = None
    if sound is not None:
        mime = _AUDIO_MIMES[checks.one_of(*_AUDIO_MIMES)(sound, f"{where}.format")]
    return inline("audio", data, f"{where}.data", mime=mime)


def _file(item: Json, path: str) -> MediaPart:
    """`file` with `file_data` or `file_id`; `input_file` has its keys one level higher, or `file_url`."""
    where = f"{path}.file" if "file" in item else path
    holder = checks.mapping(item["file"], where) if "file" in item else item
    filename = holder.get("filename")
    if filename is not None:
        filename = checks.string(filename, f"{where}.filename")
    mime = holder.get("format") or holder.get("mime_type")
    if mime is not None:
        mime = checks.string(mime, f"{where}.format").partition(";")[0].strip().lower()
    if mime is None and filename:
        mime = _FILE_MIMES.get(filename.rpartition(".")[2].lower())
    data = holder.get("file_data")
    if data is not None:
        return inline("file", data, f"{where}.file_data", mime=mime, filename=filename)
    if holder.get("file_url") is not None:
        return media("file", holder["file_url"], f"{where}.file_url", mime=mime, filename=filename)
    if holder.get("file_id") is not None:
        file_id = checks.required_string(holder["file_id"], f"{where}.file_id")
        return MediaPart("file", file_id=file_id, mime=mime, filename=filename, where=f"{where}.file_id")
    raise RequestError(
        f"Invalid '{where}': give 'file_data' or 'file_id'.", param=where, code="missing_required_parameter"
    )


def _video(item: Json, path: str) -> MediaPart:
    """The `video_url` extension; frame rate and cut are read beside the address."""
    where = f"{path}.video_url"
    holder = item.get("video_url")
    settings = {name: item[name] for name in _VIDEO_SETTINGS if item.get(name) is not None}
    if isinstance(holder, dict):
        settings |= {name: holder[name] for name in _VIDEO_SETTINGS if holder.get(name) is not None}
        mime = holder.get("format") or holder.get("mime_type")
        address, where = holder.get("url"), f"{where}.url"
    else:
        address, mime = holder, None
    return media(
        "video",
        address,
        where,
        video=_video_settings(settings, path),
        mime=None if mime is None else checks.string(mime, f"{path}.video_url.format"),
    )


_OFFSET = "a duration such as '10s' or a number of seconds"
_VIDEO_SETTINGS: dict[str, str] = {
    "fps": "fps",
    "start_offset": "start_offset",
    "startOffset": "start_offset",
    "end_offset": "end_offset",
    "endOffset": "end_offset",
}


def _video_settings(settings: Json, path: str) -> Mapping[str, Any]:
    found: Json = {}
    for spelling, value in settings.items():
        name = _VIDEO_SETTINGS[spelling]
        where = f"{path}.video_url.{spelling}"
        if isinstance(value, str) and name != "fps":
            found[name] = value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = value if name == "fps" else f"{value}s"
        else:
            raise checks.invalid_type(where, "a decimal" if name == "fps" else _OFFSET, value)
    return found


def _holder(item: Json, name: str, where: str) -> Json:
    if item.get(name) is None:
        raise checks.missing(where)
    return checks.mapping(item[name], where)


DOCUMENTED_PARTS = ("text", "image_url", "input_audio", "file", "video_url", "refusal")

_PARTS: dict[str, Callable[[Json, str], Content]] = {
    "text": _text,
    "image_url": _image,
    "input_audio": _audio,
    "file": _file,
    "video_url": _video,
    "refusal": _refusal,
    "input_text": _text,
    "output_text": _text,
    "input_image": _image,
    "image": _block,
    "input_file": _file,
    "input_video": _video,
}

_SETTINGS = frozenset(_VIDEO_SETTINGS)
_FILE_MEMBERS = frozenset({"file_data", "file_id", "file_url", "filename", "format", "mime_type"})

# What each sort of part is read for, beside its type and its signature.
_READ: dict[str, frozenset[str]] = {
    "text": frozenset({"text"}),
    "refusal": frozenset({"refusal"}),
    "input_text": frozenset({"text"}),
    "output_text": frozenset({"text", "annotations", "logprobs"}),
    "image_url": frozenset({"image_url", "detail", "file_id", "index"}),
    "input_image": frozenset({"image_url", "detail", "file_id", "index"}),
    "image": frozenset(
        {"image_url", "detail", "file_id", "source", "url", "base64", "data", "mime_type", "media_type"}
        | {"source_type"}
    ),
    "input_audio": frozenset({"input_audio"}),
    "file": _FILE_MEMBERS | {"file"},
    "input_file": _FILE_MEMBERS | {"file"},
    "video_url": _SETTINGS | {"video_url"},
    "input_video": _SETTINGS | {"video_url"},
}
_MEMBERS = {sort: read | signed.MEMBERS | {"type", *MARKS} for sort, read in _READ.items()}
# The object that holds a medium, whichever it is: address or data, and what is said of it.
_HOLDER_MEMBERS = _SETTINGS | _FILE_MEMBERS | {"url", "detail", "data"}
