"""Replies of chat completions, as OpenAI spells them and with what we add: shapes for the type checker, not
loaded when we run. `Text` is a string, or one whose long parts are not copied."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from proxy.types import Joined, Json, Slice

Text = str | Slice | Joined


class ImageUrl(TypedDict):
    url: str | Slice


class Part(TypedDict, total=False):
    """Of `content` as a list (document 004), and an entry of `images`, which has an `index`."""

    type: Literal["text", "image_url"]
    text: str
    index: int
    image_url: ImageUrl
    extra_content: Json


class Function(TypedDict, total=False):
    name: str
    arguments: str


class ToolCall(TypedDict, total=False):
    """Whole, or a piece of one, which has an `index`."""

    index: int
    id: str
    type: Literal["function"]
    function: Function
    extra_content: Json


class UrlCitation(TypedDict):
    start_index: int
    end_index: int
    url: str
    title: str


class Annotation(TypedDict):
    type: Literal["url_citation"]
    url_citation: UrlCitation


class Sound(TypedDict, total=False):
    id: str
    data: Slice
    expires_at: int
    transcript: str


class Delta(TypedDict, total=False):
    """What a chunk adds; a message is the sum of them."""

    role: Literal["assistant"]
    content: Text | list[Part] | None
    refusal: str | None
    reasoning_content: str
    images: list[Part]
    audio: Sound
    annotations: list[Annotation]
    tool_calls: list[ToolCall]
    function_call: Function
    extra_content: Json


class Message(Delta):
    """A whole one, in which `role`, `content` and `refusal` are never missing."""


class Logprobs(TypedDict):
    content: list[Json] | None
    refusal: list[Json] | None


class Ended(TypedDict):
    logprobs: Logprobs | None
    finish_reason: str | None
    native_finish_reason: NotRequired[str]


class Choice(Ended):
    index: int
    message: Message


class Usage(TypedDict):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int | None]
    completion_tokens_details: dict[str, int | None]
    images: NotRequired[int]
    estimated: NotRequired[bool]
    vendor: NotRequired[Json]
    cost: NotRequired[float]
    cost_currency: NotRequired[str]


class Common(TypedDict):
    """Of every chunk and of the whole."""

    id: str
    object: Literal["chat.completion", "chat.completion.chunk"]
    created: int
    model: str
    system_fingerprint: NotRequired[str | None]
    service_tier: NotRequired[str]


class Completion(Common):
    choices: list[Choice]
    usage: Usage


class LastChunk(Common):
    """The chunk that tells the usage."""

    choices: list[Any]
    usage: Usage
