"""Pictures that are delivered by link: files in a folder, with signed addresses that expire.

The workers of a machine share the folder and the secret in it, and so does the next start. Everything here
blocks, so it runs in threads; only `granted` and `address` are quick.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pybase64

from proxy.codec import base64_text
from proxy.codec.spill import forget
from proxy.store.database import path_of
from proxy.types import Slice

if TYPE_CHECKING:
    from proxy.config.models import Server

SWEEP_EVERY_S = 600.0

_WINDOW = 1 << 20  # characters of base64 decoded at once; a multiple of 4
_SECRET_BYTES = 32
_ABANDONED_S = 3600.0  # after which an unfinished file is nobody's
_IDENTITY = re.compile(r"[0-9a-f]{32}\Z")
_SIGNATURE = re.compile(r"[A-Za-z0-9_-]{43}\Z")
_EXPIRES = re.compile(r"[0-9]{1,12}\Z")
_ADDRESS = re.compile(
    r"https?://[^\s/?#]+(?:/[^\s?#]*)?/v1/files/([0-9a-f]{32})/content\?expires=([0-9]+)&signature=([\w-]+)\Z"
)


class FileStore:
    """Nothing is made on disk before the first picture. The oldest go when `max_bytes` are exceeded; the sum
    is looked at often enough to stay within a sixteenth of it, per worker."""

    def __init__(
        self,
        folder: Path,
        *,
        ttl_s: float = 24 * 3600,
        max_bytes: int = 2 << 30,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self.ttl_s = ttl_s
        self.max_bytes = max_bytes
        self._clock = clock
        self._secret: bytes | None = None
        self._unswept = max_bytes  # the first picture sweeps what an earlier process left

    @classmethod
    def of(cls, server: Server) -> FileStore:
        return cls(folder_of(server), ttl_s=server.files.ttl, max_bytes=server.files.max_bytes)

    # --- writing

    def save(self, data: Slice) -> str:
        """Write the picture and return its id. Raises `OSError`, or `ValueError` if it is not base64."""
        if self._secret is None:
            self._make()
        try:
            return self._save(data)
        except FileNotFoundError:  # somebody has removed the folder
            self._make()
            return self._save(data)

    def _make(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._secret = _shared_secret(self._folder / ".secret", self._secret)

    def _save(self, data: Slice) -> str:
        identity = secrets.token_hex(16)
        place = self._folder / identity
        unfinished = place.with_suffix(".part")
        try:
            with _create(unfinished) as file:
                for piece in _decoded(data):
                    file.write(piece)
            os.utime(unfinished, times=(self._clock(), self._clock()))
            unfinished.replace(place)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        self._unswept += len(data.raw) // 4 * 3
        if self._unswept >= self.max_bytes // 16:
            self.sweep(keep=identity)
        return identity

    def sweep(self, keep: str = "") -> None:
        """Remove what is too old, then the oldest of what is too much. Never the file called `keep`."""
        self._unswept = 0
        now = self._clock()
        total = 0
        for age, size, path in sorted(self._files(now)):
            total += size
            if (age > self.ttl_s or total > self.max_bytes) and path.name != keep:
                total -= size
                path.unlink(missing_ok=True)

    def _files(self, now: float) -> Iterator[tuple[float, int, Path]]:
        try:
            entries = list(os.scandir(self._folder))
        except OSError:
            return
        for entry in entries:
            if entry.name.startswith("."):
                continue
            with suppress(OSError):  # another worker was quicker
                stat = entry.stat(follow_symlinks=False)
                if entry.name.endswith(".part") and time.time() - stat.st_mtime < _ABANDONED_S:
                    continue  # somebody is writing it; it has the system's time, not ours
                yield now - stat.st_mtime, stat.st_size, Path(entry.path)

    def remove(self, identity: str) -> None:
        (self._folder / identity).unlink(missing_ok=True)

    # --- addresses

    def address(self, identity: str) -> str:
        """Path and query of a picture that was saved here, valid from now for as long as it is kept."""
        if self._secret is None:
            self._secret = _shared_secret(self._folder / ".secret")
        expires = str(int(self._clock() + self.ttl_s))
        signature = _sign(self._secret, identity, expires)
        return f"/v1/files/{identity}/content?expires={expires}&signature={signature}"

    def granted(self, identity: str, expires: str, signature: str) -> float:
        """For how many seconds this address is still good; 0 if it is not, for whatever reason."""
        if not (_IDENTITY.match(identity) and _EXPIRES.match(expires) and _SIGNATURE.match(signature)):
            return 0.0
        if self._secret is None:
            self._secret = _read_secret(self._folder / ".secret")
            if self._secret is None:
                return 0.0
        if not hmac.compare_digest(_sign(self._secret, identity, expires), signature):
            return 0.0
        return max(0.0, int(expires) - self._clock())

    def identify(self, address: str) -> str | None:
        """The id of a picture that is still here, if the address is a valid one of ours, at whatever host."""
        found = _ADDRESS.match(address)
        if found is None or not self.granted(*found.groups()):
            return None
        return found[1] if (self._folder / found[1]).exists() else None

    def is_stored(self, address: str) -> bool:
        return self.identify(address) is not None

    # --- reading

    def identities(self) -> Iterator[str]:
        """Of what is here and not too old."""
        for age, _, path in self._files(self._clock()):
            if age <= self.ttl_s and _IDENTITY.match(path.name):
                yield path.name

    def open(self, identity: str) -> tuple[BinaryIO, int] | None:
        """The file and its size, None if it is gone. The id has been granted before."""
        try:
            file = (self._folder / identity).open("rb")
        except OSError:
            return None
        return file, os.fstat(file.fileno()).st_size

    def read(self, identity: str) -> bytes | None:
        if not _IDENTITY.match(identity):  # another name would lead to other files
            return None
        try:
            return (self._folder / identity).read_bytes()
        except OSError:
            return None


def folder_of(server: Server) -> Path:
    """Beside the database file, unless the configuration names another place."""
    if server.files.folder is not None:
        return Path(server.files.folder)
    database = path_of(server.state.reveal())
    return Path("state/files") if database is None else database.parent / "files"


def _sign(secret: bytes, identity: str, expires: str) -> str:
    digest = hmac.digest(secret, f"{identity}.{expires}".encode(), "sha256")
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def _shared_secret(path: Path, mine: bytes | None = None) -> bytes:
    """The secret in the file, made by whichever worker comes first: a link appears whole or not at all.
    `mine` is written where there is none, or one that is damaged: all workers know it still."""
    known = _read_secret(path)
    if known is not None:
        return known
    with suppress(FileNotFoundError):
        if path.stat().st_size != _SECRET_BYTES:
            path.unlink()
    mine = mine or secrets.token_bytes(_SECRET_BYTES)
    draft = path.with_name(f".{secrets.token_hex(8)}")
    try:
        with _create(draft) as file:
            file.write(mine)
        try:
            os.link(draft, path)
        except FileExistsError:
            known = _read_secret(path)
    finally:
        draft.unlink(missing_ok=True)
    return known or mine


def _read_secret(path: Path) -> bytes | None:
    try:
        secret = path.read_bytes()
    except OSError:
        return None
    return secret if len(secret) == _SECRET_BYTES else None


def _create(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _decoded(data: Slice) -> Iterator[bytes]:
    """Window by window, so that a picture is not in memory twice."""
    raw = base64_text.raw(data)
    for start in range(0, len(raw), _WINDOW):
        yield pybase64.b64decode(raw[start : start + _WINDOW], validate=True)
        forget(raw)
