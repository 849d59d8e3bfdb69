"""What a process may open to PostgreSQL is all that it opens, however much is asked of it."""

import asyncio
from contextlib import asynccontextmanager

import asyncpg
import pytest
from sqlalchemy import text
from tests.registry.conftest import only_postgresql

from hatoba.config.loader import Configuration
from hatoba.config.schema import QuayConfig
from hatoba.config.schema.stores import DEFAULT_CONNECTIONS, LEAST_CONNECTIONS
from hatoba.kernel.names import RepositoryName, TagName
from hatoba.registry.app import open_services
from hatoba.registry.content.errors import RepositoryUnknown
from hatoba.registry.pools import LISTENING, TAGS, share

pytestmark = pytest.mark.anyio
NAME = RepositoryName.parse("nobody/nothing")
CLIENTS = 30


def limit_of(**arguments: object) -> int:
    settings = QuayConfig.model_validate(
        {"SECRET_KEY": "s", "DATABASE_SECRET_KEY": "d", "DB_CONNECTION_ARGS": arguments}
    )
    return settings.database_connections


@pytest.mark.parametrize("connections", [*range(LEAST_CONNECTIONS, 41), 200])
def test_the_pools_have_together_what_the_process_may_have(connections) -> None:
    pools = share(connections)
    assert pools.lists + pools.pushes + pools.rest + TAGS + LISTENING == connections
    assert min(pools.lists, pools.pushes, pools.rest) >= 1


def test_too_few_are_taken_for_the_least_that_works() -> None:
    assert limit_of() == DEFAULT_CONNECTIONS
    assert limit_of(max_connections=None, autorollback=True) == DEFAULT_CONNECTIONS
    assert limit_of(max_connections=1) == LEAST_CONNECTIONS
    assert limit_of(max_connections=LEAST_CONNECTIONS - 1) == LEAST_CONNECTIONS
    assert limit_of(max_connections=LEAST_CONNECTIONS + 1) == LEAST_CONNECTIONS + 1


def test_two_pods_of_two_workers_fit_into_the_default_of_postgresql() -> None:
    reserved_for_superusers = 3
    assert 100 - reserved_for_superusers >= 2 * (2 + 1) * DEFAULT_CONNECTIONS


@only_postgresql
async def test_no_more_are_opened_than_may_be(migrated_uri, tmp_path) -> None:
    settings = QuayConfig.model_validate(
        {
            "SECRET_KEY": "s",
            "DATABASE_SECRET_KEY": "d",
            "DB_URI": migrated_uri,
            "DB_CONNECTION_ARGS": {"max_connections": LEAST_CONNECTIONS},
            "DISTRIBUTED_STORAGE_CONFIG": {
                "default": ["LocalStorage", {"storage_path": str(tmp_path)}]
            },
            "DISTRIBUTED_STORAGE_PREFERENCE": ["default"],
        }
    )
    configuration = Configuration(directory=tmp_path, settings=settings, unused=())
    async with open_services(configuration) as services, watching(services.database) as count:
        for ask in (ask_the_engine, ask_the_ledger, ask_for_a_tag, ask_for_a_list):
            asking = asyncio.gather(*(ask(services) for _ in range(CLIENTS)))
            while not asking.done():
                assert await count() <= LEAST_CONNECTIONS
            await asking
        # Each pool keeps what it opened; the one that listens may come later.
        assert LEAST_CONNECTIONS - LISTENING <= await count() <= LEAST_CONNECTIONS


async def ask_the_engine(services) -> None:
    async with services.database.read() as connection:
        await connection.execute(text("SELECT pg_sleep(0.02)"))


async def ask_the_ledger(services) -> None:
    assert await services.shelf.ledger.find_repository(NAME) is None


async def ask_for_a_tag(services) -> None:
    with pytest.raises(RepositoryUnknown):
        await services.manifests.resolve_reference(NAME, reference=TagName("v1"), caller=None)


async def ask_for_a_list(services) -> None:
    with pytest.raises(RepositoryUnknown):
        await services.listings.list_tags(NAME, after=None, limit=10)


@asynccontextmanager
async def watching(database):
    """Yield what counts the sessions of others."""
    watcher = await asyncpg.connect(**database.asyncpg_arguments())

    async def count() -> int:
        found: int = await watcher.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return found

    try:
        yield count
    finally:
        await watcher.close()
