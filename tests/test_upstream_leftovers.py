"""An answer that is refused leaves nothing behind: not while its error is held, and not in a cycle after."""

import asyncio
import functools
import gc
import gzip
import os
import types
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from proxy.errors import RequestError, UpstreamError
from proxy.types import Call, FormFile, Slice
from proxy.upstream import Account, Deadlines, Upstream
from proxy.upstream.reply import Reply
from tests.hostile import Handler, Request, serving

pytestmark = pytest.mark.anyio

CAP = 12 << 20
PIECE = b"word " * 52_428
SHORT = Deadlines(connect_s=5, first_byte_s=5, idle_s=0.3, total_s=20)


def endless(kind: str, head: bytes, piece: bytes = PIECE, then: str = "close", pieces: int = 200) -> Handler:
    """A body that goes on until the reader leaves, or breaks off or falls silent before the limit."""

    async def handler(request: Request) -> None:
        await request.read_body()
        try:
            await request.send(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n".encode(), b"\r\n", head)
            for _ in range(pieces):
                await request.send(piece)
            if then == "stall":
                await request.reader.read()
        except ConnectionError:
            pass
        await request.hang_up()

    return handler


@functools.cache
def packed_words() -> bytes:
    """60 MB of them."""
    return gzip.compress(b'{"a":"' + b"word " * (12 << 20))


async def bomb(request: Request) -> None:
    await request.read_body()
    packed = packed_words()
    await request.send(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n"
        + b"content-length: %d\r\n\r\n" % len(packed)
    )
    with suppress(ConnectionError):
        await request.send(packed)
    await request.hang_up()  # all of it may be there before it is refused: then the connection is kept


def cut_with_length(head: bytes) -> Handler:
    async def handler(request: Request) -> None:
        await request.read_body()
        await request.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99999999\r\n\r\n"
        )
        await request.send(head, *[PIECE] * 20)
        await request.hang_up()

    return handler


ANSWERS = [
    pytest.param(endless("application/json", b'{"a":"'), id="endless text in JSON"),
    pytest.param(endless("application/json", b'{"a":"', b"A" * (1 << 18)), id="endless picture in JSON"),
    pytest.param(endless("text/event-stream", b'data: {"a":"'), id="endless line"),
    pytest.param(
        endless("text/event-stream", b'data: {"a":"', b"A" * (1 << 18)), id="endless picture in a line"
    ),
    pytest.param(endless("text/event-stream", b": a\n", b"data: x\n" * 32768), id="endless lines"),
    pytest.param(endless("application/json", b'[{"a":"', b"{" * 65536), id="endless array"),
    pytest.param(bomb, id="gzip bomb"),
    pytest.param(cut_with_length(b'{"a":"'), id="cut"),
    pytest.param(cut_with_length(b'data: {"a":"'), id="cut text"),
    pytest.param(endless("application/json", b'{"a":"', then="stall", pieces=30), id="silence"),
]


async def by_payloads(reply: Reply) -> None:
    async for payloads in reply.payloads():
        for _ in payloads:
            pass


async def by_read(reply: Reply) -> None:
    await reply.read(CAP)


async def by_value(reply: Reply) -> None:
    await reply.value(CAP)


@pytest.fixture(scope="module", autouse=True)
def _nothing_but_what_is_new() -> None:
    """What was there before is nobody's leftover, and large: each look would go through it."""
    gc.collect()
    gc.freeze()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    opened = Upstream(max_reply_bytes=CAP)
    yield opened
    await opened.close()


@pytest.mark.parametrize("read", [by_payloads, by_read, by_value])
@pytest.mark.parametrize("handler", ANSWERS)
async def test_a_failed_answer_leaves_nothing(upstream: Upstream, handler: Handler, read: Any) -> None:
    async with serving(handler) as server:
        gc.collect()
        gc.disable()
        try:
            error = await failure(upstream, server.url, read)
            assert error is not None
            assert largest(error) < 1 << 20
            del error
            await server.gone.wait()
            await asyncio.sleep(0)
            assert garbage() < 1 << 20
        finally:
            gc.enable()


async def test_of_what_is_no_json_the_beginning_is_read(upstream: Upstream) -> None:
    async with serving(endless("text/html", b"<html>", pieces=30)) as server:
        reply = await upstream.send(Call("/x", {}), Account("v", server.url, private=True), SHORT)
        assert await reply.value(CAP) == (b"<html>" + PIECE * 5)[: 1 << 20]


async def test_of_an_endless_error_the_beginning_is_read(upstream: Upstream) -> None:
    async with serving(refusing) as server:
        reply = await upstream.send(Call("/x", {}), Account("v", server.url, private=True), SHORT)
        assert await reply.value(CAP) == (b'{"error":"' + PIECE * 5)[: 1 << 20]
        assert await server.until_gone(5)


async def refusing(request: Request) -> None:
    await request.read_body()
    await request.send(b"HTTP/1.1 500 Oh\r\ncontent-type: application/json\r\n\r\n", b'{"error":"')
    try:
        while True:
            await request.send(PIECE)
    except ConnectionError:
        await request.hang_up()


async def failure(upstream: Upstream, url: str, read: Any) -> UpstreamError | None:
    reply = await upstream.send(Call("/x", {}), Account("v", url, private=True), SHORT)
    try:
        await read(reply)
    except UpstreamError as error:
        return error
    finally:
        await reply.close()
    return None


def size_of(thing: Any) -> int:
    return len(thing) if isinstance(thing, bytes | bytearray | memoryview | str) else 0


def largest(root: Any) -> int:
    """The size of the largest string of bytes that can be reached, by way of frames too."""
    seen: set[int] = set()
    todo = [root]
    found = 0
    while todo:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, type | types.ModuleType | types.FunctionType):
            continue
        if isinstance(thing, asyncio.AbstractEventLoop | asyncio.Task | asyncio.AbstractServer):
            continue  # the test's own world
        seen.add(id(thing))
        found = max(found, size_of(thing))
        if isinstance(thing, types.FrameType):
            todo += thing.f_locals.values()
        elif isinstance(thing, BaseException):
            todo += [
                thing.__traceback__,
                thing.__cause__,
                thing.__context__,
                *thing.args,
                *vars(thing).values(),
            ]
        else:
            todo += gc.get_referents(thing)
    return found


def garbage() -> int:
    """The same of what only the collector would free."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
    finally:
        gc.set_debug(0)
    left, gc.garbage[:] = list(gc.garbage), []
    return max((size_of(one) for thing in left for one in (thing, *gc.get_referents(thing))), default=0)


# --- what cannot be sent


@pytest.mark.parametrize("files", [(), (FormFile("image", "a.png", "image/png", Slice.of(b"x")),)])
async def test_what_cannot_be_written_is_the_clients_mistake(
    upstream: Upstream, files: tuple[FormFile, ...]
) -> None:
    call = Call("/x", {"options": {"seed": 2**70}}, files=files)
    async with serving(refusing) as server:
        with pytest.raises(RequestError, match="seed: the number is too large") as caught:
            await upstream.send(call, Account("v", server.url, private=True), SHORT)
    assert caught.value.status == 400
    assert server.requests == []


async def test_a_form_is_sent_with_its_pictures_decoded(upstream: Upstream) -> None:
    async def handler(request: Request) -> None:
        await request.read_body()
        await request.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
        )

    data = os.urandom((1 << 20) + 1)
    files = (FormFile("image", "a\ud83d.png", "image/png", Slice.of(data)),)
    call = Call("/x", {"prompt": "half \ud83d", "n": 1}, files=files)
    async with serving(handler) as server:
        reply = await upstream.send(call, Account("v", server.url, private=True), SHORT)
        assert await reply.value(CAP) == {}
        body = server.requests[0].body
    assert b'name="prompt"\r\n\r\nhalf \xef\xbf\xbd\r\n' in body
    assert b'filename="a\xef\xbf\xbd.png"\r\ncontent-type: image/png\r\n\r\n' + data + b"\r\n" in body
