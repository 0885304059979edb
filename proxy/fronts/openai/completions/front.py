"""`/v1/completions`, a front over chats. What reads and writes it is loaded by the first request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from proxy.fronts import checks
from proxy.fronts.base import Asked, Facts, Parsed
from proxy.fronts.openai.commons import Commons
from proxy.types import ChatRequest

if TYPE_CHECKING:
    from proxy.fronts.openai.completions.reply import CompletionRenderer
    from proxy.fronts.openai.completions.shape import CompletionShape


class CompletionsFront(Commons):
    """A `Front`."""

    def model(self, body: Any, path: Mapping[str, str]) -> str:
        return checks.model_of(body)

    def parse(self, body: Any, asked: Asked) -> Parsed[ChatRequest, CompletionShape]:
        from proxy.fronts.openai.completions import request

        return request.parse(body)

    def renderer(self, parsed: Parsed[ChatRequest, CompletionShape], facts: Facts) -> CompletionRenderer:
        from proxy.fronts.openai.completions.reply import CompletionRenderer

        return CompletionRenderer(parsed, facts)
