"""`/v1/files` as OpenAI tells it: pages of a list, the single object, and what is deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from proxy.fronts.dialects import ListedFile
from proxy.types import Json

_MOST = 10_000

PURPOSE: str | None = None  # its clients have to say it


def listed(files: Sequence[ListedFile], query: Mapping[str, str]) -> bytes:
    if (purpose := query.get("purpose")) is not None:
        files = [one for one in files if one.purpose == purpose]
    if query.get("order") == "asc":
        files = files[::-1]
    ids = [one.id for one in files]
    start = ids.index(query["after"]) + 1 if query.get("after") in ids else 0
    limit = query.get("limit", "")
    most = min(int(limit), _MOST) if limit.isdecimal() and len(limit) < 9 else _MOST
    page = files[start : start + most]
    ends = {"first_id": page[0].id, "last_id": page[-1].id} if page else {}
    told = {"object": "list", "data": [_members(one) for one in page]}
    return orjson.dumps({**told, "has_more": start + most < len(files), **ends})


def single(file: ListedFile) -> bytes:
    return orjson.dumps(_members(file))


def deleted(id: str) -> bytes:
    return orjson.dumps({"id": id, "object": "file", "deleted": True})


def _members(file: ListedFile) -> Json:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": file.created,
        "expires_at": file.expires,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
    }
