"""What the servers are asked, and what is measured of them."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

from bench import bodies
from bench.load import Client
from bench.servers import Server, wait_for

MODEL, PICTURE = "gemini-2.5-flash", "gemini-picture-8192"
_DRAWS = "gemini-picture-8"
_SLOW_PAUSE_S = 0.1  # between the chunks of the upstream's slow streams
_CHAT, _IMAGE, _EDIT = "/v1/chat/completions", "/v1/images/generations", "/v1/images/edits"

Ask = Callable[[Server], tuple[str, bytes]]


# --- what is asked


def chat(model: str = MODEL, *, stream: bool = False) -> Ask:
    def ask(server: Server) -> tuple[str, bytes]:
        if server.is_hop:
            method = "streamGenerateContent?alt=sse" if stream else "generateContent"
            return f"/models/{model}:{method}", bodies.native()
        return _CHAT, bodies.chat(server.prefix + model, stream=stream)

    return ask


def agent(server: Server) -> tuple[str, bytes]:
    return _CHAT, bodies.chat(server.prefix + MODEL, agent=True)


def streamed(name: str) -> Ask:
    return chat(f"gemini-{name}", stream=True)


def picture_inside(size_kb: int) -> Ask:
    return lambda server: (_CHAT, bodies.with_picture(server.prefix + MODEL, size_kb))


def history(size_kb: int) -> Ask:
    """The least translation knows pictures of the user alone."""
    return lambda server: (
        (_CHAT, bodies.history(server.prefix + _DRAWS, size_kb))
        if server.prefix
        else picture_inside(2 * size_kb)(server)
    )


def edit(size_kb: int) -> Ask:
    """The least translation knows no forms."""
    return lambda server: (
        (_EDIT, bodies.edit(server.prefix + _DRAWS, size_kb))
        if server.prefix
        else picture_inside(size_kb)(server)
    )


def image(model: str) -> Ask:
    return lambda _: (_IMAGE, bodies.image(model))


def in_dialect(path: str, body: Callable[[str], bytes]) -> Ask:
    """The least translation has one dialect: it is asked the same as a chat."""
    return lambda server: (path, body(server.prefix + MODEL)) if server.prefix else chat()(server)


DIALECTS: dict[str, tuple[str, Callable[[str], bytes]]] = {
    "Responses": ("/v1/responses", bodies.responses),
    "Messages": ("/v1/messages", bodies.messages),
    "native Gemini": (f"/v1beta/models/up/{MODEL}:generateContent", lambda _: bodies.native()),
}


# --- what is measured


async def cpu_per_request(server: Server, ask: Ask, requests: int, connections: int = 32) -> float:
    """Microseconds of CPU per request."""
    path, body = ask(server)
    clients = [server.client() for _ in range(connections)]

    async def run(client: Client) -> None:
        for _ in range(requests // connections):
            await client.whole(path, body)

    await asyncio.gather(*(client.whole(path, body) for client in clients))
    before = server.cpu_s()
    await asyncio.gather(*map(run, clients))
    used = server.cpu_s() - before
    for client in clients:
        client.close()
    return used / (requests // connections * connections) * 1e6


async def cpu_ms(server: Server, ask: Ask, count: int) -> float:
    """Milliseconds of CPU per large request, one at a time."""
    return await cpu_per_request(server, ask, count, connections=1) / 1000


async def latency(server: Server, requests: int) -> list[float]:
    """Milliseconds of small requests at 20 a second."""
    client = server.client()
    path, body = chat()(server)
    times = []
    await client.whole(path, body)
    for _ in range(requests):
        times.append(await client.whole(path, body) * 1000)
        await asyncio.sleep(0.05)
    client.close()
    return times


async def first_byte(server: Server, streams: int) -> float:
    """Milliseconds to the first streamed byte, median."""
    client = server.client()
    times = []
    for _ in range(streams):
        first, _ages = await client.stream(*streamed("burst-3")(server))
        times.append(first * 1000)
        await asyncio.sleep(0.02)
    client.close()
    return statistics.median(times)


async def cpu_per_chunk(server: Server, model: str, streams: int, chunks: int) -> float:
    """Microseconds of CPU per chunk."""
    clients = [server.client() for _ in range(streams)]
    await asyncio.gather(*(client.stream(*streamed("burst-3")(server)) for client in clients))
    before = server.cpu_s()
    await asyncio.gather(*(client.stream(*streamed(f"{model}-{chunks}")(server)) for client in clients))
    used = server.cpu_s() - before
    for client in clients:
        client.close()
    return used / (streams * chunks) * 1e6


async def chunk_age(server: Server, streams: int) -> float:
    """Milliseconds from the upstream's write to the client's read over many slow streams, p99. They begin one
    after the other within a pause between chunks: those of one moment would wait for the upstream that writes
    them and the load that reads them, which are two processes on one core."""
    clients = [server.client() for _ in range(streams)]

    async def run(number: int, client: Client) -> list[float]:
        await asyncio.sleep(number * _SLOW_PAUSE_S / streams)
        return (await client.stream(*streamed("slow-30")(server)))[1]

    results = await asyncio.gather(*(run(number, client) for number, client in enumerate(clients)))
    for client in clients:
        client.close()
    ages = sorted(age for ages in results for age in ages)
    return ages[int(len(ages) * 0.99)] * 1000


async def growth_mb(server: Server, ask: Ask) -> float:
    """How far memory grows at its peak while 16 pictures of 8 MB go through at once."""
    before = server.rss_mb()
    clients = [server.client() for _ in range(16)]
    peak = before
    running = asyncio.gather(*(client.whole(*ask(server)) for client in clients))
    while not running.done():
        peak = max(peak, server.rss_mb())
        await asyncio.sleep(0.002)
    await running
    for client in clients:
        client.close()
    return max(peak, server.rss_mb()) - before


async def start_up(spawn_server: Callable[[], Server]) -> tuple[float, float]:
    """Seconds from exec to the first reply, and idle memory in MB."""
    began = time.perf_counter()
    server = spawn_server()
    try:
        await wait_for(server.port)
        client = server.client()
        await client.whole(*chat()(server))
        took = time.perf_counter() - began
        client.close()
        return took, server.rss_mb()
    finally:
        server.stop()


Figure = Callable[[Server], Awaitable[float]]


def requests(ask: Ask, count: int, connections: int = 32) -> Figure:
    return lambda server: cpu_per_request(server, ask, count, connections)


def large(ask: Ask, count: int) -> Figure:
    return lambda server: cpu_ms(server, ask, count)
