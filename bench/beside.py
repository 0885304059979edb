"""`python -m bench --beside NAME,NAME`: the least, Dragoman and others before the same upstream, in turn."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from bench.measures import MODEL, PICTURE, Figure, chat, cpu_per_chunk, large, requests, streamed
from bench.place import Place
from bench.rivals import RIVALS, Rival, program_of, started, variable
from bench.servers import Server, wait_for

_CHUNKS = 5000
_MODELS = [MODEL, "gemini-burst-3", f"gemini-burst-{_CHUNKS}", PICTURE]
_PICTURE_BYTES = 8 << 20


def rivals(names: str) -> list[Rival]:
    unknown = set(names.split(",")) - set(RIVALS)
    if unknown:
        raise argparse.ArgumentTypeError(f"not known: {', '.join(sorted(unknown))}")
    return [RIVALS[name] for name in names.split(",")]


async def beside(wanted: list[Rival], quick: bool) -> None:
    with tempfile.TemporaryDirectory() as name, Place(Path(name)) as place:
        await wait_for(place.port)
        servers = await place.both()
        for rival in wanted:
            servers += await _started(rival, Path(name), place)
        await _table(servers, 1 if quick else 3)


async def _started(rival: Rival, folder: Path, place: Place) -> list[Server]:
    """The rival, or a sentence and nothing."""
    program = program_of(rival)
    if program is None:
        print(f"{rival.name} is left out: no {rival.program} on PATH, nor {variable(rival)}")
        return []
    server = place.has(started(rival, program, folder, place.port, _MODELS))
    try:
        await wait_for(server.port)
    except RuntimeError:
        print(f"{rival.name} is left out: it did not listen within a minute")
        return []
    return [server]


async def _whole_picture(server: Server) -> float:
    """Milliseconds; a reply without its picture has not been had."""
    client = server.client()
    await client.whole(*chat(PICTURE)(server))
    client.close()
    if client.received < _PICTURE_BYTES:
        raise RuntimeError(f"a reply of {client.received} bytes to a picture of 8 MB")
    return await large(chat(PICTURE), 20)(server)


async def _chunk(server: Server) -> float:
    client = server.client()
    await client.whole(*streamed(f"burst-{_CHUNKS}")(server))
    client.close()
    if client.received < _CHUNKS * 20:
        raise RuntimeError(f"a reply of {client.received} bytes to a stream of {_CHUNKS} chunks")
    return await cpu_per_chunk(server, "burst", 2, _CHUNKS)


async def _memory(server: Server) -> float:
    return server.rss_mb()


_FIGURES: dict[str, Figure] = {
    "small chat, us": requests(chat(), 3200),
    "a chunk, us": _chunk,
    "8 MB picture, ms": _whole_picture,
    "memory then, MB": _memory,
}


async def _table(servers: list[Server], rounds: int) -> None:
    """Medians, and how many times the least that is; what failed says why below."""
    values: dict[tuple[str, str], list[float]] = {}
    failures: dict[tuple[str, str], str] = {}
    for _ in range(rounds):
        for title, figure in _FIGURES.items():
            for server in servers:
                try:
                    values.setdefault((server.name, title), []).append(await figure(server))
                except (RuntimeError, OSError, EOFError) as exc:
                    failures[server.name, title] = str(exc)
    print("".join([f"{'':10}", *(f"{title:>20}{'ratio':>8}" for title in _FIGURES)]))
    for server in servers:
        row = f"{server.name:10}"
        for title in _FIGURES:
            if (server.name, title) in failures:
                row += f"{'-':>20}{'-':>8}"
            else:
                value = statistics.median(values[server.name, title])
                row += f"{value:20.1f}{value / statistics.median(values['least', title]):8.2f}"
        print(row)
    for (name, title), why in failures.items():
        print(f"{name}, {title}: {why[:400]}")
