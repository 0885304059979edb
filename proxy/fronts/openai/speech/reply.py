"""Renders events as a sound file, or as events that hold one."""

from __future__ import annotations

from collections.abc import Iterable

from proxy.codec import jsonio
from proxy.errors import ErrorClass, UpstreamError
from proxy.fronts.base import Facts, Header, Parsed, Piece
from proxy.fronts.openai import error_reply, spelling
from proxy.fronts.openai.replies import reply_parts
from proxy.fronts.openai.speech.shape import SpeechShape
from proxy.sounds import formats
from proxy.types import Audio, Event, Json, Slice, SpeechRequest, Usage


class SpeechRenderer:
    """A `Renderer`. Nothing can be said in the middle of a file: no ping, and an error breaks it off."""

    headers: tuple[Header, ...] = ()

    def __init__(self, parsed: Parsed[SpeechRequest, SpeechShape], facts: Facts) -> None:
        self._parsed = parsed
        self._shape = parsed.shape
        self._cost = facts.cost
        self._usage = Usage()
        self._heard = False
        self.ping = b": keep-alive\n\n" if self._shape.events else b""

    def whole(self, events: Iterable[Event]) -> list[Piece]:
        sounds = [event for event in events if isinstance(event, Audio)]
        if not sounds:
            raise _silent()
        pieces: list[Piece] = [sound.data.decode() for sound in sounds]
        if self._needs_header(sounds[0]):
            pieces.insert(0, formats.wave_header(sounds[0].mime, sum(map(len, pieces))))
        return pieces

    def feed(self, events: Iterable[Event]) -> list[Piece]:
        pieces: list[Piece] = []
        for event in events:
            if isinstance(event, Usage):
                self._usage = event
            elif isinstance(event, Audio):
                pieces += self._pieces(event)
                self._heard = True
        return pieces

    def finish(self) -> list[Piece]:
        if not self._heard:
            raise _silent()
        if not self._shape.events:
            return []
        return _event({"type": "speech.audio.done", "usage": self._counts()})

    def error(self, error: BaseException, request_id: str) -> bytes:
        if not self._shape.events:
            raise error
        return error_reply.event(spelling.spelled_error(error, self._parsed), request_id)

    def _pieces(self, sound: Audio) -> list[Piece]:
        first = not self._heard and self._needs_header(sound)
        if not self._shape.events:
            return [sound.data.decode()]
        data = sound.data
        if first:
            data = Slice.of(formats.wave_header(sound.mime, None) + data.decode())
        return _event({"type": "speech.audio.delta", "audio": data})

    def _needs_header(self, sound: Audio) -> bool:
        return self._shape.format == "wav" and formats.of_type(sound.mime) == "pcm"

    def _counts(self) -> Json:
        counted = self._usage
        found: Json = {
            "input_tokens": counted.prompt,
            "output_tokens": counted.completion,
            "total_tokens": counted.prompt + counted.completion,
        }
        if self._cost is not None and (told := reply_parts.money(self._cost)) is not None:
            found["cost"], found["cost_currency"] = told
        return found


def _silent() -> UpstreamError:
    return UpstreamError(ErrorClass.EMPTY, "The model spoke nothing.")


def _event(value: Json) -> list[Piece]:
    return [b"data: ", *jsonio.dumps(value), b"\n\n"]
