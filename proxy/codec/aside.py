"""JSON in which files stand: `{"$file": id}` is ours, and whatever else has such a name is written with one
more `$`, for the words of clients and vendors may look like it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

FILE = "$file"
ANY_NAME = b'$file"'  # how ours ends in the text, and any that was written with more
_ALIKE = re.compile(r"\$+file\Z")


def written(name: str) -> str:
    """The name of a member that is not ours, as it is written."""
    return f"${name}" if _ALIKE.match(name) else name


def read(name: str) -> str:
    """The name of a member that is not ours, as it was."""
    return name[1:] if name != FILE and _ALIKE.match(name) else name


def as_written(value: Any) -> Any:
    """The whole value with its names as they are written; what is no JSON stays as it is."""
    if isinstance(value, Mapping):
        return {written(name): as_written(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_written(inner) for inner in value]
    return value
