"""Where `dragoman try` puts its pictures and sounds: a place that is looked at before they are ordered."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from proxy.types import Audio, Image

_SUFFIXES = {"image/jpeg": ".jpg", "image/svg+xml": ".svg"}


@dataclass(slots=True)
class Saved:
    """`names` are the files that were written, `notes` sentences for who waits for others."""

    names: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return ", ".join(self.names)


class Destination:
    """The first picture goes to `out`, the others beside it: `fox.png`, `fox-2.png`, each with the suffix of
    its type. Without `out` they are called `picture`, a sound `speech`, and stand in the current folder.
    Nothing is overwritten.

    Raises `OSError`, with its file, where `out` cannot be written.
    """

    def __init__(self, out: Path | None) -> None:
        self.wanted = out is not None
        self._out = out
        if out is None:
            return
        folder = out.parent
        if not folder.is_dir():
            raise _problem(errno.ENOENT, "there is no such folder", folder)
        if os.path.lexists(out):
            raise _problem(errno.EEXIST, "it exists already, and is not overwritten", out)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise _problem(errno.EACCES, "the folder cannot be written to", folder)

    def save(self, made: Sequence[Image | Audio]) -> Saved:
        """Write all of them. What cannot be written there is kept in the folder for temporary files."""
        saved = Saved()
        for one in made:
            if one.data is None:
                saved.notes.append(f"a picture was not fetched; it is at {one.url}")
                continue
            data = one.data.decode()
            try:
                name = self._write(data, one.mime, not saved.names)
            except OSError as error:
                name = _kept(data, _suffix(one.mime))
                saved.notes.append(f"{error.filename}: {error.strerror}; the {_word(one.mime)} is in {name}")
            saved.names.append(name)
        return saved

    def _write(self, data: bytes, mime: str, is_first: bool) -> str:
        """Write under the first name that is free."""
        for path in self._names(mime, is_first):
            try:
                with path.open("xb") as file:
                    file.write(data)
            except FileExistsError:
                continue
            return str(path)
        raise AssertionError("unreachable")

    def _names(self, mime: str, is_first: bool) -> Iterator[Path]:
        base, suffix = self._out or Path(_word(mime)), _suffix(mime)
        if is_first:
            yield self._out or base.with_suffix(suffix)
        for number in count(2):
            yield base.with_name(f"{base.stem}-{number}{suffix}")


def _word(mime: str) -> str:
    return "speech" if mime.startswith("audio/") else "picture"


def _suffix(mime: str) -> str:
    return _SUFFIXES.get(mime) or f".{mime.rpartition('/')[2] or 'bin'}"


def _kept(data: bytes, suffix: str) -> str:
    descriptor, name = tempfile.mkstemp(suffix, "dragoman-")
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    return name


def _problem(number: int, sentence: str, path: Path) -> OSError:
    return OSError(number, sentence, str(path))
