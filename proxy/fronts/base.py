"""The contract between what clients speak and the house: `Front`, `Renderer`, and the values they exchange.

A front is one endpoint of one dialect. It is pure: no sockets, no clock, no configuration but what it is
given.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from decimal import Decimal
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

from proxy.errors import RequestError
from proxy.keys import ClientKey
from proxy.types import Event, FormFile, Image, ImageOptions, Json, MediaPart, Request
from proxy.types.values import dataclass

R_co = TypeVar("R_co", bound=Request, covariant=True)
S_co = TypeVar("S_co", covariant=True)

Piece = bytes | memoryview
Header = tuple[bytes, bytes]
Kind = Literal["chat", "pictures", "embeddings", "speech", "transcripts", "moderations"]
EVENTS = b"text/event-stream; charset=utf-8"
# Which earlier replies a body speaks of, by id, and of which it needs all that came before them too.
Recall = Callable[[Any], Mapping[str, bool]]
TellCost = Callable[[], tuple[Decimal, str] | None]

_PATIENCE_MARGIN_S = 2.0  # our answer must be there before the client's own timeout


@dataclass(frozen=True, slots=True)
class Form:
    """A body that came as multipart/form-data: its text fields and its files, in order."""

    fields: list[tuple[str, str]]
    files: list[FormFile]


class Unhurried:
    """Of a reply that a client comes back for: how many of its calls wait for vendors that are busy."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks, and how the request shall go, as its headers say.

    `headers` and `query` are what the client sent; names of headers are in lower case. `path` is what stands
    in the places of its address, `written` the body as it came, where the endpoint asks for it. `strict`:
    what cannot be carried shall be refused. `fallback`: the request may be tried more than once.
    `image_outputs` are what the model and the file say of how pictures are shown, and `has_address` whether
    the file says at which address browsers reach us; `is_stored` tells which addresses are pictures of ours.
    `fetched` are pictures by address, or by an upload's id, that this request has read already, or why that
    failed.
    `earlier` are the replies that the request goes on from, as far as they are kept: what its front told of
    each (`Kept`), by its id. `large`: the body is so long that what goes through all of it belongs in a
    thread, while others go on. `unhurried`: None where a client waits for the reply.
    """

    request_id: str
    caller: ClientKey
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    path: Mapping[str, str] = field(default_factory=dict)
    written: bytes = b""
    strict: bool = False
    fallback: bool = True
    image_outputs: tuple[str | None, str | None] = (None, None)
    has_address: bool = False
    is_stored: Callable[[str], bool] | None = None
    fetched: dict[str, MediaPart | RequestError] = field(default_factory=dict)
    earlier: Mapping[str, Json] = field(default_factory=dict)
    large: bool = False
    unhurried: Unhurried | None = None

    @property
    def patience_s(self) -> float:
        """How long the client's SDK says it will wait for a reply that comes whole."""
        said = self.headers.get(b"x-stainless-read-timeout", b"")
        try:
            return max(1.0, float(said) - _PATIENCE_MARGIN_S)
        except ValueError:
            return math.inf

    def patient(self) -> Asked:
        """The same of what its client does not wait for, or is kept waiting for by signs of life."""
        unsaid = {name: value for name, value in self.headers.items() if not name.startswith(b"x-stainless")}
        return replace(self, headers=unsaid)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a renderer cannot know from the events: `created` in seconds, and `link`, which gives the address
    of a picture that was stored, None for one that was not. `cost` tells, once all events are here, what the
    reply costs: amount and currency, None where that is not one known sum. `now` is the time in seconds.
    `identity` is the id of a reply that is made again, whose client knows it by that."""

    created: int
    link: Callable[[Image], str | None] | None = None
    cost: TellCost | None = None
    now: Callable[[], float] = time.time
    identity: str | None = None


@dataclass(frozen=True, slots=True)
class Aside:
    """A tool by which a model of words has a picture drawn: `name` is that of its function, `image` and
    `model` are what its client wishes; `usual` is the model by which the dialect draws where it wishes none.
    `forced`: the model shall use it. `where` is the tool in the client's spelling."""

    name: str
    where: str
    image: ImageOptions | None = None
    model: str | None = None
    usual: str | None = None
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Parsed(Generic[R_co, S_co]):
    """What a front makes of a client's request.

    `shape` is the front's note to its renderer: what the client wants of the reply's form. `links`: the reply
    shows pictures by address. `dropped` names, in the client's spelling, what no wire can carry: members that
    nobody reads, history that is left out. What a wire cannot carry of `request`, it names itself. `as_task`:
    the client will not wait; at `callback_url` it wants to hear of the end. `streams_as` is the content type
    of a streamed reply, `answers_as` of a whole one. `beside` are requests of the same kind that the one
    reply answers too: their choices follow those of `request`. `keeps`: the reply shall be kept for later
    requests; `later`: and fetched by one of them, for the client waits for its id alone. `aside`: a
    model that does not draw may let another.
    """

    request: R_co
    shape: S_co
    dropped: tuple[str, ...] = ()
    links: bool = False
    as_task: bool = False
    callback_url: str | None = None
    streams_as: bytes = EVENTS
    beside: tuple[R_co, ...] = ()
    answers_as: bytes = b"application/json"
    keeps: bool = False
    later: bool = False
    aside: Aside | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a reply: JSON in its front's own words, which may hold `Slice` leaves. `context` is
    what is needed besides to go on from the reply. `adds` are a conversation's id and what is said in it now
    that the reply is there."""

    id: str
    told: Json
    context: Json
    adds: tuple[str, list[Json]] | None = None


@dataclass(frozen=True, slots=True)
class Chore:
    """What a chat UI asks around a conversation and not in it: its title, its tags, what to ask next.

    `name` says which, `parsed` is the request as a model shall read it that writes and does not draw.
    """

    name: str
    parsed: Parsed[Any, Any]


class Renderer(Protocol):
    """Turns one reply's events into its dialect: `whole` at once, or `feed` as they come and then `finish`.

    `headers` belong to a whole reply and are known once it is rendered. `ping` keeps a silent stream open.
    """

    ping: bytes
    headers: tuple[Header, ...]

    def whole(self, events: Iterable[Event]) -> list[Piece]:
        """Raises `UpstreamError` when the events are no complete reply."""
        ...

    def feed(self, events: Iterable[Event]) -> bytes | list[Piece]:
        """May be empty: some events show only at the end."""
        ...

    def finish(self) -> bytes | list[Piece]:
        """End a complete reply. Raises `UpstreamError` when it is not."""
        ...

    def error(self, error: BaseException, request_id: str) -> bytes:
        """The last bytes of a streamed reply that broke."""
        ...


class KeptRenderer(Renderer, Protocol):
    """Of a reply that is kept."""

    def queued(self) -> list[Piece]:
        """What a client is told that will fetch the reply later. Called before anything else."""
        ...

    def called_off(self) -> bytes:
        """The last bytes of a streamed reply that its client wants no more of."""
        ...

    def kept(self) -> Kept:
        """As it stands, also while it is being made."""
        ...


class Refusing(Protocol):
    """What every address needs, also one where there is nothing."""

    def refusal(
        self, error: BaseException, request_id: str, parsed: Parsed[Any, Any] | None
    ) -> tuple[int, list[Header], bytes]:
        """Status, headers and body. Of an exception that is not ours nothing but its happening is told."""
        ...


@runtime_checkable
class Front(Refusing, Protocol):
    """One endpoint of one dialect. `kind` is what is asked for there."""

    kind: Kind

    def model(self, body: Any, path: Mapping[str, str]) -> str:
        """The model's name as clients of ours write it. Raises `RequestError` if there is none."""
        ...

    def parse(self, body: Any, asked: Asked) -> Parsed[Any, Any]:
        """`body` is decoded JSON, or a `Form`. Raises `RequestError` that names the field."""
        ...

    def chore(self, parsed: Parsed[Any, Any]) -> Chore | None:
        """Whether the request is one, told by its words alone. Costs little."""
        ...

    def renderer(self, parsed: Parsed[Any, Any], facts: Facts) -> Renderer: ...

    def spelled(self, attributes: Iterable[str], parsed: Parsed[Any, Any]) -> tuple[str, ...]:
        """Attributes of the request as this client wrote them."""
        ...


class Counting(Front, Protocol):
    """A front that is not asked to answer a chat but how long its prompt is."""

    def counted(self, tokens: int, parsed: Parsed[Any, Any]) -> bytes:
        """The whole reply."""
        ...


class TalkFront(Refusing, Protocol):
    """Conversations that clients keep here, and that their requests go on from: `told` is what there is to
    say of one, its context has the list `items`. Their ids begin with `prefix`."""

    prefix: str

    def begun(self, body: Any, now: float) -> Kept:
        """Raises `RequestError`."""
        ...

    def shown(self, told: Json) -> list[Piece]: ...

    def changed(self, told: Json, body: Any) -> Json:
        """Raises `RequestError`."""
        ...

    def added(self, body: Any) -> list[Json]:
        """The items to add. Raises `RequestError`."""
        ...

    def listed(self, items: Sequence[Json], query: Mapping[str, str]) -> list[Piece]:
        """Raises `RequestError`."""
        ...

    def item(self, item: Json) -> list[Piece]: ...

    def forgotten(self, identity: str) -> bytes: ...


class KeepingFront(Front, Protocol):
    """One whose replies can be kept, with ids that begin with `prefix`. What is `told` is what
    `KeptRenderer.kept` gave."""

    prefix: str

    def goes_on_from(self, body: Any) -> Mapping[str, bool]:
        """A `Recall`. Checks nothing."""
        ...

    def shown(self, told: Json, query: Mapping[str, str]) -> list[Piece]: ...

    def listed(self, context: Json, query: Mapping[str, str]) -> list[Piece]:
        """A page of what the reply was made from. Raises `RequestError`."""
        ...

    def told_at_once(self, told: Json) -> bytes:
        """The events of a stream that has nothing left to tell but what it came to."""
        ...

    def is_over(self, told: Json) -> bool: ...

    def may_cancel(self, told: Json) -> bool:
        """Whether it was asked for as one that is made while nobody waits."""
        ...

    def cancelled(self, told: Json) -> Json:
        """The same, called off."""
        ...

    def lost(self, told: Json) -> Json:
        """The same, of which nobody knows what has become."""
        ...

    def too_large(self, told: Json) -> Json:
        """The same without what was said, which is more than can be kept."""
        ...

    def forgotten(self, identity: str) -> bytes: ...

    def number_of(self, frame: bytes) -> int:
        """Of an event of a stream, as its client counts them."""
        ...
