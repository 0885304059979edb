"""`dragoman migrate`: the tables of the store that `server.state` names, brought up to date."""

from __future__ import annotations

from pathlib import Path

from proxy.command import opening
from proxy.store.database import Database


def run(file: Path | None) -> int:
    """Tell from which version to which. Exit 1 where the store cannot be used, or is of a newer version."""
    opened = opening.read(file)
    if opened is None:
        return 1
    config, _ = opened
    return opening.in_store(config, "nothing: its tables are made anew with each start", _migrate)


def _migrate(database: Database) -> int:
    before, now = database.migrated()
    were = "" if before == now else f", they were of {before or 'none'}"
    print(f"the tables are of version {now}{were}")
    return 0
