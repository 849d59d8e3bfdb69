"""Databases for tests of `hatoba.sql`: SQLite always, PostgreSQL where it is installed."""

import pytest
from tests.postgresql import running_postgres

from hatoba.sql.engine import open_database


@pytest.fixture(scope="session")
def postgres_server():
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_uri(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/test.db"
        return
    with request.getfixturevalue("postgres_server").database() as url:
        yield url


@pytest.fixture
async def database(database_uri):
    opened = open_database(database_uri)
    yield opened
    await opened.close()
