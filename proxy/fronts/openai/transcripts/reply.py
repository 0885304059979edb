"""Renders events as a transcript: JSON of three kinds, plain text, subtitles, or events."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from typing import Any

from proxy.codec import jsonio
from proxy.errors import ErrorClass, UpstreamError
from proxy.fronts import faults
from proxy.fronts.base import Facts, Header, Parsed, Piece
from proxy.fronts.openai import error_reply, spelling
from proxy.fronts.openai.replies import reply_parts
from proxy.fronts.openai.transcripts.shape import TranscriptShape
from proxy.types import Event, Finish, Heard, Json, Logprobs, Segment, Text, Usage

_ESTIMATED: tuple[Header, ...] = ((b"x-proxy-estimated", b"usage"),)


class TranscriptRenderer:
    """One per reply: `whole`, or `feed` for every batch and then `finish`, or `error` when it broke."""

    ping = b": keep-alive\n\n"
    headers: tuple[Header, ...] = ()

    def __init__(self, parsed: Parsed[Any, TranscriptShape], facts: Facts) -> None:
        self._parsed = parsed
        self._shape = parsed.shape
        self._cost = facts.cost
        self._text: list[str] = []
        self._segments: list[Segment] = []
        self._logprobs: list[Json] = []
        self._heard = Heard()
        self._usage = Usage(estimated=True)
        self._complete = False

    def whole(self, events: Iterable[Event]) -> list[Piece]:
        for event in events:
            self._take(event)
        self._check()
        format = self._shape.format
        if format == "text":
            return [jsonio.whole_characters("".join(self._text)).encode()]
        if format in ("srt", "vtt"):
            return [jsonio.whole_characters(self._subtitles()).encode()]
        usage = self._counts()
        if self._usage.estimated:
            self.headers = _ESTIMATED
        body: Json = {"text": "".join(self._text)}
        if format == "verbose_json":
            body = self._verbose()
        elif format == "diarized_json":
            body = {"task": "transcribe", "duration": self._duration(), **body, "segments": self._spoken()}
        elif self._logprobs:
            body["logprobs"] = self._logprobs
        return faults.dumped({**body, "usage": usage})

    def feed(self, events: Iterable[Event]) -> list[Piece]:
        frames: list[Piece] = []
        speakers = self._shape.format == "diarized_json"
        for event in events:
            self._take(event)
            if isinstance(event, Text) and event.text:
                frames += _event({"type": "transcript.text.delta", "delta": event.text})
            elif isinstance(event, Segment) and speakers:
                frames += _event(_spoken(event, len(self._segments) - 1))
        return frames

    def finish(self) -> list[Piece]:
        self._check()
        done: Json = {"type": "transcript.text.done", "text": "".join(self._text)}
        if self._logprobs:
            done["logprobs"] = self._logprobs
        return _event({**done, "usage": self._counts()})

    def error(self, error: BaseException, request_id: str) -> bytes:
        return error_reply.event(spelling.spelled_error(error, self._parsed), request_id)

    # --- events

    def _take(self, event: Event) -> None:
        match event:
            case Text():
                self._text.append(event.text)
            case Segment():
                self._segments.append(event)
            case Logprobs():
                self._logprobs += event.content
            case Heard():
                self._heard = event
            case Usage():
                self._usage = event
            case Finish():
                self._complete = True

    def _check(self) -> None:
        if not self._complete:
            raise faults.empty_reply()
        if self._shape.format in ("srt", "vtt") and not self._segments and any(self._text):
            raise UpstreamError(
                ErrorClass.INTERNAL,
                "The upstream told no times, so there are no subtitles.",
                code="upstream_malformed_response",
            )

    # --- what is written

    def _verbose(self) -> Json:
        body: Json = {
            "task": "translate" if self._shape.translated else "transcribe",
            "language": self._heard.language or "",
            "duration": self._duration(),
            "text": "".join(self._text),
            "segments": [
                {"id": index, "start": one.start, "end": one.end, "text": one.text, **(one.facts or {})}
                for index, one in enumerate(self._segments)
            ],
        }
        if self._heard.words:
            body["words"] = list(self._heard.words)
        return body

    def _spoken(self) -> list[Json]:
        return [_spoken(one, index) for index, one in enumerate(self._segments)]

    def _duration(self) -> float:
        ends = [one.end for one in self._segments]
        return self._heard.duration_s or max(ends, default=0.0)

    def _subtitles(self) -> str:
        if self._shape.format == "vtt":
            return "\n".join(["WEBVTT\n", *(_cue(one, ".") for one in self._segments)])
        cues = (f"{number}\n{_cue(one, ',')}" for number, one in enumerate(self._segments, 1))
        return "\n".join(cues)

    def _counts(self) -> Json:
        """By the second where the vendor counts so."""
        counted = self._usage
        found: Json
        if counted.seconds is not None and not (counted.estimated or counted.prompt or counted.completion):
            found = {"type": "duration", "seconds": ceil(counted.seconds)}
        else:
            found = {
                "type": "tokens",
                "input_tokens": counted.prompt,
                "output_tokens": counted.completion,
                "total_tokens": counted.prompt + counted.completion,
            }
            if counted.prompt_audio is not None:
                text = counted.prompt_text if counted.prompt_text is not None else 0
                found["input_token_details"] = {"text_tokens": text, "audio_tokens": counted.prompt_audio}
        if self._cost is not None and (told := reply_parts.money(self._cost)) is not None:
            found["cost"], found["cost_currency"] = told
        return found


def _spoken(one: Segment, index: int) -> Json:
    own = {"id": f"seg_{index}", **(one.facts or {})}
    return {
        **own,
        "type": "transcript.text.segment",
        "start": one.start,
        "end": one.end,
        "text": one.text,
        "speaker": one.speaker or "A",
    }


def _cue(one: Segment, point: str) -> str:
    return f"{_clock(one.start, point)} --> {_clock(one.end, point)}\n{one.text.strip()}\n"


def _clock(seconds: float, point: str) -> str:
    """`00:01:02,345`"""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def _event(value: Json) -> list[Piece]:
    return [b"data: ", *faults.dumped(value), b"\n\n"]
