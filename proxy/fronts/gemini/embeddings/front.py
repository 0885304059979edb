"""`embedContent` and `batchEmbedContents`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxy.fronts.base import Asked, Facts, Kind, Parsed
from proxy.fronts.gemini.commons import GeminiShape, Speaking
from proxy.types import EmbedRequest

if TYPE_CHECKING:
    from proxy.fronts.gemini.embeddings.reply import EmbeddingsRenderer


class EmbedFront(Speaking):
    """A `Front`. `several`: of a batch."""

    kind: Kind = "embeddings"

    def __init__(self, *, several: bool) -> None:
        self._several = several

    def parse(self, body: Any, asked: Asked) -> Parsed[EmbedRequest, GeminiShape]:
        from proxy.fronts.gemini.embeddings import request

        model = self.model(body, asked.path)
        parsed = request.parse(body, model, several=self._several, written=asked.written)
        return Parsed(parsed, GeminiShape(model))

    def renderer(self, parsed: Parsed[EmbedRequest, GeminiShape], facts: Facts) -> EmbeddingsRenderer:
        from proxy.fronts.gemini.embeddings.reply import EmbeddingsRenderer

        return EmbeddingsRenderer(several=self._several)
