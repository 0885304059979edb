"""What a client asks for, parsed and checked, in no dialect's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any, Literal

from proxy.types.values import Json, Slice, dataclass

Role = Literal["system", "developer", "user", "assistant", "tool"]
MediaKind = Literal["image", "audio", "video", "file"]


@dataclass(frozen=True, slots=True)
class TextPart:
    text: str
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class MediaPart:
    """A picture, a sound, a film or a document, inline (`data`), by address (`url`) or by `file_id`.

    `data` is standard padded base64. `mime` is what the client declared, None if nothing.
    `where` is the JSON path in the client's request, for errors.
    """

    kind: MediaKind
    data: Slice | None = None
    url: str | None = None
    file_id: str | None = None
    mime: str | None = None
    filename: str | None = None
    detail: str | None = None
    video: Mapping[str, Any] = field(default_factory=dict)  # fps, start_offset, end_offset
    signature: str | None = None
    where: str = ""


Part = TextPart | MediaPart


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A call the assistant made earlier. `arguments` is the JSON object, parsed.

    `signature` is the thought signature that the client's history carried, in whichever place.
    """

    id: str
    name: str
    arguments: Json
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `index` is its position in the client's list, for errors.

    A `tool` message has `tool_call_id` (or only `name`, from the legacy role `function`).
    `extra` is the client's `extra_content.google` (or `.vertex`) object, as it was sent out earlier.
    """

    role: Role
    parts: tuple[Part, ...] = ()
    index: int = 0
    name: str | None = None
    calls: tuple[FunctionCall, ...] = ()
    tool_call_id: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    signature: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FunctionTool:
    name: str
    description: str | None = None
    parameters: Json | None = None
    strict: bool = False


@dataclass(frozen=True, slots=True)
class BuiltinTool:
    """A tool the vendor runs itself: `kind` is one of web_search, url_context, code_execution,
    file_search, computer_use, maps; `options` is the client's object, `native` True when its keys are the
    vendor's own spelling (`{"googleSearch": {...}}`)."""

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    native: bool = False


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """`names` restricts to those functions (empty: all)."""

    mode: Literal["auto", "none", "required"]
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    kind: Literal["text", "json_object", "json_schema"]
    schema: Json | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class Thinking:
    """How much to think: `effort` is OpenAI's word, `budget` tokens, `summary` asks to see it."""

    effort: str | None = None
    budget: int | None = None
    summary: bool | None = None


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """Size wishes as the client wrote them (`size`: 1536x1024, 16:9, 2K ...), unresolved."""

    size: str | None = None
    aspect_ratio: str | None = None
    image_size: str | None = None
    quality: str | None = None


@dataclass(frozen=True, slots=True)
class AudioOptions:
    voice: str | None = None
    format: str = "wav"


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat completion request, parsed and checked. None means: the client did not say.

    `native` is the escape hatch (`extra_body.google`, `google`), keys as the client wrote them.
    `documented` holds OpenAI's documented fields without an attribute here (logit_bias, user ...), `unknown`
    what OpenAI does not document; wires carry them or name them as dropped. `dropped` names documented
    fields inside messages that have no place here (`messages[].audio`): no wire can carry them.
    """

    model: str
    messages: tuple[Message, ...]
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    n: int = 1
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    response_format: ResponseFormat | None = None
    tools: tuple[FunctionTool | BuiltinTool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    legacy_functions: bool = False
    thinking: Thinking | None = None
    modalities: tuple[str, ...] | None = None
    audio: AudioOptions | None = None
    image: ImageOptions | None = None
    safety_settings: list[Json] | None = None
    cached_content: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    metadata: Mapping[str, Any] | None = None
    image_output: str | None = None
    native: Mapping[str, Any] = field(default_factory=dict)
    documented: Mapping[str, Any] = field(default_factory=dict)
    unknown: Mapping[str, Any] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """A picture request, parsed and checked: generation, edit or variation. None: the client did not say.

    `references` are the pictures to work on, `mask` what to change in the first of them. `user` is the
    client's `safety_identifier`, else its `user`. `documented`, `unknown`, `dropped`: as in `ChatRequest`.
    """

    model: str
    prompt: str
    n: int = 1
    image: ImageOptions = field(default_factory=ImageOptions)
    references: tuple[MediaPart, ...] = ()
    mask: MediaPart | None = None
    seed: int | None = None
    negative_prompt: str | None = None
    background: str | None = None
    output_format: str | None = None
    output_compression: int | None = None
    moderation: str | None = None
    style: str | None = None
    response_format: str | None = None
    stream: bool = False
    partial_images: int | None = None
    user: str | None = None
    run_in_background: bool = False
    callback_url: str | None = None
    documented: Mapping[str, Any] = field(default_factory=dict)
    unknown: Mapping[str, Any] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()


def iter_media(request: ChatRequest) -> Iterator[MediaPart]:
    """All media parts of a request, in order."""
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, MediaPart):
                yield part
