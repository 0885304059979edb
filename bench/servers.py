"""Processes to measure: how they are started on a core of their own, and what they use."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.load import Client

KEY = "sk-bench"
_CORES = os.sched_getaffinity(0)


@dataclass
class Server:
    """`prefix` stands before its models' names; `is_hop`: speaks what the upstream speaks."""

    name: str
    prefix: str
    process: subprocess.Popen[bytes]
    port: int
    is_hop: bool = False
    headers: dict[str, str] = field(default_factory=dict)

    def client(self) -> Client:
        return Client(self.port, {"authorization": f"Bearer {KEY}", **self.headers})

    def cpu_s(self) -> float:
        """Of all threads that live; exact to the nanosecond, where `/proc/PID/stat` counts ticks of 10 ms."""
        threads = (task for pid in family(self.process.pid) for task in Path(f"/proc/{pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in threads) / 1e9

    def rss_mb(self) -> float:
        return sum(_rss_kb(pid) for pid in family(self.process.pid)) / 1024

    def descriptors(self) -> int:
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in family(self.process.pid))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def family(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from family(int(child))


def _rss_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def spawn(command: list[str], core: int, **environment: str) -> subprocess.Popen[bytes]:
    """A program on one core, if we may use that one; else where we are."""

    def pin() -> None:
        os.sched_setaffinity(0, {core} & _CORES or _CORES)

    return subprocess.Popen(
        command,
        env={**os.environ, **environment},
        preexec_fn=pin,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


async def wait_for(port: int) -> None:
    for _ in range(12_000):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.005)
        else:
            writer.close()
            return
    raise RuntimeError("a server did not start")
