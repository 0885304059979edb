"""`files` as Google tells them: pages of a list, the single object, and nothing of what is deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from proxy.fronts.dialects import ListedFile, stamp
from proxy.fronts.gemini import pages
from proxy.types import Json

PURPOSE: str | None = "user_data"  # its clients say none


def listed(files: Sequence[ListedFile], query: Mapping[str, str]) -> bytes:
    return pages.page(files, query, "files", _members)


def single(file: ListedFile) -> bytes:
    return orjson.dumps(_members(file))


def deleted(id: str) -> bytes:
    return b"{}"


def _members(file: ListedFile) -> Json:
    return {
        "name": f"files/{file.id}",
        "displayName": file.filename,
        "mimeType": file.mime or "application/octet-stream",
        "sizeBytes": str(file.size),
        "createTime": stamp(file.created),
        "updateTime": stamp(file.created),
        "expirationTime": stamp(file.expires),
        "state": "ACTIVE",
        "source": "UPLOADED",
    }
