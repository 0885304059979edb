"""The values that everything is made of: JSON, and long strings that are not copied."""

from __future__ import annotations

from dataclasses import dataclass as _dataclass
from typing import TYPE_CHECKING, Any

import pybase64

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(*, frozen: bool, slots: bool) -> Any:
        """Frozen for the type checker, which reads every line of ours, not at run time: a frozen class takes
        three times as long to make, and a request makes twenty of these."""
        return _dataclass(slots=slots, unsafe_hash=frozen)


Json = dict[str, Any]


class Slice:
    """A long ASCII JSON string left as bytes: base64, or a data URL that holds base64.

    It crosses the house without being decoded, copied or parsed. `prefix` is written before the
    bytes when it is rendered, so base64 becomes a data URL without being joined. Slicing gives a
    view, not a copy.
    """

    __slots__ = ("prefix", "raw")

    def __init__(self, raw: bytes | memoryview, prefix: bytes = b"") -> None:
        self.raw = raw if isinstance(raw, memoryview) else memoryview(raw)
        self.prefix = prefix

    def __len__(self) -> int:
        return len(self.prefix) + len(self.raw)

    def __str__(self) -> str:
        return (self.prefix + bytes(self.raw)).decode()

    def __repr__(self) -> str:
        return f"<Slice of {len(self)} characters>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slice) and self.prefix == other.prefix and self.raw == other.raw

    def __hash__(self) -> int:
        return hash((self.prefix, len(self.raw), bytes(self.raw[:64])))

    def head(self, size: int = 64) -> bytes:
        """Return the first `size` bytes that the base64 stands for, fewer if it is shorter or broken."""
        text = bytes(self.raw[: (size + 2) // 3 * 4])
        try:
            return pybase64.b64decode(text[: len(text) // 4 * 4])[:size]
        except ValueError:
            return b""

    def decode(self) -> bytes:
        """Return the bytes the base64 stands for. Raises `ValueError` if it is not standard base64."""
        return pybase64.b64decode(self.raw, validate=True)

    @classmethod
    def of(cls, data: bytes) -> Slice:
        """Encode bytes."""
        return cls(pybase64.b64encode(data))


class Joined:
    """One JSON string made of several: text, and `Slice`s that are not copied (a data URL in markdown)."""

    __slots__ = ("pieces",)

    def __init__(self, *pieces: str | Slice) -> None:
        self.pieces = pieces

    def __len__(self) -> int:
        return sum(map(len, self.pieces))

    def __str__(self) -> str:
        return "".join(map(str, self.pieces))

    def __repr__(self) -> str:
        return f"<Joined of {len(self)} characters>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Joined) and str(self) == str(other)

    __hash__ = None  # type: ignore[assignment]  # it is compared by its whole text
