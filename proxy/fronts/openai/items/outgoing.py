"""What a response is made of while it goes out: its items in order, and the events that tell of them."""

from __future__ import annotations

from secrets import token_hex
from typing import Any

from proxy.fronts import faults
from proxy.fronts.base import Piece
from proxy.types import Json


class Outgoing:
    """The items of one response and, if it `streams`, the frames that tell of them: each event has the next
    `number`. `token` is what all their ids hold. `shown` are the characters of the answer so far."""

    __slots__ = ("_in_pieces", "frames", "items", "number", "shown", "streams", "token")

    def __init__(self, token: str | None) -> None:
        self.token = token or token_hex(16)
        self.streams = False
        self.items: list[Item] = []
        self.frames: list[Piece] = []
        self.number = 0
        self.shown = 0
        self._in_pieces = False

    def emit(self, name: str, **members: Any) -> None:
        if not self.streams:
            return
        body = faults.dumped({"type": name, "sequence_number": self.number, **members})
        self.number += 1
        self._in_pieces = self._in_pieces or len(body) > 1
        self.frames += (b"event: ", name.encode(), b"\ndata: ", *body, b"\n\n")

    def taken(self) -> bytes | list[Piece]:
        frames, in_pieces = self.frames, self._in_pieces
        self.frames, self._in_pieces = [], False
        return frames if in_pieces else b"".join(frames)

    def drained(self) -> bytes:
        taken = self.taken()
        return taken if isinstance(taken, bytes) else b"".join(taken)

    def id(self, prefix: str, ahead: int = 0) -> str:
        """Of the next item, or of one further on."""
        return f"{prefix}_{self.token}{len(self.items) + ahead:02x}"


class Item:
    """One item; `body` is as it will be when it is `done`."""

    __slots__ = ("_out", "body", "done", "place")

    def __init__(self, out: Outgoing, prefix: str, body: Json, **unfinished: Any) -> None:
        """Announce it, with what is told of it before it is done."""
        self._out = out
        self.place = len(out.items)
        self.body: Json = {"id": out.id(prefix), **body}
        self.done = False
        out.items.append(self)
        if out.streams:
            item = {**self.body, **unfinished}
            out.emit("response.output_item.added", output_index=self.place, item=item)

    def tell(self, name: str, **members: Any) -> None:
        if self._out.streams:
            self._out.emit(f"response.{name}", item_id=self.body["id"], output_index=self.place, **members)

    def end(self, status: str = "completed") -> None:
        """A subclass tells the rest of itself before. `status` is how far it came."""
        self.done = True
        self._out.emit("response.output_item.done", output_index=self.place, item=self.body)
