"""How many tokens the prompt of a chat takes: asked of the target that would answer it, or estimated.

Nothing is bought by it, so no money is held, and no row written in the ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from proxy.codec import jsonio
from proxy.errors import ErrorClass, NotCarriedError, RequestError, UpstreamError
from proxy.fronts.base import Asked, Counting, Recall
from proxy.routing.attempts import Attempt, Attempts
from proxy.routing.routes import Route
from proxy.serve import allowed, intake, lost, media
from proxy.serve.body import LARGE, read
from proxy.serve.endpoint import Row
from proxy.serve.exchange import Exchange, Header
from proxy.serve.house import House
from proxy.serve.speakers import speaker_of
from proxy.types import CallPart, ChatRequest, FunctionTool, Json, Part, ResultPart, TextPart, ThoughtPart

_BYTES_PER_TOKEN = 4
_TOKENS_PER_MEDIUM = 258  # of a small picture at Google
_REPLY_BYTES = 1 << 20
_JSON: Header = (b"content-type", b"application/json")
_ESTIMATED: Header = (b"x-proxy-estimated", b"input_tokens")


def counted(path: str, front: Counting, **row: Any) -> Row:
    """The route of an endpoint that counts; `row` is what else a `Row` has."""
    handler = partial(count, front=front, recall=getattr(front, "goes_on_from", None))
    return Row("POST", path, handler, front=front, bounded=True, **row)


async def count(exchange: Exchange, house: House, front: Counting, recall: Recall | None = None) -> None:
    plan, caller = house.plan, exchange.caller
    assert caller is not None
    body, written = await read(exchange, plan.config.server.body_limit)
    route = intake.routed(exchange, house, front, caller, body)
    asked = Asked(
        exchange.request_id,
        caller,
        exchange.fields,
        exchange.query() if exchange.scope.get("query_string") else {},
        exchange.scope.get("path_params") or {},
        strict=exchange.fields.get(b"x-proxy-strict") in lost.YES,
        is_stored=house.services.files.is_stored,
        earlier=await intake.recalled(house, caller, recall, body),
        large=len(written) > LARGE,
    )
    del written
    read_by = partial(front.parse, body, asked)
    parsed = route.defaults.under(await asyncio.to_thread(read_by) if asked.large else read_by())
    exchange.parsed = parsed
    if parsed.dropped and asked.strict:
        raise lost.refusal(parsed.dropped)
    if caller.limits is not None:
        exchange.allowed = await allowed.admit_free(house, caller, caller.limits)
    tokens, dropped = await _told(house, route, parsed.request, asked)
    headers = [_JSON, *lost.headers(lost.named(front, parsed, dropped))]
    if tokens is None:
        headers.append(_ESTIMATED)
        tokens = await asyncio.to_thread(estimated, parsed.request)
    await exchange.respond(200, [front.counted(tokens, parsed)], headers)


_Count = tuple[int | None, Sequence[str]]  # and the attributes of the request that are not in it


async def _told(house: House, route: Route, request: ChatRequest, asked: Asked) -> _Count:
    """By the target that would answer, or the next one when it fails; None where it does not count, or none
    of them says anything. Raises what is wrong with the request."""
    candidates = tuple(one for one in route.order() if one.chat is not None)
    if not candidates:
        return None, ()
    # No breaker is asked: it would wait to hear how the chat went that it let through.
    attempts = Attempts(candidates, route.attempts if asked.fallback else 1)
    attempt: Attempt | None = attempts.first()
    while attempt is not None:
        wire = attempt.candidate.chat
        assert wire is not None
        try:
            return await _ask(house, attempt, request, asked)
        except UpstreamError as error:
            error = error.without(attempt.account.secrets).changed(bought=False)
            attempt = attempts.failed(attempt, error, wire.repair(error, request))
            if attempt is None and error.error_class is ErrorClass.BAD_REQUEST:
                raise error from None
    return None, ()


async def _ask(house: House, attempt: Attempt, request: ChatRequest, asked: Asked) -> _Count:
    wire, target = attempt.candidate.chat, attempt.target
    assert wire is not None
    request = await media.inline(house, request, asked, wire, target)
    build = partial(wire.count, request, target, attempt.repairs)
    call = await asyncio.to_thread(build) if asked.large else build()
    if call is None:
        return None, ()
    dropped = (*call.dropped, *speaker_of(attempt.candidate, request).unread())
    if dropped and asked.strict:
        raise NotCarriedError(dropped)
    reply = await house.services.upstream.send(call, attempt.account, attempt.candidate.deadlines)
    try:
        if reply.status >= 400:
            raise wire.error(reply.status, reply.headers, await reply.read(_REPLY_BYTES), target)
        return wire.counted(await reply.value(_REPLY_BYTES)), dropped
    finally:
        reply.drop()


def estimated(request: ChatRequest) -> int:
    """By a rule of thumb: four bytes a token, in what is said and in what the model may call. Raises
    `RequestError`."""
    said = sum(_sum(message.parts, f"messages[{message.index}].parts") for message in request.messages)
    declared = sum(
        _length(tool.name)
        + _length(tool.description or "")
        + _size(tool.parameters, f"tools[{index}].parameters")
        for index, tool in enumerate(request.tools)
        if isinstance(tool, FunctionTool)
    )
    return -(-(said + declared) // _BYTES_PER_TOKEN)


def _sum(parts: Sequence[Part], place: str) -> int:
    return sum(_bytes(part, place) for part in parts)


def _bytes(part: Part, place: str) -> int:
    if isinstance(part, TextPart | ThoughtPart):
        return _length(part.text)
    if isinstance(part, CallPart):
        return _length(part.name) + _size(part.arguments, place)
    if isinstance(part, ResultPart):
        return _sum(part.parts, place)
    return _TOKENS_PER_MEDIUM * _BYTES_PER_TOKEN


def _length(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _size(value: Json | None, place: str) -> int:
    """Raises `RequestError` for what no upstream could be sent."""
    if value is None:
        return 0
    try:
        return sum(map(len, jsonio.dumps(value)))
    except jsonio.JSONEncodeError as error:
        raise RequestError(f"Invalid '{place}': {error}.", attribute=place, code="invalid_value") from None
