"""Databases for tests of the registry: SQLite always, PostgreSQL where it is installed."""

import gzip
import subprocess
from pathlib import Path

import pytest
from tests.postgresql import program, running_postgres

from hatoba.registry.db.migrate import migrate_registry
from hatoba.sql.engine import open_database

QUAY = Path(__file__).parents[3] / "shared/data/quay"


@pytest.fixture(scope="session")
def postgres_server():
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_uri(request, tmp_path):
    """The address of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/test.db"
        return
    with request.getfixturevalue("postgres_server").database() as url:
        yield url


@pytest.fixture
async def empty_database(database_uri):
    opened = open_database(database_uri)
    yield opened
    await opened.close()


@pytest.fixture
async def database(empty_database):
    """A migrated database without accounts."""
    await migrate_registry(empty_database)
    return empty_database


@pytest.fixture
def adopted_url(postgres_server):
    """A copy of a database that Quay made."""
    dump = QUAY / "quayfix_a.sql.gz"
    psql = program("psql")
    if not dump.exists() or psql is None:
        pytest.skip(f"no recorded Quay database at {dump}, or no psql")
    with postgres_server.database() as url:
        subprocess.run(
            [psql, "-q", "-v", "ON_ERROR_STOP=1", url],
            input=gzip.decompress(dump.read_bytes()),
            check=True,
            capture_output=True,
            timeout=60,
        )
        yield url


@pytest.fixture
def fresh_url(postgres_server):
    """The address of an empty PostgreSQL database."""
    with postgres_server.database() as url:
        yield url
