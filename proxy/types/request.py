"""What a client asks for, parsed and checked, in no dialect's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, field, fields, replace
from functools import cache
from typing import Any, ClassVar, Literal

from proxy.types.values import Json, Slice, dataclass

Role = Literal["system", "developer", "user", "assistant"]
MediaKind = Literal["image", "audio", "video", "file"]


@dataclass(frozen=True, slots=True)
class TextPart:
    """`refusal`: the assistant said it instead of an answer. `marks`: see `Foreign`."""

    text: str
    signature: str | None = None
    refusal: bool = False
    marks: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class MediaPart:
    """A picture, a sound, a film or a document, inline (`data`), by address (`url`) or by `file_id`.

    `data` is standard padded base64. `mime` is what the client declared, None if nothing.
    `where` is the JSON path in the client's request, in its spelling: the `param` of errors.
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
    marks: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ThoughtPart:
    """What the assistant thought aloud, as far as it was shown. `where` is a `MediaPart`'s. `spare`: its
    dialect sends it back in any case, and nobody misses it where it is not carried."""

    text: str
    signature: str | None = None
    where: str = ""
    spare: bool = False


@dataclass(frozen=True, slots=True)
class CallPart:
    """A call the assistant made. `arguments` is the JSON object, parsed; a legacy call has the id "". For
    `marks` see `Foreign`. `where` is a `MediaPart`'s, of a call that stands apart from its turn."""

    id: str
    name: str
    arguments: Json
    signature: str | None = None
    marks: Mapping[str, Any] | None = None
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class ResultPart:
    """What a call returned: `call_id` names the call, or only `name` its function."""

    call_id: str | None
    name: str | None
    parts: tuple[TextPart | MediaPart, ...]
    failed: bool = False
    marks: Mapping[str, Any] | None = None


Part = TextPart | MediaPart | ThoughtPart | CallPart | ResultPart


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: its parts in the order they happened. `index` is its position in the client's list.

    Thoughts and calls are an assistant's, results a user's. A `signature` is the thought signature that the
    client's history carried, in whichever place, on the part it belongs to (see `sign`).
    `signed` where the client wrote one: nobody misses those that we remembered for it.
    `extra` is the client's `extra_content.google` (or `.vertex`) object, as it was sent out earlier. `audio`
    is the id under which the upstream knows what the assistant said aloud.
    """

    role: Role
    parts: tuple[Part, ...] = ()
    index: int = 0
    name: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    signed: bool = False
    audio: str | None = None


@dataclass(frozen=True, slots=True)
class FunctionTool:
    name: str
    description: str | None = None
    parameters: Json | None = None
    strict: bool = False
    marks: Mapping[str, Any] | None = field(default=None, compare=False)  # a function is the same without


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
class AnswerFormat:
    """The form that the answer shall have."""

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
class Whole:
    """A client's own body: decoded, and as it was `written`, empty where those bytes are not at hand. `said`
    are the attributes of the request that were read out of it."""

    body: Json
    written: bytes
    said: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Foreign:
    """What a client sent that has no attribute of ours, as it wrote it. Only a wire that speaks the same
    `dialect` carries it; the others name it. `marks` are the places of members that stand on parts and tools,
    which hold them as `marks`: what the vendor's cache shall keep. `silent` are fields whose values ask for
    nothing (an empty list, what the dialect documents as its default), and marks in a dialect that always
    has them: nobody misses them. `whole` is there where such a wire may send the client's own body in place
    of one that it builds.
    """

    dialect: str
    fields: Mapping[str, Any]
    silent: frozenset[str] = frozenset()
    whole: Whole | None = None
    marks: tuple[str, ...] = ()

    def paths(self) -> list[str]:
        """All that asks for something, as attribute paths of a request."""
        return [*self.field_paths(), *self.mark_paths()]

    def field_paths(self) -> list[str]:
        return [f"foreign.{name}" for name in self.fields if name not in self.silent]

    def mark_paths(self) -> list[str]:
        return [f"foreign.{place}" for place in self.marks if place not in self.silent]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat completion request, parsed and checked. None means: the client did not say.

    `native` is the escape hatch (`extra_body.google`, `google`), keys as the client wrote them. `user` is
    the client's own id of who asks.
    """

    model: str
    messages: tuple[Message, ...]
    stream: bool = False
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
    answer_format: AnswerFormat | None = None
    tools: tuple[FunctionTool | BuiltinTool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_calls: bool | None = None
    thinking: Thinking | None = None
    modalities: tuple[str, ...] | None = None
    audio: AudioOptions | None = None
    image: ImageOptions | None = None
    safety_settings: list[Json] | None = None
    cached_content: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    metadata: Mapping[str, Any] | None = None
    user: str | None = None
    native: Mapping[str, Any] = field(default_factory=dict)
    foreign: Foreign | None = None


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """A picture request, parsed and checked: generation, edit or variation. None: the client did not say.

    `references` are the pictures to work on, `mask` what to change in the first of them. `user` is the
    client's own id of who asks.
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
    stream: bool = False
    partial_images: int | None = None
    user: str | None = None
    foreign: Foreign | None = None


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """Texts whose meaning is wanted as vectors, one for each of the `inputs`: a text, or the ids of the
    tokens that the client has cut it into. `task` says what the vectors are for (`retrieval_query`), `title`
    what a document is called. `user` is the client's own id of who asks.
    """

    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None
    task: str | None = None
    title: str | None = None
    user: str | None = None
    foreign: Foreign | None = None

    stream: ClassVar[bool] = False

    @property
    def n(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """A text to be read aloud. `instructions` say how, `voice` by whom, `format` is the file's (mp3, opus,
    aac, flac, wav, pcm), a `speed` of 1 is the usual. `stream`: pieces are wanted as they come."""

    model: str
    text: str
    voice: str | None = None
    instructions: str | None = None
    format: str = "mp3"
    speed: float | None = None
    stream: bool = False
    foreign: Foreign | None = None

    n: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class TranscriptRequest:
    """What is said in a recording shall be written down: in the language in which it is said, or `translated`
    into English. `detail` is what is wanted beside the words: nothing, the `times` at which they are said,
    all `facts` that are known of them, or who the `speakers` are; `words`: the times of single words too.
    `language` and `prompt` help to understand it."""

    model: str
    recording: MediaPart
    translated: bool = False
    detail: Literal["text", "times", "facts", "speakers"] = "text"
    words: bool = False
    language: str | None = None
    prompt: str | None = None
    temperature: float | None = None
    stream: bool = False
    foreign: Foreign | None = None

    n: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class ModerationRequest:
    """Each of the `items` shall be judged: whether what it says or shows is harmful."""

    model: str
    items: tuple[tuple[TextPart | MediaPart, ...], ...]
    foreign: Foreign | None = None

    n: ClassVar[int] = 1
    stream: ClassVar[bool] = False


Request = ChatRequest | ImageRequest | EmbedRequest | SpeechRequest | TranscriptRequest | ModerationRequest


def sign(parts: tuple[Part, ...], signature: str) -> tuple[Part, ...]:
    """Put the signature of a whole answer on its part: the first call if no call is signed, without calls the
    last text or medium, or an empty text where there is none. A part that has its own keeps it.
    """
    last = first_call = -1
    for place, part in enumerate(parts):
        if isinstance(part, CallPart):
            if part.signature:
                return parts
            first_call = place if first_call < 0 else first_call
        elif isinstance(part, MediaPart) or (isinstance(part, TextPart) and (part.text or last < 0)):
            last = place
    place = last if first_call < 0 else first_call
    if place < 0:
        return (*parts, TextPart("", signature))
    bearer = parts[place]
    assert isinstance(bearer, TextPart | MediaPart | CallPart)
    if bearer.signature:
        return parts
    return (*parts[:place], replace(bearer, signature=signature), *parts[place + 1 :])


def iter_media(request: ChatRequest) -> Iterator[MediaPart]:
    """All media parts of a request, in order, those inside results too."""
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, MediaPart):
                yield part
            elif isinstance(part, ResultPart):
                yield from (one for one in part.parts if isinstance(one, MediaPart))


def left_out(request: Request, carried: frozenset[str]) -> tuple[str, ...]:
    """The attributes that ask for something and are not among those that are carried, as paths."""
    kind: Any = type(request)  # mypy takes the class's `__hash__` for its instances'
    names: list[str] = []
    for each in _missing(kind, carried):
        value = getattr(request, each.name)
        if value in _ASKS_NOTHING or value == each.default:
            continue
        if isinstance(value, Foreign):
            names += value.paths()
        elif each.default_factory is MISSING or value != each.default_factory():
            names.append(each.name)
    return tuple(names)


@cache
def _missing(kind: type[Any], carried: frozenset[str]) -> tuple[Field[Any], ...]:
    """What a wire that declares these attributes never looks at: found out once, not for each request."""
    return tuple(each for each in fields(kind) if each.name not in carried)


_ASKS_NOTHING: tuple[Any, ...] = (None, "", "auto", (), [], {})
