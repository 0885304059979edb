"""Renders events as Messages: whole as one message, streamed as Anthropic's events."""

from __future__ import annotations

from collections.abc import Iterable
from secrets import token_hex
from typing import Any

import orjson

from proxy.codec import jsonio
from proxy.fronts import faults, searches
from proxy.fronts.anthropic import error_reply
from proxy.fronts.anthropic.messages.reply_blocks import Blocks, usage
from proxy.fronts.anthropic.messages.shape import MessagesShape
from proxy.fronts.base import Facts, Header, Parsed, Piece
from proxy.types import Event, Joined, Json, Slice, Started, Text, Usage

_TEXT_DELTA = (
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":'
)
_AFTER_TEXT = b"}}\n\n"


class MessagesRenderer:
    """One per reply."""

    ping = b'event: ping\ndata: {"type": "ping"}\n\n'
    headers: tuple[Header, ...] = ()

    def __init__(self, parsed: Parsed[Any, MessagesShape], facts: Facts) -> None:
        self._parsed = parsed
        self._facts = facts
        self._frames = _Frames()
        self._blocks = Blocks(self._frames, parsed.shape, facts)
        self._began = False

    def whole(self, events: Iterable[Event]) -> list[Piece]:
        """Raises `UpstreamError` when the events are no complete reply."""
        content = _Content()
        blocks = Blocks(content, self._parsed.shape, self._facts)
        for event in searches.first(events):
            blocks.take(event)
        blocks.close()
        message = {
            **self._head(blocks.started),
            "content": content.blocks,
            **blocks.stop(),
            "usage": usage(blocks.usage, blocks.searched),
        }
        return faults.dumped(message)

    def feed(self, events: Iterable[Event]) -> bytes | list[Piece]:
        frames, blocks = self._frames, self._blocks
        for event in events:
            if type(event) is Text and event.text and event.signature is None and blocks.plain(event.text):
                frames.out += (frames.before_text, orjson.dumps(event.text), _AFTER_TEXT)
                continue
            if not self._began and type(event) is not Usage:
                self._begin(event)
            blocks.take(event)
        return frames.taken()

    def finish(self) -> bytes | list[Piece]:
        """End a complete reply. Raises `UpstreamError` when it is not."""
        self._blocks.close()
        counted = usage(self._blocks.usage, self._blocks.searched)
        del counted["service_tier"]
        self._frames.write("message_delta", {"delta": self._blocks.stop(), "usage": counted})
        self._frames.write("message_stop", {})
        return self._frames.taken()

    def error(self, error: BaseException, request_id: str) -> bytes:
        """The last event of a streamed reply that broke."""
        return error_reply.event(error, request_id, self._parsed)

    def _begin(self, first: Event) -> None:
        """The first event of a stream, with what is counted of the prompt by now: displays of what a
        conversation costs read no other."""
        self._began = True
        started = first if isinstance(first, Started) else Started()
        counted = usage(Usage(started.prompt, 1, cached=started.cached))
        del counted["output_tokens_details"]
        message = {
            **self._head(started),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": counted,
        }
        self._frames.write("message_start", {"message": message})

    def _head(self, started: Started | None) -> Json:
        told = started.id if started is not None else None
        identity = told or token_hex(12)
        return {
            "id": identity if identity.startswith("msg_") else f"msg_{identity}",
            "type": "message",
            "role": "assistant",
            "model": self._parsed.shape.model,
        }


class _Content:
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

    def citation(self, citation: Json) -> None:
        self.blocks[-1].setdefault("citations", []).append(citation)

    def is_readable(self) -> bool:
        return True  # what is no object becomes one (`_object`)

    def end(self) -> None:
        block = self.blocks[-1]
        if "input" in block:
            block["input"] = _object("".join(map(str, self._pieces)))
        elif (member := block["type"]) in block:  # a text is in `text`, a thought in `thinking`
            block[member] = Joined(*self._pieces)


class _Frames:
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
        self.out += (self.before_text, *pieces, _AFTER_TEXT)

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

    def citation(self, citation: Json) -> None:
        self._delta({"type": "citations_delta", "citation": citation})

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
