"""Renders events as a generateContent reply, whole or as the chunks of a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from proxy.codec import jsonio
from proxy.fronts import faults
from proxy.fronts.base import Header, Piece
from proxy.fronts.gemini import error_reply
from proxy.types import (
    Audio,
    Citation,
    CodeRun,
    Event,
    Extra,
    Finish,
    FinishReason,
    Image,
    Json,
    Logprobs,
    Native,
    PartialImage,
    Reasoning,
    Refusal,
    Searched,
    Started,
    Text,
    ToolCall,
    Usage,
)

PING = b"\r\n"  # Google's SDKs break on comments, and overlook an empty line

_REASONS: dict[FinishReason, str] = {
    "stop": "STOP",
    "tool_calls": "STOP",
    "function_call": "STOP",
    "length": "MAX_TOKENS",
    "content_filter": "SAFETY",
}


@dataclass(slots=True)
class _Call:
    id: str
    name: str
    signature: str | None
    arguments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Candidate:
    """One choice: `parts` wait to be written, `texts` for more of their kind, `calls` for the rest of their
    arguments."""

    index: int
    bare: bool = False
    parts: list[Json] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    thinks: bool = False
    calls: dict[int, _Call] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)  # all its texts
    cited: list[Citation] = field(default_factory=list)
    facts: Json = field(default_factory=dict)
    finish: Finish | None = None

    def say(self, text: str, *, thought: bool = False) -> None:
        """Text of one kind in a row is one part."""
        if thought is not self.thinks:
            self.close_text()
            self.thinks = thought
        if text:
            self.texts.append(text)

    def add(self, part: Json, signature: str | None = None) -> None:
        self.close_text()
        self.parts.append({**part, "thoughtSignature": signature} if signature else part)

    def close_text(self) -> None:
        if self.texts:
            said = "".join(self.texts)
            text = {"text": _word_of(said) if self.bare and not self.thinks else said}
            self.parts.append({**text, "thought": True} if self.thinks else text)
            self.texts = []

    def written(self) -> Json:
        """Its parts so far, which are written by that: never none, for clients take a content for granted."""
        self.close_text()
        parts, self.parts = self.parts or [{"text": ""}], []
        return {"content": {"role": "model", "parts": parts}, "index": self.index}

    def citations(self) -> Json:
        """Google counts bytes of UTF-8, and everybody else characters."""
        if not self.cited:
            return {}
        text, size, last = "".join(self.shown), 0, 0
        sizes: dict[int, int] = {}
        for place in sorted({place for one in self.cited for place in (one.start, one.end)}):
            size += len(text[last:place].encode("utf-8", "surrogatepass"))
            last, sizes[place] = place, size
        sources = [
            {"startIndex": sizes[one.start], "endIndex": sizes[one.end], "uri": one.url, "title": one.title}
            for one in self.cited
        ]
        return {"citationMetadata": {"citationSources": sources}}

    def call(self, event: ToolCall) -> None:
        call = self.calls.get(event.index)
        if call is None:
            call = self.calls[event.index] = _Call(event.id, event.name, event.signature)
        call.signature = call.signature or event.signature
        call.arguments.append(event.arguments)

    def close_calls(self) -> None:
        """N-033: calls are told whole, in their order. Nobody joins pieces of arguments here. As Google does,
        one in which the answer was cut off is left out; else raises `UpstreamError` for what is no JSON."""
        for _, call in sorted(self.calls.items()):
            arguments = _arguments(call)
            if arguments is not None:
                told = {"id": call.id, "name": call.name, "args": arguments}
                self.add({"functionCall": told}, call.signature)
            elif (broken := faults.broken_call(call.name, self.finish)) is not None:
                raise broken
        self.calls = {}


class GeminiRenderer:
    """One per reply. In a stream the finish, the counts, and calls that may go on wait for the end.

    Where the upstream speaks the dialect too, its own payloads are the reply. `bare`: the client wants one
    word of an enumeration, which others tell as JSON; it waits until it is whole. `thinks`: it asked to see
    thoughts; others may take them for the answer.
    """

    ping = PING
    headers: tuple[Header, ...] = ()

    def __init__(
        self, model: str, created: int, *, as_array: bool, bare: bool = False, thinks: bool = False
    ) -> None:
        self._model = model
        self._bare = bare
        self._thinks = thinks
        self._created = created
        self._as_array = as_array
        self._wrote = False
        self._relays = False
        self._started: Started | None = None
        self._usage: Usage | None = None
        self._candidates: dict[int, _Candidate] = {}

    # --- the contract -------------------------------------------------------------------------------

    def whole(self, events: Iterable[Event]) -> list[Piece]:
        events = list(events)
        natives = [event for event in events if type(event) is Native]
        if len(natives) == 1:
            return faults.dumped(natives[0].payload)
        self._take(events)
        return faults.dumped(self._last())

    def feed(self, events: Iterable[Event]) -> bytes | list[Piece]:
        batch = list(events)
        if self._relays or (batch and type(batch[0]) is Native):
            self._relays = True
            return self._framed([event.payload for event in batch if type(event) is Native])
        self._take(batch)
        told = [
            one.written()
            for one in self._candidates.values()
            if (one.parts or one.texts) and not (one.calls or one.finish or self._bare)
        ]
        return self._framed([self._payload(told, {})] if told else [])

    def finish(self) -> bytes | list[Piece]:
        last = self._framed([] if self._relays else [self._last()])
        if not self._as_array:
            return last
        return last + b"]" if isinstance(last, bytes) else [*last, b"]"]

    def error(self, error: BaseException, request_id: str) -> bytes:
        told = orjson.dumps({"error": error_reply.members(error)})
        if not self._as_array:
            return b"data: " + told + b"\r\n\r\n"
        return (b",\r\n" if self._wrote else b"[") + told + b"]"

    # --- events -------------------------------------------------------------------------------------

    def _take(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Started):
                self._started = self._started or event
            elif isinstance(event, Usage):
                self._usage = event
            elif not isinstance(event, Native) and (self._thinks or not isinstance(event, Reasoning)):
                candidate = self._candidates.get(event.choice)
                if candidate is None:
                    candidate = self._candidates[event.choice] = _Candidate(event.choice, self._bare)
                if isinstance(event, ToolCall):
                    candidate.call(event)
                else:
                    if candidate.calls and not isinstance(event, Finish):
                        candidate.close_calls()
                    _HANDLERS[type(event)](candidate, event)

    # --- what is written ------------------------------------------------------------------------------

    def _last(self) -> Json:
        """The payload that ends the reply. Raises `UpstreamError` when it is not complete."""
        if not self._candidates:
            raise faults.empty_reply()
        told: list[Json] = []
        for candidate in self._candidates.values():
            candidate.close_calls()
            finish = candidate.finish
            if finish is None:
                raise faults.truncated()
            ended: Json = {**candidate.written(), "finishReason": _word(finish)}
            if finish.message:
                ended["finishMessage"] = finish.message
            if finish.reason == "content_filter":
                ended["safetyRatings"] = []
            told.append({**ended, **candidate.facts, **candidate.citations()})
        counts = {} if self._usage is None else {"usageMetadata": _counts(self._usage)}
        return self._payload(sorted(told, key=lambda one: one["index"]), counts)

    def _payload(self, candidates: list[Json], counts: Json) -> Json:
        started = self._started
        return {
            "candidates": candidates,
            **counts,
            "modelVersion": self._model,
            "responseId": (started and started.id) or f"dragoman-{self._created}",
        }

    def _framed(self, payloads: Iterable[Json]) -> bytes | list[Piece]:
        """In pieces where one of them holds a picture, else in one."""
        pieces: list[Piece] = []
        has_picture = False
        for payload in payloads:
            text: Iterable[Piece]
            try:
                text = (orjson.dumps(payload),)
            except TypeError:
                text, has_picture = faults.dumped(payload), True
            if self._as_array:
                pieces += (b",\r\n" if self._wrote else b"[", *text)
                self._wrote = True
            else:
                pieces += (b"data: ", *text, b"\r\n\r\n")
        return pieces if has_picture else b"".join(pieces)


def _word(finish: Finish) -> str:
    """Google's own word, where it is one that came from there."""
    native = finish.native
    return native if native is not None and native.isupper() else _REASONS[finish.reason]


def _word_of(text: str) -> str:
    """What a JSON string says; any other text as it is."""
    try:
        word = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return word if isinstance(word, str) else text


def _arguments(call: _Call) -> Json | None:
    """As an object, for Google's SDKs take nothing else; None for what is no JSON."""
    try:
        found = jsonio.loads_text("".join(call.arguments).strip() or "{}")
    except jsonio.JSONDecodeError:
        return None
    if isinstance(found, dict):
        return found
    return {} if found is None else {"value": found}


def _counts(usage: Usage) -> Json:
    """N-032"""
    told: Json = {
        "promptTokenCount": usage.prompt,
        "candidatesTokenCount": usage.completion - usage.reasoning,
        "totalTokenCount": usage.prompt + usage.completion,
    }
    if usage.reasoning:
        told["thoughtsTokenCount"] = usage.reasoning
    if usage.cached:
        told["cachedContentTokenCount"] = usage.cached
    for name, side in (("promptTokensDetails", "prompt"), ("candidatesTokensDetails", "completion")):
        counts = ((kind, getattr(usage, f"{side}_{kind.lower()}")) for kind in ("TEXT", "IMAGE", "AUDIO"))
        if details := [{"modality": kind, "tokenCount": count} for kind, count in counts if count]:
            told[name] = details
    return told


# --- one event each -----------------------------------------------------------------------------------


def _text(candidate: _Candidate, event: Text) -> None:
    candidate.shown.append(event.text)
    if event.signature:
        candidate.add({"text": event.text}, event.signature)
    else:
        candidate.say(event.text)


def _reasoning(candidate: _Candidate, event: Reasoning) -> None:
    candidate.say(event.text, thought=True)


def _refusal(candidate: _Candidate, event: Refusal) -> None:
    candidate.say(event.text)


def _image(candidate: _Candidate, event: Image) -> None:
    if event.data is None:
        candidate.add({"fileData": {"mimeType": event.mime, "fileUri": event.url}}, event.signature)
    else:
        candidate.add({"inlineData": {"mimeType": event.mime, "data": event.data}}, event.signature)


def _audio(candidate: _Candidate, event: Audio) -> None:
    if event.data:
        candidate.add({"inlineData": {"mimeType": event.mime, "data": event.data}})


def _citation(candidate: _Candidate, event: Citation) -> None:
    candidate.cited.append(event)


def _logprobs(candidate: _Candidate, event: Logprobs) -> None:
    result = candidate.facts.setdefault("logprobsResult", {"chosenCandidates": [], "topCandidates": []})
    for entry in filter(_is_entry, event.content):
        result["chosenCandidates"].append(_token(entry))
        others = entry.get("top_logprobs")
        others = filter(_is_entry, others) if isinstance(others, list) else ()
        result["topCandidates"].append({"candidates": list(map(_token, others))})


def _is_entry(entry: Any) -> bool:
    """What a server of any make says of a token may be anything."""
    return isinstance(entry, dict)


def _token(entry: Json) -> Json:
    return {"token": entry.get("token"), "logProbability": entry.get("logprob")}


def _searched(candidate: _Candidate, event: Searched) -> None:
    chunks = [{"web": {"uri": address, "title": title}} for address, title in event.sources]
    told = {"webSearchQueries": list(event.queries), "groundingChunks": chunks}
    candidate.facts.setdefault("groundingMetadata", told)


def _code_run(candidate: _Candidate, event: CodeRun) -> None:
    if event.code is not None:
        language = event.language.upper() or "LANGUAGE_UNSPECIFIED"
        candidate.add({"executableCode": {"language": language, "code": event.code}})
    if event.output is not None:
        outcome = "OUTCOME_OK" if event.ok else "OUTCOME_FAILED"
        candidate.add({"codeExecutionResult": {"outcome": outcome, "output": event.output}})


def _extra(candidate: _Candidate, event: Extra) -> None:
    found = event.values.get("grounding_metadata")
    if event.vendor == "google" and found:
        candidate.facts["groundingMetadata"] = found


def _finish(candidate: _Candidate, event: Finish) -> None:
    candidate.finish = event


def _nothing(candidate: _Candidate, event: Any) -> None:
    """An unfinished picture: the dialect has no word for it."""


_HANDLERS: dict[type[Any], Callable[[_Candidate, Any], None]] = {
    Text: _text,
    Reasoning: _reasoning,
    Refusal: _refusal,
    Image: _image,
    Audio: _audio,
    Citation: _citation,
    Logprobs: _logprobs,
    Searched: _searched,
    CodeRun: _code_run,
    Extra: _extra,
    Finish: _finish,
    PartialImage: _nothing,
}
