"""Databases for tests of the registry: SQLite always, PostgreSQL where it is installed."""

import asyncio
import gzip
import shutil
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from tests.postgresql import program

from hatoba.config.schema import QuayConfig
from hatoba.kernel.clock import FixedClock
from hatoba.registry.api.app import api_routes
from hatoba.registry.db.lookups import load_lookups
from hatoba.registry.db.migrate import migrate_registry
from hatoba.registry.rooms import Rooms, open_rooms
from hatoba.registry.web.routes import open_sessions, web_routes
from hatoba.sql.engine import open_database

ON_POSTGRESQL = pytest.param("postgresql", marks=pytest.mark.postgres)
only_postgresql = pytest.mark.parametrize("migrated_uri", [ON_POSTGRESQL], indirect=True)
"""For tests of what SQLite does not have."""
QUAY = Path(__file__).parents[3] / "shared/data/quay"


@pytest.fixture(params=["sqlite", ON_POSTGRESQL])
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


async def _migrate(uri):
    opened = open_database(uri)
    await migrate_registry(opened)
    await opened.close()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory):
    """A migrated SQLite database to be copied, since migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("migrated") / "registry.db"
    asyncio.run(_migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def migrated_url(postgres_server):
    """A migrated PostgreSQL database to be copied."""
    with postgres_server.database() as url:
        asyncio.run(_migrate(url))
        yield url


@pytest.fixture(params=["sqlite", ON_POSTGRESQL])
def migrated_uri(request, tmp_path):
    """The address of a migrated database without accounts."""
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("migrated_file"), tmp_path / "registry.db")
        yield f"sqlite:///{tmp_path}/registry.db"
        return
    server = request.getfixturevalue("postgres_server")
    with server.database(template=request.getfixturevalue("migrated_url")) as url:
        yield url


@pytest.fixture
async def database(migrated_uri):
    """A migrated database without accounts."""
    opened = open_database(migrated_uri)
    yield opened
    await opened.close()


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


SETTINGS: dict[str, Any] = {
    "SECRET_KEY": "e8dd6f4c-5ce0-4c0b-8e0a-3d1f0f4b7c11",
    "DATABASE_SECRET_KEY": "30060361640793187613697366923211113205676925445650250274752125083971638376224",
    "SERVER_HOSTNAME": "registry.example:5180",
    "PREFERRED_URL_SCHEME": "http",
    "FEATURE_USER_INITIALIZE": True,
    "BROWSER_API_CALLS_XHR_ONLY": False,
    "SUPER_USERS": ["quayadmin"],
    # Tests let hours pass between two calls.
    "REGISTRY_TOKEN_LIFETIME_S": 3600,
}


@dataclass(kw_only=True)
class Console:
    """The API in process, with the rooms behind it."""

    rooms: Rooms
    client: httpx2.AsyncClient
    app: Starlette
    token: str = ""

    async def call(self, method, path, *, body=None, token=None, **more):
        """Call /api/v1 as the holder of a token; the first user's by default, "" for nobody."""
        held = self.token if token is None else token
        headers = {"Authorization": f"Bearer {held}"} if held else {}
        headers |= more.pop("headers", {})
        return await self.client.request(
            method, f"/api/v1{path}", json=body, headers=headers, **more
        )


@pytest.fixture
def clock():
    return FixedClock(datetime(2026, 11, 23, 12, tzinfo=UTC))


@pytest.fixture
def open_console(database, clock):
    """Make consoles with settings on top of the usual ones."""

    @asynccontextmanager
    async def opened(**changes):
        settings = QuayConfig.model_validate(SETTINGS | changes)
        rooms = open_rooms(
            settings,
            database=database,
            lookups=await load_lookups(database),
            clock=clock,
            password_rounds=4,
        )
        app = Starlette(
            routes=[
                *web_routes(),
                *api_routes(offers_initialize=settings.feature_user_initialize),
            ]
        )
        app.state.rooms, app.state.sessions = rooms, open_sessions(rooms)
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://registry.example:5180"
        ) as client:
            yield Console(rooms=rooms, client=client, app=app)

    return opened


@pytest.fixture
async def empty_console(open_console):
    async with open_console() as console:
        yield console


@pytest.fixture
async def console(empty_console):
    """The API with its first user, a superuser whose token `call` sends."""
    body = {
        "username": "quayadmin",
        "password": "quaypass123",
        "email": "quayadmin@example.com",
        "access_token": True,
    }
    response = await empty_console.client.post("/api/v1/user/initialize", json=body)
    assert response.status_code == 200, response.text
    empty_console.token = response.json()["access_token"]
    empty_console.client.cookies.clear()
    return empty_console
