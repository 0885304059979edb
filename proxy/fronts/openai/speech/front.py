"""`/v1/audio/speech`. What reads and writes it is loaded by the first request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from proxy.fronts import checks
from proxy.fronts.base import Asked, Facts, Kind, Parsed
from proxy.fronts.openai.commons import Commons
from proxy.types import SpeechRequest

if TYPE_CHECKING:
    from proxy.fronts.openai.speech.reply import SpeechRenderer
    from proxy.fronts.openai.speech.shape import SpeechShape


class SpeechFront(Commons):
    """A `Front`."""

    kind: Kind = "speech"

    def model(self, body: Any, path: Mapping[str, str]) -> str:
        return checks.model_of(body)

    def parse(self, body: Any, asked: Asked) -> Parsed[SpeechRequest, SpeechShape]:
        from proxy.fronts.openai.speech import request

        return request.parse(body)

    def renderer(self, parsed: Parsed[SpeechRequest, SpeechShape], facts: Facts) -> SpeechRenderer:
        from proxy.fronts.openai.speech.reply import SpeechRenderer

        return SpeechRenderer(parsed, facts)
