"""`/v1/audio/transcriptions` and `/v1/audio/translations`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from proxy.fronts.base import Asked, Facts, Kind, Parsed
from proxy.fronts.openai import spelling
from proxy.fronts.openai.commons import Commons
from proxy.fronts.openai.transcripts import request
from proxy.fronts.openai.transcripts.reply import TranscriptRenderer
from proxy.fronts.openai.transcripts.shape import TranscriptShape
from proxy.types import TranscriptRequest


class TranscriptsFront(Commons):
    """A `Front`, one that writes down and one that translates."""

    kind: Kind = "transcripts"

    def __init__(self, *, translated: bool) -> None:
        self._translated = translated

    def model(self, body: Any, path: Mapping[str, str]) -> str:
        return request.model_of(body)

    def parse(self, body: Any, asked: Asked) -> Parsed[TranscriptRequest, TranscriptShape]:
        return request.parse(body, translated=self._translated)

    def renderer(
        self, parsed: Parsed[TranscriptRequest, TranscriptShape], facts: Facts
    ) -> TranscriptRenderer:
        return TranscriptRenderer(parsed, facts)

    def spelled(self, attributes: Iterable[str], parsed: Parsed[Any, Any]) -> tuple[str, ...]:
        return spelling.spelled_all(tuple(attributes), parsed)
