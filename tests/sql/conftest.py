"""Databases for tests of `hatoba.sql`: SQLite always, PostgreSQL where it is installed."""

import pytest

from hatoba.sql.engine import open_database


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
