"""Shared by all tests: asyncio is the only loop we promise to run on."""

from collections.abc import Iterator

import pytest

from tests.gateway import Gateway, open_gateway


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One gateway for all tests of a worker that do not change it."""
    with open_gateway(tmp_path_factory.mktemp("gateway")) as opened:
        yield opened
