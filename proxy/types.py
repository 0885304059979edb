"""The words the whole house is written in: requests, calls, events. Imports nothing of ours.

A client's request is parsed into `ChatRequest`; a wire builds a `Call` from it; the upstream's
payloads become events; the client's dialect renders events. All of it is plain values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass as _dataclass
from dataclasses import field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pybase64

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(*, frozen: bool, slots: bool) -> Any:
        """Frozen for the type checker, which reads every line of ours, not at run time: a frozen class takes
        three times as long to make, and a request makes twenty of these."""
        return _dataclass(slots=slots, unsafe_hash=frozen)


Json = dict[str, Any]
Role = Literal["system", "developer", "user", "assistant", "tool"]
MediaKind = Literal["image", "audio", "video", "file"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


class Slice:
    """A long ASCII JSON string left as bytes: base64, or a data URL that holds base64.

    It crosses the house without being decoded, copied or parsed. `prefix` is written before the
    bytes when it is rendered, so base64 becomes a data URL without being joined. Slicing gives a
    view, not a copy.
    """

    __slots__ = ("prefix", "raw")

    def __init__(self, raw: bytes | memoryview, prefix: bytes = b"") -> None:
        self.raw = raw if isinstance(raw, memoryview) else memoryview(raw)
        self.prefix = prefix

    def __len__(self) -> int:
        return len(self.prefix) + len(self.raw)

    def __str__(self) -> str:
        return (self.prefix + bytes(self.raw)).decode()

    def __repr__(self) -> str:
        return f"<Slice of {len(self)} characters>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slice) and self.prefix == other.prefix and self.raw == other.raw

    def __hash__(self) -> int:
        return hash((self.prefix, len(self.raw), bytes(self.raw[:64])))

    def head(self, size: int = 64) -> bytes:
        """Return the first `size` bytes that the base64 stands for, fewer if it is shorter or broken."""
        text = bytes(self.raw[: (size + 2) // 3 * 4])
        try:
            return pybase64.b64decode(text[: len(text) // 4 * 4])[:size]
        except ValueError:
            return b""

    def decode(self) -> bytes:
        """Return the bytes the base64 stands for. Raises `ValueError` if it is not standard base64."""
        return pybase64.b64decode(self.raw, validate=True)

    @classmethod
    def of(cls, data: bytes) -> Slice:
        """Encode bytes."""
        return cls(pybase64.b64encode(data))


class Joined:
    """One JSON string made of several: text, and `Slice`s that are not copied (a data URL in markdown)."""

    __slots__ = ("pieces",)

    def __init__(self, *pieces: str | Slice) -> None:
        self.pieces = pieces

    def __len__(self) -> int:
        return sum(map(len, self.pieces))

    def __str__(self) -> str:
        return "".join(map(str, self.pieces))

    def __repr__(self) -> str:
        return f"<Joined of {len(self)} characters>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Joined) and str(self) == str(other)

    __hash__ = None  # type: ignore[assignment]  # it is compared by its whole text


# --- the request ---------------------------------------------------------------------------------


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


# --- the upstream --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """One (provider, upstream model), with everything a wire may know of it: no host, no key.

    `options` are the provider's `options` overlaid by the model's.
    """

    provider: str
    model: str
    wire: str = "gemini"
    surface: str | None = None
    weight: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As written in providers.yaml: `provider.surface/model`."""
        return f"{self.provider}{'.' + self.surface if self.surface else ''}/{self.model}"


@dataclass(frozen=True, slots=True)
class FormFile:
    """One file of a multipart call."""

    field: str
    filename: str
    mime: str
    data: Slice


@dataclass(frozen=True, slots=True)
class Call:
    """An upstream request without host or key. `body` may hold `Slice` leaves.

    `path` starts with `/` and follows the provider's base URL; `stream` says how the upstream will
    answer, whatever the client asked. `dropped` names the client's fields that are not carried;
    `context` is the wire's own note to its reader (renamed functions and the like).
    With `files` the call is multipart/form-data and `body` holds its text fields. `url` is an address the
    vendor gave, checked by the wire, to be called with the key instead of base URL and path; no redirects.
    A GET sends no body.
    """

    path: str
    body: Json
    method: str = "POST"
    stream: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    context: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[FormFile, ...] = ()
    url: str | None = None


# --- events --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """First event of a reply; what the upstream calls it."""

    id: str | None = None
    model: str | None = None
    created: int | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """Answer text; empty with a `signature` when the signature came alone."""

    text: str
    choice: int = 0
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class Reasoning:
    text: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Image:
    """A finished picture: base64 in `data`, or an address the vendor gave in `url`."""

    mime: str
    data: Slice | None = None
    url: str | None = None
    choice: int = 0
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class Audio:
    mime: str
    data: Slice
    transcript: str = ""
    choice: int = 0


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call, or a piece of one: `index` counts per choice over the whole reply and never restarts.

    The first event of an index has `id` and `name`; `arguments` of further ones are appended.
    """

    index: int
    id: str
    name: str
    arguments: str
    choice: int = 0
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    text: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Citation:
    """`start` and `end` are character offsets into the choice's answer text."""

    url: str
    title: str
    start: int
    end: int
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Logprobs:
    """`content` is OpenAI's list of token entries."""

    content: list[Json]
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Extra:
    """Vendor facts for `extra_content.<vendor>` of the message, merged key by key."""

    vendor: str
    values: Json
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts in OpenAI's meaning, cumulative: `prompt` includes `cached`, `completion` includes
    `reasoning`. A `None` detail is unknown. `vendor` is the vendor's own charge, verbatim.
    """

    prompt: int = 0
    completion: int = 0
    reasoning: int = 0
    cached: int = 0
    prompt_text: int | None = None
    prompt_image: int | None = None
    prompt_audio: int | None = None
    completion_text: int | None = None
    completion_image: int | None = None
    completion_audio: int | None = None
    images: int = 0
    estimated: bool = False
    service_tier: str | None = None
    vendor: Json | None = None

    @classmethod
    def sum(cls, usages: list[Usage]) -> Usage:
        """Of several calls, each of which was billed: a prompt counts once per call. At least one."""
        total = usages[0]
        for usage in usages[1:]:
            sums: dict[str, Any] = {"estimated": total.estimated or usage.estimated}
            for item in fields(cls):
                left, right = getattr(total, item.name), getattr(usage, item.name)
                if item.name not in sums and (isinstance(left, int) or isinstance(right, int)):
                    sums[item.name] = (left or 0) + (right or 0)
            total = replace(total, **sums)
        return total


@dataclass(frozen=True, slots=True)
class Finish:
    """The choice is complete. `native` is the vendor's word, `message` its explanation."""

    reason: FinishReason
    native: str | None = None
    choice: int = 0
    message: str | None = None


Event = (
    Started
    | Text
    | Reasoning
    | Image
    | Audio
    | ToolCall
    | Refusal
    | Citation
    | Logprobs
    | Extra
    | Usage
    | Finish
)


class Reader(Protocol):
    """Turns an upstream's payloads into events; one per call. Whole replies are one payload."""

    def feed(self, payload: Json) -> list[Event]:
        """Read one payload. Raises `errors.UpstreamError` when it is, or holds, an error."""
        ...

    def close(self, complete: bool = True) -> list[Event]:
        """The upstream is done; `complete` tells whether its bytes alone prove that nothing is missing.

        Raises `errors.UpstreamError` when the reply is not complete.
        """
        ...


class Wire(Protocol):
    """An upstream dialect. Pure: no sockets, no clock, no configuration but the target's."""

    def build(self, request: ChatRequest, target: Target, repairs: frozenset[str] = frozenset()) -> Call:
        """Translate. `repairs` are names this wire's `repair` gave for earlier refusals."""
        ...

    def reader(self, request: ChatRequest, target: Target, call: Call) -> Reader: ...

    def error(self, status: int, headers: Mapping[str, str], body: bytes, target: Target) -> Exception:
        """The `errors.UpstreamError` that an HTTP status >= 400 stands for. Any body, also HTML."""
        ...

    def repair(self, error: Exception) -> str | None:
        """Name a change to the request that may cure the refusal, None if there is none."""
        ...

    def calls_needed(self, request: ChatRequest, target: Target) -> int:
        """How many calls give `request.n` choices: 1, or n where the upstream makes one at a time."""
        ...

    def keeps_url(self, url: str, target: Target) -> bool:
        """True for an address the upstream must read itself; others are fetched and inlined."""
        ...

    def reads(self, mime: str, target: Target) -> bool:
        """False for a type of picture that the upstream refuses; a PNG is made of it where possible."""
        ...


def iter_media(request: ChatRequest) -> Iterator[MediaPart]:
    """All media parts of a request, in order."""
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, MediaPart):
                yield part
