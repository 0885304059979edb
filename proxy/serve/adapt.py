"""A picture request for an upstream that chats, and a chat for a vendor that only makes pictures."""

from __future__ import annotations

from proxy.errors import RequestError
from proxy.types import ChatRequest, ImageOptions, ImageRequest, MediaPart, Message, Part, TextPart

# Fields of a picture request that mean nothing to a chat model, with the values that ask for nothing.
_NOT_FOR_CHAT = {
    "negative_prompt": None,
    "background": (None, "auto"),
    "output_format": None,
    "output_compression": None,
    "moderation": (None, "auto"),
    "style": None,
    "partial_images": (None, 0),
}


def to_chat(request: ImageRequest) -> ChatRequest:
    """The prompt as a user's turn with the pictures in front of it. Raises a 400 for a mask."""
    if request.mask is not None:
        raise RequestError(
            "This model edits whole pictures and takes no mask; describe the place in the prompt instead.",
            param="mask",
            code="mask_not_supported",
        )
    parts: tuple[Part, ...] = (*request.references, TextPart(request.prompt))
    dropped = tuple(
        name
        for name, silent in _NOT_FOR_CHAT.items()
        if getattr(request, name) not in (silent if isinstance(silent, tuple) else (silent,))
    )
    return ChatRequest(
        model=request.model,
        messages=(Message("user", parts),),
        n=1,
        seed=request.seed,
        image=request.image,
        documented={"user": request.user} if request.user else {},
        dropped=(*request.dropped, *dropped, *request.documented, *request.unknown),
    )


def to_image(request: ChatRequest) -> ImageRequest:
    """System text and the last user turn become the prompt; its pictures, or else those of the last answer,
    become the references, so that "make it red" edits the previous picture (vendors.md 8.5).

    Raises a 400 when there are no words to draw from.
    """
    turns = [message for message in request.messages if message.role == "user"]
    last = turns[-1] if turns else None
    texts = [_text(message) for message in request.messages if message.role in ("system", "developer")]
    texts += [_text(last)] if last is not None else []
    prompt = "\n\n".join(text for text in texts if text)
    if not prompt:
        raise RequestError("There is no text to make a picture from.", param="messages")
    references = _pictures(last) if last is not None else ()
    if not references:
        answers = (message for message in reversed(request.messages) if message.role == "assistant")
        references = next((found for message in answers if (found := _pictures(message))), ())
    return ImageRequest(
        model=request.model,
        prompt=prompt,
        n=1,
        image=request.image or ImageOptions(),
        references=references,
        seed=request.seed,
        user=request.documented.get("user"),
        stream=request.stream,
        dropped=_not_for_pictures(request),
    )


# What a vendor of pictures has no use for, of what a chat request may set.
_CHAT_ONLY = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
    "response_format",
    "tool_choice",
    "thinking",
    "audio",
    "safety_settings",
    "cached_content",
)


def _not_for_pictures(request: ChatRequest) -> tuple[str, ...]:
    named = tuple(name for name in _CHAT_ONLY if getattr(request, name) is not None)
    lists = tuple(name for name in ("stop", "tools", "native") if getattr(request, name))
    return (*request.dropped, *named, *lists, *request.unknown)


def _text(message: Message) -> str:
    return "\n".join(part.text for part in message.parts if isinstance(part, TextPart) and part.text)


def _pictures(message: Message) -> tuple[MediaPart, ...]:
    return tuple(part for part in message.parts if isinstance(part, MediaPart) and part.kind == "image")
