"""A recording written down, or translated: a chat with a model that listens.

Gemini's times are rough, so they are given only where the file says that a model may be asked for them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import orjson

from proxy.errors import ErrorClass, RequestError, UpstreamError
from proxy.types import (
    AnswerFormat,
    Call,
    ChatRequest,
    Event,
    Finish,
    Heard,
    Json,
    Message,
    Reasoning,
    Refusal,
    Segment,
    Target,
    Text,
    TextPart,
    Thinking,
    TranscriptRequest,
)
from proxy.wires.gemini import models
from proxy.wires.gemini import request as chat
from proxy.wires.gemini.lenient import dict_of, dicts_of, string_of
from proxy.wires.gemini.reader import GeminiReader

_MOST_BYTES = 20 << 20  # inside of a request
_BASE64_SIZE = 4 / 3

_TRANSCRIBE = "Write down what is said in this recording, word for word, in the language in which it is said."
_TRANSLATE = "Write down in English what is said in this recording, whatever language it is said in."
_ONLY = "Answer with those words and nothing else: no remarks, no headings, no description of sounds."
_TIMED = "Cut it into segments of a sentence or less, each with the second at which it begins and ends."
_SPEAKERS = "Name the speakers A, B and so on, in the order in which they are heard first."

# What OpenAI's clients read of a segment and no Gemini tells.
_UNKNOWN: Final = {
    "seek": 0,
    "tokens": [],
    "temperature": 0.0,
    "avg_logprob": 0.0,
    "compression_ratio": 0.0,
    "no_speech_prob": 0.0,
}


class GeminiTranscripts:
    """Implements `types.Operation`."""

    carries: Final = frozenset(
        {"model", "recording", "translated", "detail", "words", "language", "prompt", "temperature", "stream"}
    )

    def build(
        self, request: TranscriptRequest, target: Target, repairs: frozenset[str] = frozenset()
    ) -> Call:
        if (refusal := self.unable(request, target)) is not None:
            raise refusal
        call = chat.build(_as_chat(request), target, repairs)
        dropped = [name for name in call.dropped if name == "temperature"]
        if request.words:
            dropped.append("words")
        if request.detail == "facts":
            dropped += (f"segments[].{name}" for name in _UNKNOWN)
        return replace(call, dropped=tuple(dropped))

    def reader(self, request: TranscriptRequest, target: Target, call: Call) -> _Reader:
        return _Reader(GeminiReader(_as_chat(request), target, call), request)

    def unable(self, request: TranscriptRequest, target: Target) -> RequestError | None:
        model = models.find(target.model, target.options)
        if model.speech or model.embedding is not None or model.image is not None:
            return RequestError(
                f"The model {target.model!r} does not listen.",
                status=404,
                attribute="model",
                code="unsupported_endpoint",
            )
        if request.detail != "text" and not target.options.get("timestamps"):
            return RequestError(
                "This model tells no times; ask for the text alone.",
                attribute="detail",
                code="unsupported_value",
            )
        data = request.recording.data
        if data is not None and len(data) > _MOST_BYTES * _BASE64_SIZE:
            return RequestError(
                f"The recording is larger than the {_MOST_BYTES >> 20} MB that this model takes.",
                status=413,
                attribute="recording",
                code="request_too_large",
            )
        return None

    def shares(self, request: TranscriptRequest, target: Target) -> tuple[int, ...]:
        return (1,)


def _as_chat(request: TranscriptRequest) -> ChatRequest:
    timed = request.detail != "text"
    return ChatRequest(
        request.model,
        (Message("user", (request.recording, TextPart(_instruction(request)))),),
        stream=request.stream and not timed,
        temperature=request.temperature,
        thinking=Thinking("low"),
        answer_format=AnswerFormat("json_schema", _schema(request)) if timed else None,
    )


def _instruction(request: TranscriptRequest) -> str:
    sentences = [_TRANSLATE if request.translated else _TRANSCRIBE]
    sentences += [_ONLY] if request.detail == "text" else [_TIMED]
    if request.detail == "speakers":
        sentences.append(_SPEAKERS)
    if request.language:
        sentences.append(f"The language is {request.language}.")
    if request.prompt:
        sentences.append(f"This came before it, or shows how names are spelled: {request.prompt}")
    return " ".join(sentences)


def _schema(request: TranscriptRequest) -> Json:
    members: Json = {"start": {"type": "number"}, "end": {"type": "number"}, "text": {"type": "string"}}
    if request.detail == "speakers":
        members["speaker"] = {"type": "string"}
    segment = {"type": "object", "properties": members, "required": list(members)}
    return {
        "type": "object",
        "properties": {
            "language": {"type": "string"},
            "segments": {"type": "array", "items": segment},
        },
        "required": ["language", "segments"],
    }


class _Reader:
    """A reader of a chat, whose answer is a transcript; one with times is read when it is all there."""

    def __init__(self, inner: GeminiReader, request: TranscriptRequest) -> None:
        self._inner = inner
        self._timed = request.detail != "text"
        self._language = request.language
        self._with_facts = request.detail == "facts"
        self._said: list[str] = []

    def feed(self, payload: Json) -> list[Event]:
        return self._told(self._inner.feed(payload))

    def flush(self) -> list[Event]:
        return self._told(self._inner.flush())

    def close(self, complete: bool = True) -> list[Event]:
        events = self._told(self._inner.close(complete))
        finish = next((one for one in events if isinstance(one, Finish)), None)
        if finish is not None and finish.reason == "content_filter":
            raise UpstreamError(
                ErrorClass.BLOCKED,
                finish.message or "The upstream's content filter stopped the transcript.",
                native=finish.native,
            )
        return [*self._segments(), *events] if self._timed else events

    def _told(self, events: list[Event]) -> list[Event]:
        if self._timed:
            self._said += (event.text for event in events if isinstance(event, Text))
        kinds = (Text, Refusal, Reasoning) if self._timed else (Refusal, Reasoning)
        return [event for event in events if not isinstance(event, kinds)]

    def _segments(self) -> list[Event]:
        try:
            answer = dict_of(orjson.loads("".join(self._said)))
        except orjson.JSONDecodeError:
            raise UpstreamError(
                ErrorClass.INTERNAL,
                "The upstream answered with something that is no list of segments.",
                code="upstream_malformed_response",
            ) from None
        found: list[Event] = []
        last = 0.0
        for entry in dicts_of(answer.get("segments")):
            text = string_of(entry.get("text"))
            if text is None:
                continue
            start = max(last, _seconds(entry.get("start")))
            last = max(start, _seconds(entry.get("end")))
            facts = dict(_UNKNOWN) if self._with_facts else None
            found.append(Segment(text.strip(), start, last, string_of(entry.get("speaker")), facts))
        words = " ".join(one.text for one in found if isinstance(one, Segment))
        heard = Heard(self._language or string_of(answer.get("language")), last)
        return [Text(words), *found, heard]


def _seconds(value: Any) -> float:
    """Times never run backwards, whatever the model counts."""
    return round(float(value), 3) if type(value) in (int, float) and 0 <= value < 1e6 else 0.0
