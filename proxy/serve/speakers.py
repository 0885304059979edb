"""The seam to the wires: whatever a target speaks, a request reaches it through one protocol.

Three implementations: a wire that chats (`talk`), a wire that takes jobs (`order`), and the bridge between a
request of one kind and a wire of the other (`bridge`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Protocol

from proxy.errors import RequestError, UpstreamError
from proxy.routing.attempts import Candidate
from proxy.serve.talk import Talk
from proxy.types import Call, ChatRequest, Event, ImageRequest, Target

if TYPE_CHECKING:
    from proxy.serve.house import House
    from proxy.serve.order import Order
    from proxy.serve.tries import Try

Request = ChatRequest | ImageRequest


class Speaker(Protocol):
    """One kind of request at one kind of wire. Holds no state of a request."""

    def unable(self, request: Any, target: Target) -> RequestError | None:
        """Why this target cannot serve the request, None if it can. Costs little: nothing is built."""
        ...

    def by_piece(self, request: Any, target: Target) -> bool:
        """Whether what the request makes there is sold by the piece, so that a second order is a purchase."""
        ...

    def shares(self, request: Any, target: Target) -> tuple[int, ...]:
        """How the choices or pictures that the client wants are spread over calls."""
        ...

    def preview(self, request: Any, target: Target) -> Call:
        """The first call upstream, with nothing fetched. Raises `RequestError`."""
        ...

    def repair(self, error: UpstreamError) -> str | None:
        """A change to the request that may cure the refusal."""
        ...

    def events(self, request: Any, one: Try, house: House) -> AsyncGenerator[list[Event], None]:
        """Ask. Raises `RequestError` before anything is sent, `UpstreamError` afterwards."""
        ...


def speaker_of(candidate: Candidate, request: Request) -> Speaker:
    """How this target is asked for this kind of request."""
    if candidate.chat is not None:
        talk = Talk(candidate.chat)
        return talk if isinstance(request, ChatRequest) else _bridge(talk)
    assert candidate.jobs is not None
    from proxy.serve.order import Order  # most servers of chats never need it

    order = Order(candidate.jobs, candidate.every_s, candidate.give_up_s)
    return order if isinstance(request, ImageRequest) else _bridge(order)


def _bridge(speaker: Talk | Order) -> Speaker:
    from proxy.serve.bridge import ByJob, ByTalk

    return ByTalk(speaker) if isinstance(speaker, Talk) else ByJob(speaker)
