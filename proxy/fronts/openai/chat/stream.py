"""Renders events as OpenAI chat completion chunks, one SSE frame each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from proxy.codec import jsonio
from proxy.fronts import faults
from proxy.fronts.openai import error_reply, spelling
from proxy.fronts.openai.replies import reply_parts
from proxy.fronts.openai.replies.reply_parts import Ending, Piece, ReplyOptions
from proxy.types import (
    Audio,
    Citation,
    CodeRun,
    Event,
    Extra,
    Finish,
    Image,
    Logprobs,
    Reasoning,
    Refusal,
    Searched,
    Started,
    Text,
    ToolCall,
    Usage,
)

if TYPE_CHECKING:
    from proxy.fronts.openai.replies import bodies

_DONE = b"data: [DONE]\n\n"


@dataclass(slots=True)
class _Call:
    position: int
    id: str
    signed: bool
    has_arguments: bool


@dataclass(slots=True)
class _Choice(Ending):
    before_delta: bytes = b""
    before_text: bytes = b""
    wrote: bool = False
    after_image: bool = False
    images: list[Image] = field(default_factory=list)
    sent_images: int = 0
    calls: dict[int, _Call] = field(default_factory=dict)
    call_ids: set[str] = field(default_factory=set)


@dataclass(slots=True)
class StreamRenderer:
    """One per reply. Feed it every batch of events, then call `finish`, or `error` when it broke.

    What belongs together (pictures, citations, the vendor's facts) and the finish itself wait for `finish`,
    so that nothing follows them. Frames that hold a picture come as pieces, others as one bytes.
    """

    _reply: ReplyOptions
    _started: Started | None = None
    _usage: Usage = field(default_factory=Usage)
    _tier: str | None = None
    _id: str = ""
    _created: int = 0
    _choices: dict[int, _Choice] = field(default_factory=dict)
    _begun: int = 0  # so many from the first have begun in the stream
    _out: list[Piece] = field(default_factory=list)
    _in_pieces: bool = False
    _head: bytes = b""
    _tail: bytes = b""
    _after_text: bytes = b""

    def feed(self, events: Iterable[Event]) -> bytes | list[Piece]:
        """Render a batch. May be empty: some events show only at the end."""
        out = self._out
        for event in events:
            if type(event) is Text:
                choice = self._choices.get(event.choice)
                if choice is None:
                    choice = self._open(event.choice)
                if event.signature is not None:
                    choice.signature = event.signature
                if text := event.text:
                    if choice.after_image:
                        choice.after_image = False
                        text = "\n\n" + text
                    choice.wrote = True
                    out += (choice.before_text, orjson.dumps(text), self._after_text)
            else:
                self._other(event)
        return self._taken()

    def finish(self) -> bytes | list[Piece]:
        """End a complete reply. Raises `UpstreamError` when it is not."""
        if not self._choices:
            raise faults.empty_reply()
        for choice in self._choices.values():
            choice.finished()
        for index in sorted(self._choices):
            self._end(self._choices[index])
        if self._reply.include_usage:
            counted = reply_parts.usage(self._usage, self._reply.cost)
            body: bodies.LastChunk = {**self._common(), "choices": [], "usage": counted}
            if self._tier is not None:
                body["service_tier"] = self._tier
            self._out += (b"data: ", orjson.dumps(body), b"\n\n")
        self._out.append(_DONE)
        return self._taken()

    def error(self, error: BaseException, request_id: str = "") -> bytes:
        """The last frame of a reply that broke: no finish and no [DONE] follow."""
        return error_reply.event(spelling.spelled_error(error, self._reply.parsed), request_id)

    # --- one event each

    def _other(self, event: Event) -> None:
        if isinstance(event, Started):
            if not self._head:
                self._started = event
                self._tier = event.service_tier
        elif isinstance(event, Usage):
            self._usage = event
            self._tier = event.service_tier or self._tier
        else:
            choice = self._choices.get(event.choice)
            if choice is None:
                choice = self._open(event.choice, silent=isinstance(event, ToolCall | Audio | Refusal))
            _HANDLERS[type(event)](self, choice, event)

    def _open(self, index: int, *, silent: bool = False) -> _Choice:
        """Start a choice: its first delta has the role. `silent`: its content is null, as before calls."""
        if not self._head:
            common = orjson.dumps(self._common())
            self._head = b"data: " + common[:-1] + b',"choices":[{"index":'
            self._tail = b',"usage":null}\n\n' if self._reply.include_usage else b"}\n\n"
            self._after_text = b'},"logprobs":null,"finish_reason":null}]' + self._tail
        choice = self._choices[index] = self._made(index)
        self._begin_before(index)
        if index >= self._begun:
            self._delta(choice, {"role": "assistant", "content": None if silent else ""})
            self._begun += index == self._begun
        return choice

    def _made(self, index: int) -> _Choice:
        before = self._head + str(index).encode() + b',"delta":'
        return _Choice(before_delta=before, before_text=before + b'{"content":')

    def _begin_before(self, index: int) -> None:
        """OpenAI's SDK takes the choices that were asked for by the order in which they begin, and breaks on
        a stream whose first is not the first."""
        wanted = 1 if self._reply.parsed is None else self._reply.parsed.request.n
        if index < wanted:
            for earlier in range(self._begun, index):
                self._delta(self._made(earlier), {"role": "assistant", "content": ""})
                self._begun += 1

    def _common(self) -> bodies.Common:
        """The members that are the same in every chunk."""
        if not self._id:
            self._id, self._created = reply_parts.identity(self._started, self._reply)
        common: bodies.Common = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._reply.model,
        }
        if self._started is not None and self._started.fingerprint is not None:
            common["system_fingerprint"] = self._started.fingerprint
        return common

    def _delta(
        self,
        choice: _Choice,
        delta: bodies.Delta,
        logprobs: bodies.Logprobs | None = None,
        finish: Finish | None = None,
    ) -> None:
        rest: bodies.Ended = {"logprobs": logprobs, "finish_reason": None}
        if finish is not None:
            rest["finish_reason"] = choice.reason(finish, self._reply.legacy_functions)
            if finish.native is not None:
                rest["native_finish_reason"] = finish.native
        try:
            body = jsonio.dumps(delta)
        except jsonio.JSONEncodeError as error:
            raise faults.unwritable(error) from None
        self._in_pieces = self._in_pieces or len(body) > 1
        self._out += (choice.before_delta, *body, b",", orjson.dumps(rest)[1:], b"]")
        if finish is not None and self._tier is not None:
            self._out += (b',"service_tier":', orjson.dumps(self._tier))
        self._out.append(self._tail)

    def _reasoning(self, choice: _Choice, event: Reasoning) -> None:
        if event.text:
            self._delta(choice, {"reasoning_content": event.text})

    def _refusal(self, choice: _Choice, event: Refusal) -> None:
        self._refuse(choice, event.text)

    def _refuse(self, choice: _Choice, text: str) -> None:
        delta: bodies.Delta = {"refusal": text}
        if self._reply.refusal_in_text:
            delta["content"] = "\n\n" + text if choice.wrote and not choice.refused else text
        choice.refused = True
        self._delta(choice, delta)

    def _image(self, choice: _Choice, event: Image) -> None:
        mode = self._reply.image_mode
        if mode in reply_parts.INLINE:
            shown = reply_parts.markdown(event, self._reply, "\n\n" if choice.wrote else "")
            self._delta(choice, {"content": shown})
            choice.wrote = choice.after_image = True
        if mode not in reply_parts.LISTED:
            choice.signature = event.signature or choice.signature
            return
        choice.images.append(event)

    def _send_images(self, choice: _Choice) -> None:
        """All in one chunk, and nothing else: Node's helper keeps the last, others drop what is beside."""
        if not choice.images:
            return
        entries = [
            reply_parts.image_entry(image, index, self._reply.vendor)
            for index, image in enumerate(choice.images, choice.sent_images)
        ]
        self._delta(choice, {"content": "", "images": entries})
        choice.sent_images += len(entries)
        choice.images = []

    def _audio(self, choice: _Choice, event: Audio) -> None:
        """Raw samples go out as they come, the first with id and expiry; a file is made at the end."""
        if reply_parts.needs_header(event, self._reply.audio_format):
            choice.audio.append(event)
            return
        sound = reply_parts.audio([event], self._reply, self._id)
        if choice.audio:
            del sound["id"]
        else:
            choice.audio.append(event)
        if event.expires_at is None and (event.id is not None or "id" not in sound):
            del sound["expires_at"]  # of ours it is told at once, of an upstream's when the upstream does
        self._delta(choice, {"audio": sound})

    def _tool_call(self, choice: _Choice, event: ToolCall) -> None:
        choice.called = True
        call = choice.calls.get(event.index)
        first = call is None
        if call is None:
            identity = reply_parts.call_id(event, choice.call_ids)
            call = choice.calls[event.index] = _Call(len(choice.calls), identity, False, False)
        call.has_arguments = call.has_arguments or bool(event.arguments)
        signature = None if call.signed else event.signature
        call.signed = call.signed or signature is not None
        if self._reply.legacy_functions:
            self._legacy_call(choice, call, event, first, signature)
            return
        entry: bodies.ToolCall = {"index": call.position}
        function: bodies.Function = {"arguments": event.arguments}
        if first:
            entry["id"], entry["type"] = call.id, "function"
            function = {"name": event.name, **function}
        elif not event.arguments and signature is None:
            return
        entry["function"] = function
        reply_parts.sign(entry, self._reply.vendor, signature)
        self._delta(choice, {"tool_calls": [entry]})

    def _legacy_call(
        self, choice: _Choice, call: _Call, event: ToolCall, first: bool, signature: str | None
    ) -> None:
        """`function_call` has room for one call; its signature goes to the message."""
        if call.position:
            return
        choice.signature = signature or choice.signature
        named: bodies.Function = {"name": event.name} if first else {}
        self._delta(choice, {"function_call": {**named, "arguments": event.arguments}})

    def _logprobs(self, choice: _Choice, event: Logprobs) -> None:
        self._delta(choice, {}, reply_parts.logprobs(event.content, event.refusal))

    def _citation(self, choice: _Choice, event: Citation) -> None:
        choice.citations.append(event)

    def _code_run(self, choice: _Choice, event: CodeRun) -> None:
        if event.shown:
            before = "\n\n" if choice.after_image else ""
            choice.after_image, choice.wrote = False, True
            self._out += (choice.before_text, orjson.dumps(before + event.shown), self._after_text)

    def _searched(self, choice: _Choice, event: Searched) -> None:
        """Told by the vendor's facts."""

    def _extra(self, choice: _Choice, event: Extra) -> None:
        choice.add_extra(event)

    def _finish(self, choice: _Choice, event: Finish) -> None:
        choice.finish = event

    # --- the end of a choice

    def _end(self, choice: _Choice) -> None:
        self._send_images(choice)
        if choice.audio and reply_parts.needs_header(choice.audio[0], self._reply.audio_format):
            self._delta(choice, {"audio": reply_parts.audio(choice.audio, self._reply, self._id)})
        for call in choice.calls.values():
            if not call.has_arguments:
                self._no_arguments(choice, call)
        finish = choice.finished()
        if unsaid := choice.unsaid_refusal(finish):
            self._refuse(choice, unsaid)
        last: bodies.Delta = {}
        if choice.citations:
            last["annotations"] = [reply_parts.annotation(citation) for citation in choice.citations]
        if extra := choice.extra_content(self._reply.vendor):
            last["extra_content"] = extra
        if last:
            self._delta(choice, last)
        self._delta(choice, {}, finish=finish)

    def _no_arguments(self, choice: _Choice, call: _Call) -> None:
        if not self._reply.legacy_functions:
            entry: bodies.ToolCall = {"index": call.position, "function": {"arguments": "{}"}}
            self._delta(choice, {"tool_calls": [entry]})
        elif not call.position:
            self._delta(choice, {"function_call": {"arguments": "{}"}})

    def _taken(self) -> bytes | list[Piece]:
        out, in_pieces = self._out, self._in_pieces
        self._out, self._in_pieces = [], False
        return out if in_pieces else b"".join(out)


_HANDLERS: dict[type, Callable[[StreamRenderer, _Choice, Any], None]] = {
    Reasoning: StreamRenderer._reasoning,
    Image: StreamRenderer._image,
    Audio: StreamRenderer._audio,
    ToolCall: StreamRenderer._tool_call,
    Refusal: StreamRenderer._refusal,
    Citation: StreamRenderer._citation,
    CodeRun: StreamRenderer._code_run,
    Searched: StreamRenderer._searched,
    Logprobs: StreamRenderer._logprobs,
    Extra: StreamRenderer._extra,
    Finish: StreamRenderer._finish,
}
