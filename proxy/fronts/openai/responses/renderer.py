"""Renders events as the items of a response: one JSON object, or a stream of numbered events.

Both ways go through the same steps; a whole reply only writes nothing on its way. An item is open as long as
what comes belongs to it. R-080..R-086 are its law.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson

from proxy.codec import jsonio
from proxy.fronts import faults, searches
from proxy.fronts.base import Facts, Header, Kept, Parsed, Piece
from proxy.fronts.openai import error_reply, spelling
from proxy.fronts.openai.chat import reply_parts
from proxy.fronts.openai.items import sealed
from proxy.fronts.openai.items.outgoing import Item, Items, Part
from proxy.fronts.openai.kept import state
from proxy.fronts.openai.responses import reply, tools
from proxy.fronts.openai.responses.shape import Known, ResponsesShape
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


class ResponsesRenderer(Items):
    """One per reply."""

    ping = b": keep-alive\n\n"
    headers: tuple[Header, ...] = ()

    def __init__(self, parsed: Parsed[ChatRequest, ResponsesShape], facts: Facts) -> None:
        super().__init__(facts.identity and facts.identity.removeprefix(_PREFIX))
        self._parsed = parsed
        self._shape = parsed.shape
        self._facts = facts
        self._response: Json = {}
        self._open: Item | None = None  # a message, a thought, a picture or code
        self._part: Part | None = None
        self._before_text = b""
        self._calls: dict[int, Item] = {}  # by the index of their events
        self._open_calls: dict[int, Item] = {}  # by their place, those that more may come of
        self._call_ids: set[str] = set()
        self._shown = 0  # characters of the answer so far
        self._seals: Json = {}  # signatures that no reasoning item holds yet
        self._all_seals: Json = {}
        self._refusals: list[str] = []
        self._partial: Item | None = None
        self._tier: str | None = None
        self._usage = Usage()
        self._finish: Finish | None = None

    # --- the contract of a renderer ------------------------------------------------------------------

    def whole(self, events: Iterable[Event]) -> list[Piece]:
        self._begin()
        for event in searches.first(events):
            _HANDLERS[type(event)](self, event)
        self._end()
        try:
            return jsonio.dumps(self._response)
        except jsonio.JSONEncodeError as error:
            raise faults.unwritable(error) from None

    def feed(self, events: Iterable[Event]) -> bytes | list[Piece]:
        if not self._streams:
            self._begin_stream()
        out = self._out
        for event in events:
            part = self._part
            if type(event) is Text and event.signature is None and part is not None and self._before_text:
                if text := event.text:
                    part.pieces.append(text)
                    out += (_DELTA, b"%d" % self._number, self._before_text, orjson.dumps(text), _AFTER_DELTA)
                    self._number += 1
            else:
                _HANDLERS[type(event)](self, event)
        return self._taken()

    def finish(self) -> bytes | list[Piece]:
        if not self._streams:
            self._begin_stream()
        self._end()
        self._emit(f"response.{self._response['status']}", response=self._response)
        return self._taken()

    def error(self, error: BaseException, request_id: str) -> bytes:
        """R-086: some clients read the flat members, some the object, and Codex what follows."""
        if not self._streams:
            self._begin_stream()
        told = error_reply.members(spelling.spelled_error(error, self._parsed), request_id)
        self._emit("error", code=told["code"], message=told["message"], param=told["param"], error=told)
        return self._broken_off("response.failed", status="failed", error=reply.failure(error, told))

    def called_off(self) -> bytes:
        """There is no event of this name; what is incomplete ends a stream for all clients."""
        if not self._streams:
            self._begin_stream()
        return self._broken_off("response.incomplete", status="cancelled")

    def _broken_off(self, event: str, **members: Any) -> bytes:
        self._response |= members | {"output": [item.body for item in self._items if item.done]}
        self._emit(event, response=self._response)
        taken = self._taken()
        return taken if isinstance(taken, bytes) else b"".join(taken)

    def queued(self) -> list[Piece]:
        self._begin()
        return jsonio.dumps(self._response)

    def kept(self) -> Kept:
        return state.kept(self._response, self._shape, self._token, self._all_seals)

    # --- its begin --------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._response = reply.begun(self._parsed, _PREFIX + self._token, self._facts.created)

    def _begin_stream(self) -> None:
        self._streams = True
        if not self._response:
            self._begin()
        self._emit("response.created", response=self._response)
        if self._shape.background:
            self._emit("response.queued", response=self._response)
            self._response["status"] = "in_progress"
        self._emit("response.in_progress", response=self._response)

    def _settle(self, status: str = "completed") -> None:
        """Nothing that is open goes on."""
        item, self._open = self._open, None
        if item is not None:
            _CLOSERS[item.body["type"]](self, item, status)
        self._end_whole_calls()

    # --- messages ------------------------------------------------------------------------------------

    def _text(self, event: Text) -> None:
        if event.signature is not None:
            self._seal(sealed.TEXT, event.signature)
        if not event.text:
            return
        part = self._part_of("output_text")
        part.pieces.append(event.text)
        assert self._open is not None
        if self._streams:
            self._of_part("response.output_text.delta", self._open, part, delta=event.text, logprobs=[])

    def _refusal(self, event: Refusal) -> None:
        """Held until it is known whether the model refuses, or a filter has stopped it."""
        self._refusals.append(event.text)

    def _show_refusal(self) -> None:
        if text := "".join(self._refusals):
            part = self._part_of("refusal")
            part.pieces.append(text)
            assert self._open is not None
            self._of_part("response.refusal.delta", self._open, part, delta=text)

    def _part_of(self, sort: str) -> Part:
        """The open part, if it is of this sort; else a new one, in the open message or in a new one."""
        part = self._part
        if part is not None and part.body["type"] == sort:
            return part
        item = self._message()
        self._end_part(item)
        empty: Json = {"annotations": [], "logprobs": []} if sort == "output_text" else {}
        name = "text" if sort == "output_text" else "refusal"
        part = Part(len(item.body["content"]), {"type": sort, name: "", **empty}, self._shown)
        self._part = part
        self._of_part("response.content_part.added", item, part, part=part.body)
        if sort == "output_text" and self._streams:
            of = {"item_id": item.body["id"], "output_index": item.place, "content_index": part.place}
            self._before_text = b"," + orjson.dumps(of)[1:-1] + b',"delta":'
        return part

    def _message(self) -> Item:
        if self._open is None or self._open.body["type"] != "message":
            self._settle()
            body: Json = {"id": self._id("msg"), "type": "message", "role": "assistant"}
            body |= {"status": "in_progress", "content": []}
            self._open = self._add(body)
        return self._open

    def _end_part(self, item: Item) -> None:
        part, self._part = self._part, None
        self._before_text = b""
        if part is None:
            return
        text = "".join(part.pieces)
        body: Json
        if part.body["type"] == "output_text":
            self._shown += len(text)
            body = {"type": "output_text", "text": text}
            body |= {"annotations": part.annotations, "logprobs": part.logprobs}
            self._of_part("response.output_text.done", item, part, text=text, logprobs=part.logprobs)
        else:
            body = {"type": "refusal", "refusal": text}
            self._of_part("response.refusal.done", item, part, refusal=text)
        self._of_part("response.content_part.done", item, part, part=body)
        item.body["content"].append(body)

    def _end_message(self, item: Item, status: str) -> None:
        self._end_part(item)
        item.body["status"] = status
        self._done(item)

    def _citation(self, event: Citation) -> None:
        """Of the part that is open; a part that is over was cited before."""
        part, item = self._part, self._open
        if part is None or item is None or part.body["type"] != "output_text":
            return
        part.pieces = ["".join(part.pieces)]  # so that each citation need not count them again
        found = reply.annotation(event, part.offset, len(part.pieces[0]))
        number = len(part.annotations)
        part.annotations.append(found)
        self._of_part(
            "response.output_text.annotation.added", item, part, annotation_index=number, annotation=found
        )

    def _logprobs(self, event: Logprobs) -> None:
        if self._shape.logprobs and self._part is not None and self._part.body["type"] == "output_text":
            self._part.logprobs += event.content

    def _audio(self, event: Audio) -> None:
        """Responses have no item for sound; what was said aloud is told in words."""
        self._text(Text(event.transcript))

    # --- thoughts ------------------------------------------------------------------------------------

    def _reasoning(self, event: Reasoning) -> None:
        if not self._shape.shows_thoughts or not event.text:
            return
        item = self._open
        if item is None or item.body["type"] != "reasoning":
            self._settle()
            item = self._open = self._add({"id": self._id("rs"), "type": "reasoning", "summary": []})
        elif event.text.startswith("**") and item.pieces:  # a bold line is a title
            self._end_summary(item)
        number = len(item.body["summary"])
        if not item.pieces:
            part = {"type": "summary_text", "text": ""}
            self._of_item("response.reasoning_summary_part.added", item, summary_index=number, part=part)
        item.pieces.append(event.text)
        name = "response.reasoning_summary_text.delta"
        self._of_item(name, item, summary_index=number, delta=event.text)

    def _end_summary(self, item: Item) -> None:
        if not item.pieces:
            return
        number, text = len(item.body["summary"]), "".join(item.pieces)
        part = {"type": "summary_text", "text": text}
        self._of_item("response.reasoning_summary_text.done", item, summary_index=number, text=text)
        self._of_item("response.reasoning_summary_part.done", item, summary_index=number, part=part)
        item.body["summary"].append(part)
        item.pieces = []

    def _end_thought(self, item: Item, status: str) -> None:
        self._end_summary(item)
        if self._shape.seals and self._seals:
            item.body["encrypted_content"] = sealed.seal(self._seals)
            self._seals = {}
        self._done(item)

    def _seal(self, name: str, value: Any) -> None:
        self._seals[name] = value
        self._all_seals[name] = value

    def _seal_now(self) -> None:
        """Signatures go out before what they belong to or, where they come late, behind it."""
        if self._open is not None and self._open.body["type"] == "reasoning":
            self._settle()
        elif self._shape.seals and self._seals:
            self._settle()
            item = self._add({"id": self._id("rs"), "type": "reasoning", "summary": []})
            self._end_thought(item, "completed")

    # --- calls ---------------------------------------------------------------------------------------

    def _tool_call(self, event: ToolCall) -> None:
        item = self._calls.get(event.index)
        if item is None:
            item = self._begin_call(event)
        elif event.signature is not None:
            self._seal(item.body["call_id"], event.signature)
        if event.arguments and not item.done:
            item.pieces.append(event.arguments)
            if item.body["type"] == "function_call":
                self._of_item("response.function_call_arguments.delta", item, delta=event.arguments)

    def _begin_call(self, event: ToolCall) -> Item:
        call_id = reply_parts.call_id(event, self._call_ids)
        self._call_ids.add(call_id)
        if event.signature is not None:
            self._seal(call_id, event.signature)
        self._end_whole_calls()
        self._seal_now()
        if self._open is not None:
            item, self._open = self._open, None
            _CLOSERS[item.body["type"]](self, item, "completed")
        known = self._shape.known.get(event.name) or Known("function", event.name)
        prefix, sort, empty = _CALLS[known.kind]
        body: Json = {"id": self._id(prefix), "type": sort, "call_id": call_id}
        body |= {"name": known.name} if known.kind != "tool_search" else {"execution": "client"}
        body |= empty
        if known.namespace:
            body["namespace"] = known.namespace
        item = self._calls[event.index] = self._add(body | {"status": "in_progress"})
        self._open_calls[item.place] = item
        return item

    def _end_whole_calls(self) -> None:
        """A call is over when something else begins, unless its arguments are not: some upstreams mix."""
        for call in list(self._open_calls.values()):
            if call.pieces and _is_json("".join(call.pieces)):
                self._end_call(call)

    def _end_call(self, item: Item) -> None:
        del self._open_calls[item.place]
        said, body = "".join(item.pieces), item.body
        if body["type"] == "function_call":
            if not said:
                said = "{}"
                self._of_item("response.function_call_arguments.delta", item, delta=said)
            body["arguments"] = said
            self._of_item("response.function_call_arguments.done", item, arguments=said)
        elif body["type"] == "custom_tool_call":
            body["input"] = said = tools.free_text(said)
            self._of_item("response.custom_tool_call_input.delta", item, delta=said)
            self._of_item("response.custom_tool_call_input.done", item, input=said)
        else:
            body["arguments"] = orjson.loads(said) if _is_json(said) and said else {}
        body["status"] = "completed"
        self._done(item)

    # --- what the upstream made or ran ---------------------------------------------------------------

    def _partial_image(self, event: PartialImage) -> None:
        item = self._partial = self._partial or self._begin_picture()
        self._of_item(
            "response.image_generation_call.partial_image",
            item,
            partial_image_index=event.index,
            partial_image_b64=event.data,
        )

    def _begin_picture(self) -> Item:
        self._settle()
        body = {"id": self._id("ig"), "type": "image_generation_call", "status": "in_progress"}
        item = self._add(body | {"result": None})
        self._of_item("response.image_generation_call.in_progress", item)
        self._of_item("response.image_generation_call.generating", item)
        return item

    def _image(self, event: Image) -> None:
        item, self._partial = self._partial, None
        if item is None:
            if event.signature is not None:  # it is known which item comes, but for the reasoning before it
                ahead = 1 if self._shape.seals and not self._thinks() else 0
                self._seal(f"ig_{self._token}{len(self._items) + ahead:02x}", event.signature)
                self._seal_now()
            item = self._begin_picture()
        elif event.signature is not None:
            self._seal(item.body["id"], event.signature)
        item.body |= reply.picture(event, self._shape.picture)
        self._of_item("response.image_generation_call.completed", item)
        self._done(item)

    def _thinks(self) -> bool:
        return self._open is not None and self._open.body["type"] == "reasoning"

    def _code_run(self, event: CodeRun) -> None:
        item = self._open
        if event.code is not None or item is None or item.body["type"] != "code_interpreter_call":
            self._settle()
            item = self._open = self._begin_code(event.code or "")
        self._shown += len(event.shown)
        if event.output is None:
            return
        if self._shape.outputs:
            item.body["outputs"] = [{"type": "logs", "logs": event.output}]
        self._open = None
        self._end_code(item, "completed" if event.ok else "failed")

    def _begin_code(self, code: str) -> Item:
        body: Json = {"id": self._id("ci"), "type": "code_interpreter_call", "status": "in_progress"}
        body |= {"code": code, "container_id": f"cntr_{self._token}", "outputs": None}
        item = self._add(body, code="")
        self._of_item("response.code_interpreter_call.in_progress", item)
        self._of_item("response.code_interpreter_call_code.delta", item, delta=code)
        self._of_item("response.code_interpreter_call_code.done", item, code=code)
        self._of_item("response.code_interpreter_call.interpreting", item)
        return item

    def _end_code(self, item: Item, status: str) -> None:
        item.body["status"] = status
        self._of_item("response.code_interpreter_call.completed", item)
        self._done(item)

    def _searched(self, event: Searched) -> None:
        self._settle()
        found = reply.sources(event.sources) if self._shape.sources else None
        body = {"id": self._id("ws"), "type": "web_search_call", "status": "completed"}
        item = self._add(body | {"action": reply.searched(event.queries, found)}, status="in_progress")
        for word in ("in_progress", "searching", "completed"):
            self._of_item(f"response.web_search_call.{word}", item)
        self._done(item)

    def _extra(self, event: Extra) -> None:
        """What the vendor said to its own tools, which it wants to hear again."""
        if event.values.get("parts"):
            self._seal(sealed.PARTS, event.values["parts"])

    # --- the end -------------------------------------------------------------------------------------

    def _started(self, event: Started) -> None:
        self._tier = self._tier or event.service_tier

    def _count(self, event: Usage) -> None:
        self._usage = event
        self._tier = event.service_tier or self._tier

    def _finished(self, event: Finish) -> None:
        self._finish = event

    def _end(self) -> None:
        """Raises `UpstreamError` when the reply is not complete."""
        if self._finish is None:
            raise faults.truncated() if self._items else faults.empty_reply()
        status, why = reply.ending(self._finish.reason)
        if self._finish.reason == "content_filter":
            assert why is not None
            why["message"] = "".join(self._refusals) or self._finish.message
        else:
            self._show_refusal()
        self._settle(status)
        for call in list(self._open_calls.values()):
            self._end_call(call)
        if self._partial is not None:
            self._partial.body["status"] = "failed"
            self._done(self._partial)
        self._seal_now()
        self._response |= {
            "status": status,
            "incomplete_details": why,
            "output": [item.body for item in self._items],
            "usage": reply.usage(self._usage, self._facts.cost),
        }
        if status == "completed":
            self._response["completed_at"] = int(self._facts.now())
        if self._tier is not None:
            self._response["service_tier"] = self._tier


# Kind of a call: the prefix of its id, its type, and what it holds before anything came.
_CALLS: dict[str, tuple[str, str, Json]] = {
    "function": ("fc", "function_call", {"arguments": ""}),
    "custom": ("ctc", "custom_tool_call", {"input": ""}),
    "tool_search": ("tsc", "tool_search_call", {"arguments": {}}),
}

_CLOSERS: dict[str, Callable[[ResponsesRenderer, Item, str], None]] = {
    "message": ResponsesRenderer._end_message,
    "reasoning": ResponsesRenderer._end_thought,
    "code_interpreter_call": ResponsesRenderer._end_code,
}

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


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return False
    return True
