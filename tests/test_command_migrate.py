"""`dragoman migrate`: on both stores, from every version and to none that is older."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command

from proxy.store import engines
from proxy.store.tables import HEAD
from tests.served import run

ENVIRONMENT = {"APP_KEY": "sk-app", "UP_KEY": "sk-up"}
FILE = """version: 1
keys: [{{name: app, key: "env:APP_KEY"}}]
providers: {{up: {{wire: gemini, base_url: "https://up.example/v1beta", keys: ["env:UP_KEY"]}}}}
models: {{}}
server: {{state: "{store}"}}
"""


def migrate(folder: Path, store: str) -> tuple[int, str, str]:
    (folder / "providers.yaml").write_text(FILE.format(store=store))
    return run("migrate", cwd=folder, environment=ENVIRONMENT)


def at(store: str, version: str) -> None:
    """Tables of an earlier version."""
    engine = engines.connect(store)
    with engine.begin() as connection:
        command.upgrade(engines.configuration(connection), version)
    engine.dispose()


def test_a_new_store_gets_its_tables_once(tmp_path: Path, store_address: str) -> None:
    assert migrate(tmp_path, store_address)[:2] == (
        0,
        f"the tables are of version {HEAD}, they were of none\n",
    )
    assert migrate(tmp_path, store_address)[:2] == (0, f"the tables are of version {HEAD}\n")


def test_older_tables_become_new_ones(tmp_path: Path, store_address: str) -> None:
    at(store_address, "0002")
    assert migrate(tmp_path, store_address)[:2] == (
        0,
        f"the tables are of version {HEAD}, they were of 0002\n",
    )
    engine = engines.connect(store_address)
    with engine.connect() as connection:
        found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    engine.dispose()
    assert found == HEAD


def test_newer_tables_are_left_as_they_are_and_the_cure_is_told(tmp_path: Path, store_address: str) -> None:
    migrate(tmp_path, store_address)
    engine = engines.connect(store_address)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    code, out, said = migrate(tmp_path, store_address)
    assert (code, out) == (1, "")
    assert "the tables are of version 9999" in said
    assert "start the version that made them, or restore the backup from before it" in said
    listed = run("keys", "list", cwd=tmp_path, environment=ENVIRONMENT)
    assert listed[0] == 1
    assert "9999" in listed[2]


def test_a_store_in_memory_needs_none(tmp_path: Path) -> None:
    code, _, said = migrate(tmp_path, "sqlite::memory:")
    assert code == 1
    assert "in memory" in said


def test_a_wrong_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "providers.yaml").write_text("version: 2\n")
    code, _, said = run("migrate", cwd=tmp_path, environment=ENVIRONMENT)
    assert code == 1
    assert "providers.yaml:1:" in said
