"""`python -m bench.overload`: what a server still does when it is asked for five times as much as it takes.

Clients ask again as soon as they have an answer, whatever it is. As many of them as are answered at the same
time give the peak; then there are five times as many. Both are measured in turn, several times, in chats per
second of the server's processor: the machine may be busy with other work.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

from bench.bodies import chat
from bench.load import Client
from bench.place import Place
from bench.servers import KEY, Server, wait_for

_AT_ONCE, _TIMES, _ROUNDS = 32, 5, 7
_WARM_S, _MEASURED_S = 0.5, 2.0
_BODY = chat("up/gemini-2.5-flash")


async def run() -> None:
    os.sched_setaffinity(0, {1} & os.sched_getaffinity(0) or {0})
    with tempfile.TemporaryDirectory() as name, Place(Path(name), at_once=_AT_ONCE) as place:
        await wait_for(place.port)
        server = place.has(place.dragoman())
        await wait_for(server.port)
        await chats_per_cpu_s(server, _AT_ONCE)
        shares, refused = [], []
        for _ in range(_ROUNDS):
            peak, _ = await chats_per_cpu_s(server, _AT_ONCE)
            rate, refusals = await chats_per_cpu_s(server, _AT_ONCE * _TIMES)
            shares.append(rate / peak)
            refused.append(refusals)
        print(f"at {_TIMES} times the load: {statistics.median(shares):.0%} of the peak", end=", ")
        print(f"{statistics.median(refused):.2f} refusals for each chat")


async def chats_per_cpu_s(server: Server, clients: int) -> tuple[float, float]:
    """And how many were refused for each."""
    counts = {200: 0, 503: 0}
    until = time.perf_counter() + _WARM_S + _MEASURED_S

    async def ask() -> None:
        client = Client(server.port, {"authorization": f"Bearer {KEY}"})
        while time.perf_counter() < until:
            counts[await client.status("/v1/chat/completions", _BODY)] += 1
        client.close()

    asking = [asyncio.create_task(ask()) for _ in range(clients)]
    await asyncio.sleep(_WARM_S)
    used, before = server.cpu_s(), dict(counts)
    await asyncio.sleep(_MEASURED_S)
    used, after = server.cpu_s() - used, dict(counts)
    await asyncio.gather(*asking)
    answered, refused = (after[status] - before[status] for status in (200, 503))
    return answered / used, refused / answered


if __name__ == "__main__":
    asyncio.run(run())
