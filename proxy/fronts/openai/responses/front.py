"""`/v1/responses`. What reads and writes it is loaded by the first request: many servers never see one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from proxy.fronts import checks
from proxy.fronts.base import Asked, Facts, Parsed, Piece
from proxy.fronts.clients import known
from proxy.fronts.openai import spelling
from proxy.fronts.openai.commons import Commons
from proxy.types import ChatRequest, Json

if TYPE_CHECKING:
    from proxy.fronts.openai.responses.renderer import ResponsesRenderer
    from proxy.fronts.openai.responses.shape import ResponsesShape

_LOST: Json = {"code": "server_error", "message": "The server ended before this response was complete."}
_TOO_LARGE: Json = {
    "code": "invalid_prompt",  # no client asks again by itself for this word, and pays twice
    "message": "This response was made, but is too large to be kept: ask for it without 'background'.",
}


class ResponsesFront(Commons):
    """A `KeepingFront`."""

    prefix = "resp_"

    def model(self, body: Any, path: Mapping[str, str]) -> str:
        return checks.model_of(body)

    def parse(self, body: Any, asked: Asked) -> Parsed[ChatRequest, ResponsesShape]:
        from proxy.fronts.openai.responses import request

        habits = known.of(asked, streamed=False)
        return request.parse(
            body,
            asked.earlier,
            refusal_in_text=not habits.shows_refusal_part,
            needs_message=habits.needs_message,
        )

    def renderer(self, parsed: Parsed[ChatRequest, ResponsesShape], facts: Facts) -> ResponsesRenderer:
        from proxy.fronts.openai.responses.renderer import ResponsesRenderer

        return ResponsesRenderer(parsed, facts)

    def spelled(self, attributes: Iterable[str], parsed: Parsed[Any, Any]) -> tuple[str, ...]:
        return spelling.spelled_all(tuple(attributes), parsed)

    # --- replies that are kept

    def goes_on_from(self, body: Any) -> Mapping[str, bool]:
        from proxy.fronts.openai.kept import state

        return state.goes_on_from(body)

    def shown(self, told: Json, query: Mapping[str, str]) -> list[Piece]:
        from proxy.fronts.openai.kept import state

        return state.shown(told)

    def listed(self, context: Json, query: Mapping[str, str]) -> list[Piece]:
        from proxy.fronts.openai.kept import state

        return state.page(context, query)

    def told_at_once(self, told: Json) -> bytes:
        from proxy.fronts.openai.kept import stream

        return stream.at_once(told["response"])

    def is_over(self, told: Json) -> bool:
        from proxy.fronts.openai.kept import state

        return state.is_over(told)

    def may_cancel(self, told: Json) -> bool:
        return bool(told["response"]["background"])

    def cancelled(self, told: Json) -> Json:
        from proxy.fronts.openai.kept import state

        return state.ended(told, "cancelled")

    def lost(self, told: Json) -> Json:
        from proxy.fronts.openai.kept import state

        return state.ended(told, "failed", _LOST)

    def too_large(self, told: Json) -> Json:
        from proxy.fronts.openai.kept import state

        return state.emptied(state.ended(told, "failed", _TOO_LARGE))

    def forgotten(self, identity: str) -> bytes:
        return orjson.dumps({"id": identity, "object": "response", "deleted": True})

    def number_of(self, frame: bytes) -> int:
        from proxy.fronts.openai.kept import state

        return state.number_of(frame)


class InputTokensFront(ResponsesFront):
    """A `Counting`."""

    def counted(self, tokens: int, parsed: Parsed[Any, Any]) -> bytes:
        return orjson.dumps({"object": "response.input_tokens", "input_tokens": tokens})
