"""A recording written down by servers that speak OpenAI: a form with the file, as the client sent it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from proxy.errors import ErrorClass, RequestError, UpstreamError
from proxy.types import (
    Call,
    Event,
    Finish,
    FormFile,
    Heard,
    Json,
    Logprobs,
    Segment,
    Slice,
    Target,
    Text,
    TranscriptRequest,
)
from proxy.wires.openai import error, usage
from proxy.wires.openai.request import foreign

_FORMATS: Final = {
    "text": "json",
    "times": "verbose_json",
    "facts": "verbose_json",
    "speakers": "diarized_json",
}
_OF_OURS = frozenset({"text", "start", "end", "speaker"})


class OpenAITranscripts:
    """Implements `types.Operation`."""

    carries: Final = frozenset(
        {
            "model", "recording", "translated", "detail", "words", "language", "prompt", "temperature",
            "stream", "foreign",
        }
    )  # fmt: skip

    def build(
        self, request: TranscriptRequest, target: Target, repairs: frozenset[str] = frozenset()
    ) -> Call:
        dropped: list[str] = []
        body: Json = {
            **foreign(request.foreign, target.options, dropped),
            "model": target.model,
            "response_format": _FORMATS[request.detail],
        }
        for name in ("language", "prompt", "temperature"):
            if (value := getattr(request, name)) is not None:
                body[name] = value
        if request.words:
            body["timestamp_granularities[]"] = ["segment", "word"]
        if request.stream:
            body["stream"] = True
        recording = request.recording
        file = FormFile(
            "file", recording.filename or "recording", recording.mime or "", recording.data or Slice(b"")
        )
        path = "/audio/translations" if request.translated else "/audio/transcriptions"
        return Call(
            path,
            body,
            stream=request.stream,
            dropped=tuple(dropped),
            files=(file,),
            encoding="multipart",
        )

    def reader(self, request: TranscriptRequest, target: Target, call: Call) -> _Reader:
        return _Reader(target, streams=request.stream)

    def unable(self, request: TranscriptRequest, target: Target) -> RequestError | None:
        return None

    def shares(self, request: TranscriptRequest, target: Target) -> tuple[int, ...]:
        return (1,)


class _Reader:
    """A whole transcript, also where events were asked for, or the events of one."""

    def __init__(self, target: Target, *, streams: bool) -> None:
        self._target = target
        self._streams = streams
        self._said = False
        self._done = False

    def feed(self, payload: Json) -> list[Event]:
        kind = payload.get("type")
        if isinstance(kind, str) and kind.startswith("transcript."):
            return self._event(kind, payload)
        if payload.get("error") or not isinstance(payload.get("text"), str):
            raise error.error_in(payload, self._target)
        return self._whole(payload)

    def flush(self) -> list[Event]:
        return []

    def close(self, complete: bool = True) -> list[Event]:
        if not self._done:
            raise UpstreamError(
                ErrorClass.INTERNAL,
                "The upstream ended its transcript before it was complete.",
                code="upstream_stream_truncated",
            )
        return [Finish("stop")]

    def _event(self, kind: str, payload: Json) -> list[Event]:
        if kind == "transcript.text.delta":
            self._said = True
            return [Text(str(payload.get("delta") or "")), *_logprobs(payload)]
        if kind == "transcript.text.segment":
            return [_segment(payload)]
        if kind == "transcript.text.done":
            done = self._whole(payload)
            return [one for one in done if not isinstance(one, Text | Logprobs)] if self._said else done
        return []

    def _whole(self, payload: Json) -> list[Event]:
        self._done = True
        events: list[Event] = [Text(str(payload.get("text") or "")), *_logprobs(payload)]
        segments, words = payload.get("segments"), payload.get("words")
        events += (_segment(one) for one in _dicts(segments))
        counts = payload.get("usage")
        counts = counts if isinstance(counts, dict) else {}
        billed, length = _number(counts.get("seconds")), _number(payload.get("duration"))
        language = payload.get("language")
        if length or billed or language or words:
            told = language if isinstance(language, str) else None
            events.append(Heard(told, length or billed, tuple(_dicts(words))))
        seconds = billed or length or None
        if seconds or counts.get("input_tokens") or counts.get("prompt_tokens"):
            events.append(replace(usage.read(counts), seconds=seconds))
        return events


def _segment(entry: Json) -> Segment:
    speaker = entry.get("speaker")
    return Segment(
        str(entry.get("text") or ""),
        _number(entry.get("start")) or 0.0,
        _number(entry.get("end")) or 0.0,
        speaker if isinstance(speaker, str) else None,
        {name: value for name, value in entry.items() if name not in _OF_OURS},
    )


def _logprobs(payload: Json) -> list[Event]:
    entries = _dicts(payload.get("logprobs"))
    return [Logprobs(entries)] if entries else []


def _dicts(value: Any) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _number(value: Any) -> float | None:
    """Some servers write their seconds as text."""
    try:
        found = float(value) if isinstance(value, int | float | str) and value != "" else None
    except ValueError:
        return None
    return found if found is not None and 0 <= found < 1e9 else None
