"""Reference pictures of a request: checked by their bytes, described for the log by type, size and digest."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import urlsplit

from proxy.simulators import pictures

COMMON = ("image/png", "image/jpeg", "image/webp")


def describe(
    value: Any,
    forms: Collection[str] = ("url", "data", "base64"),
    mimes: Collection[str] = COMMON,
    most_bytes: int = 50 << 20,
) -> dict[str, Any]:
    """What the log shows of a reference. Raises `ValueError` saying what is wrong with it."""
    if not isinstance(value, str) or not value:
        raise ValueError("a reference picture must be a string")
    form, data = _form(value)
    if form not in forms:
        raise ValueError(f"a reference picture must be given as {' or '.join(forms)}, not as {form}")
    if form == "url":
        if not urlsplit(value).hostname:
            raise ValueError("the URL of a reference picture has no host")
        return {"form": "url", "url": value}
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"a reference picture is not valid base64: {error}") from error
    return {"form": form, **describe_bytes(raw, mimes, most_bytes, _declared(value))}


def describe_bytes(
    raw: bytes, mimes: Collection[str] = COMMON, most_bytes: int = 50 << 20, declared: str = ""
) -> dict[str, Any]:
    """The same of bytes; `declared` is the type they are said to have."""
    seen = pictures.look(raw)
    if seen.mime not in mimes:
        raise ValueError(
            f"a reference picture is {seen.mime or 'of no known type'}, not {' or '.join(mimes)}"
        )
    if declared and declared != seen.mime:
        raise ValueError(f"a reference picture is said to be {declared} and is {seen.mime}")
    if len(raw) > most_bytes:
        raise ValueError(f"a reference picture has {len(raw)} bytes, more than {most_bytes}")
    digest = hashlib.sha256(raw).hexdigest()
    size = {"width": seen.width, "height": seen.height}
    return {"mime": seen.mime, **size, "bytes": len(raw), "sha256": digest}


def all_of(values: Iterable[Any]) -> list[dict[str, Any]]:
    return [describe(value, mimes=(*COMMON, "image/bmp", "image/gif")) for value in values]


def _form(value: str) -> tuple[str, str]:
    if value.startswith("data:"):
        return "data", value.partition(",")[2]
    if value.startswith(("http://", "https://")):
        return "url", ""
    return "base64", value


def _declared(value: str) -> str:
    if not value.startswith("data:"):
        return ""
    head = value.partition(",")[0]
    if not head.endswith(";base64"):
        raise ValueError("a data URI of a reference picture must be base64")
    return head.removeprefix("data:").partition(";")[0]
