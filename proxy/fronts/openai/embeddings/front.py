"""`/v1/embeddings`. What reads and writes it is loaded by the first request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from proxy.fronts import checks
from proxy.fronts.base import Asked, Facts, Kind, Parsed
from proxy.fronts.openai.commons import Commons
from proxy.types import EmbedRequest

if TYPE_CHECKING:
    from proxy.fronts.openai.embeddings.reply import EmbeddingsRenderer
    from proxy.fronts.openai.embeddings.shape import EmbeddingShape


class EmbeddingsFront(Commons):
    """A `Front`."""

    kind: Kind = "embeddings"

    def model(self, body: Any, path: Mapping[str, str]) -> str:
        return checks.model_of(body)

    def parse(self, body: Any, asked: Asked) -> Parsed[EmbedRequest, EmbeddingShape]:
        from proxy.fronts.openai.embeddings import request

        return request.parse(body)

    def renderer(self, parsed: Parsed[EmbedRequest, EmbeddingShape], facts: Facts) -> EmbeddingsRenderer:
        from proxy.fronts.openai.embeddings.reply import EmbeddingsRenderer

        return EmbeddingsRenderer(parsed.shape, facts)
