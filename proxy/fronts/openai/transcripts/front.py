"""`/v1/audio/transcriptions` and `/v1/audio/translations`. What reads and writes them is loaded by the first
request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from proxy.fronts.base import Asked, Facts, Kind, Parsed
from proxy.fronts.openai.commons import Commons
from proxy.types import TranscriptRequest

if TYPE_CHECKING:
    from proxy.fronts.openai.transcripts.reply import TranscriptRenderer
    from proxy.fronts.openai.transcripts.shape import TranscriptShape


class TranscriptsFront(Commons):
    """A `Front`, one that writes down and one that translates."""

    kind: Kind = "transcripts"

    def __init__(self, *, translated: bool) -> None:
        self._translated = translated

    def model(self, body: Any, path: Mapping[str, str]) -> str:
        from proxy.fronts.openai.transcripts import request

        return request.model_of(body)

    def parse(self, body: Any, asked: Asked) -> Parsed[TranscriptRequest, TranscriptShape]:
        from proxy.fronts.openai.transcripts import request

        return request.parse(body, translated=self._translated)

    def renderer(
        self, parsed: Parsed[TranscriptRequest, TranscriptShape], facts: Facts
    ) -> TranscriptRenderer:
        from proxy.fronts.openai.transcripts.reply import TranscriptRenderer

        return TranscriptRenderer(parsed, facts)
