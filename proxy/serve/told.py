"""What happened: `Told` of one call, for the head and the access log; a `Try` of each attempt at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, NamedTuple

from proxy.errors import NotCarriedError, RequestError, UpstreamError
from proxy.fronts.base import Asked
from proxy.routing.attempts import Attempt
from proxy.types import CodeRun, Event, Image, Reasoning, Text, Usage
from proxy.upstream import Deadlines

if TYPE_CHECKING:
    from decimal import Decimal

    from proxy.ledger.prices import Tariff
    from proxy.serve.record import Kept

MOST_NAMED = 2000  # of what is not carried; a header takes 4,000 bytes
_WORDS = (Text, Reasoning)


class Charge(NamedTuple):
    """What a key pays."""

    amount: Decimal
    currency: str


@dataclass(slots=True)
class Told:
    """One call's, which is the `number`th of its request, from 0. `dropped` are attributes that its last
    attempt could not carry, `unread` those among them that do not even reach its wire. `ours` are attributes
    that we see to ourselves where the upstream cannot, of which the last attempt left us `left_to_us`. `size`
    is how a picture's size was understood. `order` is our own id of what is ordered, for vendors that want
    one. `lost` counts pictures that were ordered and did not come. `upstream_s` is how long the last attempt
    took up to its first event or, once it has ended, to its end. `charge` is what the last attempt costs,
    None where no price is known.
    """

    ours: frozenset[str] = frozenset()
    unread: tuple[str, ...] = ()
    target: str | None = None
    attempts: int = 0
    dropped: tuple[str, ...] = ()
    left_to_us: frozenset[str] = frozenset()
    size: str = ""
    order: str = ""
    usage: Usage | None = None
    images: int = 0
    lost: int = 0
    upstream_s: float = 0.0
    number: int = 0
    charge: Charge | None = None

    def note(self, dropped: Sequence[str], size: str, asked: Asked) -> None:
        """Remember what the upstream is not told. In strict mode that is a 400, before anything is sent."""
        self.size = size
        dropped = (*dropped, *self.unread)
        if not dropped:
            self.dropped, self.left_to_us = (), frozenset()
            return
        self.left_to_us = self.ours.intersection(dropped)
        told = (name for name in dict.fromkeys(dropped) if name not in self.ours)
        self.dropped = tuple(islice(told, MOST_NAMED))
        if self.dropped and asked.strict:
            raise NotCarriedError(self.dropped)


@dataclass(frozen=True, slots=True)
class Failure:
    """The facts of an error, without its traceback and all that hangs on it. `counts`: against the target.
    `final`: it is the vendor's own word on how the order ended."""

    error_class: str
    status: int
    code: str | None
    bought: bool
    why: str | None = None
    counts: bool = False
    final: bool = False

    @classmethod
    def of(cls, error: UpstreamError | RequestError) -> Failure:
        if isinstance(error, UpstreamError):
            kind, counts = error.error_class.value, error.policy.counts
            return cls(kind, error.status, error.code, error.bought, error.why, counts, error.final)
        return cls("refused", error.status, error.code, False)


@dataclass(slots=True)
class Try:
    """One attempt at one target, from its first byte to its bill.

    `deadline` is the time (`monotonic`, which the loop has too) at which the client's part of it ends.
    `by_piece`: what it makes is sold by the piece. `operation` is what is asked of the target, in
    OpenTelemetry's words. `first_event_s` and `took_s` count from its begin. `failure` is how it ended, None
    if well or `left`: nobody waited for it.
    `kept` is where a task writes down what it orders, None for what is not kept. `size` is what is ordered,
    where the price depends on it.

    `tariff` is what holds for it, `held` the money that its order keeps, `charge` what it costs in the end.
    `sent`: the order may have reached the vendor. `handed_on`: the client has some of it. `text_bytes` are
    counted until the vendor tells a usage, `sizes` of pictures where their price asks for it.
    """

    number: int
    attempt: Attempt
    asked: Asked
    told: Told
    deadline: float
    by_piece: bool
    operation: str
    stream: bool
    began: float = field(default_factory=perf_counter)
    first_event_s: float | None = None
    took_s: float = 0.0
    usage: Usage | None = None
    images: int = 0
    failure: Failure | None = None
    left: bool = False
    tariff: Tariff | None = None
    held: Decimal | None = None
    charge: Charge | None = None
    sent: bool = False
    handed_on: bool = False
    text_bytes: int = 0
    sizes: list[str | None] | None = None
    kept: Kept | None = None
    size: str | None = None

    def deadlines(self) -> Deadlines:
        """Its target's, cut to what is left of the request's time."""
        allowed = self.attempt.candidate.deadlines
        left_s = max(0.001, self.deadline - monotonic())
        if left_s >= allowed.total_s:
            return allowed
        return Deadlines(allowed.connect_s, allowed.first_byte_s, allowed.idle_s, left_s)

    def goes_out(self) -> None:
        """The vendor may have the whole order from now on. Raises `CancelledError` where nobody wants it any
        more."""
        if self.kept is not None:
            self.kept.goes_out()
        self.sent = True

    def note(self, batch: list[Event]) -> None:
        if self.first_event_s is None:
            self.first_event_s = self.told.upstream_s = perf_counter() - self.began
        for event in batch:
            kind = type(event)
            if kind is Usage:
                self.usage = event  # type: ignore[assignment]
            elif kind is Image:
                self.images += 1
                if self.sizes is not None:
                    self.sizes.append(_size_of(event))  # type: ignore[arg-type]
            elif self.usage is None and kind in _WORDS:
                self.text_bytes += len(event.text.encode("utf-8", "surrogatepass"))  # type: ignore[union-attr]
            elif self.usage is None and kind is CodeRun:
                self.text_bytes += len(event.shown.encode("utf-8", "surrogatepass"))  # type: ignore[union-attr]


def _size_of(image: Image) -> str | None:
    """In the words of prices, from its own bytes."""
    from proxy.pictures import pixels, sizes

    size = pixels.of(image.data) if image.data is not None else None
    return None if size is None else sizes.implied_tier(*size)


def merged(tolds: Sequence[Told]) -> Told:
    """Of calls side by side: what any of them dropped, all that they made."""
    usages = [told.usage for told in tolds if told.usage is not None]
    return Told(
        target=next((told.target for told in tolds if told.target is not None), None),
        attempts=sum(told.attempts for told in tolds),
        dropped=tuple(dict.fromkeys(name for told in tolds for name in told.dropped)),
        size=next((told.size for told in tolds if told.size), ""),
        usage=Usage.sum(usages) if usages else None,
        images=sum(told.images for told in tolds),
        lost=sum(told.lost for told in tolds),
        upstream_s=max(told.upstream_s for told in tolds),
    )
