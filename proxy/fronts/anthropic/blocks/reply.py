"""Events into content blocks, in order and one after the other: whoever writes them, whole or as frames.

One block per uninterrupted run of one kind. Calls behind the first one wait until it is complete: upstreams
may send the pieces of several side by side, blocks never overlap.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from secrets import token_hex
from typing import Any

import orjson

from proxy.fronts import addresses, faults, sealed
from proxy.fronts.anthropic.blocks import ids
from proxy.fronts.anthropic.blocks.incoming import SEALED, SEARCH, UNSIGNED
from proxy.fronts.anthropic.blocks.outgoing import Writer
from proxy.fronts.anthropic.shape import MessagesShape
from proxy.fronts.base import Facts
from proxy.types import (
    Audio,
    Citation,
    CodeRun,
    Event,
    Extra,
    Finish,
    Image,
    Joined,
    Json,
    Reasoning,
    Refusal,
    Searched,
    Slice,
    Started,
    Text,
    ToolCall,
    Usage,
)

# Required by the types of a citation and of a result; Anthropic alone could read a true one.
_SEALED = UNSIGNED
_CITED_MOST = 150  # characters, as at Anthropic

_STOP_REASONS = {
    "stop": "end_turn",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "length": "max_tokens",
    "content_filter": "refusal",
}


@dataclass(slots=True)
class _Call:
    event: ToolCall  # its first
    waiting: list[str] = field(default_factory=list)  # arguments, until its block can be opened
    ending: str = "{}"  # of its arguments, as far as they are written
    written: bool = False


@dataclass(slots=True)
class _Said:
    """A text block: its `place` among the blocks, where it begins in the whole answer, what it says of it."""

    place: int
    offset: int
    pieces: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Blocks:
    """The state of one reply. `open` is the kind of the block that is open, "" between blocks."""

    _writer: Writer
    _shape: MessagesShape
    _facts: Facts
    open: str = ""
    started: Started | None = None
    usage: Usage = field(default_factory=Usage)
    finish: Finish | None = None
    searched: int = 0  # times
    _searching: str = ""  # the id of the search of which it is not told yet what it found
    _begun: int = 0  # blocks
    _texts: list[_Said] = field(default_factory=list)
    _signed: bool = False  # the thought that is open
    _pictures: int = 0
    _after_picture: bool = False
    _unsaid: list[Any] = field(default_factory=list)  # what the vendor said to itself
    _refusals: list[str] = field(default_factory=list)
    _calls: dict[int, _Call] = field(default_factory=dict)
    _call: _Call | None = None  # the one that is open
    _unreadable: str | None = None  # the name of a call whose arguments broke off

    @property
    def said(self) -> bool:
        """Whether anything of a reply came."""
        return self.started is not None or self.finish is not None or bool(self._texts or self._calls)

    def take(self, event: Event) -> None:
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)

    def plain(self, text: str) -> bool:
        """Note a piece of the text that is open, if it can be written as it is."""
        if self.open != "text" or self._after_picture:
            return False
        self._texts[-1].pieces.append(text)
        return True

    def close(self) -> None:
        """End what is open. Raises `UpstreamError` when the reply is not complete."""
        if self.finish is None:
            raise faults.truncated() if self.said else faults.empty_reply()
        self._end_search()
        self._end()
        if self._unreadable is not None and (broken := faults.broken_call(self._unreadable, self.finish)):
            raise broken
        if self._unsaid:
            self._begin(SEALED, {"type": SEALED, "data": sealed.seal({sealed.PARTS: self._unsaid})})
            self._end()

    def stop(self) -> Json:
        """Why the reply ended."""
        assert self.finish is not None
        reason = _STOP_REASONS[self.finish.reason]
        if reason == "end_turn" and self._calls:
            reason = "tool_use"  # a call in an early chunk and a plain stop in a later one
        stopped_by = self.finish.stopped_by if reason == "end_turn" else None
        told: Json = {
            "stop_reason": "stop_sequence" if stopped_by is not None else reason,
            "stop_sequence": stopped_by,
        }
        if reason == "refusal":
            native = f" ({self.finish.native})" if self.finish.native else ""
            said = "".join(self._refusals) or self.finish.message
            why = said or f"The reply was blocked by the upstream content filter{native}."
            told["stop_details"] = {"type": "refusal", "category": None, "explanation": why}
        return told

    # --- one event each

    def _start(self, event: Started) -> None:
        self.started = self.started or event

    def _count(self, event: Usage) -> None:
        self.usage = event

    def _finish(self, event: Finish) -> None:
        self.finish = event

    def _text(self, event: Text) -> None:
        if event.signature is not None:
            self._sign(event.signature)
        if event.text:
            self._say(event.text)

    def _refusal(self, event: Refusal) -> None:
        self._refusals.append(event.text)
        self._say(event.text)

    def _code_run(self, event: CodeRun) -> None:
        if event.shown:
            self._say(event.shown)

    def _audio(self, event: Audio) -> None:
        """No block has room for sound: what it says is told in words."""
        if event.transcript:
            self._say(event.transcript)

    def _say(self, text: str) -> None:
        joint = "\n\n" if self._after_picture and self.open == "text" else ""
        self._after_picture = False
        self._open_text()
        self._texts[-1].pieces.append(text)
        self._writer.text(joint + text)

    def _reasoning(self, event: Reasoning) -> None:
        if self._shape.thinks and event.text:
            if self.open != "thinking" or self._signed:
                self._think()
            self._writer.thinking(event.text)

    def _image(self, event: Image) -> None:
        """An assistant has no blocks for pictures: a link in its text, or the picture itself there."""
        if event.signature is not None:
            self._sign(event.signature)
        address: str | Slice | None = None
        if self._shape.image_mode == "link":
            address = (self._facts.link(event) if self._facts.link is not None else None) or event.url
        address = address or addresses.of_picture(event)
        before = "\n\n" if self.open == "text" else ""
        self._pictures += 1
        self._after_picture = True
        self._open_text()
        opening = f"{before}![picture {self._pictures}]("
        self._writer.text(
            f"{opening}{address})" if isinstance(address, str) else Joined(opening, address, ")")
        )

    def _tool_call(self, event: ToolCall) -> None:
        call = self._calls.get(event.index)
        if call is None:
            call = self._calls[event.index] = _Call(event)
            if self._call is None:
                self._open_call(call)
        if not event.arguments:
            return
        if call is self._call:
            self._write_arguments(call, event.arguments)
        elif call.written:
            raise faults.malformed("a call went on after it had ended")
        else:
            call.waiting.append(event.arguments)

    def _citation(self, event: Citation) -> None:
        """They come together, behind all that was said: each is of the last block that begins before its end.
        One that cites nothing is of the last of all."""
        if not self._texts:
            return
        block = self._texts[bisect_left(self._texts, event.end, key=attrgetter("offset")) - 1]
        block.pieces = ["".join(block.pieces)]  # once: further citations find it joined
        start = max(event.start - block.offset, 0)
        end = min(max(event.end - block.offset, 0), start + _CITED_MOST)
        self._writer.citation(
            block.place,
            {
                "type": "web_search_result_location",
                "url": event.url,
                "title": event.title or None,
                "cited_text": block.pieces[0][start:end],
                "encrypted_index": _SEALED,
            },
        )

    def _extra(self, event: Extra) -> None:
        """The vendor wants to hear of its own tools again. Only where there are thoughts do clients expect
        blocks that they cannot read, and send them back."""
        if self._shape.thinks:
            self._unsaid = event.values.get("parts") or self._unsaid

    # --- blocks

    def _begin(self, kind: str, block: Json) -> None:
        self._end()
        self._writer.begin(block)
        self._begun += 1
        self.open = kind

    def _open_text(self) -> None:
        if self.open != "text":
            self._begin("text", {"type": "text", "text": ""})
            before = self._texts[-1] if self._texts else _Said(0, 0)
            offset = before.offset + sum(map(len, before.pieces))
            self._texts.append(_Said(self._begun - 1, offset))

    def _think(self) -> None:
        self._begin("thinking", {"type": "thinking", "thinking": "", "signature": ""})
        self._signed = False

    def _sign(self, signature: str) -> None:
        """A signature rides on the thought before what it belongs to. Without one the memory knows it."""
        if self.open == "thinking" and not self._signed:
            self._writer.signature(signature)
            self._signed = True

    def _open_call(self, call: _Call) -> None:
        signature = call.event.signature
        if signature is not None and self._shape.thinks:
            if self.open != "thinking" or self._signed:
                self._think()
            self._sign(signature)
        identity = ids.shown(call.event.id)
        self._begin("tool_use", {"type": "tool_use", "id": identity, "name": call.event.name, "input": {}})
        self._call = call
        call.written = True

    def _write_arguments(self, call: _Call, piece: str) -> None:
        """They have to be an object: what begins as something else becomes a text in one."""
        if call.ending == "{}":
            first = piece.lstrip()[:1]
            if not first:
                return
            call.ending = "" if first == "{" else '"}'
            if call.ending:
                self._writer.arguments('{"arguments":"')
        self._writer.arguments(orjson.dumps(piece).decode()[1:-1] if call.ending else piece)

    def _end(self) -> None:
        """End the block that is open; behind a call those that waited for it follow."""
        call = self._call
        self._end_one()
        if call is None:
            return
        for following in list(self._calls.values()):
            if not following.written:
                self._open_call(following)
                for piece in following.waiting:
                    self._write_arguments(following, piece)
                self._end_one()

    def _end_one(self) -> None:
        if not self.open:
            return
        if self.open == "thinking" and not self._signed:
            self._writer.signature(UNSIGNED)
        call, self._call = self._call, None
        if call is not None and call.ending:
            self._writer.arguments(call.ending)
        elif call is not None and not self._writer.is_readable():
            self._unreadable = call.event.name
        self._writer.end()
        self.open = ""

    def _search(self, search: Searched) -> None:
        """As Anthropic tells its own, to those who know its tool. What it has found may be told later."""
        self.searched += len(search.queries)
        if SEARCH not in self._shape.server_tools:
            return
        if search.queries or not self._searching:
            self._end_search()
            self._searching = f"srvtoolu_{token_hex(12)}"
            use: Json = {"type": "server_tool_use", "id": self._searching, "name": SEARCH, "input": {}}
            self._begin("server_tool_use", use)
            self._writer.arguments(orjson.dumps({"query": "\n".join(search.queries)}).decode())
        if search.sources:
            self._end_search(search.sources)

    def _end_search(self, sources: Sequence[tuple[str, str]] = ()) -> None:
        identity, self._searching = self._searching, ""
        if not identity:
            return
        results = [
            {
                "type": "web_search_result",
                "url": url,
                "title": title,
                "encrypted_content": _SEALED,
                "page_age": None,
            }
            for url, title in sources
        ]
        self._begin(
            "web_search_tool_result",
            {"type": "web_search_tool_result", "tool_use_id": identity, "content": results},
        )
        self._end()


_HANDLERS: dict[type, Callable[[Blocks, Any], None]] = {
    Started: Blocks._start,
    Usage: Blocks._count,
    Finish: Blocks._finish,
    Text: Blocks._text,
    Reasoning: Blocks._reasoning,
    Image: Blocks._image,
    ToolCall: Blocks._tool_call,
    Refusal: Blocks._refusal,
    CodeRun: Blocks._code_run,
    Audio: Blocks._audio,
    Citation: Blocks._citation,
    Extra: Blocks._extra,
    Searched: Blocks._search,
}


def usage(counted: Usage, searched: int = 0) -> Json:
    """What was counted: the three of the input add up to the prompt. `searched`: how often."""
    cached = min(counted.cached, counted.prompt)
    written = min(counted.cache_write or 0, counted.prompt - cached)
    told: Json = {
        "input_tokens": counted.prompt - cached - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": counted.completion,
        "output_tokens_details": {"thinking_tokens": counted.reasoning},
        "service_tier": "standard",
    }
    if searched:
        told["server_tool_use"] = {"web_search_requests": searched, "web_fetch_requests": 0}
    return told
