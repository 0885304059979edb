"""`POST /v1/chat/completions`: parse, run, render, whole or as a stream."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from proxy.errors import RequestError
from proxy.fronts.openai.chat import modes
from proxy.fronts.openai.chat import reply as chat_reply
from proxy.fronts.openai.chat import request as chat_request
from proxy.fronts.openai.chat.reply_parts import LINKED, ReplyOptions
from proxy.fronts.openai.chat.stream import StreamRenderer
from proxy.serve import pipeline
from proxy.serve.body import read_json
from proxy.serve.exchange import Exchange
from proxy.serve.fan_out import all_of, merged
from proxy.serve.house import House
from proxy.serve.links import Links
from proxy.serve.run import Run
from proxy.serve.stream import EventStream
from proxy.types import ChatRequest, Event, Usage


async def complete(exchange: Exchange, house: House) -> None:
    caller = exchange.caller
    assert caller is not None
    body = read_json(await exchange.body(house.config.server.body_limit))
    exchange.watch()
    name = body.get("model")
    if not isinstance(name, str) or not name:
        raise RequestError("`model` is missing; name one of GET /v1/models.", param="model")
    name, suffix = modes.split_model_suffix(name)
    route = house.routes.resolve(name, caller)
    exchange.facts["model"] = route.name
    for field, value in route.defaults.items():
        if body.get(field) is None:
            body[field] = value
    request = chat_request.parse(body, is_stored=house.files.is_stored)
    mode = modes.choose(
        body=request.image_output,
        header=exchange.header(b"x-image-output"),
        query=exchange.query("image_output"),
        suffix=suffix,
        key=caller.image_output,
        model=route.image_output,
        default=house.config.defaults.image_output,
        user_agent=exchange.header(b"user-agent"),
    )
    links = Links(exchange, house) if mode in LINKED else None
    reply = ReplyOptions(
        model=name,
        created=int(time.time()),
        include_usage=request.include_usage,
        image_mode=mode,
        legacy_functions=request.legacy_functions,
        link=links.of if links is not None else None,
        audio_format=request.audio.format if request.audio else None,
    )
    run = Run.of(exchange, route, stream=request.stream)
    run.links = links
    try:
        if request.stream:
            await _streamed(exchange, house, request, run, reply)
        else:
            await _whole(exchange, house, request, run, reply)
    finally:
        exchange.facts.update(target=run.target, attempts=run.attempts)
        if run.usage is not None:
            exchange.facts.update(prompt_tokens=run.usage.prompt, completion_tokens=run.usage.completion)


async def _whole(
    exchange: Exchange, house: House, request: ChatRequest, run: Run, reply: ReplyOptions
) -> None:
    count = _calls(request, run)
    if count == 1:
        collected = await pipeline.whole(house, request, run)
    else:
        single = replace(request, n=1)
        collected = await all_of(count, lambda: pipeline.whole(house, single, run))
    _note_usage(run, collected)
    if run.links is not None:
        await run.links.keep(collected)
    pieces = chat_reply.whole(collected, reply)
    exchange.dropped = run.dropped
    await exchange.respond(200, pieces)


async def _streamed(
    exchange: Exchange, house: House, request: ChatRequest, run: Run, reply: ReplyOptions
) -> None:
    renderer = StreamRenderer(reply)
    stream = EventStream(exchange, house.config.defaults.heartbeat)
    try:
        async with aclosing(_batches(house, request, run)) as batches:
            async for batch in batches:
                _note_usage(run, batch)
                exchange.dropped = run.dropped
                if run.links is not None:
                    await run.links.keep(batch)
                if frames := renderer.feed(batch):
                    await stream.write(frames)
        await stream.write(renderer.finish())
    except Exception as error:  # what has begun as a stream must end as one, also when the fault is ours
        if not exchange.started:
            raise
        house.note_failure(exchange, error)
        await stream.write(renderer.error(error, exchange.request_id))
    finally:
        stream.stop()
    await stream.end()


def _calls(request: ChatRequest, run: Run) -> int:
    """How many upstream calls give the choices the client asked for, whichever target answers in the end."""
    if request.n == 1:
        return 1
    return max(
        request.n if one.jobs else one.wire.calls_needed(request, one.target) for one in run.candidates
    )


def _batches(house: House, request: ChatRequest, run: Run) -> AsyncGenerator[list[Event], None]:
    count = _calls(request, run)
    if count == 1:
        return pipeline.batches(house, request, run)
    single = replace(request, n=1)
    return merged(count, lambda: pipeline.batches(house, single, run))


def _note_usage(run: Run, batch: list[Event]) -> None:
    for event in batch:
        if type(event) is Usage:
            run.usage = event
