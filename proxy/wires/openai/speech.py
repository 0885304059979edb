"""A text read aloud by servers that speak OpenAI: `/audio/speech`, whose answer is the file itself."""

from __future__ import annotations

from typing import Final

from proxy.errors import ErrorClass, RequestError, UpstreamError
from proxy.sounds import formats
from proxy.types import Audio, Call, Event, Finish, Json, Slice, SpeechRequest, Target
from proxy.wires.openai import error
from proxy.wires.openai.request import foreign


class OpenAISpeech:
    """Implements `types.Operation`."""

    carries: Final = frozenset(
        {"model", "text", "instructions", "voice", "format", "speed", "stream", "foreign"}
    )

    def build(self, request: SpeechRequest, target: Target, repairs: frozenset[str] = frozenset()) -> Call:
        dropped: list[str] = []
        body: Json = {
            **foreign(request.foreign, target.options, dropped),
            "model": target.model,
            "input": request.text,
            "voice": request.voice or "alloy",
            "response_format": request.format,
        }
        if request.instructions is not None:
            body["instructions"] = request.instructions
        if request.speed is not None:
            body["speed"] = request.speed
        return Call("/audio/speech", body, dropped=tuple(dropped), answers_bytes=True)

    def reader(self, request: SpeechRequest, target: Target, call: Call) -> _Reader:
        return _Reader(request.format, target)

    def unable(self, request: SpeechRequest, target: Target) -> RequestError | None:
        return None

    def shares(self, request: SpeechRequest, target: Target) -> tuple[int, ...]:
        return (1,)


class _Reader:
    """Reads `{"mime": ..., "bytes": ...}` of each read; any other payload is an error inside a 200."""

    def __init__(self, wanted: str, target: Target) -> None:
        self._wanted = wanted
        self._target = target
        self._heard = False
        self._half = b""  # of a sample

    def feed(self, payload: Json) -> list[Event]:
        data = payload.get("bytes")
        if not isinstance(data, bytes):
            raise error.error_in(payload, self._target)
        sent = formats.of_type(payload["mime"])
        if sent is not None and sent != self._wanted:
            raise UpstreamError(
                ErrorClass.INTERNAL,
                f"The upstream answered with {sent}, and {self._wanted} was asked for.",
                code="upstream_malformed_response",
            )
        if self._wanted == "pcm":
            data = self._half + data
            whole = len(data) // 2 * 2
            data, self._half = data[:whole], data[whole:]
        if not data:
            return []
        self._heard = True
        return [Audio(formats.TYPES[self._wanted], Slice.of(data))]

    def flush(self) -> list[Event]:
        return []

    def close(self, complete: bool = True) -> list[Event]:
        if not self._heard:
            raise UpstreamError(ErrorClass.EMPTY, "The upstream spoke nothing.")
        return [Finish("stop")]
