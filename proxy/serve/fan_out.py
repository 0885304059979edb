"""Several choices from an upstream that makes one at a time: n calls side by side, merged into one reply."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from proxy.types import Event, Started, Usage

_Batches = AsyncGenerator[list[Event], None]


async def all_of(count: int, start: Callable[[], Coroutine[Any, Any, list[Event]]]) -> list[Event]:
    """The same for whole replies. The first failure ends all of them."""
    tasks = [asyncio.create_task(start()) for _ in range(count)]
    try:
        replies = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    events = [_of_choice(event, choice) for choice, reply in enumerate(replies) for event in reply]
    usages = [event for event in events if isinstance(event, Usage)]
    if not usages:
        return events
    return [*(event for event in events if not isinstance(event, Usage)), Usage.sum(usages)]


def _of_choice(event: Event, choice: int) -> Event:
    return event if isinstance(event, Started | Usage) else replace(event, choice=choice)


async def merged(count: int, start: Callable[[], _Batches]) -> _Batches:
    """Run `count` replies at once; reply k's events become choice k. Usage is summed and comes last.

    The first failure ends all of them.
    """
    queue: asyncio.Queue[tuple[int, list[Event] | None, BaseException | None]] = asyncio.Queue(
        maxsize=count * 2
    )

    async def pump(choice: int) -> None:
        try:
            async with aclosing(start()) as batches:
                async for batch in batches:
                    await queue.put((choice, batch, None))
        except Exception as error:  # handed to the reader, which raises it
            await queue.put((choice, None, error))
        else:
            await queue.put((choice, None, None))

    pumps = [asyncio.create_task(pump(choice)) for choice in range(count)]
    usages: dict[int, Usage] = {}
    began = False
    running = count
    try:
        while running:
            choice, batch, error = await queue.get()
            if error is not None:
                raise error
            if batch is None:
                running -= 1
                continue
            mine: list[Event] = []
            for event in batch:
                if isinstance(event, Usage):
                    usages[choice] = event
                elif not isinstance(event, Started):
                    mine.append(_of_choice(event, choice))
                elif not began:
                    began = True
                    mine.append(event)
            if mine:
                yield mine
        if usages:
            yield [Usage.sum(list(usages.values()))]
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
