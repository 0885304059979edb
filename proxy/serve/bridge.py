"""A picture request for a target that chats, and a chat for a target that only takes jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Final

from proxy.errors import RequestError
from proxy.routing.attempts import Candidate
from proxy.serve.draw import Draw
from proxy.serve.talk import Talk
from proxy.types import (
    ChatRequest,
    ImageOptions,
    ImageRequest,
    MediaPart,
    Message,
    Part,
    Target,
    TextPart,
    Wire,
    left_out,
)

# What a picture request keeps as a chat, and a chat as a picture request, and what it is there; all else is
# named as dropped.
_AS_CHAT: Final = {
    "model": "model", "prompt": "messages", "references": "messages", "n": "n", "seed": "seed",
    "image": "image", "stream": "stream", "user": "user",
}  # fmt: skip
_AS_PICTURE: Final = {
    "model": "model", "messages": "prompt", "modalities": "prompt", "n": "n", "seed": "seed",
    "image": "image", "stream": "stream", "user": "user",
}  # fmt: skip


@cache
def _carried(carries: frozenset[str], *, by_talk: bool) -> frozenset[str]:
    """The attributes that reach a wire which carries these."""
    table = _AS_CHAT if by_talk else _AS_PICTURE
    return frozenset(name for name, there in table.items() if there in carries)


class Bridge:
    """A `Speaker` that asks for one thing by asking for another, `times` in all.

    `left` are the attributes that do not come along, `refusal` is why it cannot be asked at all.
    """

    __slots__ = ("_left", "_refusal", "_speaker", "_times", "events", "preview", "repair")

    def __init__(
        self, speaker: Talk | Draw, times: int, left: tuple[str, ...], refusal: RequestError | None
    ) -> None:
        self._speaker = speaker
        self._times = times
        self._left = left
        self._refusal = refusal
        self.events = speaker.events
        self.preview = speaker.preview
        self.repair = speaker.repair

    def unable(self) -> RequestError | None:
        return self._refusal or self._speaker.unable()

    def by_piece(self) -> bool:
        return True

    def shares(self) -> tuple[int, ...]:
        return (1,) * self._times

    def unread(self) -> tuple[str, ...]:
        return self._left


def pictures_by_talk(wire: Wire, request: ImageRequest, target: Target) -> Bridge:
    """Pictures by a target that chats, one at a time."""
    refusal = None
    if request.mask is not None:
        refusal = RequestError(
            "This model edits whole pictures and takes no mask; describe the place in the prompt.",
            attribute="mask",
            code="mask_not_supported",
        )
    talk = Talk(wire, to_chat(request), target)
    left = left_out(request, _carried(wire.carries, by_talk=True))
    return Bridge(talk, request.n, left, refusal)


def drawn(candidate: Candidate, request: ChatRequest | ImageRequest) -> Draw | Bridge:
    """By a target that only makes pictures; a chat has to be asked for as one."""
    wire = candidate.jobs or (candidate.pictures and candidate.pictures())
    assert wire is not None
    if isinstance(request, ImageRequest):
        return Draw(wire, request, candidate.target, candidate.every_s, candidate.give_up_s)
    wanted = to_image(request, candidate.forgets)
    draw = Draw(wire, wanted, candidate.target, candidate.every_s, candidate.give_up_s)
    refusal = None
    if not wanted.prompt:
        refusal = RequestError("There is no text to make a picture from.", attribute="messages")
    left = (*left_out(request, _carried(wire.carries, by_talk=False)), *_unsaid(request, candidate.forgets))
    return Bridge(draw, request.n, left, refusal)


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


def to_image(request: ChatRequest, forgets: Callable[[], bool] = bool) -> ImageRequest:
    """System text and the last user turn become the prompt; its pictures, or else those of the last answer,
    become the references, so that "make it red" edits the previous picture (vendors.md 8.5). Where `forgets`
    says that no target edits, those of answers are left out: the client itself never gave them."""
    return ImageRequest(
        model=request.model,
        prompt=_prompt(request),
        n=1,
        image=request.image or ImageOptions(),
        references=_references(request, forgets),
        seed=request.seed,
        user=request.user,
        stream=request.stream,
    )


def _prompt(request: ChatRequest) -> str:
    last = _last_turn(request)
    texts = [_text(message) for message in request.messages if message.role in ("system", "developer")]
    texts += [_text(last)] if last is not None else []
    return "\n\n".join(text for text in texts if text)


def _references(request: ChatRequest, forgets: Callable[[], bool]) -> tuple[MediaPart, ...]:
    shown = _shown_turn(request, forgets)
    return _pictures(shown) if shown is not None else ()


def _shown_turn(request: ChatRequest, forgets: Callable[[], bool]) -> Message | None:
    """The turn whose pictures are the references."""
    last = _last_turn(request)
    if last is not None and _pictures(last):
        return last
    answers = (message for message in reversed(request.messages) if message.role == "assistant")
    shown = next((message for message in answers if _pictures(message)), None)
    return None if shown is None or forgets() else shown


def _unsaid(request: ChatRequest, forgets: Callable[[], bool]) -> Iterator[str]:
    """What prompt and references do not hold of a conversation: earlier turns, all that is neither text nor
    picture, and the wish for another answer than a picture."""
    if request.modalities and ("image" not in request.modalities or "audio" in request.modalities):
        yield "modalities"
    last, shown = _last_turn(request), _shown_turn(request, forgets)
    for message in request.messages:
        if message is last or message.role in ("system", "developer"):
            yield from _unsaid_of(message, (TextPart, MediaPart))
        elif message is shown:
            yield from _unsaid_of(message, (MediaPart,))
        else:
            yield f"messages[{message.index}]"


def _unsaid_of(message: Message, kept: tuple[type, ...]) -> Iterator[str]:
    where = f"messages[{message.index}]"
    if message.name:
        yield f"{where}.name"
    if message.audio is not None:
        yield f"{where}.audio"
    if not all(isinstance(part, kept) for part in message.parts):
        yield f"{where}.parts"
    for part in message.parts:
        if isinstance(part, MediaPart) and not _is_picture(part):
            yield part.where or f"{where}.parts"
        elif isinstance(part, MediaPart) and part.detail not in (None, "auto"):
            yield f"{part.where.removesuffix('.url')}.detail".lstrip(".")


def _last_turn(request: ChatRequest) -> Message | None:
    """The newest thing a user said; what tools returned is nothing to draw from."""
    return next((message for message in reversed(request.messages) if _is_said(message)), None)


def _is_said(message: Message) -> bool:
    return message.role == "user" and any(isinstance(part, TextPart | MediaPart) for part in message.parts)


def _text(message: Message) -> str:
    return "\n".join(part.text for part in message.parts if isinstance(part, TextPart) and part.text)


def _pictures(message: Message) -> tuple[MediaPart, ...]:
    return tuple(part for part in message.parts if isinstance(part, MediaPart) and _is_picture(part))


def _is_picture(part: MediaPart) -> bool:
    """What a file holds that is given by its id is seen when it is read: nothing is bought without it."""
    return part.kind == "image" or (part.kind == "file" and part.file_id is not None)
