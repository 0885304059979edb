"""Content blocks on their way out, one after the other: into a whole message or the frames of a stream."""

from __future__ import annotations

from typing import Protocol

import orjson

from proxy.codec import jsonio
from proxy.fronts.base import Piece
from proxy.types import Joined, Json, Slice

_TEXT_DELTA = (
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":'
)
AFTER_TEXT = b"}}\n\n"


class Writer(Protocol):
    """Where blocks go: one is begun, gets its pieces, and ends before the next. A citation may come later: it
    has the `place` of its block. `is_readable`: the arguments are an object, or can be made one."""

    def begin(self, block: Json) -> None: ...
    def text(self, text: str | Joined) -> None: ...
    def thinking(self, text: str) -> None: ...
    def signature(self, signature: str) -> None: ...
    def arguments(self, text: str) -> None: ...
    def citation(self, place: int, citation: Json) -> None: ...
    def is_readable(self) -> bool: ...
    def end(self) -> None: ...


class Content:
    """Blocks of a whole message. A `Writer`."""

    __slots__ = ("_pieces", "blocks")

    def __init__(self) -> None:
        self.blocks: list[Json] = []
        self._pieces: list[str | Slice] = []

    def begin(self, block: Json) -> None:
        self.blocks.append(block)
        self._pieces = []

    def text(self, text: str | Joined) -> None:
        self._pieces += (text,) if isinstance(text, str) else text.pieces

    def thinking(self, text: str) -> None:
        self._pieces.append(text)

    def arguments(self, text: str) -> None:
        self._pieces.append(text)

    def signature(self, signature: str) -> None:
        self.blocks[-1]["signature"] = signature

    def citation(self, place: int, citation: Json) -> None:
        self.blocks[place].setdefault("citations", []).append(citation)

    def is_readable(self) -> bool:
        return True  # what is no object becomes one (`_object`)

    def end(self) -> None:
        block = self.blocks[-1]
        if "input" in block:
            block["input"] = _object("".join(map(str, self._pieces)))
        elif (member := block["type"]) in block:  # a text is in `text`, a thought in `thinking`
            block[member] = Joined(*self._pieces)


class Frames:
    """Blocks of a stream, one event each piece. A `Writer`; what holds a picture comes as several pieces."""

    __slots__ = ("_arguments", "_in_pieces", "_index", "before_text", "out")

    def __init__(self) -> None:
        self.out: list[Piece] = []
        self.before_text = b""
        self._index = -1
        self._in_pieces = False
        self._arguments: list[str] = []  # of the call that is open

    def taken(self) -> bytes | list[Piece]:
        out, in_pieces = self.out, self._in_pieces
        self.out, self._in_pieces = [], False
        return out if in_pieces else b"".join(out)

    def write(self, event: str, members: Json) -> None:
        self.out += (b"event: %b\ndata: " % event.encode(), orjson.dumps({"type": event, **members}), b"\n\n")

    def begin(self, block: Json) -> None:
        self._index += 1
        self._arguments = []
        self.before_text = _TEXT_DELTA % self._index
        self.write("content_block_start", {"index": self._index, "content_block": block})

    def text(self, text: str | Joined) -> None:
        pieces = jsonio.dumps(text)
        self._in_pieces = self._in_pieces or len(pieces) > 1
        self.out += (self.before_text, *pieces, AFTER_TEXT)

    def thinking(self, text: str) -> None:
        self._delta({"type": "thinking_delta", "thinking": text})

    def signature(self, signature: str) -> None:
        self._delta({"type": "signature_delta", "signature": signature})

    def arguments(self, text: str) -> None:
        self._arguments.append(text)
        self._delta({"type": "input_json_delta", "partial_json": text})

    def is_readable(self) -> bool:
        """M-072. What was sent cannot be mended; clients break on it, or call the function with less."""
        return _read("".join(self._arguments)) is not None

    def citation(self, place: int, citation: Json) -> None:
        delta = {"type": "citations_delta", "citation": citation}
        self.write("content_block_delta", {"index": place, "delta": delta})

    def end(self) -> None:
        self.write("content_block_stop", {"index": self._index})

    def _delta(self, delta: Json) -> None:
        self.write("content_block_delta", {"index": self._index, "delta": delta})


def _object(arguments: str) -> Json:
    """The arguments of a call. A reply that was cut off may end within them."""
    found = _read(arguments)
    return {"arguments": arguments} if found is None else found


def _read(arguments: str) -> Json | None:
    """None for what is no object."""
    try:
        found = jsonio.loads(arguments.encode("utf-8", "surrogatepass"))
    except jsonio.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None
