"""The dialects that `explain` and `try` can read a request of: a line of the table each. Nothing of them is
loaded before it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.fronts.base import Asked, Front, Parsed
from proxy.keys import ClientKey
from proxy.types import Json

_MOST_TOKENS = 4096  # which Anthropic's clients have to say


@dataclass(frozen=True, slots=True)
class Dialect:
    """`front` loads it, for a stream or not. `asks` makes the body that says a prompt and shows pictures, as
    data URLs. `mark` is the member of a body by which it is told from those before it in the table; None
    where it has to be named. `by_address`: model and stream stand in the address, not in the body."""

    front: Callable[[bool], Front]
    asks: Callable[[str, Sequence[str]], Json]
    mark: str | None = None
    by_address: bool = False

    def parsed(
        self, body: Json, model: str, who: str, *, stream: bool = False
    ) -> tuple[Front, Parsed[Any, Any]]:
        """Raises `RequestError`. `stream` also where the body does not say it."""
        if not self.by_address:
            body = {**body, "model": model} | ({"stream": True} if stream else {})
        front = self.front(stream)
        return front, front.parse(body, Asked(who, ClientKey(who), path={"model": model}))


def _chat(_: bool) -> Front:
    from proxy.fronts.openai.chat.front import ChatFront

    return ChatFront()


def _images(_: bool) -> Front:
    from proxy.fronts.openai.images.front import ImagesFront

    return ImagesFront("generation")


def _responses(_: bool) -> Front:
    from proxy.fronts.openai.responses.front import ResponsesFront

    return ResponsesFront()


def _messages(_: bool) -> Front:
    from proxy.fronts.anthropic.messages.front import MessagesFront

    return MessagesFront()


def _gemini(stream: bool) -> Front:
    from proxy.fronts.gemini.generate.front import GeminiFront

    return GeminiFront(stream=stream)


def _embeddings(_: bool) -> Front:
    from proxy.fronts.openai.embeddings.front import EmbeddingsFront

    return EmbeddingsFront()


def _completions(_: bool) -> Front:
    from proxy.fronts.openai.completions.front import CompletionsFront

    return CompletionsFront()


def _speech(_: bool) -> Front:
    from proxy.fronts.openai.speech.front import SpeechFront

    return SpeechFront()


def _moderations(_: bool) -> Front:
    from proxy.fronts.openai.moderations.front import ModerationsFront

    return ModerationsFront()


def _as_chat(prompt: str, pictures: Sequence[str]) -> Json:
    if not pictures:
        return {"messages": [{"role": "user", "content": prompt}]}
    shown = [{"type": "image_url", "image_url": {"url": picture}} for picture in pictures]
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": prompt}, *shown]}]}


def _as_prompt(prompt: str, pictures: Sequence[str]) -> Json:
    return {"prompt": prompt}


def _as_input(prompt: str, pictures: Sequence[str]) -> Json:
    return {"input": prompt}


def _as_speech(prompt: str, pictures: Sequence[str]) -> Json:
    return {"input": prompt, "response_format": "wav"}


def _as_response(prompt: str, pictures: Sequence[str]) -> Json:
    if not pictures:
        return {"input": prompt}
    shown = [{"type": "input_image", "image_url": picture} for picture in pictures]
    return {"input": [{"role": "user", "content": [{"type": "input_text", "text": prompt}, *shown]}]}


def _as_message(prompt: str, pictures: Sequence[str]) -> Json:
    sources = [
        {"type": "base64", "media_type": kind, "data": data} for kind, data in map(_taken_apart, pictures)
    ]
    shown = [{"type": "image", "source": source} for source in sources]
    said = [{"role": "user", "content": [{"type": "text", "text": prompt}, *shown]}]
    return {"max_tokens": _MOST_TOKENS, "messages": said}


def _as_content(prompt: str, pictures: Sequence[str]) -> Json:
    shown = [{"inlineData": {"mimeType": kind, "data": data}} for kind, data in map(_taken_apart, pictures)]
    return {"contents": [{"role": "user", "parts": [{"text": prompt}, *shown]}]}


def _taken_apart(picture: str) -> tuple[str, str]:
    head, _, data = picture.removeprefix("data:").partition(",")
    return head.partition(";")[0], data


DIALECTS: dict[str, Dialect] = {
    "chat": Dialect(_chat, _as_chat, "messages"),
    "images": Dialect(_images, _as_prompt, "prompt"),
    "responses": Dialect(_responses, _as_response, "input"),
    "messages": Dialect(_messages, _as_message, "system"),
    "gemini": Dialect(_gemini, _as_content, "contents", by_address=True),
    "embeddings": Dialect(_embeddings, _as_input),
    "completions": Dialect(_completions, _as_prompt),
    "speech": Dialect(_speech, _as_speech),
    "moderations": Dialect(_moderations, _as_input),
}


def of(name: str | None, body: Json | None) -> Dialect:
    """The one that is named, else the last whose member the body has, else a chat."""
    if name is not None:
        return DIALECTS[name]
    marked = [one for one in DIALECTS.values() if body is not None and one.mark in body]
    return marked[-1] if marked else DIALECTS["chat"]
