"""`/v1/messages`, and `/v1/messages/count_tokens`. What reads and writes is loaded by the first request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from proxy.fronts import checks, image_modes
from proxy.fronts.anthropic import spelling
from proxy.fronts.anthropic.dialect import Commons
from proxy.fronts.base import Asked, Chore, Facts, Kind, Parsed
from proxy.fronts.image_modes import Mode
from proxy.types import ChatRequest

if TYPE_CHECKING:
    from proxy.fronts.anthropic.messages.reply import MessagesRenderer
    from proxy.fronts.anthropic.shape import MessagesShape

_MODES: tuple[Mode, ...] = ("link", "markdown")  # an assistant's message has no pictures but in its text


class MessagesFront(Commons):
    """A `Front`."""

    kind: Kind = "chat"

    def model(self, body: Any, path: Mapping[str, str]) -> str:
        name = checks.model_of(body)
        return image_modes.split_model_suffix(name)[0] if "@" in name else name

    def parse(self, body: Any, asked: Asked) -> Parsed[ChatRequest, MessagesShape]:
        from proxy.fronts.anthropic.messages import request

        return _with_mode(request.parse(body, is_stored=asked.is_stored), asked)

    def chore(self, parsed: Parsed[Any, Any]) -> Chore | None:
        return None

    def renderer(self, parsed: Parsed[ChatRequest, MessagesShape], facts: Facts) -> MessagesRenderer:
        from proxy.fronts.anthropic.messages.reply import MessagesRenderer

        return MessagesRenderer(parsed, facts)

    def spelled(self, attributes: Iterable[str], parsed: Parsed[Any, Any]) -> tuple[str, ...]:
        return spelling.spelled_all(attributes, parsed)


class MessagesCount(MessagesFront):
    """The same request, of which the tokens are counted."""

    def parse(self, body: Any, asked: Asked) -> Parsed[ChatRequest, MessagesShape]:
        from proxy.fronts.anthropic.messages import request

        return request.parse(body, answers=False, is_stored=asked.is_stored)

    def counted(self, tokens: int, parsed: Parsed[Any, Any]) -> bytes:
        return orjson.dumps({"input_tokens": tokens})


def _with_mode(
    parsed: Parsed[ChatRequest, MessagesShape], asked: Asked
) -> Parsed[ChatRequest, MessagesShape]:
    """How pictures are shown, as the first says that speaks. Raises `RequestError` for what no client of this
    dialect could read; what the file says for all dialects is passed over then."""
    shape = parsed.shape
    name, suffix = image_modes.split_model_suffix(shape.model)
    header = asked.headers.get(b"x-image-output", b"").decode("latin-1")
    said = image_modes.choose(
        body=shape.image_output, header=header, query=asked.query.get("image_output"), suffix=suffix
    )
    if said is not None and said not in _MODES:
        raise checks.invalid("image_output", f"{said!r} is not possible here; use link or markdown.")
    of_model, default = asked.image_outputs
    known = said or image_modes.choose(key=asked.caller.image_output, model=of_model, default=default)
    mode: Mode = known if known in _MODES else "link"
    return replace(parsed, shape=replace(shape, model=name, image_mode=mode), links=mode == "link")
