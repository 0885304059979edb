"""The dialects that `explain` and `try` can read a request of: a line of the table each. Nothing of them is
loaded before it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.fronts.base import Asked, Front, Parsed
from proxy.keys import ClientKey
from proxy.types import Json


@dataclass(frozen=True, slots=True)
class Dialect:
    """`front` loads it. `asks` makes the body that says a prompt and shows pictures, as data URLs. `mark` is
    the member of a body by which it is told from the others; None where it has to be named."""

    front: Callable[[], Front]
    asks: Callable[[str, Sequence[str]], Json]
    mark: str | None = None

    def parsed(self, body: Json, model: str, who: str) -> tuple[Front, Parsed[Any, Any]]:
        """Raises `RequestError`."""
        front = self.front()
        return front, front.parse(body, Asked(who, ClientKey(who), path={"model": model}))


def _chat() -> Front:
    from proxy.fronts.openai.chat.front import ChatFront

    return ChatFront()


def _images() -> Front:
    from proxy.fronts.openai.images.front import ImagesFront

    return ImagesFront("generation")


def _responses() -> Front:
    from proxy.fronts.openai.responses.front import ResponsesFront

    return ResponsesFront()


def _as_chat(prompt: str, pictures: Sequence[str]) -> Json:
    if not pictures:
        return {"messages": [{"role": "user", "content": prompt}]}
    shown = [{"type": "image_url", "image_url": {"url": picture}} for picture in pictures]
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": prompt}, *shown]}]}


def _as_images(prompt: str, pictures: Sequence[str]) -> Json:
    return {"prompt": prompt}


def _as_response(prompt: str, pictures: Sequence[str]) -> Json:
    if not pictures:
        return {"input": prompt}
    shown = [{"type": "input_image", "image_url": picture} for picture in pictures]
    return {"input": [{"role": "user", "content": [{"type": "input_text", "text": prompt}, *shown]}]}


DIALECTS: dict[str, Dialect] = {
    "chat": Dialect(_chat, _as_chat, "messages"),
    "images": Dialect(_images, _as_images, "prompt"),
    "responses": Dialect(_responses, _as_response, "input"),
}


def of(name: str | None, body: Json | None) -> Dialect:
    """The one that is named, else the first whose member the body has, else a chat."""
    if name is not None:
        return DIALECTS[name]
    marked = (one for one in DIALECTS.values() if body is not None and one.mark in body)
    return next(marked, DIALECTS["chat"])
