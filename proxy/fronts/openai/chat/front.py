"""`/v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from proxy.fronts import checks, image_modes
from proxy.fronts.base import Asked, Chore, Facts, Header, Parsed, Piece
from proxy.fronts.clients import chores, known
from proxy.fronts.openai.chat import reply, request
from proxy.fronts.openai.chat.shape import ChatShape
from proxy.fronts.openai.chat.stream import StreamRenderer
from proxy.fronts.openai.commons import Commons
from proxy.fronts.openai.replies.reply_parts import LINKED, ReplyOptions
from proxy.types import ChatRequest, Event

_PING = b": keep-alive\n\n"


class ChatRenderer(StreamRenderer):
    """The same events, whole or as chunks."""

    ping = _PING
    headers: tuple[Header, ...] = ()

    def whole(self, events: Iterable[Event]) -> list[Piece]:
        return reply.whole(events, self._reply)


class ChatFront(Commons):
    """A `Front`."""

    def model(self, body: Any, path: Mapping[str, str]) -> str:
        name = checks.model_of(body)
        return image_modes.split_model_suffix(name)[0] if "@" in name else name

    def parse(self, body: Any, asked: Asked) -> Parsed[ChatRequest, ChatShape]:
        reading = request.read(body, is_stored=asked.is_stored)
        shape, headers = reading.shape, asked.headers
        name, suffix = shape["model"], None
        if "@" in name:
            name, suffix = image_modes.split_model_suffix(name)
        of_model, default = asked.image_outputs
        said = image_modes.choose(
            body=shape.get("image_output"),
            header=headers.get(b"x-image-output", b"").decode("latin-1"),
            query=asked.query.get("image_output"),
            suffix=suffix,
            key=asked.caller.image_output,
            model=of_model,
            default=default,
        )
        habits = known.of(asked, streamed=reading.request.get("stream", False))
        mode = said or habits.image_mode
        wanted = reading.request.get("answer_format")  # who reads JSON reads `refusal` where there is none
        says = not habits.shows_refusal and (wanted is None or wanted.kind == "text")
        shape.update(model=name, image_mode=mode, refusal_in_text=says)
        return request.made(reading, links=mode in LINKED)

    def chore(self, parsed: Parsed[ChatRequest, ChatShape]) -> Chore | None:
        request = parsed.request
        name = chores.of(request.messages)
        if name is None:
            return None
        messages = chores.without_data(request.messages)
        return Chore(name, replace(parsed, request=replace(request, messages=messages)))

    def renderer(self, parsed: Parsed[ChatRequest, ChatShape], facts: Facts) -> ChatRenderer:
        shape = parsed.shape
        return ChatRenderer(
            ReplyOptions(
                model=shape.model,
                created=facts.created,
                include_usage=shape.include_usage,
                image_mode=shape.image_mode,
                refusal_in_text=shape.refusal_in_text,
                legacy_functions=shape.legacy_functions,
                link=facts.link,
                cost=facts.cost,
                audio_format=shape.audio_format,
                parsed=parsed,
            )
        )
