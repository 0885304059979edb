"""What clients upload to speak of it later by its id: each in a file of its own, headed by a line on it.

In a folder beside the pictures and bounded as they are: the oldest go first. A key sees its own alone, and
may fill a quarter. Everything here blocks, so it runs in threads.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import orjson
import pybase64

from proxy.codec import base64_text
from proxy.store.files import FileStore, folder_of
from proxy.types import Slice

if TYPE_CHECKING:
    from proxy.config.models import Server

_ID = re.compile(r"file-([0-9a-f]{32})\Z")
_HEAD_BYTES = 4096  # at most, and counted: many small files take room too
_NAME_CHARS = 255
_SHARE_OF_A_KEY = 4


class FullError(Exception):
    """The key has as much here as it may have."""


@dataclass(frozen=True, slots=True)
class Upload:
    """`created` and `expires` are in seconds since 1970, `size` in bytes; `key` names whose it is."""

    id: str
    key: str
    filename: str
    mime: str
    purpose: str
    size: int
    created: int
    expires: int


class Uploads:
    def __init__(self, files: FileStore) -> None:
        self._files = files

    @classmethod
    def of(cls, server: Server) -> Uploads:
        folder = folder_of(server) / "uploads"
        return cls(FileStore(folder, ttl_s=server.files.ttl, max_bytes=server.files.max_bytes))

    def add(self, key: str, purpose: str, filename: str, mime: str, data: Slice, now: float) -> Upload:
        """Raises `FullError`, and what `FileStore.save` raises."""
        raw = base64_text.raw(data)
        size = len(raw) // 4 * 3 - bytes(raw[-2:]).count(b"=")
        taken = sum(one.size + _HEAD_BYTES for one in self.listed(key))
        if taken + size > self._files.max_bytes // _SHARE_OF_A_KEY:
            raise FullError
        expires = int(now + self._files.ttl_s)
        new = Upload("", key, filename[:_NAME_CHARS], mime[:_NAME_CHARS], purpose, size, int(now), expires)
        head = orjson.dumps(asdict(new)) + b"\n"
        head = head.rjust(-(-len(head) // 3) * 3)  # so that its base64 and the file's make one
        return _named(new, self._files.save(Slice(b"".join((pybase64.b64encode(head), raw)))))

    def listed(self, key: str) -> list[Upload]:
        """Those of a key, the newest first."""
        found = (self._head(identity) for identity in self._files.identities())
        return sorted(
            (one for one in found if one and one.key == key), key=lambda one: (-one.created, one.id)
        )

    def find(self, key: str, id: str) -> Upload | None:
        named = _ID.match(id)
        found = self._head(named[1]) if named is not None else None
        return found if found is not None and found.key == key else None

    def read(self, key: str, id: str) -> tuple[Upload, bytes] | None:
        found = self.find(key, id)
        whole = self._files.read(id.removeprefix("file-")) if found is not None else None
        return None if found is None or whole is None else (found, whole.partition(b"\n")[2])

    def remove(self, key: str, id: str) -> bool:
        """Whether it was there."""
        if self.find(key, id) is None:
            return False
        self._files.remove(id.removeprefix("file-"))
        return True

    def sweep(self) -> None:
        self._files.sweep()

    def _head(self, identity: str) -> Upload | None:
        opened = self._files.open(identity)
        if opened is None:
            return None
        with opened[0] as file:
            line = file.readline(_HEAD_BYTES)
        try:
            return _named(Upload(**orjson.loads(line)), identity)
        except (TypeError, orjson.JSONDecodeError):  # nothing of ours
            return None


def is_ours(id: str) -> bool:
    """Whether it is an id as we give them; those of vendors are others."""
    return _ID.match(id) is not None


def _named(one: Upload, identity: str) -> Upload:
    return Upload(**asdict(one) | {"id": f"file-{identity}"})
