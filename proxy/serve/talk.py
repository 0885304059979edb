"""A target that chats: inline media, restore signatures, build, send, read events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from proxy.errors import UpstreamError
from proxy.memory.past import Past
from proxy.memory.signatures import Origin, SignatureRecorder
from proxy.serve import media
from proxy.serve.house import House
from proxy.serve.told import Try
from proxy.types import ChatRequest, Event, Finish, Image, Reader, Target, Wire, iter_media, left_out

if TYPE_CHECKING:
    from proxy.upstream.reply import Reply

_ERROR_BYTES = 1 << 20


class Talk:
    """A `Speaker` over a wire that chats."""

    __slots__ = ("_request", "_target", "_wire", "by_piece", "preview", "repair", "unable", "unread")

    def __init__(self, wire: Wire, request: ChatRequest, target: Target) -> None:
        self._wire = wire
        self._request = request
        self._target = target
        self.unable = partial(wire.unable, request, target)
        self.by_piece = partial(wire.by_piece, request, target)
        self.preview = partial(wire.build, request, target)
        self.repair = partial(wire.repair, request=request)
        self.unread = partial(left_out, request, wire.carries)

    def shares(self) -> tuple[int, ...]:
        calls = self._wire.calls_needed(self._request, self._target)
        return (self._request.n,) if calls == 1 else (1,) * calls

    async def events(self, one: Try, house: House) -> AsyncGenerator[list[Event], None]:
        wire, account, target = self._wire, one.attempt.account, self._target
        request = self._request
        if next(iter_media(request), None) is not None and not wire.relays(request, target):
            request = await media.inline(house, request, one.asked, wire, target)
        # After the pictures: one that we stored is known by its bytes, not by its address.
        origin = Origin(account.base_url, target.model, one.asked.caller.name)
        memory, before = house.services.signatures, Past(request.messages)
        if one.asked.large:
            restored = await asyncio.to_thread(memory.restore, request, origin, before)
            built = await asyncio.to_thread(wire.build, restored, target, one.attempt.repairs)
            call = replace(built, large=True)
        else:
            restored = memory.restore(request, origin, before)
            call = wire.build(restored, target, one.attempt.repairs)
        one.told.note(call.dropped, call.size, one.asked)
        incoming = _Incoming(house, one, SignatureRecorder(memory, origin, before))
        reader = wire.reader(restored, target, call)
        as_it_comes = call.stream or request.stream  # else all of it is one batch
        batch: list[Event] = []
        begun = False
        if one.kept is not None:
            await one.kept.intended()
        one.sent = not one.by_piece
        sent = one.goes_out if one.by_piece else None
        reply = await house.services.upstream.send(call, account, one.deadlines(), sent)
        try:
            if reply.status >= 400:
                raise await self._refusal(reply, one)
            try:
                async for payloads in reply.payloads():
                    for payload in payloads:
                        batch += reader.feed(payload)
                    if batch and as_it_comes:
                        begun = True
                        yield await incoming.ready(batch)
                        batch = []
                last = reader.close(reply.complete)
            except UpstreamError:
                knows = reply.broken and wire.finish_is_last
                end = _end_of_whole(reader, request.n) if knows else None
                if end is None:
                    raise
                last = end
            batch = await incoming.ready(batch + last)
            if incoming.pictures is not None:
                incoming.pictures.close()
            if batch:
                yield batch
        except UpstreamError:
            # What was received is delivered before the error, unless it can still be asked for elsewhere.
            if begun or batch:
                batch += reader.flush()
            if batch:
                yield await incoming.ready(batch)
            raise
        finally:
            incoming.recorder.close()
            reply.drop()

    async def _refusal(self, reply: Reply, one: Try) -> UpstreamError:
        body = await reply.read(_ERROR_BYTES)
        error = self._wire.error(reply.status, reply.headers, body, one.attempt.target)
        return error if one.by_piece else error.changed(bought=False)  # no answer, so no words were sold


def _end_of_whole(reader: Reader, choices: int) -> list[Event] | None:
    """The end of an answer that broke off when all of it was there: each of the choices has told why it ends.
    None of one that lacks something."""
    try:
        last = reader.close(complete=False)
    except UpstreamError:
        return None
    return last if sum(type(event) is Finish for event in last) >= choices else None


class _Incoming:
    """What each batch of a reply goes through before it is handed on: its pictures are fetched, and its
    signatures remembered."""

    __slots__ = ("_house", "_one", "pictures", "recorder")

    def __init__(self, house: House, one: Try, recorder: SignatureRecorder) -> None:
        self._house = house
        self._one = one
        self.pictures: media.Arriving | None = None  # most replies have none
        self.recorder = recorder

    async def ready(self, batch: list[Event]) -> list[Event]:
        if Image in map(type, batch):
            if self.pictures is None:
                self.pictures = media.Arriving(self._house, self._one.attempt.account, self._one.told)
            batch = await self.pictures.fetched(batch)
        self.recorder.watch(batch)
        return batch
