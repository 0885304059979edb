"""`generateContent`, `streamGenerateContent` and `countTokens`.

What reads and writes is loaded by the first request: most servers never get one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from proxy.fronts.base import EVENTS, Asked, Facts, Parsed
from proxy.fronts.gemini.commons import GeminiShape, Speaking
from proxy.types import ChatRequest

if TYPE_CHECKING:
    from proxy.fronts.gemini.generate.reply import GeminiRenderer

_ARRAY = b"application/json; charset=UTF-8"


class GeminiFront(Speaking):
    """A `Front`."""

    def __init__(self, *, stream: bool) -> None:
        self._stream = stream

    def parse(self, body: Any, asked: Asked) -> Parsed[ChatRequest, GeminiShape]:
        from proxy.fronts.gemini.generate import request

        model = self.model(body, asked.path)
        parsed = request.parse(body, model, stream=self._stream, written=asked.written)
        as_array = self._stream and "sse" not in (asked.query.get("alt"), asked.query.get("$alt"))
        shape = GeminiShape(model, as_array, request.is_bare(body))
        return Parsed(parsed, shape, streams_as=_ARRAY if as_array else EVENTS)

    def renderer(self, parsed: Parsed[ChatRequest, GeminiShape], facts: Facts) -> GeminiRenderer:
        from proxy.fronts.gemini.generate.reply import GeminiRenderer

        shape, thinking = parsed.shape, parsed.request.thinking
        thinks = thinking is not None and bool(thinking.summary)
        return GeminiRenderer(
            shape.model, facts.created, as_array=shape.as_array, bare=shape.bare, thinks=thinks
        )


class CountFront(GeminiFront):
    """A `Counting`."""

    def __init__(self) -> None:
        super().__init__(stream=False)

    def parse(self, body: Any, asked: Asked) -> Parsed[ChatRequest, GeminiShape]:
        from proxy.fronts.gemini.generate import request

        return super().parse(request.counted(body), asked)

    def counted(self, tokens: int, parsed: Parsed[Any, Any]) -> bytes:
        return orjson.dumps({"totalTokens": tokens})
