"""Media as a client writes them: by address (a data URL, a web address, or bare base64 of a known kind) or
inline, and the address of a picture that was made."""

from __future__ import annotations

from typing import Any

import orjson

from proxy.errors import RequestError
from proxy.fronts import checks, data_url
from proxy.pictures import media_types
from proxy.types import Image, MediaKind, MediaPart, Slice

_SCHEMES = ("http", "https", "gs")


def media(
    kind: MediaKind, address: Any, where: str, signature: str | None = None, **fields: Any
) -> MediaPart:
    """A media part from an address: a data URL, http(s), `gs://`, or bare base64 of a known kind of file."""
    if not isinstance(address, str | Slice):
        raise checks.missing(where) if address is None else checks.invalid_type(where, "a string", address)
    if isinstance(address, str):
        address = address.strip()
    if data_url.is_data_url(address):
        mime, data = data_url.read(address, where)
        fields["mime"] = mime or fields.get("mime")
        return MediaPart(_kind(kind, fields["mime"], data), data, where=where, signature=signature, **fields)
    if not address:
        raise checks.invalid(where, "empty string.", "empty_string")
    if isinstance(address, str) and address[:8].partition(":")[0].lower() in _SCHEMES:
        mime = media_types.of_address(address) or fields.get("mime")
        return MediaPart(_kind(kind, mime), url=address, where=where, signature=signature, **fields)
    if isinstance(address, str) and "://" in address[:32]:
        raise _bad_address(where)
    bare = data_url.bare_base64(address, where)
    if bare is None:
        raise _bad_address(where)
    return MediaPart(_kind(kind, fields.get("mime"), bare), bare, where=where, signature=signature, **fields)


def inline(
    kind: MediaKind, data: Any, where: str, *, mime: str | None = None, filename: str | None = None
) -> MediaPart:
    """A media part from base64, or from a data URL, which knows its type better than `mime`."""
    if not isinstance(data, str | Slice):
        raise checks.missing(where) if data is None else checks.invalid_type(where, "a string", data)
    if data_url.is_data_url(data):
        declared, clean = data_url.read(data, where)
        mime = declared or mime
    else:
        clean = data_url.base64(data, where)
    return MediaPart(_kind(kind, mime, clean), clean, mime=mime, filename=filename, where=where)


def _kind(said: MediaKind, mime: str | None, data: Slice | None = None) -> MediaKind:
    """A picture is one also where it is sent as a file: what makes pictures looks at nothing else."""
    if said != "file":
        return said
    found = media_types.sniff(data.head(media_types.HEAD_BYTES)) if data is not None else None
    return "image" if (found or mime or "").startswith("image/") else "file"


def _bad_address(where: str) -> RequestError:
    return RequestError(
        f"Invalid '{where}': expected an http(s) address or a base64 data URL.",
        param=where,
        code="invalid_url",
    )


def of_picture(image: Image) -> str | Slice:
    """A data URL that is not copied, or the address the vendor gave."""
    if image.data is None:
        return image.url or ""
    mime = orjson.dumps(image.mime or "image/png")[1:-1]
    return Slice(image.data.raw, b"data:" + mime + b";base64," + image.data.prefix)
