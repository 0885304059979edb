"""How one request goes: what was decided for it, and what happened, for headers and the access log."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from proxy.errors import RequestError
from proxy.keys import ClientKey
from proxy.routing.attempts import Candidate
from proxy.routing.routes import Route
from proxy.serve.exchange import Exchange
from proxy.serve.media import Picture
from proxy.types import Usage
from proxy.upstream import Deadlines

_PATIENCE_MARGIN_S = 2.0  # our answer must be there before the client's own timeout

if TYPE_CHECKING:
    from proxy.serve.links import Links
    from proxy.tasks.engine import Job


@dataclass(slots=True)
class Run:
    """`candidates` are the route's targets in the order drawn for this request. `patience_s` is how long the
    client itself waits. `size` is how a picture's size was understood.

    `ours` are fields of the request that we see to ourselves where the upstream cannot; `left_to_us` those of
    them that the last attempt's upstream could not carry.
    """

    route: Route
    caller: ClientKey
    candidates: tuple[Candidate, ...]
    strict: bool = False
    fallback: bool = True
    patience_s: float = math.inf
    target: str | None = None
    attempts: int = 0
    dropped: tuple[str, ...] = ()
    usage: Usage | None = None
    size: str | None = None
    failed_items: int = 0
    fetched: dict[str, Picture] = field(default_factory=dict)
    ours: frozenset[str] = frozenset()
    left_to_us: frozenset[str] = frozenset()
    links: Links | None = None
    on_progress: Callable[[Job], None] | None = None

    @classmethod
    def of(cls, exchange: Exchange, route: Route, *, stream: bool) -> Run:
        """What the request's headers say of how it shall go."""
        assert exchange.caller is not None
        return cls(
            route,
            exchange.caller,
            route.order(),
            strict=exchange.header(b"x-proxy-strict") == "true",
            fallback=exchange.header(b"x-proxy-no-fallback") != "true",
            patience_s=math.inf if stream else _patience_s(exchange),
        )

    def note_dropped(self, names: tuple[str, ...]) -> None:
        """Remember what is not carried. In strict mode that is a 400, before anything is sent."""
        self.left_to_us = self.ours.intersection(names)
        self.dropped = tuple(name for name in dict.fromkeys(names) if name not in self.ours)
        if self.strict and self.dropped:
            raise RequestError(
                f"This model cannot carry: {', '.join(self.dropped)}. Leave it out, or x-proxy-strict.",
                param=self.dropped[0],
                code="unsupported_parameter",
            )


def _patience_s(exchange: Exchange) -> float:
    """How long the client's SDK says it will wait for a reply that comes whole."""
    said = exchange.header(b"x-stainless-read-timeout") or ""
    try:
        return max(1.0, float(said) - _PATIENCE_MARGIN_S)
    except ValueError:
        return math.inf


def within(allowed: Deadlines, deadline: float) -> Deadlines:
    """The deadlines of one try, cut to what is left of the request's time."""
    left_s = deadline - asyncio.get_running_loop().time()
    return replace(allowed, total_s=max(0.001, min(allowed.total_s, left_s)))
