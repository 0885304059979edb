"""`python -m bench`: start a fast upstream, the least possible translation and Dragoman, and print ratios.

Each server runs on the first core, upstream and load on the second. CPU is user plus system time of the
server's process. The servers are measured in turn, several rounds, and the medians are compared.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
from pathlib import Path

from bench.beside import beside, rivals
from bench.measures import (
    DIALECTS,
    PICTURE,
    Figure,
    agent,
    chat,
    chunk_age,
    cpu_per_chunk,
    edit,
    first_byte,
    growth_mb,
    history,
    image,
    in_dialect,
    large,
    latency,
    picture_inside,
    requests,
    start_up,
)
from bench.place import Place, certificate
from bench.rivals import RIVALS
from bench.servers import Server, wait_for


async def run(quick: bool) -> None:
    rounds = 1 if quick else 3
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Place(folder) as place:
            await wait_for(place.port)
            makers = {"least": place.least, "dragoman": place.dragoman}
            starts = {name: [await start_up(make) for _ in range(3)] for name, make in makers.items()}
            direct = Server("direct", "", place.upstream, place.port, is_hop=True)
            await measure(direct, await place.both(), starts, rounds)
        with Place(folder, certificate(folder)) as place:
            await wait_for(place.port)
            chats, both = requests(chat(), 3200), await place.both()
            await compare("small chat, upstream over TLS 1.3", "us", chats, both, rounds)


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
            for title, one in DIALECTS.items()
        ),
        ("time to the first streamed byte", "ms", lambda server: first_byte(server, 40)),
        (
            "a chunk, one each 10 ms",
            "us",
            lambda server: cpu_per_chunk(server, "paced", 8, 150 * scale),
        ),
        ("a chunk, at full speed", "us", lambda server: cpu_per_chunk(server, "burst", 2, 20_000)),
        ("200 slow streams: age of a chunk, p99", "ms", lambda server: chunk_age(server, 200)),
        ("8 MB picture, inline", "ms", large(chat(PICTURE), 20)),
        ("8 MB picture, by a job, base64", "ms", large(image("base64"), 20)),
        ("8 MB picture, by a job, an address", "ms", large(image("address"), 20)),
        ("edit of a 4 MB picture", "ms", large(edit(4 << 10), 20)),
        ("chat with two 4 MB pictures drawn before", "ms", large(history(4 << 10), 10)),
        ("request with 10 MB inside", "ms", large(picture_inside(10 << 10), 10)),
        (
            "16 at once of 8 MB: growth, inline",
            "MB",
            lambda server: growth_mb(server, chat(PICTURE)),
        ),
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
    parser.add_argument(
        "--beside",
        type=rivals,
        metavar="NAME,NAME",
        help=f"instead compare with others that are installed: {', '.join(RIVALS)}",
    )
    options = parser.parse_args()
    os.sched_setaffinity(0, {1} if (os.cpu_count() or 1) > 1 else {0})
    asyncio.run(beside(options.beside, options.quick) if options.beside else run(options.quick))


if __name__ == "__main__":
    main()
