"""What commands begin with: the file, and the store that it names."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from proxy import config as configuration
from proxy.config import Config
from proxy.store.database import Database


def read(file: Path | None) -> tuple[Config, dict[str, str]] | None:
    """The configuration, and why which provider is off; None, with its problems told, when it is wrong."""
    loaded = configuration.load(configuration.find(file))
    if loaded.config is not None:
        return loaded.config, loaded.off
    for problem in loaded.problems:
        say(str(problem))
    return None


def in_store(config: Config, instead: str, work: Callable[[Database], int]) -> int:
    """Do `work` beside a running server; 1, with the reason told, where the store cannot be used. `instead`
    is the address at which the server itself does the same."""
    from sqlalchemy.exc import SQLAlchemyError

    from proxy.store.engines import NewerTablesError

    database = Database(config.server.state.reveal())
    if database.is_in_memory:
        say(f"server.state is in memory, which only the server itself can reach: use {instead}")
        return 1
    try:
        return work(database)
    except SQLAlchemyError as error:
        say(f"the store that server.state names cannot be used: {_reason(error)}")
    except NewerTablesError as error:
        say(str(error))
    except ModuleNotFoundError as error:
        say(f"{error.name} is needed for this store: pip install 'dragoman[postgres]'")
    finally:
        database.release()
    return 1


def _reason(error: Exception) -> str:
    """The driver's first line where it could not connect; the words of a statement may hold what it wrote."""
    cause = getattr(error, "orig", None)
    if cause is None or getattr(error, "statement", None) is not None:
        return type(error).__name__
    return next(iter(str(cause).splitlines()), type(error).__name__)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
