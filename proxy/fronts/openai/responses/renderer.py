"""Renders events as the items of a response: one JSON object, or a stream of numbered events.

Both ways go through the same steps; a whole reply only writes nothing on its way. An item is open as long as
what comes belongs to it. R-080..R-086 are its law.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

import orjson

from proxy.codec import jsonio
from proxy.fronts import faults, sealed, searches
from proxy.fronts.base import Facts, Header, Kept, Parsed, Piece
from proxy.fronts.openai import error_reply, spelling
from proxy.fronts.openai.items.called import Call, Known
from proxy.fronts.openai.items.made import Code, Picture, Search, Sources
from proxy.fronts.openai.items.outgoing import Outgoing
from proxy.fronts.openai.items.spoken import Message, Thought
from proxy.fronts.openai.kept import state
from proxy.fronts.openai.replies import reply_parts
from proxy.fronts.openai.responses import reply
from proxy.fronts.openai.responses.shape import ResponsesShape
from proxy.types import (
    Audio,
    ChatRequest,
    Citation,
    CodeRun,
    Event,
    Extra,
    Finish,
    Image,
    Json,
    Logprobs,
    PartialImage,
    Reasoning,
    Refusal,
    Searched,
    Started,
    Text,
    ToolCall,
    Usage,
)

_PREFIX = "resp_"
_DELTA = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":'
_AFTER_DELTA = b',"logprobs":[]}\n\n'


class ResponsesRenderer:
    """One per reply."""

    ping = b": keep-alive\n\n"
    headers: tuple[Header, ...] = ()

    def __init__(self, parsed: Parsed[ChatRequest, ResponsesShape], facts: Facts) -> None:
        self._out = Outgoing(facts.identity and facts.identity.removeprefix(_PREFIX))
        self._parsed = parsed
        self._shape = parsed.shape
        self._facts = facts
        self._response: Json = {}
        self._open: Message | Thought | Code | None = None
        self._messages: list[Message] = []
        self._calls: dict[int, Call] = {}  # by the index of their events
        self._grown: dict[int, Call] = {}  # those that more came of since they were looked at
        self._call_ids: set[str] = set()
        self._drawing: Picture | None = None
        self._search: Search | None = None  # the last one
        self._seals: Json = {}  # signatures that no reasoning item holds yet
        self._all_seals: Json = {}
        self._refusals: list[str] = []
        self._tier: str | None = None
        self._usage = Usage()
        self._finish: Finish | None = None

    # --- the contract of a renderer ------------------------------------------------------------------

    def whole(self, events: Iterable[Event]) -> list[Piece]:
        self._begin()
        for event in searches.first(events):
            _HANDLERS[type(event)](self, event)
        self._end()
        return faults.dumped(self._response)

    def feed(self, events: Iterable[Event]) -> bytes | list[Piece]:
        out = self._out
        if not out.streams:
            self._begin_stream()
        if not self._parsed.request.stream:  # made in the background, and told when all is there
            events = searches.first(events)
        for event in events:
            message = self._open
            part = message.part if type(message) is Message else None
            if type(event) is Text and event.signature is None and part is not None and part.before_delta:
                if text := event.text:
                    part.pieces.append(text)
                    number = b"%d" % out.number
                    out.number += 1
                    out.frames += (_DELTA, number, part.before_delta, orjson.dumps(text), _AFTER_DELTA)
            else:
                _HANDLERS[type(event)](self, event)
        return out.taken()

    def finish(self) -> bytes | list[Piece]:
        self._begin_stream()
        self._end()
        self._out.emit(f"response.{self._response['status']}", response=self._response)
        return self._out.taken()

    def error(self, error: BaseException, request_id: str) -> bytes:
        """R-086: some clients read the flat members, some the object, and Codex what follows."""
        self._begin_stream()
        told = error_reply.members(spelling.spelled_error(error, self._parsed), request_id)
        self._out.emit("error", code=told["code"], message=told["message"], param=told["param"], error=told)
        failure = error_reply.of_response(error, told)
        return self._broken_off("response.failed", status="failed", error=failure)

    def called_off(self) -> bytes:
        """There is no event of this name; what is incomplete ends a stream for all clients."""
        self._begin_stream()
        return self._broken_off("response.incomplete", status="cancelled")

    def _broken_off(self, event: str, **members: Any) -> bytes:
        self._response |= members | {"output": [item.body for item in self._out.items if item.done]}
        self._out.emit(event, response=self._response)
        return self._out.drained()

    def queued(self) -> list[Piece]:
        self._begin()
        return jsonio.dumps(self._response)

    def kept(self) -> Kept:
        return state.kept(self._response, self._shape, self._out.token, self._all_seals)

    # --- its begin --------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._response = reply.begun(self._parsed, _PREFIX + self._out.token, self._facts.created)

    def _begin_stream(self) -> None:
        """Of a stream that has not begun."""
        out = self._out
        if out.streams:
            return
        out.streams = True
        if not self._response:
            self._begin()
        out.emit("response.created", response=self._response)
        if self._shape.background:
            out.emit("response.queued", response=self._response)
            self._response["status"] = "in_progress"
        out.emit("response.in_progress", response=self._response)

    # --- which item is open ------------------------------------------------------------------------------

    def _message(self) -> Message:
        item = self._open
        if type(item) is not Message:
            self._settle()
            item = self._open = Message(self._out)
            self._messages.append(item)
        return item

    def _close(self, status: str = "completed") -> None:
        item, self._open = self._open, None
        if type(item) is Thought:
            self._seal_in(item)
        if item is not None:
            item.end(status)

    def _settle(self, status: str = "completed") -> None:
        """Nothing that is open goes on."""
        self._close(status)
        if self._grown:
            self._end_whole_calls()

    def _end_whole_calls(self) -> None:
        """A call is over when something else begins, unless its arguments are not: some upstreams mix."""
        grown, self._grown = self._grown, {}
        for call in grown.values():
            if call.is_whole:
                call.end()

    # --- signatures ------------------------------------------------------------------------------------

    def _seal(self, name: str, value: Any) -> None:
        self._seals[name] = value
        self._all_seals[name] = value

    def _seal_in(self, thought: Thought) -> None:
        if self._shape.seals and self._seals:
            thought.body["encrypted_content"] = sealed.seal(self._seals)
            self._seals = {}

    def _seal_now(self) -> None:
        """Signatures go out before what they belong to or, where they come late, behind it."""
        if type(self._open) is Thought:
            self._settle()
        elif self._shape.seals and self._seals:
            self._settle()
            self._open = Thought(self._out)
            self._close()

    # --- one event each ----------------------------------------------------------------------------------

    def _text(self, event: Text) -> None:
        if event.signature is not None:
            self._seal(sealed.TEXT, event.signature)
        if event.text:
            self._message().say(event.text)

    def _audio(self, event: Audio) -> None:
        """Responses have no item for sound; what was said aloud is told in words."""
        if event.transcript:
            self._message().say(event.transcript)

    def _refusal(self, event: Refusal) -> None:
        """Held until it is known whether the model refuses, or a filter has stopped it."""
        self._refusals.append(event.text)

    def _citation(self, event: Citation) -> None:
        """Of the last message that begins before its end; one that cites nothing is of the last of all."""
        if self._messages:
            place = bisect_left(self._messages, event.end, key=attrgetter("offset"))
            self._messages[place - 1].cite(event)

    def _logprobs(self, event: Logprobs) -> None:
        if self._shape.logprobs and type(self._open) is Message:
            self._open.weigh(event.content)

    def _reasoning(self, event: Reasoning) -> None:
        if not self._shape.shows_thoughts or not event.text:
            return
        item = self._open
        if type(item) is not Thought:
            self._settle()
            item = self._open = Thought(self._out)
        item.say(event.text)

    def _tool_call(self, event: ToolCall) -> None:
        call = self._calls.get(event.index)
        if call is None:
            call = self._begin_call(event)
        elif event.signature is not None:
            self._seal(call.body["call_id"], event.signature)
        if event.arguments and not call.done:
            call.add(event.arguments)
            self._grown[event.index] = call

    def _begin_call(self, event: ToolCall) -> Call:
        call_id = reply_parts.call_id(event, self._call_ids)
        if event.signature is not None:
            self._seal(call_id, event.signature)
        self._end_whole_calls()
        self._seal_now()
        self._close()
        known = self._shape.known.get(event.name) or Known("function", event.name)
        call = self._calls[event.index] = Call(self._out, call_id, known)
        return call

    def _partial_image(self, event: PartialImage) -> None:
        if self._drawing is None:
            self._drawing = self._begin_picture()
        self._drawing.sketch(event)

    def _begin_picture(self) -> Picture:
        self._settle()
        return Picture(self._out, self._shape.picture)

    def _image(self, event: Image) -> None:
        item, self._drawing = self._drawing, None
        if item is None:
            if event.signature is not None:  # it is known which item comes, but for the reasoning before it
                ahead = 1 if self._shape.seals and type(self._open) is not Thought else 0
                self._seal(self._out.id(Picture.prefix, ahead), event.signature)
                self._seal_now()
            item = self._begin_picture()
        elif event.signature is not None:
            self._seal(item.body["id"], event.signature)
        item.show(event)

    def _code_run(self, event: CodeRun) -> None:
        item = self._open
        if event.code is not None or type(item) is not Code:
            self._settle()
            item = self._open = Code(self._out, event.code or "")
        self._out.shown += len(event.shown)
        if event.output is None:
            return
        if self._shape.outputs:
            item.log(event)
        self._close("completed" if event.ok else "failed")

    def _searched(self, event: Searched) -> None:
        """Where its sources were asked for, a search is over when they are known."""
        if event.queries or self._search is None:
            self._end_search()
            self._settle()
            self._search = Search(self._out, event.queries)
        if event.sources or not self._shape.sources:
            self._end_search(event.sources)

    def _end_search(self, sources: Sources = ()) -> None:
        search = self._search
        if search is None or search.done:
            return
        if self._shape.sources:
            search.found(sources)
        search.end()

    def _extra(self, event: Extra) -> None:
        """What the vendor said to its own tools, which it wants to hear again."""
        if event.values.get("parts"):
            self._seal(sealed.PARTS, event.values["parts"])

    def _started(self, event: Started) -> None:
        self._tier = self._tier or event.service_tier

    def _count(self, event: Usage) -> None:
        self._usage = event
        self._tier = event.service_tier or self._tier

    def _finished(self, event: Finish) -> None:
        self._finish = event

    # --- the end -------------------------------------------------------------------------------------

    def _end(self) -> None:
        """Raises `UpstreamError` when the reply is not complete."""
        finish, items = self._finish, self._out.items
        if finish is None:
            raise faults.truncated() if items else faults.empty_reply()
        status, why = reply.ending(finish.reason)
        refused = "".join(self._refusals)
        if finish.reason == "content_filter":
            assert why is not None
            why["message"] = refused or finish.message
            refused = (refused or reply_parts.filtered(finish)) if self._shape.refusal_in_text else ""
        if refused and self._shape.refusal_in_text:
            message = self._message()
            message.say(refused if message.part is None else f"\n\n{refused}")
        elif refused:
            self._message().refuse(refused)
        elif self._shape.needs_message and not self._messages and not self._calls:
            self._message().say("")
        self._settle(status)
        for call in self._calls.values():
            if not call.done:
                call.end("incomplete")
        if self._drawing is not None:
            self._drawing.end()
        self._end_search()
        self._seal_now()
        self._response |= {
            "status": status,
            "incomplete_details": why,
            "output": [item.body for item in items],
            "usage": reply.usage(self._usage, self._facts.cost),
        }
        if status == "completed":
            self._response["completed_at"] = int(self._facts.now())
        if self._tier is not None:
            self._response["service_tier"] = self._tier


_HANDLERS: dict[type, Callable[[ResponsesRenderer, Any], None]] = {
    Text: ResponsesRenderer._text,
    Reasoning: ResponsesRenderer._reasoning,
    Refusal: ResponsesRenderer._refusal,
    ToolCall: ResponsesRenderer._tool_call,
    Image: ResponsesRenderer._image,
    PartialImage: ResponsesRenderer._partial_image,
    CodeRun: ResponsesRenderer._code_run,
    Searched: ResponsesRenderer._searched,
    Citation: ResponsesRenderer._citation,
    Logprobs: ResponsesRenderer._logprobs,
    Audio: ResponsesRenderer._audio,
    Extra: ResponsesRenderer._extra,
    Started: ResponsesRenderer._started,
    Usage: ResponsesRenderer._count,
    Finish: ResponsesRenderer._finished,
}
