"""What a target does beside chats and pictures: build, send, read events. Sold by the token, never signed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from proxy.errors import RequestError, UpstreamError
from proxy.routing.attempts import Candidate
from proxy.serve import bill
from proxy.serve.house import House
from proxy.serve.sound import Sound
from proxy.serve.told import Try
from proxy.types import (
    Call,
    EmbedRequest,
    Event,
    Json,
    ModerationRequest,
    Operation,
    Reader,
    Request,
    SpeechRequest,
    Target,
    TranscriptRequest,
    Usage,
    Wire,
    left_out,
)

if TYPE_CHECKING:
    from proxy.upstream.reply import Reply

_ERROR_BYTES = 1 << 20
_DEEDS: Final[dict[type[Any], str]] = {
    ModerationRequest: "judges nothing, and nothing is called harmless for that; ask a moderation model",
    EmbedRequest: "makes no embeddings",
    SpeechRequest: "does not speak",
    TranscriptRequest: "does not listen",
}


def speaker(candidate: Candidate, request: Request) -> Ask:
    operation = candidate.chat.operation(type(request)) if candidate.chat is not None else None
    return Ask(candidate.chat, operation or _Unknown(), request, candidate.target)


class Ask:
    """A `Speaker` over an operation of a wire."""

    __slots__ = ("_operation", "_request", "_target", "_wire", "preview", "shares", "unable")

    def __init__(self, wire: Wire | None, operation: Operation, request: Request, target: Target) -> None:
        self._wire = wire
        self._operation = operation
        self._request = request
        self._target = target
        self.unable = partial(operation.unable, request, target)
        self.shares = partial(operation.shares, request, target)
        self.preview = partial(operation.build, request, target)

    def by_piece(self) -> bool:
        return False

    def unread(self) -> tuple[str, ...]:
        return left_out(self._request, self._operation.carries)

    def repair(self, error: UpstreamError) -> str | None:
        return None if self._wire is None else self._wire.repair(error)

    async def events(self, one: Try, house: House) -> AsyncGenerator[list[Event], None]:
        """What nobody counted is estimated, so that limits and prices have something to go by."""
        operation, request, target, wire = self._operation, self._request, self._target, self._wire
        assert wire is not None
        call = operation.build(request, target, one.attempt.repairs)
        one.told.note(call.dropped, call.size, one.asked)
        reader = operation.reader(request, target, call)
        one.sent = True
        sound = Sound(request.format if isinstance(request, SpeechRequest) else None)
        batch: list[Event] = []
        counted = False
        reply = await house.services.upstream.send(call, one.attempt.account, one.deadlines())
        try:
            if reply.status >= 400:
                body = await reply.read(_ERROR_BYTES)
                raise wire.error(reply.status, reply.headers, body, target).changed(bought=False)
            async for payloads in _files(reply) if call.answers_bytes else reply.payloads():
                for payload in payloads:
                    batch += reader.feed(payload)
                if batch and request.stream:
                    counted = counted or Usage in map(type, batch)
                    yield await sound.wanted(batch)
                    batch = []
            batch = await sound.wanted(batch + reader.close(reply.complete), last=True)
            if not (counted or Usage in map(type, batch)):
                batch.append(bill.metered(request, 0))
            yield batch
        finally:
            reply.drop()


async def _files(reply: Reply) -> AsyncGenerator[Iterable[Json], None]:
    """A file's bytes as payloads; JSON in its place is an error that says so."""
    if "json" in reply.content_type:
        async for payloads in reply.payloads():
            yield payloads
        return
    async for piece in reply.pieces():
        yield ({"mime": reply.content_type, "bytes": piece},)


class _Unknown:
    """The `Operation` of a target that has none for this kind of request."""

    carries: Final[frozenset[str]] = frozenset()

    def build(self, request: Request, target: Target, repairs: frozenset[str] = frozenset()) -> Call:
        raise self.unable(request, target)

    def reader(self, request: Request, target: Target, call: Call) -> Reader:
        raise self.unable(request, target)

    def shares(self, request: Request, target: Target) -> tuple[int, ...]:
        return (request.n,)

    def unable(self, request: Request, target: Target) -> RequestError:
        return RequestError(
            f"The model {target.model!r} {_DEEDS[type(request)]}.",
            status=404,
            attribute="model",
            code="model_not_found" if isinstance(request, ModerationRequest) else "unsupported_endpoint",
        )
