"""A target that chats: inline media, restore signatures, build, send, read events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from proxy.errors import UpstreamError
from proxy.memory.past import Past
from proxy.memory.signatures import Origin, SignatureRecorder
from proxy.serve import media
from proxy.types import ChatRequest, Event, Target, Wire

if TYPE_CHECKING:
    from proxy.serve.house import House
    from proxy.serve.tries import Try

_ERROR_BYTES = 1 << 20


class Talk:
    """A `Speaker` over a wire that chats."""

    __slots__ = ("_wire", "by_piece", "preview", "repair", "unable")

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.unable = wire.unable
        self.by_piece = wire.by_piece
        self.preview = wire.build
        self.repair = wire.repair

    def shares(self, request: ChatRequest, target: Target) -> tuple[int, ...]:
        calls = self._wire.calls_needed(request, target)
        return (request.n,) if calls == 1 else (1,) * calls

    async def events(self, request: ChatRequest, one: Try, house: House) -> AsyncGenerator[list[Event], None]:
        wire, account, target = self._wire, one.attempt.account, one.attempt.target
        request = await media.inline(house, request, one.asked, wire, target)
        # After the pictures: one that we stored is known by its bytes, not by its address.
        origin = Origin(account.base_url, target.model, one.asked.caller.name)
        memory, before = house.services.signatures, Past(request.messages)
        restored = memory.restore(request, origin, before)
        call = wire.build(restored, target, one.attempt.repairs)
        one.told.note(call.dropped, call.size, one.asked)
        recorder = SignatureRecorder(memory, origin, before)
        reader = wire.reader(restored, target, call)
        arriving = media.Arriving(house, account, one.told)
        reply = await house.services.upstream.send(call, account, one.deadlines())
        try:
            if reply.status >= 400:
                raise wire.error(reply.status, reply.headers, await reply.read(_ERROR_BYTES), target)
            async for payloads in reply.payloads():
                batch: list[Event] = []
                fault: UpstreamError | None = None
                try:
                    for payload in payloads:
                        batch += reader.feed(payload)
                except UpstreamError as error:
                    fault = error  # what came before it in the same read is handed on first
                if batch:
                    recorder.watch(batch)
                    yield await arriving.fetched(batch)
                if fault is not None:
                    try:
                        raise fault
                    finally:
                        del fault  # its traceback knows this frame: a cycle that would keep what was sent
            batch = reader.close(reply.complete)
            recorder.watch(batch)
            arriving.close()
            if batch:
                yield await arriving.fetched(batch)
        finally:
            recorder.close()
            await reply.close()
