"""What a response is made of while it goes out: items, their parts, and the events that tell of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

from proxy.fronts import faults
from proxy.fronts.base import Piece
from proxy.types import Json


@dataclass(slots=True)
class Item:
    """`body` is as it will be when it is done. `pieces` are of its open part, or of a call's arguments."""

    place: int
    body: Json
    pieces: list[str] = field(default_factory=list)
    done: bool = False


@dataclass(slots=True)
class Part:
    """Of a message: text, or a refusal. `offset` is where it begins in the whole answer."""

    place: int
    body: Json
    offset: int
    pieces: list[str] = field(default_factory=list)
    annotations: list[Json] = field(default_factory=list)
    logprobs: list[Json] = field(default_factory=list)


class Items:
    """The items of one response, in order, and the frames of its stream, if it is one: each event has the
    next number."""

    def __init__(self, token: str | None) -> None:
        self._token = token or token_hex(16)
        self._streams = False
        self._out: list[Piece] = []
        self._in_pieces = False
        self._number = 0  # of the next event
        self._items: list[Item] = []

    def _emit(self, name: str, **members: Any) -> None:
        if not self._streams:
            return
        body = faults.dumped({"type": name, "sequence_number": self._number, **members})
        self._number += 1
        self._in_pieces = self._in_pieces or len(body) > 1
        self._out += (b"event: ", name.encode(), b"\ndata: ", *body, b"\n\n")

    def _of_item(self, name: str, item: Item, **members: Any) -> None:
        self._emit(name, item_id=item.body["id"], output_index=item.place, **members)

    def _of_part(self, name: str, item: Item, at: Part, **members: Any) -> None:
        self._of_item(name, item, content_index=at.place, **members)

    def _taken(self) -> bytes | list[Piece]:
        out, in_pieces = self._out, self._in_pieces
        self._out, self._in_pieces = [], False
        return out if in_pieces else b"".join(out)

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{self._token}{len(self._items):02x}"

    def _add(self, body: Json, **unfinished: Any) -> Item:
        """Announce an item, with what is told of it before it is done."""
        item = Item(len(self._items), body)
        self._items.append(item)
        if self._streams:
            self._emit("response.output_item.added", output_index=item.place, item={**body, **unfinished})
        return item

    def _done(self, item: Item) -> None:
        item.done = True
        self._emit("response.output_item.done", output_index=item.place, item=item.body)
