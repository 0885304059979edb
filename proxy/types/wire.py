"""What a wire is given and what it gives: targets, calls, readers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal, Protocol

from proxy.errors import RequestError, UpstreamError
from proxy.types.events import Event
from proxy.types.request import ChatRequest
from proxy.types.values import Json, Slice, dataclass

Encoding = Literal["json", "form", "multipart", "raw"]


@dataclass(frozen=True, slots=True)
class Target:
    """One (provider, upstream model), with everything a wire may know of it: no host, no key.

    `options` are the provider's `options` overlaid by the model's. `name` is how providers.yaml writes it:
    `provider.surface/model`.
    """

    provider: str
    model: str
    wire: str = "gemini"
    surface: str | None = None
    weight: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        name = f"{self.provider}{'.' + self.surface if self.surface else ''}/{self.model}"
        object.__setattr__(self, "name", name)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a model takes and gives, as far as it is known: `inputs` and `outputs` are words of text, image,
    audio, video, file and embeddings; `sizes` (words like 2K, or pixels) and `ratios` those of the pictures
    it makes; `input_tokens` and `output_tokens` the most that it reads and answers."""

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    ratios: tuple[str, ...] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    thinks: bool | None = None


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
    answer, whatever the client asked. `dropped` names the attributes that are not carried; `size` tells how
    a picture's size was understood, empty where none was asked for;
    `context` is the wire's own note to its reader (renamed functions and the like).
    `written` is `body` as bytes, sent as they are; empty where it is yet to be written.
    With `files`, and with the encoding `multipart`, the call is multipart/form-data and `body` holds its text
    fields; with `form` they are URL-encoded, and with `raw` the one file is the body. `url` is an address the
    vendor gave, checked by the wire, to be called with the key instead of base URL and path; no redirects.
    A GET sends no body. `answers_bytes`: the answer is a file, of which each read is a payload
    `{"mime": ..., "bytes": ...}`, unless it is JSON all the same. `large`: the body takes its time to write.
    """

    path: str
    body: Json
    method: str = "POST"
    stream: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    size: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[FormFile, ...] = ()
    url: str | None = None
    encoding: Encoding = "json"
    answers_bytes: bool = False
    written: bytes = b""
    large: bool = False


class Reader(Protocol):
    """Turns an upstream's payloads into events; one per call. Whole replies are one payload."""

    def feed(self, payload: Json) -> list[Event]:
        """Read one payload. Raises `errors.UpstreamError` when it is, or holds, an error."""
        ...

    def flush(self) -> list[Event]:
        """What is held back, where the reply breaks off; the reader is not used again."""
        ...

    def close(self, complete: bool = True) -> list[Event]:
        """The upstream is done; `complete` tells whether its bytes alone prove that nothing is missing.

        Raises `errors.UpstreamError` when the reply is not complete.
        """
        ...


class Operation(Protocol):
    """What a wire does beside chats: one kind of request. Its methods are a wire's, for that kind; `shares`
    says how the `request.n` things that are wanted are spread over calls."""

    @property
    def carries(self) -> frozenset[str]: ...

    def build(self, request: Any, target: Target, repairs: frozenset[str] = frozenset()) -> Call: ...

    def reader(self, request: Any, target: Target, call: Call) -> Reader: ...

    def unable(self, request: Any, target: Target) -> RequestError | None: ...

    def shares(self, request: Any, target: Target) -> tuple[int, ...]: ...


class Wire(Protocol):
    """An upstream dialect. Pure: no sockets, no clock, no configuration but the target's.

    `carries` are the attributes of a request that it reads: it carries them, or names them in `Call.dropped`
    where this target or this value cannot be carried. All others are named for it. `finish_is_last`: nothing
    of an answer comes behind the finish of its choices, so that one which breaks off there lacks nothing.
    """

    @property
    def carries(self) -> frozenset[str]: ...

    @property
    def finish_is_last(self) -> bool: ...

    def build(self, request: ChatRequest, target: Target, repairs: frozenset[str] = frozenset()) -> Call:
        """Translate. `repairs` are names this wire's `repair` gave for earlier refusals."""
        ...

    def reader(self, request: ChatRequest, target: Target, call: Call) -> Reader: ...

    def relays(self, request: ChatRequest, target: Target) -> bool:
        """Whether the client's own body is sent, so that nothing in it need be at hand."""
        ...

    def unable(self, request: ChatRequest, target: Target) -> RequestError | None:
        """Why this target cannot serve the request, as far as that can be told before it is built."""
        ...

    def by_piece(self, request: ChatRequest, target: Target) -> bool:
        """Whether what the request makes is sold by the piece: pictures. A chat is sold by the token."""
        ...

    def error(self, status: int, headers: Mapping[str, str], body: bytes, target: Target) -> UpstreamError:
        """What an HTTP status >= 400 stands for. Any body, also HTML."""
        ...

    def repair(self, error: UpstreamError, request: ChatRequest | None = None) -> str | None:
        """Name a change to the request that may cure the refusal, None if there is none for this request."""
        ...

    def calls_needed(self, request: ChatRequest, target: Target) -> int:
        """How many calls give `request.n` choices: 1, or n where the upstream makes one at a time."""
        ...

    def count(
        self, request: ChatRequest, target: Target, repairs: frozenset[str] = frozenset()
    ) -> Call | None:
        """A call that asks how many tokens the prompt takes, None where the upstream does not tell. Raises
        as `build`."""
        ...

    def counted(self, payload: Any) -> int | None:
        """What the answer to such a call says, None if nothing."""
        ...

    def keeps_url(self, url: str, target: Target) -> bool:
        """True for an address the upstream must read itself; others are fetched and inlined."""
        ...

    def abilities(self, target: Target) -> Abilities:
        """For lists of models."""
        ...

    def operation(self, kind: type[Any]) -> Operation | None:
        """How it takes requests of this kind, which are no chats; None where it does not."""
        ...

    def reads(self, mime: str, target: Target) -> bool:
        """False for a type of picture that the upstream refuses; a PNG is made of it where possible."""
        ...
