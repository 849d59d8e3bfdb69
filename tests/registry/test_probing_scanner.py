"""A scanner of somebody else is asked before a rollout, and by the pods' health afterwards."""

import base64
import contextlib
import json
import ssl

import httpx2
import pytest
from aiohttp import web
from tests.peers import self_signed
from tests.ports import free_port
from tests.registry.conftest import SETTINGS
from tests.scanner.conftest import KEY, running_scanner, settings_for

from hatoba.cli.probing import PARTS
from hatoba.config.loader import Configuration
from hatoba.config.schema import QuayConfig
from hatoba.registry.app import make_application, open_services
from hatoba.registry.db.migrate import migrate_registry
from hatoba.registry.probing import PROBES, probe
from hatoba.scanner.migrate import migrate_scanner
from hatoba.serving.listeners import listening
from hatoba.sql.engine import open_database

pytestmark = pytest.mark.anyio
PSK = base64.b64encode(KEY).decode()
OTHER_PSK = base64.b64encode(b"another key that nobody would guess").decode()


async def migrated(uri, migrate):
    database = open_database(uri)
    await migrate(database)
    await database.close()


def configuration(directory, endpoint, psk):
    values = SETTINGS | {
        "DB_URI": f"sqlite:///{directory}/registry.db",
        "DISTRIBUTED_STORAGE_CONFIG": {
            "default": ["LocalStorage", {"storage_path": str(directory / "blobs")}]
        },
        "FEATURE_SECURITY_SCANNER": True,
        "SECURITY_SCANNER_V4_ENDPOINT": endpoint,
        "SECURITY_SCANNER_V4_PSK": psk,
    }
    return Configuration(directory=directory, settings=QuayConfig.model_validate(values), unused=())


async def fault(directory, endpoint, psk=PSK):
    return (await probe(configuration(directory, endpoint, psk), ["clair"])).get("clair", "")


@pytest.fixture
async def scanner(tmp_path):
    uri = f"sqlite:///{tmp_path}/scanner.db"
    await migrated(uri, migrate_scanner)
    async with running_scanner(settings_for(uri)) as running:
        yield running


@contextlib.asynccontextmanager
async def answering(status, body, *, tls=None):
    """Serve one answer on every path; yield the port and the headers that were sent."""
    seen = []

    async def answer(request):
        seen.append(dict(request.headers))
        return web.Response(status=status, body=body)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    try:
        yield port, seen
    finally:
        await runner.cleanup()


def test_whatever_can_be_asked_is_offered_on_the_command_line():
    assert set(PARTS) == set(PROBES)


@pytest.mark.parametrize(
    ("psk", "said"),
    [
        (PSK, ""),
        (OTHER_PSK, "the security scanner refuses SECURITY_SCANNER_V4_PSK (401)"),
        ("", "the security scanner wants SECURITY_SCANNER_V4_PSK, which is not set (401)"),
        ("no base64!", "SECURITY_SCANNER_V4_PSK is not base64"),
    ],
    ids=["right", "wrong", "absent", "unreadable"],
)
async def test_the_key_is_tried(scanner, tmp_path, psk, said):
    found = await fault(tmp_path, scanner.url, psk)
    assert found.startswith(said) if said else found == ""


async def test_nobody_at_the_address_is_told_with_the_address(tmp_path):
    port = free_port()
    found = await fault(tmp_path, f"http://127.0.0.1:{port}")
    assert found.startswith("the security scanner does not answer (Cannot connect to host")
    assert f"127.0.0.1:{port}" in found


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, b"", "the security scanner answered 404"),
        (200, b"<html>", "the security scanner did not answer in JSON"),
        (200, b'{"hello": 1}', "what answers is no Clair v4"),
    ],
)
async def test_what_is_no_scanner_is_told(tmp_path, status, body, said):
    async with answering(status, body) as (port, _):
        assert (await fault(tmp_path, f"http://127.0.0.1:{port}")).startswith(said)


async def test_a_scanner_without_keys_is_asked_without_a_token(tmp_path):
    async with answering(200, b'{"state": "one"}') as (port, seen):
        assert await fault(tmp_path, f"http://127.0.0.1:{port}", "") == ""
    assert "Authorization" not in seen[0]


async def test_authorities_of_the_bundle_are_believed(tmp_path):
    certificate, key = self_signed(tmp_path, "localhost")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    async with answering(200, b'{"state": "one"}', tls=tls) as (port, _):
        assert "CERTIFICATE_VERIFY_FAILED" in await fault(tmp_path, f"https://localhost:{port}")
        (tmp_path / "extra_ca_cert_scanner").write_bytes(certificate.read_bytes())
        assert await fault(tmp_path, f"https://localhost:{port}") == ""


@pytest.mark.parametrize("psk", [PSK, OTHER_PSK], ids=["right", "wrong"])
async def test_health_tells_of_the_scanner_where_the_operator_looks(scanner, tmp_path, psk):
    await migrated(f"sqlite:///{tmp_path}/registry.db", migrate_registry)
    async with (
        open_services(configuration(tmp_path, scanner.url, psk)) as services,
        listening(make_application(services)) as server,
        httpx2.AsyncClient(base_url=server.url) as client,
    ):
        neighbours = await client.get("/health/neighbours")
        assert neighbours.json()["data"]["services"]["security_scanner"] is (psk == PSK)
        # Pulls and pushes need no scanner: load balancers go on.
        end = await client.get("/health/endtoend")
        assert end.status_code == 200
        assert "security_scanner" not in json.dumps(end.json())
