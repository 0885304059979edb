"""`/v1/files` as Anthropic tells it: pages of a list, the single object, and what is deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from proxy.fronts.anthropic import pages
from proxy.fronts.dialects import ListedFile, stamp
from proxy.types import Json

PURPOSE: str | None = "user_data"  # its clients say none


def listed(files: Sequence[ListedFile], query: Mapping[str, str]) -> bytes:
    return pages.page(files, query, "file", _members)


def single(file: ListedFile) -> bytes:
    return orjson.dumps(_members(file))


def deleted(id: str) -> bytes:
    return orjson.dumps({"id": id, "type": "file_deleted"})


def _members(file: ListedFile) -> Json:
    return {
        "type": "file",
        "id": file.id,
        "filename": file.filename,
        "mime_type": file.mime or "application/octet-stream",
        "size_bytes": file.size,
        "created_at": stamp(file.created),
        "downloadable": True,
    }
