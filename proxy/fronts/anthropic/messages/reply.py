"""Renders events as Messages: whole as one message, streamed as Anthropic's events."""

from __future__ import annotations

from collections.abc import Iterable
from secrets import token_hex
from typing import Any

import orjson

from proxy.fronts import faults, searches
from proxy.fronts.anthropic import error_reply
from proxy.fronts.anthropic.blocks.outgoing import AFTER_TEXT, Content, Frames
from proxy.fronts.anthropic.blocks.reply import Blocks, usage
from proxy.fronts.anthropic.shape import MessagesShape
from proxy.fronts.base import Facts, Header, Parsed, Piece
from proxy.types import Event, Json, Started, Text, Usage


class MessagesRenderer:
    """One per reply."""

    ping = b'event: ping\ndata: {"type": "ping"}\n\n'
    headers: tuple[Header, ...] = ()

    def __init__(self, parsed: Parsed[Any, MessagesShape], facts: Facts) -> None:
        self._parsed = parsed
        self._facts = facts
        self._frames = Frames()
        self._blocks = Blocks(self._frames, parsed.shape, facts)
        self._began = False

    def whole(self, events: Iterable[Event]) -> list[Piece]:
        """Raises `UpstreamError` when the events are no complete reply."""
        content = Content()
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
                frames.out += (frames.before_text, orjson.dumps(event.text), AFTER_TEXT)
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
