"""A scanner that serves over loopback, on SQLite always and on PostgreSQL where it is installed."""

import base64
import contextlib
import json
from dataclasses import dataclass

import aiohttp
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from tests.scanner.images import Shelf

from hatoba.kernel.clock import SystemClock
from hatoba.scanner.app import Services, make_application, open_services
from hatoba.scanner.migrate import migrate_scanner
from hatoba.scanner.settings import parse_settings
from hatoba.serving.listeners import listening
from hatoba.sql.engine import open_database

KEY = b"a key that nobody would guess, 32+"


def token(*, issuer: str = "quay", key: bytes = KEY, expires_in: float = 300, **claims) -> str:
    now = int(SystemClock().now().timestamp())
    payload = {"iss": issuer, "exp": now + expires_in, "iat": now, **claims}
    return jwt.encode({"alg": "HS256"}, payload, OctKey.import_key(key))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_uri(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/scanner.db"
        return
    with request.getfixturevalue("postgres_server").database() as url:
        yield url


def settings_for(uri: str, **more):
    content = {
        "http_listen_addr": ":8080",
        "indexer": {"connstring": uri, "migrations": True, **more.pop("indexer", {})},
        "matcher": {"connstring": uri, "migrations": True},
        "auth": {"psk": {"key": base64.b64encode(KEY).decode(), "iss": ["quay", "clairctl"]}},
        "updaters": {"sets": []},
        **more,
    }
    return parse_settings(json.dumps(content))


@pytest.fixture
async def database(database_uri):
    opened = open_database(database_uri)
    await migrate_scanner(opened)
    yield opened
    await opened.close()


@dataclass
class Running:
    """A scanner, and a client that has the key."""

    url: str
    services: Services
    session: aiohttp.ClientSession

    async def call(self, method: str, path: str, *, document=None, headers=None):
        sent = {"Authorization": f"Bearer {token()}", **(headers or {})}
        async with self.session.request(
            method, self.url + path, json=document, headers=sent
        ) as response:
            text = await response.text()
            return response, json.loads(text) if text else None

    async def index(self, manifest: dict, **headers):
        return await self.call(
            "POST", "/indexer/api/v1/index_report", document=manifest, headers=headers
        )


@contextlib.asynccontextmanager
async def running_scanner(settings):
    async with (
        open_services(settings) as services,
        listening(make_application(services, settings)) as server,
        aiohttp.ClientSession() as session,
    ):
        yield Running(url=server.url, services=services, session=session)


@pytest.fixture
async def scanner(database, database_uri):
    async with running_scanner(settings_for(database_uri)) as running:
        yield running


@pytest.fixture
async def registry():
    """A fake registry: `.url` and `.shelf`."""
    shelf = Shelf()
    async with listening(shelf) as server:
        shelf.url = server.url
        yield shelf
