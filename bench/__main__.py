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
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench import bodies
from bench.load import Client

_KEY = "sk-bench"
_CONFIG = """
version: 1
keys: [{{name: bench, key: env:BENCH_KEY}}]
profiles:
  jobs:
    base_url: "{base}/base64"
    surfaces:
      image:
        submit: {{request: POST /jobs, body: {{model: $model, prompt: $prompt}}}}
        task: {{id: id}}
        poll: {{request: "GET /jobs/{{task.id}}", every: 10ms}}
        state: {{path: state, pending: [new], success: [done]}}
        result: {{images: picture}}
providers:
  up: {{wire: gemini, base_url: "{base}", keys: [env:BENCH_KEY], private: true}}
  jobs: {{profile: jobs, keys: [env:BENCH_KEY], private: true}}
  jobs-address: {{profile: jobs, base_url: "{base}/address", keys: [env:BENCH_KEY], private: true}}
models:
  base64: {{targets: [jobs/base64], price: unpriced}}
  address: {{targets: [jobs-address/address], price: unpriced}}
"""
_CHAT, _IMAGE = "/v1/chat/completions", "/v1/images/generations"

Ask = Callable[["Server"], tuple[str, bytes]]


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


# --- what is asked


def chat(name: str = "chat") -> Ask:
    return lambda server: (_CHAT, bodies.chat(server.prefix + name))


def agent(server: Server) -> tuple[str, bytes]:
    return _CHAT, bodies.chat(server.prefix + "chat", agent=True)


def streamed(name: str) -> Ask:
    return lambda server: (_CHAT, bodies.chat(server.prefix + name, stream=True))


def picture_inside(size_mb: int) -> Ask:
    return lambda server: (_CHAT, bodies.with_picture(server.prefix + "chat", size_mb))


def image(model: str) -> Ask:
    return lambda _: (_IMAGE, bodies.image(model))


def in_dialect(path: str, body: Callable[[str], bytes]) -> Ask:
    """The least translation has one dialect: it is asked the same as a chat."""
    return lambda server: (path, body(server.prefix + "chat")) if server.prefix else chat()(server)


# --- what is measured


async def cpu_per_request(server: Server, ask: Ask, requests: int, connections: int = 32) -> float:
    """Microseconds of CPU per request."""
    path, body = ask(server)
    clients = [Client(server.port, _KEY) for _ in range(connections)]

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
    client = Client(server.port, _KEY)
    path, body = chat()(server)
    if server.name == "direct":
        path, body = "/models/chat:generateContent", bodies.native()
    times = []
    await client.whole(path, body)
    for _ in range(requests):
        times.append(await client.whole(path, body) * 1000)
        await asyncio.sleep(0.05)
    client.close()
    return times


async def first_byte(server: Server, streams: int) -> float:
    """Milliseconds to the first streamed byte, median."""
    client = Client(server.port, _KEY)
    times = []
    for _ in range(streams):
        first, _ages = await client.stream(*streamed("burst-3")(server))
        times.append(first * 1000)
        await asyncio.sleep(0.02)
    client.close()
    return statistics.median(times)


async def cpu_per_chunk(server: Server, model: str, streams: int, chunks: int) -> float:
    """Microseconds of CPU per chunk."""
    clients = [Client(server.port, _KEY) for _ in range(streams)]
    await asyncio.gather(*(client.stream(*streamed("burst-3")(server)) for client in clients))
    before = server.cpu_s()
    await asyncio.gather(*(client.stream(*streamed(f"{model}-{chunks}")(server)) for client in clients))
    used = server.cpu_s() - before
    for client in clients:
        client.close()
    return used / (streams * chunks) * 1e6


async def chunk_age(server: Server, streams: int) -> float:
    """Milliseconds from the upstream's write to the client's read over many slow streams, p99."""
    clients = [Client(server.port, _KEY) for _ in range(streams)]
    results = await asyncio.gather(*(client.stream(*streamed("slow-30")(server)) for client in clients))
    for client in clients:
        client.close()
    ages = sorted(age for _, ages in results for age in ages)
    return ages[int(len(ages) * 0.99)] * 1000


async def growth_mb(server: Server, ask: Ask) -> float:
    """How far memory grows at its peak while 16 pictures of 8 MB go through at once."""
    before = server.rss_mb()
    clients = [Client(server.port, _KEY) for _ in range(16)]
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
        client = Client(server.port, _KEY)
        await client.whole(*chat()(server))
        took = time.perf_counter() - began
        client.close()
        return took, server.rss_mb()
    finally:
        server.process.terminate()
        server.process.wait()


class Place:
    """One upstream, and the servers before it."""

    def __init__(self, folder: Path, certificate: Path | None = None) -> None:
        self.port = free_port()
        scheme, host = ("https", "localhost") if certificate else ("http", "127.0.0.1")
        self.base = f"{scheme}://{host}:{self.port}"
        self._environment = {"SSL_CERT_FILE": str(certificate)} if certificate else {}
        arguments = ["-m", "bench.upstream", str(self.port), *([str(certificate)] if certificate else [])]
        self.upstream = spawn(arguments, 1)
        self._config = folder / f"{scheme}.yaml"
        self._config.write_text(_CONFIG.format(base=self.base))

    def least(self) -> Server:
        port = free_port()
        process = spawn(["-m", "bench.least", str(port)], 0, BENCH_UPSTREAM=self.base, **self._environment)
        return Server("least", "", process, port)

    def dragoman(self) -> Server:
        port = free_port()
        arguments = ["-m", "proxy", "serve", "--config", str(self._config), "--port", str(port)]
        return Server("dragoman", "up/", spawn(arguments, 0, BENCH_KEY=_KEY, **self._environment), port)

    async def both(self) -> list[Server]:
        """Running, and past their first requests: what is loaded by then is no request's cost."""
        servers = [self.least(), self.dragoman()]
        for server in servers:
            await wait_for(server.port)
            for ask in (chat(), image("base64"), *(in_dialect(*one) for one in _DIALECTS)):
                await cpu_per_request(server, ask, 32)
        await asyncio.sleep(2)
        return servers


_DIALECTS: list[tuple[str, Callable[[str], bytes]]] = [
    ("/v1/responses", bodies.responses),
    ("/v1/messages", bodies.messages),
    ("/v1beta/models/up/chat:generateContent", lambda _: bodies.native()),
]
_TITLES = ("Responses", "Messages", "native Gemini")


async def run(quick: bool) -> None:
    rounds = 1 if quick else 3
    with tempfile.TemporaryDirectory() as folder:
        plain = Place(Path(folder))
        running: list[Server] = []
        try:
            await wait_for(plain.port)
            makers = {"least": plain.least, "dragoman": plain.dragoman}
            starts = {name: [await start_up(make) for _ in range(3)] for name, make in makers.items()}
            running = await plain.both()
            await measure(Server("direct", "", plain.upstream, plain.port), running, starts, rounds)
            stop(plain, running)
            secret = Place(Path(folder), certificate(Path(folder)))
            await wait_for(secret.port)
            running = await secret.both()
            await compare("small chat, upstream over TLS 1.3", "us", requests(chat(), 3200), running, rounds)
            stop(secret, running)
        finally:
            stop(plain, running)


def stop(place: Place, servers: list[Server]) -> None:
    for server in servers:
        server.process.terminate()
    place.upstream.kill()


def certificate(folder: Path) -> Path:
    """For localhost, with its key, in one file; trusted by whoever is told to."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "localhost.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(private + made.public_bytes(pem))
    return file


Figure = Callable[[Server], Awaitable[float]]


def requests(ask: Ask, count: int, connections: int = 32) -> Figure:
    return lambda server: cpu_per_request(server, ask, count, connections)


def large(ask: Ask, count: int) -> Figure:
    return lambda server: cpu_ms(server, ask, count)


async def measure(
    direct: Server, servers: list[Server], starts: dict[str, list[tuple[float, float]]], rounds: int
) -> None:
    scale = 1 if rounds == 1 else 2
    small = 3200 * scale
    figures: list[tuple[str, str, Figure]] = [
        ("small chat, 32 connections", "us", requests(chat(), small)),
        ("small chat, 1 connection", "us", requests(chat(), 800 * scale, 1)),
        ("small chat, 8 connections", "us", requests(chat(), small, 8)),
        ("small chat, 128 connections", "us", requests(chat(), small, 128)),
        ("chat with 8 tools and 20 messages", "us", requests(agent, small // 2)),
        *(
            (f"the small chat by {title}", "us", requests(in_dialect(*one), small))
            for title, one in zip(_TITLES, _DIALECTS, strict=True)
        ),
        ("time to the first streamed byte", "ms", lambda server: first_byte(server, 40)),
        ("a chunk, one each 10 ms", "us", lambda server: cpu_per_chunk(server, "paced", 8, 150 * scale)),
        ("a chunk, at full speed", "us", lambda server: cpu_per_chunk(server, "burst", 2, 20_000)),
        ("200 slow streams: age of a chunk, p99", "ms", lambda server: chunk_age(server, 200)),
        ("8 MB picture, inline", "ms", large(chat("picture-8"), 20)),
        ("8 MB picture, by a job, base64", "ms", large(image("base64"), 20)),
        ("8 MB picture, by a job, an address", "ms", large(image("address"), 20)),
        ("request with 10 MB inside", "ms", large(picture_inside(10), 10)),
        ("16 at once of 8 MB: growth, inline", "MB", lambda server: growth_mb(server, chat("picture-8"))),
        ("16 at once of 8 MB: growth, job base64", "MB", lambda server: growth_mb(server, image("base64"))),
        ("16 at once of 8 MB: growth, job address", "MB", lambda server: growth_mb(server, image("address"))),
    ]
    print(f"{'':42}{'least':>10}{'dragoman':>10}{'ratio':>8}")
    for title, unit, figure in figures:
        await compare(title, unit, figure, servers, rounds)
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


async def compare(title: str, unit: str, figure: Figure, servers: list[Server], rounds: int) -> None:
    """In turn, and the medians."""
    values: dict[str, list[float]] = {server.name: [] for server in servers}
    for _ in range(rounds):
        for server in servers:
            values[server.name].append(await figure(server))
    show(title, unit, [statistics.median(values[server.name]) for server in servers])


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
