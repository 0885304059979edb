"""The events of a stream that many may follow: from the first while there are few, and never all in memory
where there are many."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest

from proxy.serve.later import Frames

pytestmark = pytest.mark.anyio

MIB = 1 << 20


async def test_who_follows_later_reads_from_the_first() -> None:
    frames = Frames()
    early = frames.follow()
    frames.add(b"a\n\nb\n\n")
    assert await anext(early) == b"a\n\n"
    frames.add(b"c\n\n")
    late = frames.follow()
    frames.end()
    assert [frame async for frame in early] == [b"b\n\n", b"c\n\n"]
    assert [frame async for frame in late] == [b"a\n\n", b"b\n\n", b"c\n\n"]
    assert frames.all() == b"a\n\nb\n\nc\n\n"


async def test_who_has_read_all_waits_for_more_and_for_the_end() -> None:
    frames = Frames()
    follower = frames.follow()
    for frame in (b"a\n\n", b"b\n\n"):
        coming = asyncio.create_task(anext(follower))
        done, _ = await asyncio.wait([coming], timeout=0)
        assert not done
        frames.add(frame)
        assert await asyncio.wait_for(coming, 5) == frame
    coming = asyncio.create_task(anext(follower, b"over"))
    await asyncio.wait([coming], timeout=0)
    frames.end()
    assert await asyncio.wait_for(coming, 5) == b"over"


async def test_what_all_have_read_of_a_long_stream_is_let_go() -> None:
    """Also when nothing more comes, while a slow client reads."""
    frames = Frames()
    slow, left = frames.follow(), frames.follow()
    tracemalloc.start()
    try:
        for number in range(40):
            frames.add(b"%d" % number * (MIB // 2) + b"\n\n")
        await anext(left)
        await left.aclose()
        read = [(await anext(slow))[:2] for _ in range(39)]
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert read == [b"%d" % number * 2 if number < 10 else b"%d" % number for number in range(39)]
    assert held < 4 * MIB
    assert frames.all() is None
    frames.end()
    assert len([frame async for frame in slow]) == 1


async def test_of_a_long_stream_that_nobody_follows_nothing_is_held() -> None:
    frames = Frames()
    last = frames.follow()
    tracemalloc.start()
    try:
        for number in range(40):
            frames.add(b"%d" % number * (MIB // 2) + b"\n\n")
        await anext(last)
        before, _ = tracemalloc.get_traced_memory()
        await last.aclose()
        left, _ = tracemalloc.get_traced_memory()
        for number in range(40):
            frames.add(b"%d" % number * (MIB // 2) + b"\n\n")
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert before > 16 * MIB
    assert (left < 4 * MIB, held < 4 * MIB) == (True, True)
