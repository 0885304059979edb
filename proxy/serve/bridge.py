"""A picture request for a target that chats, and a chat for a target that only takes jobs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Final

from proxy.errors import RequestError, UpstreamError
from proxy.types import (
    Call,
    ChatRequest,
    Event,
    ImageOptions,
    ImageRequest,
    MediaPart,
    Message,
    Part,
    Target,
    TextPart,
    left_out,
)

if TYPE_CHECKING:
    from proxy.serve.house import House
    from proxy.serve.order import Order
    from proxy.serve.talk import Talk
    from proxy.serve.tries import Try

# What a picture request keeps as a chat, and a chat as a picture request; all else is named as dropped.
TO_CHAT: Final = frozenset({"model", "prompt", "n", "seed", "image", "references", "stream", "user"})
TO_IMAGE: Final = frozenset({"model", "messages", "n", "seed", "image", "stream", "user", "modalities"})


class ByTalk:
    """Pictures by a target that chats, one at a time."""

    __slots__ = ("_talk",)

    def __init__(self, talk: Talk) -> None:
        self._talk = talk

    def unable(self, request: ImageRequest, target: Target) -> RequestError | None:
        if request.mask is not None:
            return RequestError(
                "This model edits whole pictures and takes no mask; describe the place in the prompt.",
                attribute="mask",
                code="mask_not_supported",
            )
        return self._talk.unable(to_chat(request), target)

    def by_piece(self, request: ImageRequest, target: Target) -> bool:
        return True

    def shares(self, request: ImageRequest, target: Target) -> tuple[int, ...]:
        return (1,) * request.n

    def preview(self, request: ImageRequest, target: Target) -> Call:
        return self._talk.preview(to_chat(request), target)

    def repair(self, error: UpstreamError) -> str | None:
        return self._talk.repair(error)

    def events(self, request: ImageRequest, one: Try, house: House) -> AsyncGenerator[list[Event], None]:
        one.told.bridged = left_out(request, TO_CHAT)
        return self._talk.events(to_chat(request), one, house)


class ByJob:
    """A chat with a target that only makes pictures."""

    __slots__ = ("_order",)

    def __init__(self, order: Order) -> None:
        self._order = order

    def unable(self, request: ChatRequest, target: Target) -> RequestError | None:
        if not _prompt(request):
            return RequestError("There is no text to make a picture from.", attribute="messages")
        return self._order.unable(to_image(request), target)

    def by_piece(self, request: ChatRequest, target: Target) -> bool:
        return True

    def shares(self, request: ChatRequest, target: Target) -> tuple[int, ...]:
        return (1,) * request.n

    def preview(self, request: ChatRequest, target: Target) -> Call:
        return self._order.preview(to_image(request), target)

    def repair(self, error: UpstreamError) -> str | None:
        return self._order.repair(error)

    def events(self, request: ChatRequest, one: Try, house: House) -> AsyncGenerator[list[Event], None]:
        one.told.bridged = left_out(request, TO_IMAGE)
        return self._order.events(to_image(request), one, house)


def to_chat(request: ImageRequest) -> ChatRequest:
    """The prompt as a user's turn with the pictures in front of it."""
    parts: tuple[Part, ...] = (*request.references, TextPart(request.prompt))
    return ChatRequest(
        model=request.model,
        messages=(Message("user", parts),),
        stream=False,
        seed=request.seed,
        image=request.image,
        user=request.user,
    )


def to_image(request: ChatRequest) -> ImageRequest:
    """System text and the last user turn become the prompt; its pictures, or else those of the last answer,
    become the references, so that "make it red" edits the previous picture (vendors.md 8.5)."""
    return ImageRequest(
        model=request.model,
        prompt=_prompt(request),
        n=1,
        image=request.image or ImageOptions(),
        references=_references(request),
        seed=request.seed,
        user=request.user,
        stream=request.stream,
    )


def _prompt(request: ChatRequest) -> str:
    last = _last_turn(request)
    texts = [_text(message) for message in request.messages if message.role in ("system", "developer")]
    texts += [_text(last)] if last is not None else []
    return "\n\n".join(text for text in texts if text)


def _references(request: ChatRequest) -> tuple[MediaPart, ...]:
    last = _last_turn(request)
    found = _pictures(last) if last is not None else ()
    if found:
        return found
    answers = (message for message in reversed(request.messages) if message.role == "assistant")
    return next((found for message in answers if (found := _pictures(message))), ())


def _last_turn(request: ChatRequest) -> Message | None:
    """The newest thing a user said; what tools returned is nothing to draw from."""
    return next((message for message in reversed(request.messages) if _is_said(message)), None)


def _is_said(message: Message) -> bool:
    return message.role == "user" and any(isinstance(part, TextPart | MediaPart) for part in message.parts)


def _text(message: Message) -> str:
    return "\n".join(part.text for part in message.parts if isinstance(part, TextPart) and part.text)


def _pictures(message: Message) -> tuple[MediaPart, ...]:
    return tuple(part for part in message.parts if isinstance(part, MediaPart) and part.kind == "image")
