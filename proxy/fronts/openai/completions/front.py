"""`/v1/completions`, a front over chats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from proxy.fronts import checks
from proxy.fronts.base import Asked, Facts, Parsed
from proxy.fronts.openai import spelling
from proxy.fronts.openai.commons import Commons
from proxy.fronts.openai.completions import request
from proxy.fronts.openai.completions.reply import CompletionRenderer
from proxy.fronts.openai.completions.shape import CompletionShape
from proxy.types import ChatRequest


class CompletionsFront(Commons):
    """A `Front`."""

    def model(self, body: Any, path: Mapping[str, str]) -> str:
        return checks.model_of(body)

    def parse(self, body: Any, asked: Asked) -> Parsed[ChatRequest, CompletionShape]:
        return request.parse(body)

    def renderer(self, parsed: Parsed[ChatRequest, CompletionShape], facts: Facts) -> CompletionRenderer:
        return CompletionRenderer(parsed, facts)

    def spelled(self, attributes: Iterable[str], parsed: Parsed[Any, Any]) -> tuple[str, ...]:
        return spelling.spelled_all(tuple(attributes), parsed)
