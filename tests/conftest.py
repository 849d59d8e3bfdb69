"""Fixtures that every test may use."""

from collections.abc import Iterator

import pytest
from tests.postgresql import PostgresServer, running_postgres


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The one server of this test process; skips where PostgreSQL is not installed."""
    with running_postgres() as server:
        yield server
