"""`python -m bench`: start a fast upstream, the least possible translation and Dragoman, and print ratios.

Each server runs on the first core, upstream and load on the second. CPU is user plus system time of the
server's process. The servers are measured in turn, several rounds, and the medians are compared.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from bench.load import Client

_KEY = "sk-bench"
_CONFIG = """
version: 1
keys: [{{name: bench, key: env:BENCH_KEY}}]
providers:
  up: {{wire: gemini, base_url: "{base}", keys: [env:BENCH_KEY], private: true}}
models: {{}}
"""


@dataclass
class Server:
    name: str
    prefix: str
    process: subprocess.Popen[bytes]
    port: int

    def cpu_s(self) -> float:
        """Of all threads that live; exact to the nanosecond, where `/proc/PID/stat` counts ticks of 10 ms."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def rss_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def spawn(arguments: list[str], core: int, **environment: str) -> subprocess.Popen[bytes]:
    def pin() -> None:
        if os.cpu_count() and os.cpu_count() > 1:
            os.sched_setaffinity(0, {core})

    return subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        preexec_fn=pin,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


async def wait_for(port: int) -> None:
    for _ in range(3000):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.005)
        else:
            writer.close()
            return
    raise RuntimeError("a server did not start")


async def cpu_per_request(server: Server, requests: int, connections: int = 32) -> float:
    """Microseconds of CPU per small request."""
    clients = [Client(server.port, _KEY) for _ in range(connections)]

    async def run(client: Client) -> None:
        for _ in range(requests // connections):
            await client.whole(server.prefix + "chat")

    await asyncio.gather(*(client.whole(server.prefix + "chat") for client in clients))
    before = server.cpu_s()
    await asyncio.gather(*map(run, clients))
    used = server.cpu_s() - before
    for client in clients:
        client.close()
    return used / (requests // connections * connections) * 1e6


async def latency(server: Server, requests: int) -> list[float]:
    """Milliseconds of small requests at 20 a second."""
    client = Client(server.port, _KEY)
    times = []
    await client.whole(server.prefix + "chat")
    for _ in range(requests):
        times.append(await client.whole(server.prefix + "chat") * 1000)
        await asyncio.sleep(0.05)
    client.close()
    return times


async def first_byte(server: Server, streams: int) -> float:
    """Milliseconds to the first streamed byte, median."""
    client = Client(server.port, _KEY)
    times = []
    for _ in range(streams):
        first, _ages = await client.stream(server.prefix + "burst-3")
        times.append(first * 1000)
        await asyncio.sleep(0.02)
    client.close()
    return statistics.median(times)


async def cpu_per_chunk(server: Server, model: str, streams: int, chunks: int) -> float:
    """Microseconds of CPU per chunk."""
    clients = [Client(server.port, _KEY) for _ in range(streams)]
    await asyncio.gather(*(client.stream(server.prefix + "burst-3") for client in clients))
    before = server.cpu_s()
    await asyncio.gather(*(client.stream(f"{server.prefix}{model}-{chunks}") for client in clients))
    used = server.cpu_s() - before
    for client in clients:
        client.close()
    return used / (streams * chunks) * 1e6


async def chunk_age(server: Server, streams: int) -> float:
    """Milliseconds from the upstream's write to the client's read over many slow streams, p99."""
    clients = [Client(server.port, _KEY) for _ in range(streams)]
    results = await asyncio.gather(*(client.stream(f"{server.prefix}slow-30") for client in clients))
    for client in clients:
        client.close()
    ages = sorted(age for _, ages in results for age in ages)
    return ages[int(len(ages) * 0.99)] * 1000


async def cpu_per_picture(server: Server, pictures: int) -> float:
    """Milliseconds of CPU per reply with a picture of 8 MB."""
    return await cpu_ms(server, "picture-8", 0, pictures)


async def cpu_per_upload(server: Server, requests: int) -> float:
    """Milliseconds of CPU per request with a picture of 10 MB inside."""
    return await cpu_ms(server, "chat", 10, requests)


async def cpu_ms(server: Server, model: str, picture_mb: int, count: int) -> float:
    client = Client(server.port, _KEY)
    await client.whole(server.prefix + model, picture_mb)
    before = server.cpu_s()
    for _ in range(count):
        await client.whole(server.prefix + model, picture_mb)
    used = server.cpu_s() - before
    client.close()
    return used / count * 1000


async def growth_mb(server: Server) -> float:
    """How far memory grows at its peak while 16 pictures of 8 MB go through at once."""
    before = server.rss_mb()
    clients = [Client(server.port, _KEY) for _ in range(16)]
    peak = before
    running = asyncio.gather(*(client.whole(server.prefix + "picture-8") for client in clients))
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
        client = Client(server.port, _KEY)
        await client.whole(server.prefix + "chat")
        took = time.perf_counter() - began
        client.close()
        return took, server.rss_mb()
    finally:
        server.process.terminate()
        server.process.wait()


async def run(quick: bool) -> None:
    upstream_port = free_port()
    base = f"http://127.0.0.1:{upstream_port}"
    upstream = spawn(["-m", "bench.upstream", str(upstream_port)], 1)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "providers.yaml"
        config.write_text(_CONFIG.format(base=base))

        def least() -> Server:
            port = free_port()
            return Server("least", "", spawn(["-m", "bench.least", str(port)], 0, BENCH_UPSTREAM=base), port)

        def dragoman() -> Server:
            port = free_port()
            arguments = ["-m", "proxy", "serve", "--config", str(config), "--port", str(port)]
            return Server("dragoman", "up/", spawn(arguments, 0, BENCH_KEY=_KEY), port)

        running: list[Server] = []
        try:
            await wait_for(upstream_port)
            starts = {make.__name__: [await start_up(make) for _ in range(3)] for make in (least, dragoman)}
            direct = Server("direct", "", upstream, upstream_port)
            running = [least(), dragoman()]
            for server in running:
                await wait_for(server.port)
            await measure(direct, running, starts, 1 if quick else 3)
        finally:
            for server in running:
                server.process.terminate()
            upstream.kill()


async def measure(
    direct: Server, servers: list[Server], starts: dict[str, list[tuple[float, float]]], rounds: int
) -> None:
    scale = 1 if rounds == 1 else 2
    figures: list[tuple[str, str, Callable[[Server], Awaitable[float]]]] = [
        ("CPU per small chat request", "us", lambda server: cpu_per_request(server, 1500 * scale)),
        ("time to the first streamed byte", "ms", lambda server: first_byte(server, 40)),
        (
            "CPU per chunk, one each 10 ms",
            "us",
            lambda server: cpu_per_chunk(server, "paced", 8, 150 * scale),
        ),
        ("CPU per chunk, at full speed", "us", lambda server: cpu_per_chunk(server, "burst", 2, 20_000)),
        ("200 slow streams: age of a chunk, p99", "ms", lambda server: chunk_age(server, 200)),
        ("memory growth, 16 pictures of 8 MB", "MB", growth_mb),
        ("CPU per 8 MB picture", "ms", lambda server: cpu_per_picture(server, 20)),
        ("CPU per request with 10 MB inside", "ms", lambda server: cpu_per_upload(server, 10)),
    ]
    print(f"{'':42}{'least':>10}{'dragoman':>10}{'ratio':>8}")
    for title, unit, measure_one in figures:
        values: dict[str, list[float]] = {server.name: [] for server in servers}
        for _ in range(rounds):
            for server in servers:
                values[server.name].append(await measure_one(server))
        show(title, unit, [statistics.median(values[server.name]) for server in servers])
    through = [await latency(server, 60 * scale) for server in (direct, *servers)]
    for title, at in (("p50", 0.5), ("p99", 0.99)):
        base, *rest = (sorted(times)[int(len(times) * at)] for times in through)
        show(f"added latency at 20 requests/s, {title}", "ms", [value - base for value in rest])
    for title, unit, index in (("exec to first reply", "s", 0), ("idle memory", "MB", 1)):
        show(
            title,
            unit,
            [statistics.median(one[index] for one in starts[name]) for name in ("least", "dragoman")],
        )


def show(title: str, unit: str, values: list[float]) -> None:
    least, ours = values
    print(
        f"{title:38}{unit:>4}{least:10.2f}{ours:10.2f}{ours / least if least > 0 else float('nan'):8.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, smaller counts")
    options = parser.parse_args()
    os.sched_setaffinity(0, {1} if (os.cpu_count() or 1) > 1 else {0})
    asyncio.run(run(options.quick))


if __name__ == "__main__":
    main()
