"""A text read aloud: a chat with a model that speaks."""

from __future__ import annotations

from typing import Final

from proxy.errors import ErrorClass, RequestError, UpstreamError
from proxy.sounds import encoding
from proxy.types import (
    Audio,
    AudioOptions,
    Call,
    ChatRequest,
    Event,
    Finish,
    Json,
    Message,
    Refusal,
    SpeechRequest,
    Target,
    Text,
    TextPart,
)
from proxy.wires.gemini import models
from proxy.wires.gemini import request as chat
from proxy.wires.gemini.reader import GeminiReader

_LEAST_BYTES_PER_TOKEN = 4  # no language needs fewer for more than a word


class GeminiSpeech:
    """Implements `types.Operation`. Asked for whole: few of these models send their sound in pieces."""

    carries: Final = frozenset({"model", "text", "instructions", "voice", "format", "stream"})

    def build(self, request: SpeechRequest, target: Target, repairs: frozenset[str] = frozenset()) -> Call:
        if (refusal := self.unable(request, target)) is not None:
            raise refusal
        return chat.build(_as_chat(request), target, repairs)

    def reader(self, request: SpeechRequest, target: Target, call: Call) -> _Heard:
        return _Heard(GeminiReader(_as_chat(request), target, call))

    def unable(self, request: SpeechRequest, target: Target) -> RequestError | None:
        model = models.find(target.model, target.options)
        if not model.speech:
            return RequestError(
                f"The model {target.model!r} does not speak.",
                status=404,
                attribute="model",
                code="unsupported_endpoint",
            )
        if request.format not in encoding.makeable():
            return RequestError(
                f"This model's speech can be had as {', '.join(encoding.makeable())}, not as {request.format}"
                + (": that needs the extra 'audio' of the server." if request.format == "mp3" else "."),
                attribute="format",
                code="unsupported_value",
            )
        most = model.limits.get("input")
        said = len(request.text.encode("utf-8", "surrogatepass")) // _LEAST_BYTES_PER_TOKEN
        if most is not None and said > most:
            return RequestError(
                f"The text is longer than the {most} tokens that this model reads.",
                attribute="text",
                code="context_length_exceeded",
            )
        return None

    def shares(self, request: SpeechRequest, target: Target) -> tuple[int, ...]:
        return (1,)


def _as_chat(request: SpeechRequest) -> ChatRequest:
    """These models refuse a system instruction: how to speak stands before what to say."""
    text = f"{request.instructions}: {request.text}" if request.instructions else request.text
    return ChatRequest(
        request.model,
        (Message("user", (TextPart(text),)),),
        modalities=("audio",),
        audio=AudioOptions(request.voice, "pcm16"),
    )


class _Heard:
    """A reader of a chat, of which nothing but sound is an answer (E-014)."""

    def __init__(self, inner: GeminiReader) -> None:
        self._inner = inner
        self._heard = False
        self._said: list[str] = []

    def feed(self, payload: Json) -> list[Event]:
        return self._sounds(self._inner.feed(payload))

    def flush(self) -> list[Event]:
        return self._sounds(self._inner.flush())

    def close(self, complete: bool = True) -> list[Event]:
        events = self._sounds(self._inner.close(complete))
        if not self._heard:
            raise self._silence(next((one for one in events if isinstance(one, Finish)), None))
        return events

    def _sounds(self, events: list[Event]) -> list[Event]:
        self._heard = self._heard or Audio in map(type, events)
        self._said += (event.text for event in events if isinstance(event, Text | Refusal))
        return [event for event in events if not isinstance(event, Text | Refusal)]

    def _silence(self, finish: Finish | None) -> UpstreamError:
        native = finish.native if finish is not None else None
        said = "".join(self._said).strip()[:200]
        if finish is not None and finish.reason == "content_filter":
            return UpstreamError(
                ErrorClass.BLOCKED, said or "The upstream's content filter stopped it.", native=native
            )
        told = f" ({native})" if native else ""
        tail = f" It said: {said}" if said else ""
        return UpstreamError(ErrorClass.EMPTY, f"The model spoke nothing{told}.{tail}", native=native)
