"""The seam to the wires: whatever a target speaks, a request reaches it through one protocol.

Four implementations: a wire that chats (`talk`), a wire that takes jobs (`draw`), the bridge between a
request of one kind and a wire of the other (`bridge`), and what a wire does beside chats (`ask`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from proxy.errors import RequestError, UpstreamError
from proxy.routing.attempts import Candidate
from proxy.serve.house import House
from proxy.serve.talk import Talk
from proxy.serve.told import Try
from proxy.types import Call, ChatRequest, Event, ImageRequest, Request


class Speaker(Protocol):
    """One request at one target."""

    def unable(self) -> RequestError | None:
        """Why this target cannot serve the request, None if it can. Costs little: nothing is built."""
        ...

    def by_piece(self) -> bool:
        """Whether what the request makes there is sold by the piece, so that a second order is a purchase."""
        ...

    def shares(self) -> tuple[int, ...]:
        """How the choices or pictures that the client wants are spread over calls."""
        ...

    def unread(self) -> tuple[str, ...]:
        """What the request asks for and the wire never sees, as attribute paths."""
        ...

    def preview(self) -> Call:
        """The first call upstream, with nothing fetched. Raises `RequestError`."""
        ...

    def repair(self, error: UpstreamError) -> str | None:
        """A change to the request that may cure the refusal."""
        ...

    def events(self, one: Try, house: House) -> AsyncGenerator[list[Event], None]:
        """Ask. Raises `RequestError` before anything is sent, `UpstreamError` afterwards."""
        ...


def speaker_of(candidate: Candidate, request: Request) -> Speaker:
    """How this target is asked for this request."""
    if candidate.chat is not None and isinstance(request, ChatRequest):
        return Talk(candidate.chat, request, candidate.target)
    if not isinstance(request, ChatRequest | ImageRequest):
        from proxy.serve import ask

        return ask.speaker(candidate, request)
    from proxy.serve import bridge  # most servers of chats never need it

    if candidate.chat is not None and candidate.pictures is None:
        assert isinstance(request, ImageRequest)
        return bridge.pictures_by_talk(candidate.chat, request, candidate.target)
    return bridge.drawn(candidate, request)
