"""What may be asked of `models/{model}`, by the verb behind it.

What reads and writes is loaded by the first request: most servers never get one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from proxy.fronts import checks
from proxy.fronts.base import EVENTS, Asked, Chore, Facts, Header, Kind, Parsed
from proxy.types import ChatRequest, EmbedRequest
from proxy.types.values import dataclass

if TYPE_CHECKING:
    from proxy.fronts.gemini.embeddings import EmbeddingsRenderer
    from proxy.fronts.gemini.reply import GeminiRenderer

_ARRAY = b"application/json; charset=UTF-8"


@dataclass(frozen=True, slots=True)
class GeminiShape:
    """`model` as the client wrote it. `as_array`: a stream is one JSON array, for nobody asked for events.
    `bare`: the answer is one word of an enumeration, without quotation marks."""

    model: str
    as_array: bool = False
    bare: bool = False


class Speaking:
    """What all fronts of the dialect have; `Refusing`, in Google's words."""

    kind: Kind = "chat"

    def refusal(
        self, error: BaseException, request_id: str, parsed: Parsed[Any, Any] | None
    ) -> tuple[int, list[Header], bytes]:
        from proxy.fronts.gemini import error_reply

        return error_reply.render(error)

    def model(self, body: Any, path: Mapping[str, str]) -> str:
        return checks.model(path.get("model"), "model")

    def chore(self, parsed: Parsed[Any, Any]) -> Chore | None:
        return None

    def spelled(self, attributes: Iterable[str], parsed: Parsed[Any, Any]) -> tuple[str, ...]:
        from proxy.fronts.gemini import spelling

        return spelling.spelled_all(attributes)


SPEAKING = Speaking()


class GeminiFront(Speaking):
    """A `Front`."""

    def __init__(self, *, stream: bool) -> None:
        self._stream = stream

    def parse(self, body: Any, asked: Asked) -> Parsed[ChatRequest, GeminiShape]:
        from proxy.fronts.gemini import request

        model = self.model(body, asked.path)
        parsed = request.parse(body, model, stream=self._stream, written=asked.written)
        as_array = self._stream and "sse" not in (asked.query.get("alt"), asked.query.get("$alt"))
        shape = GeminiShape(model, as_array, request.is_bare(body))
        return Parsed(parsed, shape, streams_as=_ARRAY if as_array else EVENTS)

    def renderer(self, parsed: Parsed[ChatRequest, GeminiShape], facts: Facts) -> GeminiRenderer:
        from proxy.fronts.gemini.reply import GeminiRenderer

        shape = parsed.shape
        return GeminiRenderer(shape.model, facts.created, as_array=shape.as_array, bare=shape.bare)


class CountFront(GeminiFront):
    """A `Counting`."""

    def __init__(self) -> None:
        super().__init__(stream=False)

    def parse(self, body: Any, asked: Asked) -> Parsed[ChatRequest, GeminiShape]:
        from proxy.fronts.gemini import request

        return super().parse(request.counted(body), asked)

    def counted(self, tokens: int, parsed: Parsed[Any, Any]) -> bytes:
        return orjson.dumps({"totalTokens": tokens})


class EmbedFront(Speaking):
    """A `Front`. `several`: of a batch."""

    kind: Kind = "embeddings"

    def __init__(self, *, several: bool) -> None:
        self._several = several

    def parse(self, body: Any, asked: Asked) -> Parsed[EmbedRequest, GeminiShape]:
        from proxy.fronts.gemini import embeddings

        model = self.model(body, asked.path)
        parsed = embeddings.parse(body, model, several=self._several, written=asked.written)
        return Parsed(parsed, GeminiShape(model))

    def renderer(self, parsed: Parsed[EmbedRequest, GeminiShape], facts: Facts) -> EmbeddingsRenderer:
        from proxy.fronts.gemini.embeddings import EmbeddingsRenderer

        return EmbeddingsRenderer(several=self._several)
