"""`python -m bench.soak`: many mixed requests through one process; does it grow?

Chats whole and streamed, with tools, in three dialects; pictures inline both ways and by jobs, delivered
inside and by address; an upstream that refuses and that hangs up; clients that hang up. Memory, descriptors
and the store are looked at 200 times on the way, when nothing is under way. The slope is that of memory over
the second half, by least squares.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import bodies
from bench.graph import Panel, svg
from bench.load import Client
from bench.place import JOBS
from bench.servers import KEY, Server, free_port, python, spawn, wait_for

_CLIENTS, _LOOKS, _MB = 16, 200, 1 << 20
_SMALL_KB, _LARGE_KB = 100, 4096
_JOBS = [f"{way}-{size}" for way in ("base64", "address") for size in (_SMALL_KB, _LARGE_KB)]
# What is kept for a time is kept for a minute, so that the store has to find its level on the way.
_CONFIG = """
version: 1
keys: [{{name: bench, key: env:BENCH_KEY}}]
server:
  state: "sqlite:{folder}/soak.db"
  files: {{ttl: 1m}}
  replies: {{ttl: 1m}}
tasks: {{keep: 1m}}
{jobs}providers:
  up: {{wire: gemini, base_url: "{base}", keys: [env:BENCH_KEY], private: true}}
"""
_PROVIDER = '  {job}: {{profile: jobs, base_url: "{base}/{job}", keys: [env:BENCH_KEY], private: true}}\n'
_MODEL = "  {job}: {{targets: [{job}/picture], price: unpriced}}\n"
_CHAT, _IMAGE = "/v1/chat/completions", "/v1/images/generations"


@dataclass(frozen=True)
class Kind:
    """`weight` of a hundred requests are of this kind; `leaves` after so many bytes of the reply."""

    weight: int
    title: str
    path: str
    body: bytes
    leaves: int | None = None
    is_refused: bool = False


def kinds() -> Iterator[Kind]:
    flash, burst, tool = "up/gemini-2.5-flash", "up/gemini-burst-20", "up/gemini-tool"
    yield Kind(24, "chat", _CHAT, bodies.chat(flash))
    yield Kind(18, "chat, streamed", _CHAT, bodies.chat(burst, stream=True))
    yield Kind(3, "Responses, kept", "/v1/responses", _kept(bodies.responses(flash)))
    yield Kind(3, "Messages", "/v1/messages", bodies.messages(flash))
    yield Kind(4, "tools", _CHAT, bodies.chat(tool, agent=True))
    yield Kind(4, "tools, streamed", _CHAT, bodies.chat(tool, agent=True, stream=True))
    for size_kb, weight in ((_SMALL_KB, 6), (_LARGE_KB, 1)):
        yield Kind(weight, f"{size_kb} KB inside", _CHAT, bodies.with_picture(flash, size_kb))
        yield Kind(weight, f"{size_kb} KB inline", _CHAT, bodies.chat(f"up/gemini-picture-{size_kb}"))
    for job in _JOBS:
        weight = 4 if job.endswith(f"-{_SMALL_KB}") else 1
        yield Kind(weight, f"job {job}", _IMAGE, bodies.image(job))
        yield Kind(weight, f"job {job}, by link", _IMAGE, bodies.image(job, "url"))
    for trouble in ("refused-400", "refused-429", "refused-503", "cut"):
        yield Kind(1, trouble, _CHAT, bodies.chat(f"up/gemini-{trouble}"), is_refused=True)
    yield Kind(1, "cut, streamed", _CHAT, bodies.chat("up/gemini-cut", stream=True), is_refused=True)
    yield Kind(2, "left at once", _CHAT, bodies.chat(flash), leaves=0)
    yield Kind(3, "left in a stream", _CHAT, bodies.chat("up/gemini-slow-30", stream=True), leaves=1)


def _kept(body: bytes) -> bytes:
    return json.dumps(json.loads(body) | {"store": True}).encode()


@dataclass(frozen=True)
class Look:
    done: int
    at_s: float
    rss_mb: float
    descriptors: int
    rows_mb: float
    files_mb: float


def _size_mb(folder: Path) -> float:
    """Of the files in it, of which some may go while we look."""
    size = 0
    if folder.is_dir():
        for entry in os.scandir(folder):
            with contextlib.suppress(FileNotFoundError):
                size += entry.stat().st_size if entry.is_file() else 0
    return size / _MB


class Soak:
    def __init__(self, server: Server, folder: Path, requests: int) -> None:
        self.server, self.folder, self.requests = server, folder, requests
        self.kinds = list(kinds())
        self.chance = random.Random(11)
        self.done = 0
        self.refused: Counter[str] = Counter()
        self.looks: list[Look] = []
        self.began = time.monotonic()

    async def run(self) -> None:
        """In legs; between two of them nothing is under way, and what is held then is kept."""
        clients = [self.server.client() for _ in range(_CLIENTS)]
        for leg in range(1, _LOOKS + 1):
            await asyncio.gather(*(self.until(self.requests * leg // _LOOKS, client) for client in clients))
            self.look()
        for client in clients:
            client.close()

    async def until(self, due: int, client: Client) -> None:
        weights = [kind.weight for kind in self.kinds]
        while self.done < due:
            self.done += 1
            await self.one(client, *self.chance.choices(self.kinds, weights))

    async def one(self, client: Client, kind: Kind) -> None:
        try:
            if kind.leaves is None:
                await client.whole(kind.path, kind.body)
                return
            reader = await client.send(kind.path, kind.body)
            await reader.readexactly(kind.leaves)
        except (RuntimeError, asyncio.IncompleteReadError):
            self.refused[kind.title] += 1
        client.close()

    def look(self) -> None:
        server, took_s = self.server, time.monotonic() - self.began
        rows_mb, files_mb = _size_mb(self.folder), _size_mb(self.folder / "files")
        self.looks.append(Look(self.done, took_s, server.rss_mb(), server.descriptors(), rows_mb, files_mb))

    def quarters(self) -> list[list[Look]]:
        size = len(self.looks) // 4
        return [self.looks[size * number : size * (number + 1)] for number in range(4)]

    def slope_mb(self) -> float:
        """Of memory over the second half, per 10,000 requests."""
        half = self.looks[len(self.looks) // 2 :]
        line = statistics.linear_regression([one.done for one in half], [one.rss_mb for one in half])
        return line.slope * 10_000

    def graph(self) -> str:
        looks = self.looks
        return svg(
            f"{self.done:,} mixed requests: memory {self.slope_mb():+.2f} MB per 10,000 over the second half",
            "requests",
            [one.done for one in looks],
            [
                Panel("resident memory, MB", {"memory": [one.rss_mb for one in looks]}),
                Panel("open descriptors", {"descriptors": [one.descriptors for one in looks]}),
                Panel(
                    "store, MB",
                    {"pictures": [one.files_mb for one in looks], "rows": [one.rows_mb for one in looks]},
                ),
            ],
        )

    def tell(self) -> None:
        took_s = self.looks[-1].at_s
        print(f"{self.done:,} requests in {took_s:.0f} s, {self.done / took_s:.0f} a second")
        for title, at in (("after a tenth", 10), ("at half", 2), ("at the end", 1)):
            look = self.looks[len(self.looks) // at - 1]
            print(
                f"{title}: {look.rss_mb:.1f} MB, {look.descriptors} descriptors, "
                f"{look.rows_mb:.1f} MB of rows, {look.files_mb:.1f} MB of pictures"
            )
        print(f"slope of memory over the second half: {self.slope_mb():+.2f} MB per 10,000 requests")
        lowest = ", ".join(f"{min(one.rss_mb for one in part):.1f}" for part in self.quarters())
        print(f"lowest in each quarter: {lowest} MB")
        for kind in self.kinds:
            if kind.title in self.refused:
                expected = "" if kind.is_refused else " (not expected)"
                print(f"refused: {kind.title}: {self.refused[kind.title]}{expected}")


async def soak(requests: int) -> Soak:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        up, port = free_port(), free_port()
        upstream = spawn(python("-m", "bench.upstream", str(up)), 1)
        base = f"http://127.0.0.1:{up}"
        (folder / "store").mkdir()
        config = _CONFIG.format(base=base, folder=folder / "store", jobs=JOBS.format(base=base))
        config += "".join(_PROVIDER.format(job=job, base=base) for job in _JOBS)
        config += "models:\n" + "".join(_MODEL.format(job=job) for job in _JOBS)
        (folder / "soak.yaml").write_text(config)
        command = python("-m", "proxy", "serve", "--config", str(folder / "soak.yaml"), "--port", str(port))
        server = Server("dragoman", "up/", spawn(command, 0, BENCH_KEY=KEY), port)
        running = Soak(server, folder / "store", requests)
        try:
            await asyncio.gather(wait_for(up), wait_for(port))
            await running.run()
        finally:
            server.stop()
            upstream.kill()
    return running


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--graph", type=Path, help="where the graph goes, as SVG")
    options = parser.parse_args()
    os.sched_setaffinity(0, {1} & os.sched_getaffinity(0) or {0})
    done = asyncio.run(soak(options.requests))
    done.tell()
    if options.graph is not None:
        options.graph.write_text(done.graph())


if __name__ == "__main__":
    main()
