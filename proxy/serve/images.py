"""`POST /v1/images/generations`, `/edits`, `/variations`: whichever way the model's vendor makes pictures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from proxy.errors import ErrorClass, RequestError, UpstreamError
from proxy.fronts.openai import error_reply
from proxy.fronts.openai.images import reply as image_reply
from proxy.fronts.openai.images import request as image_request
from proxy.fronts.openai.images.reply import ImageReplyOptions, ImageStreamRenderer
from proxy.fronts.openai.images.request import Operation
from proxy.routing.attempts import Candidate
from proxy.serve import pipeline
from proxy.serve.body import read_form, read_json
from proxy.serve.exchange import Exchange
from proxy.serve.house import House
from proxy.serve.links import Links
from proxy.serve.output import Output
from proxy.serve.run import Run
from proxy.serve.stream import EventStream
from proxy.types import Event, Image, ImageRequest, Usage

_AT_ONCE = 4  # calls side by side for one request

# Of several failures the one that tells the client most.
_TELLING = (ErrorClass.BLOCKED, ErrorClass.BAD_REQUEST)


async def generate(exchange: Exchange, house: House) -> None:
    await _answer(exchange, house, "generation")


async def edit(exchange: Exchange, house: House) -> None:
    await _answer(exchange, house, "edit")


async def vary(exchange: Exchange, house: House) -> None:
    await _answer(exchange, house, "variation")


async def _answer(exchange: Exchange, house: House, operation: Operation) -> None:
    assert exchange.caller is not None
    exchange.words = error_reply.IMAGE_WORDS
    request = _awaited(await _request(exchange, house, operation))
    exchange.watch()
    route = house.routes.resolve(request.model, exchange.caller)
    exchange.facts["model"] = route.name
    run = Run.of(exchange, route, stream=request.stream)
    first = run.candidates[0]
    if operation == "variation" and first.jobs and not first.wire.reference_forms(first.target):
        raise RequestError(
            f"The model {request.model!r} takes no pictures.",
            status=404,
            code="unsupported_endpoint",
            param="model",
        )
    links = Links(exchange, house) if request.response_format == "url" else None
    output = Output(request, run, links)
    reply = ImageReplyOptions(
        created=int(time.time()),
        response_format=request.response_format,
        link=links.of if links is not None else None,
        safety_identifier=request.user,
    )
    try:
        if request.stream:
            prefix: image_reply.Prefix = "image_edit" if operation == "edit" else "image_generation"
            await _streamed(exchange, house, request, run, output, ImageStreamRenderer(reply, prefix))
        else:
            await _whole(exchange, house, request, run, output, reply)
    finally:
        exchange.facts.update(target=run.target, attempts=run.attempts)
        if run.usage is not None:
            exchange.facts.update(images=run.usage.images, prompt_tokens=run.usage.prompt)


async def _request(exchange: Exchange, house: House, operation: Operation) -> ImageRequest:
    limit = house.config.server.body_limit
    content_type = exchange.header(b"content-type") or ""
    if content_type.lower().startswith("multipart/form-data"):
        fields, files = await read_form(exchange.chunks(limit), content_type)
        return image_request.parse_form(fields, files, operation)
    body = read_json(await exchange.body(limit))
    name = body.get("model")
    assert exchange.caller is not None
    if isinstance(name, str) and name:
        for field, value in house.routes.resolve(name, exchange.caller).defaults.items():
            if body.get(field) is None:
                body[field] = value
    return image_request.parse(body, operation)


def _awaited(request: ImageRequest) -> ImageRequest:
    """Every request is waited for here: what asks for another way is named as not carried."""
    asked = {"callback_url": request.callback_url, "background": request.run_in_background}
    return replace(request, dropped=(*request.dropped, *(name for name, value in asked.items() if value)))


async def _whole(
    exchange: Exchange,
    house: House,
    request: ImageRequest,
    run: Run,
    output: Output,
    reply: ImageReplyOptions,
) -> None:
    collected: list[Event] = []
    async with aclosing(_made(house, request, run)) as batches:
        async for batch in batches:
            collected += await output.finished(batch)
    rendered = image_reply.whole(collected, reply)
    made = sum(isinstance(event, Image) for event in collected)
    _tell(exchange, run, output, made, request.n)
    exchange.reply_headers += rendered.headers
    await exchange.respond(200, rendered.body)


async def _streamed(
    exchange: Exchange,
    house: House,
    request: ImageRequest,
    run: Run,
    output: Output,
    renderer: ImageStreamRenderer,
) -> None:
    stream = EventStream(exchange, house.config.defaults.heartbeat)
    try:
        async with aclosing(_made(house, request, run)) as batches:
            async for batch in batches:
                events = await output.finished(batch)
                if not exchange.started:
                    _tell(exchange, run, output, request.n, request.n)
                if frames := renderer.feed(events):
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


def _tell(exchange: Exchange, run: Run, output: Output, made: int, asked: int) -> None:
    exchange.dropped = output.dropped()
    if run.size:
        exchange.reply_headers.append((b"x-proxy-size", run.size.encode("ascii", "replace")))
    if made < asked:
        exchange.reply_headers.append((b"x-proxy-partial", f"{made}/{asked}".encode()))


def _shares(request: ImageRequest, candidate: Candidate) -> tuple[int, ...]:
    """How the pictures are spread over calls; what chats makes one at a time."""
    if candidate.jobs:
        shares: tuple[int, ...] = candidate.wire.shares(request.n, candidate.target)
        return shares
    return (1,) * request.n


async def _made(house: House, request: ImageRequest, run: Run) -> AsyncGenerator[list[Event], None]:
    """Yield each call's events when it is done, then the sum of their usage.

    Some may fail: the others are delivered. When all fail, the most telling error is raised. A refusal
    keeps what was not ordered yet from being ordered.
    """
    orders = _orders(request, run)
    free = asyncio.Semaphore(_AT_ONCE)
    refused = asyncio.Event()

    async def make(order: ImageRequest) -> list[Event]:
        async with free:
            if refused.is_set():
                return []
            try:
                return await pipeline.whole(house, order, run)
            except UpstreamError as error:
                if error.error_class is ErrorClass.BLOCKED:
                    refused.set()
                raise

    tasks = [asyncio.create_task(make(order)) for order in orders]
    failures: list[UpstreamError] = []
    usages: list[Usage] = []
    made = 0
    try:
        for next_done in asyncio.as_completed(tasks):
            try:
                batch = await next_done
            except UpstreamError as error:
                failures.append(error)
                continue
            usages += (event for event in batch if isinstance(event, Usage))
            batch = [event for event in batch if not isinstance(event, Usage)]
            made += sum(isinstance(event, Image) for event in batch)
            yield batch
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if failures and not made:
        raise _most_telling(failures)
    if usages:
        run.usage = Usage.sum(usages)
        yield [run.usage]


def _orders(request: ImageRequest, run: Run) -> list[ImageRequest]:
    orders = []
    done = 0
    # As many calls as the target that makes the fewest at once needs: a fallback may have to make them all.
    for share in max((_shares(request, one) for one in run.candidates), key=len):
        seed = None if request.seed is None else request.seed + done
        orders.append(replace(request, n=share, seed=seed))
        done += share
    return orders


def _most_telling(failures: list[UpstreamError]) -> UpstreamError:
    for wanted in _TELLING:
        for error in failures:
            if error.error_class is wanted:
                return error
    return failures[0]
